"""The handle of the child process that holds one live model."""

import contextvars
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from converters.config.spec import ModelSpec
from converters.contract.values import Source
from converters.processes.child import Child, Completed, printed
from converters.source.build import Built, Session
from converters.source.watch import Reads


class Builder:
    """The child process that holds one live model, and builds it from the moment that this is made.

    For the directories see `Session`. What the child prints begins at the byte `log_start` of `log`.
    """

    def __init__(
        self, spec: ModelSpec, out_dir: Path, work_dir: Path, version: int = 1, log: Path | None = None
    ) -> None:
        self._log, self.log_start = log, 0 if log is None else len(printed(log))
        session = (spec, out_dir, work_dir, version)

        def begin() -> Child:
            return Child(limits=spec.limits, log=log)

        def build() -> Completed[Built]:
            child = self._child.result()
            child.hold(Session, *session)
            return child.ask(Session.build)

        self._thread = ThreadPoolExecutor(1, thread_name_prefix="builder")
        # A child belongs to a group of this context; and it is not there before TensorFlow is loaded.
        self._child = self._thread.submit(contextvars.copy_context().run, begin)
        self._built = self._thread.submit(contextvars.copy_context().run, build)

    @property
    def log(self) -> Path:
        """The file of what the child prints."""
        return self._log or self._child.result().log

    def build(self) -> Completed[Built]:
        """Wait until the model is built and initialised, and golden recorded. Raises BadInput, ChildFailed."""
        return self._built.result()

    def export(self) -> Completed[Source]:
        """Export what `build` left. Raises BadInput, ChildFailed."""
        return self._child.result().ask(Session.export)

    def reads(self, *products: Path) -> Reads | None:
        """What building and exporting depended on; see `Watcher.reads`. Raises ChildFailed."""
        return self._child.result().ask(Session.reads, products).value

    def close(self) -> None:
        """End the child, and the live model with it."""
        failed = self._child.exception() is not None
        if not failed:
            self._child.result().kill()
        self._thread.shutdown()
        if not failed:
            self._child.result().close()

    def __enter__(self) -> "Builder":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
