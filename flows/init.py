"""`fanout init`: looks at a model and writes a config for it, of what it is told by options or by a person who is asked."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from converters.config import drafting
from converters.config.drafting import Draft
from converters.config.explain import choices
from converters.contract import names
from converters.contract.errors import BadInput
from converters.contract.values import TensorSpec
from converters.formats import specs
from converters.processes import child
from converters.targets.registry import TARGETS
from flows import completion
from flows.settings import Settings
from flows.show.description import render
from flows.show.tables import complaint
from flows.terminal import TrustCode, err, example, out

app = typer.Typer()
_INPUT = re.compile(r"(?P<name>[^=]+)=(?P<dtype>\w+)\[(?P<shape>[^]]*)\]")


@app.command(
    epilog=example(
        "fanout init exports/prices/1",
        "fanout init faces.keras --name faces --data photos/ --labels names.txt --batch-1 --yes",
        "fanout init models/build.py:build --output configs",
    )
)
def init(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A SavedModel directory, a .keras or .h5 file, or FILE.py:FUNCTION.")
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What the model is called; default: as its path.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where NAME.yaml is written; default: where configs are.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; only a terminal is asked anyway.")] = False,
    targets: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Only these, with commas; default: all.", autocompletion=completion.targets),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Real inputs, to compare and calibrate on, in the forms of `deploy`."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="[OUTPUT=]FILE", help="The names of an output's classes, one a line.")
    ] = None,
    license_: Annotated[
        str | None,
        typer.Option("--license", metavar="TEXT", help="Under which it may be used: an SPDX identifier, or a text."),
    ] = None,
    intended_use: Annotated[str | None, typer.Option(metavar="TEXT", help="What it is for, and what not.")] = None,
    batch_1: Annotated[
        bool | None,
        typer.Option("--batch-1", help="TF Lite files of a batch of one too, as GPU delegates and LiteRT.js want."),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(metavar="CRON", help="When `make ui` deploys it, or never; default: as nightly.yaml says."),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", metavar="NAME=DTYPE[SHAPE]", help="An input that the model does not declare: x=float32[?,8]."
        ),
    ] = None,
    custom: Annotated[
        str | None,
        typer.Option(metavar="FILE.py", help="Classes of a Keras file, and functions for its Lambda layers."),
    ] = None,
    tags: Annotated[
        str | None, typer.Option(metavar="LIST", help="The tag-set of the SavedModel, with commas.")
    ] = None,
    trust_code: TrustCode = False,
) -> None:
    """Look at a model, and write a config for it that deploys as it is."""
    child.warm_up()
    folder = (output or Settings.read().configs).absolute()
    draft = Draft(
        model=path, name=name or drafting.name_of(path), targets=_targets(targets), data=data, labels=labels,
        license=license_ or "", intended_use=intended_use or "", batch_1=bool(batch_1), schedule=schedule,
        inputs=dict(map(_input, inputs or ())), custom=custom, tags=None if tags is None else tuple(_listed(tags)),
        trust_code=trust_code,
    )  # fmt: skip
    given = {
        "name": name, "targets": targets, "data": data, "labels": labels, "license": license_,
        "intended_use": intended_use, "batch_1": batch_1, "schedule": schedule,
    }  # fmt: skip
    _write(draft, folder, None if yes or not sys.stdin.isatty() else [key for key in given if given[key] is None])


def _write(draft: Draft, folder: Path, to_ask: Sequence[str] | None) -> None:
    """Look at the model, ask what is `to_ask`, and write the config. Nobody is asked where that is None."""
    from converters.source import inputs, looking
    from converters.source.bring_up import refuse_code

    if "name" not in (to_ask or ()):
        drafting.require_new(draft, folder)
    spec = drafting.spec_of(draft)
    found = child.run(looking.look, spec).value
    out.print(render(found.description))
    for part in found.code:
        out.print(Text("! ", style="yellow").append(f"it comes with code: {part}", style="default"))
    if found.code:
        if to_ask is None or not typer.confirm("Run that code in deploying it, since you trust its maker?", err=True):
            refuse_code(spec, found.code)
        draft = draft._replace(trust_code=True)
        found = child.run(looking.look, drafting.spec_of(draft)).value

    def checked(draft: Draft) -> str:
        if draft.batch_1 and not drafting.fixes_batch(draft, found.signatures):
            raise BadInput(
                "--batch-1: no target makes files of fixed sizes, or no signature has a batch that is open and no other size "
                "that is; give whole shapes under 'shapes' of the target, in the config"
            )
        content = drafting.text(draft, found.signatures, folder)
        inputs.require_known(drafting.validated(draft, content, folder), found.signatures)
        return content

    for question in to_ask or ():
        if question != "batch_1" or drafting.fixes_batch(draft, found.signatures):
            draft = _asked(draft, question, checked)
    config = drafting.written(draft, checked(draft), folder)
    out.print(f"\n{config} is written; next:", soft_wrap=True)
    known = folder == Settings.read().configs
    out.print(f"  fanout deploy {draft.name if known else shlex.quote(os.path.relpath(config))}", soft_wrap=True)


def _asked(draft: Draft, field: str, check: Callable[[Draft], object]) -> Draft:
    """The draft with a person's answer, who is asked again where it is wrong."""
    question, meant = _QUESTIONS[field]
    usual = {"name": draft.name, "targets": ",".join(draft.targets), "batch_1": "n"}.get(field, "")
    while True:
        answer = typer.prompt(question, default=usual, show_default=bool(usual), err=True, prompt_suffix=" ").strip()
        try:
            answered = draft._replace(**{field: meant(answer)})
            check(answered)
        except BadInput as error:
            err.print(complaint(error), soft_wrap=True)
        else:
            return answered


def _yes(answer: str) -> bool:
    if answer.lower() not in ("y", "yes", "n", "no"):
        raise BadInput(f"{answer!r} is neither y nor n")
    return answer.lower().startswith("y")


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _targets(text: str | None) -> tuple[str, ...]:
    """Raises BadInput where one is none."""
    known = TARGETS.choices()
    chosen = known if text is None else _listed(text)
    for name in chosen:
        if name not in known:
            raise BadInput(f"there is no target {name!r}; {choices(name, known)}")
    return tuple(dict.fromkeys(chosen))


def _input(text: str) -> tuple[str, TensorSpec]:
    """NAME=DTYPE[SHAPE]. Raises BadInput."""
    fits = _INPUT.fullmatch(text.strip())
    sizes = _listed(fits["shape"]) if fits else []
    if fits is None or not all(size in ("?", "null") or size.isdigit() for size in sizes):
        raise BadInput(f"--input {text!r} is not of the form NAME=DTYPE[SHAPE], as x=float32[?,8] is")
    name = fits["name"].strip()
    spec = TensorSpec(shape=tuple(int(size) if size.isdigit() else None for size in sizes), dtype=fits["dtype"])
    if (fault := names.fault(name) or specs.problem(spec)) is not None:
        raise BadInput(f"--input {text}: {fault}")
    return name, spec


_QUESTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "name": ("What is it called?", str),
    "targets": ("For which targets, with commas?", _targets),
    "data": ("Real inputs to compare and calibrate on (a path; none: drawn)?", lambda answer: answer or None),
    "labels": ("The names of an output's classes ([OUTPUT=]FILE; none)?", lambda answer: answer or None),
    "license": ("Under which license may it be used (none)?", str),
    "intended_use": ("What is it for, and what not (none)?", str),
    "batch_1": ("TF Lite files of a batch of one too, for GPUs and browsers (y/n)?", _yes),
    "schedule": (
        "When is it deployed while `make ui` runs (cron, never; none: as nightly.yaml says)?",
        lambda answer: answer or None,
    ),
}
