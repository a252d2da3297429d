"""The model card's front matter, as Hugging Face reads it (huggingface/hub-docs, modelcard.md)."""

from pathlib import PurePath
from typing import Any

from converters.config.spec import ModelSpec
from converters.release.explain.facts import Call
from converters.release.manifest import Manifest

_IDENTIFIERS = """
    apache-2.0 mit bsd bsd-2-clause bsd-3-clause bsl-1.0 cc0-1.0 cc-by-2.0 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0
    cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0
    cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2
    agpl-3.0 gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail bigscience-openrail-m
    creativeml-openrail-m osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl
"""
_LICENSES = frozenset(_IDENTIFIERS.split())
"""The identifiers that are known there (hub-docs, repositories-licenses.md); any other is `other`, with its name."""
_FORMATS = {"tflite": ("tflite", "litert"), "tfjs": ("tensorflow.js",), "hdf5": ("hdf5",), "serving": ("tf-serving",)}
_LIBRARIES = {"tf_keras": "tf-keras", "keras": "keras"}


def front_matter(manifest: Manifest, spec: ModelSpec, signatures: list[Call]) -> dict[str, Any]:
    """What the card begins with; nothing that is not known is in it."""
    targets = dict.fromkeys(row.target for row in manifest.targets if row.path is not None)
    tags = ["tensorflow", *(tag for target in targets for tag in _FORMATS.get(target, ()))]
    head = _license(spec.license) | {
        "library_name": _LIBRARIES.get(manifest.source.kind, "tensorflow"),
        "tags": tags,
    }
    if (task := _task(signatures)) is not None:
        head["pipeline_tag"] = task
    if manifest.evaluation is not None and spec.evaluation is not None:
        of = manifest.evaluation
        live = {"type": of.metric, "value": of.live, "name": f"{of.metric}, live model"}
        measured = [
            {"type": of.metric, "value": value, "name": f"{of.metric}, {row.title}"}
            for row in manifest.targets if (value := row.metric_value()) is not None
        ]  # fmt: skip
        name = PurePath(spec.evaluation.data).name
        result = {
            "task": {"type": task or "other"},
            "dataset": {"type": name, "name": name},
            "metrics": [live, *measured],
        }
        head["model-index"] = [{"name": manifest.model, "results": [result]}]
    return head


def _license(text: str) -> dict[str, Any]:
    if not text:
        return {}
    plain = text.strip().lower()
    return {"license": plain} if plain in _LICENSES else {"license": "other", "license_name": text}


def _task(signatures: list[Call]) -> str | None:
    """image-classification, where the model's call takes a picture and names classes; nothing else is known for certain."""
    first = signatures[0] if signatures else None
    if first is None or first.image is None or not any(port.labels for port in first.outputs):
        return None
    return "image-classification"
