"""One TensorFlow model into checked outputs for every runtime. Knows nothing of Prefect.

    release, work = Path("release"), Path("work")  # two empty directories
    spec = converters.find("configs/digits.yaml")
    with converters.Builder(spec, release, work) as builder:
        builder.build()
        source = builder.export().value
    for name in converters.plan(source, spec):
        unit = converters.Unit(target=name.target, variant=name.variant, source=source, spec=spec, release=release)
        for row in converters.check(unit, converters.convert(unit)):
            print(row.target, row.variant, row.signature, row.status, row.reason)

A release that `fanout deploy` has published is read by `read_manifest`, and checked again by `recheck`.

To read the code, begin with what all others speak of and go up: `contract` (the words), `targets/saved_model` (the smallest
target), `steps` (unit, convert, check: one deploy), `source` (the live model), `release` (what is on disk). `reference` says
what is right, `formats` reads and rewrites files, `processes` runs code apart, `javascript` runs Node and Chromium, `config` is
what a YAML may say.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converters.config.read import find
    from converters.release.manifest import read as read_manifest
    from converters.source.builder import Builder
    from converters.steps.check import check
    from converters.steps.convert import convert
    from converters.steps.recheck import recheck
    from converters.steps.unit import Unit, plan
    from converters.targets.registry import TARGETS

__all__ = ["TARGETS", "Builder", "Unit", "check", "convert", "find", "plan", "read_manifest", "recheck"]

_HOMES = {
    "TARGETS": "targets.registry",
    "Builder": "source.builder",
    "Unit": "steps.unit",
    "check": "steps.check",
    "convert": "steps.convert",
    "find": "config.read",
    "plan": "steps.unit",
    "read_manifest": "release.manifest",
    "recheck": "steps.recheck",
}


def __getattr__(name: str) -> Any:
    """A name of `__all__`, imported when it is first used: every module below is imported by way of this one."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    return getattr(home, name.removesuffix("_manifest"))
