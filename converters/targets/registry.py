"""What exists: every target by name, in the order a manifest lists them.

Other packages add targets of their own by an entry point in the group `fanout.targets` whose object is a `Target`.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from converters.contract.errors import BadInput, raised
from converters.contract.target import Target
from converters.targets.hdf5.target import TARGET as HDF5
from converters.targets.saved_model.target import TARGET as SAVED_MODEL
from converters.targets.serving.target import TARGET as SERVING
from converters.targets.tfjs.target import TARGET as TFJS
from converters.targets.tflite.target import TARGET as TFLITE

GROUP = "fanout.targets"
BUILT_IN: tuple[Target[Any], ...] = (SAVED_MODEL, TFLITE, TFJS, HDF5, SERVING)


class Registry(Mapping[str, Target[Any]]):
    """Targets by name; those of other packages are loaded when one is first asked for.

    Raises:
        BadInput: another package's target cannot be loaded, is no Target, or has a name that is taken.
    """

    def __getitem__(self, name: str) -> Target[Any]:
        return self._targets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def choices(self) -> list[str]:
        """The names of those that may be left out."""
        return [name for name, target in self.items() if not target.always]

    @cached_property
    def _targets(self) -> dict[str, Target[Any]]:
        targets = {target.name: target for target in BUILT_IN}
        for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
            target = _loaded(entry)
            if target.name in targets:
                raise BadInput(f"{_origin(entry)} is named {target.name!r}, which another target is; rename it")
            targets[target.name] = target
        return targets


def _loaded(entry: EntryPoint) -> Target[Any]:
    try:
        target = entry.load()
    except Exception as error:  # it runs the other package's code
        raise BadInput(f"{_origin(entry)} cannot be loaded: {raised(error)}; mend or uninstall that package") from error
    if not isinstance(target, Target):
        raise BadInput(f"{_origin(entry)} is {type(target).__name__} and no Target; mend or uninstall that package")
    return target


def _origin(entry: EntryPoint) -> str:
    package = f" of {entry.dist.name}" if entry.dist is not None else ""
    return f"the target {entry.name!r}{package} ({entry.value})"


TARGETS = Registry()
