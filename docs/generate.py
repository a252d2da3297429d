"""Writes what the pages of reference say of types and commands: `python docs/generate.py`, a part of `make docs`.

Of a page only what is between `<!-- generated: NAME -->` and `<!-- end -->` is written, by the function NAME of `PARTS`.
"""

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer.cli
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from converters.config.spec import ModelSpec
from converters.contract.settings import Nightly
from converters.contract.target import Options
from converters.release.manifest import Manifest
from converters.targets.registry import BUILT_IN
from flows.cli import app
from flows.settings import ROOT, Settings

HERE = Path(__file__).parent
EXAMPLES = re.compile(r"^Examples?:\n((?:  .*\n)+)", re.MULTILINE)
MARKED = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def config() -> str:
    """Every key of a config, and below it those of the values that have keys of their own."""
    tables = [_table("", "", ModelSpec, but=("base", "name"))]
    tables += [_table(each.__name__, inspect.getdoc(each) or "", each) for each in _below(ModelSpec)]
    shared = set(Options.model_fields)
    tables.append(_table("targets.NAME", "What every target can be told.", Options))
    for target in BUILT_IN:
        own = [name for name in target.options.model_fields if name not in shared]
        if own:
            tables.append(_table(f"targets.{target.name}", "", target.options, but=tuple(shared)))
    known = {ModelSpec, *_below(ModelSpec)}
    of_targets = dict.fromkeys(each for target in BUILT_IN for each in _below(target.options) if each not in known)
    tables += [_table(each.__name__, inspect.getdoc(each) or "", each) for each in of_targets]
    tables.append(_table("Nightly", inspect.getdoc(Nightly) or "", Nightly))
    return "\n".join(tables)


def variants() -> str:
    """Every variant of every target, with its default limits and the reason for them."""
    rows = ["| target | variant | `values`: error, mismatch | why | quality |", "| --- | --- | --- | --- | --- |"]
    for target in BUILT_IN:
        for variant in target.options.known:
            limits = variant.tolerance
            kept = variant.quality.model_dump(exclude_none=True, exclude={"top1_samples"}) if variant.quality else {}
            quality = ", ".join(f"{name} ≥ {value:g}" for name, value in kept.items())
            rows.append(
                f"| {target.name} | {variant.name} | {limits.error:g}, {limits.mismatch:g} | {limits.reason} | {quality} |"
            )
    return "\n".join(rows) + "\n"


def commands() -> str:
    """Every command, as `--help` has it."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="fanout")
    text = typer.cli.get_docs_for_click(obj=command, ctx=context, indent=1, name="fanout")
    text = text.replace("```console\n$ ", "```text\n")
    return EXAMPLES.sub(lambda found: f"**Examples**:\n\n```sh\n{textwrap.dedent(found[1])}```\n", text)


def manifest() -> str:
    """Every field of manifest.json."""
    return "\n".join(_table(each.__name__, inspect.getdoc(each) or "", each) for each in (Manifest, *_below(Manifest)))


def environment() -> str:
    """Every variable of `Settings`."""
    rows = ["| variable | what it is | default |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `FANOUT_{name.upper()}` | {_meaning(Settings, name, field)} | {_default(field)} |")
    return "\n".join(rows) + "\n"


PARTS: dict[str, Callable[[], str]] = {
    part.__name__: part for part in (config, variants, commands, manifest, environment)
}


def written(text: str) -> str:
    """A page's text with its generated parts as they are now."""
    return MARKED.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]().strip()}\n\n{found[3]}", text)


def pages() -> Iterator[Path]:
    """Those that hold a generated part."""
    return (page for page in sorted(HERE.rglob("*.md")) if MARKED.search(page.read_text()))


def _table(title: str, text: str, model: type[BaseModel], but: tuple[str, ...] = ()) -> str:
    rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        if name not in but:
            cells = (
                f"`{field.alias or name}`",
                _shown(field.annotation),
                _default(field),
                _meaning(model, name, field),
            )
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    heading = f"### {title}\n\n" if title else ""
    return heading + (f"{text}\n\n" if text else "") + "\n".join(rows) + "\n"


def _meaning(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    own = next(_models(field.annotation), None)
    of_type = (inspect.getdoc(own) or "").partition("\n\n")[0] if own is not None else ""
    return " ".join((field.description or _remarks(model).get(name) or of_type).split())


def _remarks(model: type[BaseModel]) -> dict[str, str]:
    """The strings below the fields of a class."""
    found = {}
    for owner in reversed(model.__mro__):
        if not issubclass(owner, BaseModel) or owner is BaseModel:
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for one, other in zip(body.body, body.body[1:], strict=False):
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
                match other:
                    case ast.Expr(ast.Constant(str(text))):
                        found[one.target.id] = text
    return found


def _shown(annotation: Any) -> str:
    """What a value of this type is, for who writes YAML or reads JSON."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _shown(parts[0])
    if origin is Literal:
        return ", ".join(json.dumps(part) if part is None else f"`{part}`" for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(_shown(part) for part in parts)
    if origin is dict:
        return f"mapping of {_shown(parts[0])} to {_whole(parts[1])}"
    if origin in (list, tuple):
        return f"list of {_whole(parts[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        name = annotation.__name__
        return f"[{name}](#{name.lower() if annotation is not Options else 'targetsname'})"
    names = {str: "text", int: "integer", float: "number", bool: "true or false", NoneType: "null", Path: "path"}
    return names.get(annotation, "anything")


def _whole(annotation: Any) -> str:
    """The same as part of another value."""
    text = _shown(annotation)
    return f"({text})" if " or " in text or ", " in text else text


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, Path):
        value = value.relative_to(ROOT).as_posix()
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_defaults=True) or None
    if value is None or value in ({}, (), [], ""):
        return ""
    return f"`{json.dumps(value, default=str)}`"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation is not Options:
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _below(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The models of a model's fields, and of theirs, each once, in order."""
    found: dict[type[BaseModel], None] = {}
    waiting = [model]
    while waiting:
        for field in waiting.pop(0).model_fields.values():
            for each in _models(field.annotation):
                if each not in found:
                    found[each] = None
                    waiting.append(each)
    return list(found)


if __name__ == "__main__":
    stale = [page for page in pages() if written(page.read_text()) != page.read_text()]
    for page in stale:
        page.write_text(written(page.read_text()))
        print(f"wrote {page}", file=sys.stderr)
