"""One variant of one target of a model: the unit in which converting and checking are planned, run and told of."""

from pathlib import Path
from typing import Any

from converters.config.spec import ModelSpec
from converters.contract.settings import Limits
from converters.contract.target import Options, Target, Variant
from converters.contract.values import Frozen, Source, UnitName
from converters.targets.registry import TARGETS


class Unit(Frozen):
    """What to make, of what, and where.

    `release` is the release's directory, below which artifacts are and rows' paths are relative to. `log` is where the
    child processes of a check print, if anywhere.
    """

    target: str
    variant: str
    source: Source
    spec: ModelSpec
    release: Path
    log: Path | None = None

    @property
    def name(self) -> UnitName:
        """Which one it is."""
        return UnitName(self.target, self.variant)

    @property
    def definition(self) -> Target[Any]:
        """The target."""
        return TARGETS[self.target]

    @property
    def kind(self) -> Variant:
        """The variant."""
        return self.definition.variant(self.variant)

    @property
    def options(self) -> Options:
        """What the config tells the target."""
        options: Options = self.spec.targets[self.target]
        return options

    @property
    def limits(self) -> Limits:
        """Those of each child process."""
        return self.spec.limits


def plan(source: Source, spec: ModelSpec) -> list[UnitName]:
    """Every conversion that the spec asks for, in the order of a manifest."""
    return [
        UnitName(target, variant)
        for target, options in spec.targets.items()
        for variant in TARGETS[target].chosen(source, options)
    ]
