"""One variant of one target of a model: the unit in which converting and checking are planned, run and told of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from converters.config.spec import ModelSpec
from converters.contract.settings import Limits
from converters.contract.target import Options, Target, Variant
from converters.contract.values import Frozen, Signature, Source, UnitName
from converters.targets.registry import TARGETS

T = TypeVar("T")


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
    def signatures(self) -> dict[str, Signature]:
        """Those that the variant has for the model's, by key."""
        promised, options = self.definition.promises, self.options
        return {key: promised(options, self.variant, each) for key, each in self.source.signatures.items()}

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


def relocated(value: T, old: Path, new: Path) -> T:
    """The value with every path in it, all of which are below `old`, below `new` in its place."""
    item: Any = value
    if isinstance(item, Path):
        item = new / item.relative_to(old)
    elif isinstance(item, Frozen):
        item = item.model_copy(update={n: relocated(getattr(item, n), old, new) for n in type(item).model_fields})
    elif isinstance(item, Mapping):
        item = {name: relocated(each, old, new) for name, each in item.items()}
    elif isinstance(item, list | tuple):
        item = type(item)(relocated(each, old, new) for each in item)
    return item  # type: ignore[no-any-return]
