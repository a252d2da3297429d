"""The handle of the child process that holds one live model."""

from pathlib import Path

from converters.config.spec import ModelSpec
from converters.contract.values import Source
from converters.processes.child import Child, Completed
from converters.source.build import Built, Session
from converters.source.watch import Reads


class Builder:
    """The child process that holds one live model. For the directories see `Session`."""

    def __init__(
        self, spec: ModelSpec, out_dir: Path, work_dir: Path, version: int = 1, log: Path | None = None
    ) -> None:
        self._session = (spec, out_dir, work_dir, version)
        self._child = Child(limits=spec.limits, log=log)
        self.log = self._child.log

    def build(self) -> Completed[Built]:
        """Build, initialise, and record golden. Raises BadInput, ChildFailed."""
        self._child.hold(Session, *self._session)
        return self._child.ask(Session.build)

    def export(self) -> Completed[Source]:
        """Export what `build` left. Raises BadInput, ChildFailed."""
        return self._child.ask(Session.export)

    def reads(self, *products: Path) -> Reads | None:
        """What building and exporting depended on; see `Watcher.reads`. Raises ChildFailed."""
        return self._child.ask(Session.reads, products).value

    def close(self) -> None:
        """End the child, and the live model with it."""
        self._child.close()

    def __enter__(self) -> "Builder":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
