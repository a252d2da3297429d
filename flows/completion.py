"""What a shell offers after Tab: models, releases, versions and targets that there are. Imports nothing heavy."""

from collections.abc import Iterable
from contextlib import suppress

import typer

from converters.config import read
from converters.contract.errors import FanoutError
from converters.release import publish
from converters.targets.registry import TARGETS
from flows.settings import Settings

_UNSAID = (FanoutError, OSError)
"""A command says what is wrong when it is run; said here, it would stand in the line that is being typed."""


def models(incomplete: str) -> list[str]:
    """Those that have a config; for anything else the shell offers files."""
    with suppress(*_UNSAID):
        return _beginning(incomplete, read.names(Settings.read().configs))
    return []


def released(ctx: typer.Context, incomplete: str) -> list[str]:
    """Models that have releases."""
    with suppress(*_UNSAID):
        root = _settings(ctx).releases
        return _beginning(incomplete, (path.name for path in root.iterdir() if any(path.glob("[0-9]*/manifest.json"))))
    return []


def versions(ctx: typer.Context, incomplete: str) -> list[str]:
    """Of the model that was named before, the newest first."""
    with suppress(*_UNSAID):
        found = publish.versions(_settings(ctx).releases, str(ctx.params.get("model")))
        return [str(version) for version in reversed(found) if str(version).startswith(incomplete)]
    return []


def targets(incomplete: str) -> list[str]:
    """Those of a list with commas whose last is not whole yet."""
    with suppress(*_UNSAID):
        *before, last = incomplete.split(",")
        left = [name for name in TARGETS.choices() if name not in before]
        return [",".join([*before, name]) for name in left if name.startswith(last)]
    return []


def _settings(ctx: typer.Context) -> Settings:
    return Settings.read(releases=ctx.params.get("releases"))


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
