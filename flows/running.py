"""What `fanout deploy` does: it leaves alone what is unchanged, and runs the flow for the rest in this process."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import psutil
from rich.console import Console
from rich.text import Text

from converters.config.asked import Asked
from converters.config.spec import ModelSpec
from converters.contract.errors import FanoutError
from converters.processes import child, imports
from converters.release import publish
from converters.release.assemble import Released
from converters.release.signing import Keys
from converters.release.staging import require_writable
from converters.steps import key, reuse
from flows import ahead, api, connection, elsewhere
from flows.settings import Settings, given
from flows.show.tables import complaint

OF_ONE = {"data": "--data", "name": "--name", "tags": "--tags", "custom": "--custom"}
"""What can be asked for one model alone, and by which option."""
INTERRUPTED = 130
"""Exit status after Ctrl-C or SIGTERM, as shells have it for SIGINT."""
GRACE_SECONDS = 5.0


class Request(NamedTuple):
    """What to deploy: specs by what the models were called, as they were `asked` for.

    With `verbose` the console has Prefect's log too, and with it what each step's process prints.
    """

    specs: Mapping[str, ModelSpec]
    asked: Asked
    force: bool
    verbose: bool = False


class Outcome(NamedTuple):
    """What became of it: releases in the order asked for, the unchanged ones among them, and errors."""

    released: list[Released]
    unchanged: list[reuse.Reusable]
    errors: list[Exception]

    @property
    def status(self) -> int:
        """The exit status."""
        failed = any(each.manifest.status == "failed" or each.only_here for each in self.released)
        return 2 if self.errors else 1 if failed else 0


def deploy(request: Request, settings: Settings, console: Console) -> Outcome:
    """Deploy what was asked for; progress goes to `console`. Raises BadInput where nothing can be deployed at all."""
    specs, force = request.specs, request.force
    settings.cluster()
    keys = settings.ready()
    require_writable(settings.releases)
    for spec in specs.values():
        publish.tidy(settings.releases, spec.name)
    if force or any(publish.current(settings.releases, spec.name) is None for spec in specs.values()):
        child.warm_up()
    if request.verbose:
        os.environ[api.CONSOLE_LEVEL] = "INFO"
    used = api.prepare(settings.auth)
    same = {} if force else _unchanged(settings.releases, specs, keys)
    # Without a server nobody would see a run of nothing, and starting one takes longer than all the rest.
    models = [model for model in specs if model not in same or api.server_runs()]
    if len(same) < len(specs):
        child.warm_up()  # TensorFlow loads in the fork server while Prefect is imported
    released: list[Released] = []
    errors: list[Exception] = []
    if models:
        console.print(Text(f"Prefect API: {used}", style="dim"))
        # As Ctrl-C does; without it what has begun would be left behind.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with (
                given(settings),
                _ahead(models[0], request, settings, keys),
                nullcontext() if api.server_runs() else api.own_address() as listener,
            ):
                released, errors = _run_flow(models, request, listener, console, settings)
        except Exception:
            api.require_still()
            raise
    left = [each.released() for model, each in same.items() if model not in models]
    released += [elsewhere.published(settings, each) for each in left]
    order = {spec.name: number for number, spec in enumerate(specs.values())}
    return Outcome(sorted(released, key=lambda each: order[each.manifest.model]), list(same.values()), errors)


@contextmanager
def _ahead(model: str, request: Request, settings: Settings, keys: Keys) -> Iterator[None]:
    """Have the model built while Prefect is imported, if all of it is to be made; interrupted before its flow runs, it ends."""
    spec = request.specs[model]
    kept = None if request.force else reuse.look(settings.releases, spec, key.recipe(spec), keys)[0]
    with ExitStack() as begun:
        if kept is None:
            begun.enter_context(ahead.building(model, [model, *request.asked.words()], spec, settings.releases))
        yield


def _unchanged(releases: Path, specs: Mapping[str, ModelSpec], keys: Keys) -> dict[str, reuse.Reusable]:
    """The models whose current release is what a deploy would make."""
    looked = {model: reuse.look(releases, spec, key.recipe(spec), keys)[0] for model, spec in specs.items()}
    return {model: current for model, current in looked.items() if current is not None and current.whole}


def _run_flow(
    models: list[str], request: Request, listener: socket.socket | None, console: Console, settings: Settings
) -> tuple[list[Released], list[Exception]]:
    """What the models' runs released, and what ended those that released nothing.

    `listener` is where a server of this run's own is to listen, if it has one.
    """
    connection.require_settings()
    with imports.uncollected():
        from flows.deploy import SIDE_BY_SIDE, deploy_all, deploy_model
        from flows.show.events import Event, listening
        from flows.show.forecast import Forecast
        from flows.show.progress import Progress

        server = nullcontext() if listener is None else _own_server(listener)
    released: list[Released] = []
    errors: list[Exception] = []

    def collect(event: Event) -> None:
        if event.released is not None:
            released.append(event.released)
        if event.error is not None:
            errors.append(event.error)
        if event.stage == "interrupted":
            _leave_soon(console)

    # How much is done at one time elsewhere is not known, nor how fast.
    names = [request.specs[model].name for model in models]
    forecast = Forecast(settings.releases, names, SIDE_BY_SIDE) if settings.dask is None else None
    progress = Progress(console, forecast, live=not (request.verbose or console.quiet))
    with server, progress, listening(progress), listening(collect):
        asked = request.asked.model_dump(mode="json")
        if len(models) == 1:
            state = deploy_model(models[0], force=request.force, **asked, return_state=True)
        else:
            of_all = {name: asked[name] for name in asked if name not in OF_ONE}
            state = deploy_all(models, force=request.force, **of_all, return_state=True)
    if len(released) + len(errors) != len(models):  # the flow itself came to grief; its own exception says how
        state.result()
    return released, errors


def _own_server(listener: socket.socket) -> AbstractContextManager[None]:
    from flows.own_server import serving

    return serving(listener)


def _leave_soon(console: Console) -> None:
    """End this process in any case, a few seconds after it was interrupted.

    Prefect's client goes on asking a server that the same Ctrl-C has ended. What must be kept is on disk by now: the
    staging directory goes when the flow's body is left, and a release is published by one rename.
    """

    def leave() -> None:
        for process in psutil.Process().children(recursive=True):
            process.kill()
        sys.stderr.flush()
        os._exit(INTERRUPTED)

    timer = threading.Timer(GRACE_SECONDS, leave)
    timer.daemon = True
    timer.start()
    console.print(complaint(FanoutError("interrupted; nothing more is published")), soft_wrap=True)
