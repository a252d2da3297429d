"""A release's files in a visitor's own browser: what each of its runtimes is asked, and what its answers say.

The pages that run them are those of a check (javascript/js/tfjs.html and litert.html), and so is the judge. What is asked is
golden's calls, as many as are quickly sent.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from converters.contract.errors import BadInput, Damaged
from converters.contract.layout import GOLDEN
from converters.contract.values import Artifact, Case, CheckResult, Ends, Prediction, Tensors, UnitName
from converters.javascript import messages, programs
from converters.reference import golden
from converters.release import files, manifest
from converters.release.explain import facts
from converters.release.manifest import Row
from converters.steps.judging import Judge
from converters.steps.recheck import read_spec, require_known, source_of
from converters.steps.unit import Unit
from converters.targets.tfjs import NAME as TFJS
from converters.targets.tflite import NAME as TFLITE
from converters.targets.tflite import litert_js

MOST_VALUES = 2**20
"""Of the inputs that one runtime is asked for; a single call may have more."""
_BACKENDS = {TFJS: ("webgl", "wasm", "cpu"), TFLITE: ("wasm", "webgpu")}


@dataclass(frozen=True)
class Visit:
    """One file (of one signature) in one backend of a library; `page` runs it."""

    library: Literal["tfjs", "litert"]
    backend: str
    row: Row

    @property
    def page(self) -> str:
        """The page's file."""
        return f"{self.library}.html"


class Visits:
    """All that a release offers to browsers.

    Args:
        root: the release's directory.
        work: a directory for messages.

    Raises:
        BadInput: `root` is no release, or nothing in it runs in a browser.
        Damaged: golden cannot be read.
        MissingRuntime: tensorflow.js or LiteRT.js is not installed.
    """

    def __init__(self, root: Path, work: Path) -> None:
        self.root, self._work = root, work
        self.manifest, self._spec = manifest.read(root), read_spec(root)
        require_known(root, self.manifest, self._spec)
        self._golden = golden.load(root / GOLDEN)
        self._judges: dict[UnitName, Judge] = {}
        self.visits = [
            Visit("tfjs" if row.target == TFJS else "litert", backend, row)
            for row in sorted(self.manifest.targets, key=lambda row: row.target != TFJS)
            if row.path is not None and row.signature is not None and _for_browsers(row) and self._judge(row)[1]
            for backend in _BACKENDS[row.target]
        ]
        if not self.visits:
            raise BadInput(
                f"{self.manifest.model} {self.manifest.version} has nothing that runs in a browser; deploy it with the target "
                "tfjs, or TF Lite files of fixed sizes (shapes: {batch: 1})"
            )
        self.versions = {"tfjs": programs.tfjs_version(), "litert": programs.litert_js_version()}
        self._writing = threading.Lock()

    @cached_property
    def changed(self) -> dict[str, str]:
        """What is wrong with the release's files, by path."""
        return files.changed_files(self.root, self.manifest)

    def described(self) -> dict[str, Any]:
        """The release and its visits, for the page."""
        return {
            "model": self.manifest.model,
            "version": self.manifest.version,
            "created": self.manifest.created,
            "status": self.manifest.status,
            "description": self._spec.description,
            "changed": [f"{name} {problem}" for name, problem in self.changed.items()],
            "visits": [self._described(number, visit) for number, visit in enumerate(self.visits)],
        }

    def _described(self, number: int, visit: Visit) -> dict[str, Any]:
        row = visit.row
        recorded = _recorded(visit)
        return {
            "title": row.unit.title,
            "path": row.path,
            "signature": row.signature,
            "library": visit.library,
            "backend": visit.backend,
            "page": visit.page,
            "version": self.versions[visit.library],
            "kind": "tflite" if visit.library == "litert" else "layers" if row.variant == "layers" else "graph",
            "samples": sum(self._judge(row)[1][call].batch or 1 for call in self._calls(row)),
            "recorded": None if recorded is None else {
                "runtime": recorded.runtime, "measured": recorded.measured, "limit": recorded.limit,
                "latency_ms": recorded.latency_ms,
            },
            "picture": self._picture(row),
        }  # fmt: skip

    def request(self, number: int) -> Path:
        """The message that asks for a visit's calls. Raises BadInput where the library cannot hold them."""
        path, row = self._work / f"request-{number}", self.visits[number].row
        with self._writing:
            if not path.is_file():
                _, cases = self._judge(row)
                calls = [cases[call].inputs for call in self._calls(row)]
                try:
                    messages.write_request(path, self._request(row, calls))
                except (ValueError, TypeError) as error:
                    raise BadInput(str(error)) from error
        return path

    def _request(self, row: Row, calls: Sequence[Tensors]) -> messages.Request:
        file, key = self.root / (row.path or ""), row.signature or ""
        if row.target == TFLITE:
            return litert_js.request(file, key, row.quantized or Ends(), calls)
        return messages.Request(model=file, kind="layers" if row.variant == "layers" else "graph", cases=calls)

    def take(self, number: int, answer: bytes) -> None:
        """Keep a visit's answer, as the page has sent it."""
        (self._work / f"answer-{number}").write_bytes(answer)

    def result(self, number: int, runtime: str) -> dict[str, Any]:
        """What the kept answer says, judged as in a check; `runtime` is what the page calls itself. Raises BadInput."""
        visit = self.visits[number]
        try:
            prediction = messages.read_answer(self._work / f"answer-{number}", runtime)
        except Damaged as error:
            raise BadInput(str(error)) from error
        if visit.library == "litert":
            prediction = litert_js.numbers(prediction, visit.row.quantized or Ends())
        if prediction.error is not None and (prediction.lacks or visit.library == "litert"):
            return {"status": "cannot", "detail": prediction.error}
        judge, _ = self._judge(visit.row)
        asked = self._asked(prediction, tuple(self._calls(visit.row)))
        found = judge.findings(self._artifact(visit.row), self._unit(visit.row).definition.runtimes[0], asked)
        return _told(visit.row.model_copy(update={"checks": found}))

    def _asked(self, prediction: Prediction, calls: tuple[int, ...]) -> Prediction:
        also = [self._asked(each, calls) for each in prediction.also]
        return prediction.model_copy(update={"answered": calls, "also": also})

    def _unit(self, row: Row) -> Unit:
        source = source_of(self.root, self.manifest)
        return Unit(target=row.target, variant=row.variant, source=source, spec=self._spec, release=self.root)

    def _artifact(self, row: Row) -> Artifact:
        path = self.root / (row.path or "")
        return Artifact(target=row.target, variant=row.variant, signature=row.signature, path=path)

    def _judge(self, row: Row) -> tuple[Judge, Sequence[Case]]:
        """The judge of a row, and golden's calls in the row's sizes."""
        if row.unit not in self._judges:
            self._judges[row.unit] = Judge(self._unit(row), self._golden, None)
        return self._judges[row.unit], self._judges[row.unit].cases_of(row.signature or "")

    def _calls(self, row: Row) -> list[int]:
        """The numbers of golden's calls that are asked: in their order as many as are quickly sent, or the smallest."""
        _, cases = self._judge(row)
        sizes = [sum(value.size for value in case.inputs.values()) for case in cases]
        chosen, left = [], MOST_VALUES
        for number, size in enumerate(sizes):
            if size <= left:
                chosen.append(number)
                left -= size
        return chosen or [min(range(len(sizes)), key=sizes.__getitem__)]

    def _picture(self, row: Row) -> dict[str, Any] | None:
        """How a picture becomes the only input, where it may be one: what the page needs to make it so, and outputs' labels."""
        _, cases = self._judge(row)
        case = cases[self._calls(row)[0]]
        shapes = ({n: v.shape for n, v in case.inputs.items()}, {n: v.shape for n, v in case.outputs.items()})
        signature = self._unit(row).signatures[row.signature or ""]
        inputs, outputs = facts.ports(self.manifest, self._spec, row, signature, shapes)
        image = inputs[0].image if len(inputs) == 1 else None
        if image is None or inputs[0].scale is not None or any(port.scale is not None for port in outputs):
            return None
        port, scaling = inputs[0], inputs[0].scaling
        return {
            "input": port.name,
            "dtype": port.dtype,
            "height": image.height,
            "width": image.width,
            "channels": image.channels,
            "batched": image.batched,
            "mean": list(scaling.mean) if scaling else [0],
            "std": list(scaling.std) if scaling else [1],
            "guessed": scaling is not None and scaling.guessed,
            "range": port.range,
            "color": port.preprocessing.color if port.preprocessing else None,
            "description": port.preprocessing.description if port.preprocessing else "",
            "labels": {each.name: list(each.labels) for each in outputs},
        }


def _for_browsers(row: Row) -> bool:
    """Whether a browser's library may run it: any of tensorflow.js, and of TF Lite what LiteRT.js was asked for."""
    asked = any(check.name == litert_js.NAME or litert_js.PROGRAM in check.runtime for check in row.checks)
    return row.target == TFJS or (row.target == TFLITE and asked)


def _recorded(visit: Visit) -> CheckResult | None:
    """What the manifest says of the same backend: in Chromium, or else in Node."""
    compared = [check for check in visit.row.checks if check.name == "values"]
    library = {"tfjs": " tfjs ", "litert": litert_js.PROGRAM}[visit.library]
    same = [check for check in compared if library in check.runtime and f" {visit.backend}" in check.runtime]
    return next((check for check in same if check.runtime.startswith("chromium")), same[0] if same else None)


def _told(row: Row) -> dict[str, Any]:
    """What findings say, for the page."""
    worst, latency = row.worst(), row.latency()
    failed = [f"{check.name}: {check.detail}" for check in row.checks if check.status != "passed"]
    return {
        "status": "differs" if failed else "agrees",
        "measured": None if worst is None else worst.measured,
        "limit": None if worst is None else worst.limit,
        "detail": "; ".join(failed) or ("" if worst is None else worst.detail),
        "latency_ms": None if latency is None else latency.latency_ms,
        "range_ms": None if latency is None else latency.latency_range_ms,
    }
