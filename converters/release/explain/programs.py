"""The example programs of a release: which there are for its files, and their texts."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from urllib.parse import quote

import jinja2

from converters.contract.layout import EXAMPLES
from converters.release import figures
from converters.release.explain import kubernetes, mobile, quoting
from converters.release.explain.facts import Call, File, Port
from converters.release.manifest import Manifest
from converters.targets.registry import TARGETS

_NPM = {"tfjs": re.compile(r"\btfjs (\d[\w.-]*)"), "litertjs": re.compile(r"\blitert\.js (\d[\w.-]*)")}
_TENSORS = frozenset({"float32", "int32", "uint8"})
"""The dtypes of LiteRT.js's Tensor."""


@dataclass(frozen=True)
class Program:
    """One example. Without a `path` it is no file: what cannot be run as it stands, since an app is around it."""

    title: str
    language: str
    text: str
    path: str | None = None


@dataclass(frozen=True)
class Part:
    """Files of one kind that are used alike, what is to be known of them (sentences of Markdown), and their programs."""

    title: str
    files: tuple[File, ...]
    programs: tuple[Program, ...]
    notes: tuple[str, ...] = field(default=())


@cache
def _environment() -> jinja2.Environment:
    """Compiled templates are kept in it."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("converters.release.explain"), undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",), default=False),
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    made.filters |= figures.FILTERS | quoting.FILTERS
    made.filters |= {
        "kotlin_type": mobile.kotlin_type,
        "kotlin_array": mobile.kotlin_array,
        "swift_type": mobile.swift_type,
    }
    made.filters |= {"product": math.prod, "tfjs_folder": lambda key: quote(key, safe="")}
    made.globals |= {
        "identifiers": mobile.identifiers, "scaled": mobile.scaled, "prepared": mobile.prepared, "meaning": meaning,
        "label_map": _labels, "number_of": quoting.number_of,
    }  # fmt: skip
    return made


class Writer:
    """Renders templates with what is known of the release as a whole."""

    def __init__(self, manifest: Manifest) -> None:
        runtimes = " ".join(manifest.runtimes())
        npm = {name: found[1] if (found := form.search(runtimes)) else "latest" for name, form in _NPM.items()}
        versions = {"tensorflow": "", "ai-edge-litert": "", "tf-keras": "", "keras": "", "tensorflow-serving-api": ""}
        self.model = manifest.model
        self.versions = versions | manifest.environment | npm
        self._known = {"model": self.model, "version": manifest.version, "versions": self.versions}

    def text(self, template: str, **facts: Any) -> str:
        """The template's text, without empty lines at its ends and more than two between."""
        rendered = _environment().get_template(f"{template}.j2").render(**self._known, **facts)
        return re.sub(r"\n{4,}", "\n\n\n", rendered.strip() + "\n")

    def program(
        self, title: str, language: str, name: str, template: str, files: Sequence[File], **facts: Any
    ) -> Program:
        """An example that is a file."""
        path = f"{EXAMPLES}/{name}"
        told = {"calls": files[0].calls, "files": files, "path": path, **facts}
        return Program(title, language, self.text(template, **told), path)


def parts(writer: Writer, files: Sequence[File]) -> list[Part]:
    """What there is for each kind of file, in the order of the files."""
    kinds: dict[str, list[File]] = {}
    for file in files:
        if file.calls or file.variant == "weights":
            kinds.setdefault(file.target, []).append(file)
    makers = {"saved_model": _saved_model, "tflite": _tflite, "tfjs": _tfjs, "hdf5": _hdf5, "serving": _serving}
    made = [part for target, of in kinds.items() for part in makers.get(target, _other)(writer, of)]
    return [replace(part, notes=(*part.notes, *_lacking(part))) for part in made]


def _lacking(part: Part) -> list[str]:
    """A sentence for each signature that its files do not hold."""
    rows = {row.signature: row.reason for file in part.files for row in file.lacking}
    return [
        f"Signature {quoting.code(key)} is not in it: {quoting.markdown(why or 'it could not be made')}."
        for key, why in rows.items() if key is not None
    ]  # fmt: skip


def _other(writer: Writer, files: Sequence[File]) -> list[Part]:
    """Of another package's target it is only known what is there."""
    return [Part(TARGETS[files[0].target].title, tuple(files), ())]


def _saved_model(writer: Writer, files: Sequence[File]) -> list[Part]:
    program = writer.program("Python, TensorFlow", "python", "saved_model.py", "saved_model.py", files)
    return [Part("SavedModel", tuple(files), (program,))]


def _tflite(writer: Writer, files: Sequence[File]) -> list[Part]:
    """A part for all files that are used alike: with the same signatures, in the same sizes, with numbers or integers."""
    groups: list[list[File]] = []
    for file in files:
        own = next((group for group in groups if _used_alike(group[0], file)), None)
        if own is None:
            groups.append([file])
        else:
            own.append(file)
    return [_of_tflite(writer, group, first=not number) for number, group in enumerate(groups)]


def _used_alike(one: File, other: File) -> bool:
    """Whether code for the one is code for the other; scales are each file's own."""
    return one.calls == other.calls and one.flex == other.flex and not one.integers


def _of_tflite(writer: Writer, files: Sequence[File], *, first: bool) -> Part:
    stem = "tflite" if first else f"tflite_{files[0].variant}"
    calls = files[0].calls
    programs = [
        writer.program("Python, LiteRT" if not files[0].flex else "Python", "python", f"{stem}.py", "tflite.py", files)
    ]
    notes = []
    if files[0].flex:
        notes.append(
            "It needs **select TF ops** (Flex): TF Lite's own ops do not suffice. Interpreters without them refuse it."
        )
    if files[0].fixed:
        sizes = (
            f"{quoting.code(port.name)} {quoting.code(str(list(port.sample)))}"
            for call in calls
            for port in call.inputs
        )
        notes.append(f"Its sizes are fixed: {', '.join(sizes)} and no other.")
    if files[0].integers:
        notes.append("It takes and returns integers that stand for numbers; the scales below are this file's own.")
    for language, template in (("Kotlin", "tflite.kt"), ("Swift", "tflite.swift")):
        if (lack := mobile.lacks(calls, language)) is None:
            text = writer.text(template, files=files, calls=calls)
            programs.append(Program(f"{language}, LiteRT", language.lower(), text))
        else:
            notes.append(f"There is no {language}: {quoting.markdown(lack)}, of which its interpreter has no type.")
    browser = [file for file in files if _in_browser(file)]
    if browser:
        programs.append(writer.program("A web page, LiteRT.js", "html", f"{stem}.html", "litert.html", browser))
    return Part(
        f"TF Lite: {quoting.listed(file.variant for file in files)}", tuple(files), tuple(programs), tuple(notes)
    )


def _in_browser(file: File) -> bool:
    """Whether LiteRT.js runs it by its public interface: of fixed sizes, in its Tensor's dtypes, and not found to lack anything."""
    asked = [check for row in file.rows for check in row.checks if "litert.js" in check.runtime]
    known = all(port.dtype in _TENSORS and port.scale is None for call in file.calls for port in call.ports)
    return file.sizes_known and known and not file.flex and all(check.status == "passed" for check in asked)


def _tfjs(writer: Writer, files: Sequence[File]) -> list[Part]:
    variants: dict[str, list[File]] = {}
    for file in files:
        variants.setdefault(file.variant, []).append(file)
    layers = {name: of for name, of in variants.items() if name == "layers"}
    graphs = {name: of for name, of in variants.items() if name != "layers"}
    made = []
    for kind, group in (("graph model", graphs), ("layers model", layers)):
        if group:
            all_files = [file for of in group.values() for file in of]
            made.append(_of_tfjs(writer, kind, list(group), all_files))
    return made


def _of_tfjs(writer: Writer, kind: str, variants: Sequence[str], files: Sequence[File]) -> Part:
    layers = kind == "layers model"
    calls = tuple(call for file in files if file.variant == variants[0] for call in file.calls)
    stem = "tfjs_layers" if layers else "tfjs"
    folders = [f"tfjs/{variant}" for variant in variants]
    facts = {"layers": layers, "folder": folders[0], "others": folders[1:], "calls": calls}
    programs = (
        writer.program("A web page, tensorflow.js", "html", f"{stem}.html", "tfjs.html", files, **facts),
        writer.program("Node, tensorflow.js", "javascript", f"{stem}.mjs", "tfjs.mjs", files, **facts),
    )
    notes = () if layers else (
        "Ask for outputs by the signature's names, as below: `predict` and `execute` without them return the graph's own nodes, "
        "called `Identity` and the like.",
    )  # fmt: skip
    return Part(f"tensorflow.js: {kind}", tuple(files), programs, notes)


def _hdf5(writer: Writer, files: Sequence[File]) -> list[Part]:
    made = []
    for file in files:
        if file.variant == "weights":
            program = writer.program("Python, h5py", "python", "weights.py", "weights.py", [file])
            made.append(Part("HDF5: the variables", (file,), (program,)))
        else:
            program = writer.program("Python, Keras", "python", "keras.py", "keras.py", [file], library=file.library)
            made.append(Part("HDF5: the Keras model", (file,), (program,)))
    return made


def _serving(writer: Writer, files: Sequence[File]) -> list[Part]:
    calls = files[0].calls
    rest = [call for call in calls if call.rest is None]
    programs = [writer.program("Docker", "sh", "serving.sh", "serving.sh", files)]
    programs.append(
        Program("Kubernetes", "yaml", kubernetes.manifest(writer.model, writer.versions["tensorflow"]), kubernetes.PATH)
    )
    if any(call.example.why_not is None for call in rest):
        programs.append(writer.program("curl, REST", "sh", "curl.sh", "curl.sh", files))
        programs.append(writer.program("Python, REST", "python", "serving_rest.py", "serving_rest.py", files))
    programs.append(writer.program("Python, gRPC", "python", "serving_grpc.py", "serving_grpc.py", files))
    notes = [
        f"Signature {quoting.code(call.key)} goes by gRPC alone: {quoting.markdown(call.rest)}, which JSON cannot hold there."
        for call in calls if call.rest is not None
    ]  # fmt: skip
    if any(call.has_text for call in calls):
        notes.append(
            'Strings go in as `{"b64": ...}`; they come out so from outputs whose names end with `_bytes` alone.'
        )
    return [Part("TF Serving", tuple(files), tuple(programs), tuple(notes))]


def _labels(call: Call) -> dict[str, Iterable[str]]:
    return {port.name: port.labels for port in call.outputs if port.labels}


def meaning(port: Port) -> str:
    """What raw values become, in Markdown."""
    told = []
    if port.preprocessing is not None and port.preprocessing.description:
        told.append(quoting.markdown(port.preprocessing.description))
    if port.scaling is not None and not port.scaling.guessed:
        told.append(quoting.code(quoting.normalized(port.scaling.mean, port.scaling.std)))
    if port.scaling is not None and port.scaling.guessed:
        told.append("the range is what samples had: pixels of 0 to 255 are too large for it")
    if port.preprocessing is not None and port.preprocessing.color:
        told.append(f"channels are {port.preprocessing.color}")
    return "; ".join(told)
