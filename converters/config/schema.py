"""The JSON Schema of configs (draft 2020-12), for editors: what pydantic's models and their validators take.

`python -m converters.config.schema` writes it beside the configs. What only the files themselves tell, such as whether a path
exists, it cannot.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from converters.config.read import CONFIGS, NIGHTLY
from converters.config.spec import ModelSpec
from converters.contract.names import LONGEST, MODEL
from converters.contract.settings import Nightly
from converters.contract.target import Target
from converters.formats.dtypes import DTYPES
from converters.targets.registry import TARGETS

FILE = CONFIGS / "schema.json"
NIGHTLY_FILE = CONFIGS / f"{NIGHTLY}.schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema: TypeAlias = dict[str, Any]


def of_models(targets: Iterable[Target[Any]]) -> Schema:
    """The schema of a model's config, `targets` being those that there are."""
    targets = list(targets)
    models: list[type[BaseModel]] = [ModelSpec, *(target.options for target in targets)]
    refs, written = models_json_schema([(model, "validation") for model in models])
    definitions = written["$defs"]
    root = definitions.pop("ModelSpec")
    definitions.pop("Options", None)
    fields = root["properties"]
    del fields["base"]
    # It is the file's, where nothing else is said.
    root["required"].remove("name")
    fields["name"] |= {"pattern": f"^{MODEL.pattern}$", "maxLength": LONGEST}
    tensor = definitions["TensorSpec"]["properties"]
    tensor["dtype"]["enum"] = list(DTYPES)
    options = {
        target.name: {"anyOf": [{"type": "null"}, refs[target.options, "validation"]], "description": target.title}
        for target in targets
    }
    fields["targets"] = {
        "type": "object",
        "description": "what to make of it; without it every target, none of which blocks the release",
        "properties": options,
        "additionalProperties": False,
    }
    root["description"] = "A model's config. Paths in it are relative to its folder."
    return _document("model", root, definitions)


def of_nightly() -> Schema:
    """The schema of nightly.yaml."""
    root = Nightly.model_json_schema()
    root["description"] = "What holds for every model whose config does not say otherwise."
    return _document(NIGHTLY, root, root.pop("$defs"))


def text(schema: Schema) -> str:
    """A file's content."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _document(title: str, root: Schema, definitions: Schema) -> Schema:
    return {"$schema": _DIALECT, **root, "title": title, "$defs": _without_titles(definitions)} | {
        "properties": _without_titles(root["properties"])
    }


def _without_titles(properties: Schema) -> Schema:
    """pydantic's titles are the names again."""

    def stripped(value: Any, named: bool) -> Any:
        if isinstance(value, list):
            return [stripped(each, False) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            key: stripped(each, key in ("properties", "$defs"))
            for key, each in value.items()
            if named or key != "title" or not isinstance(each, str)
        }

    found: Schema = stripped(properties, True)
    return found


def main(folder: Path = CONFIGS) -> None:
    """Write both, with the targets of other packages that are installed here."""
    (folder / FILE.name).write_text(text(of_models(TARGETS.values())))
    (folder / NIGHTLY_FILE.name).write_text(text(of_nightly()))


if __name__ == "__main__":
    main()
