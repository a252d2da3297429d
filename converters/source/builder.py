"""The handle of the child process that holds one live model."""

from pathlib import Path

from converters.config.spec import ModelSpec
from converters.contract.values import Source
from converters.processes.child import Child, Completed
from converters.source import watch
from converters.source.build import Built, build, export, keep


class Builder:
    """The child process that holds one live model."""

    def __init__(self, spec: ModelSpec, log: Path | None = None) -> None:
        self.spec = spec
        self._child = Child(limits=spec.limits, log=log)
        self.log = self._child.log

    def build(self, out_dir: Path, work_dir: Path) -> Completed[Built]:
        """Build, initialise, and record golden into `out_dir`. Raises BadInput, ChildFailed."""
        self._child.call(watch.begin)
        return self._child.call(build, self.spec, out_dir, work_dir)

    def keep(self, out_dir: Path, work_dir: Path, version: int) -> Completed[Source | None]:
        """Save the Keras file of what `build` left; see `keep`. Raises ChildFailed."""
        return self._child.call(keep, self.spec, out_dir, work_dir, version)

    def export(self, out_dir: Path, work_dir: Path, version: int) -> Completed[Source]:
        """Export what `build` left. Raises BadInput, ChildFailed."""
        return self._child.call(export, self.spec, out_dir, work_dir, version)

    def reads(self, *products: Path) -> watch.Reads | None:
        """What building and exporting depended on; see `watch.reads`. Raises ChildFailed."""
        return self._child.call(watch.reads, self.spec.base.resolve(), products).value

    def close(self) -> None:
        """End the child, and the live model with it."""
        self._child.close()

    def __enter__(self) -> "Builder":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def built_with(spec: ModelSpec, out_dir: Path, work_dir: Path, version: int = 1) -> Source:
    """Build and export in one go, in a child of their own. Raises BadInput, ChildFailed."""
    with Builder(spec) as builder:
        builder.build(out_dir, work_dir)
        return builder.export(out_dir, work_dir, version).value
