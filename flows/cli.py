"""`fanout`: results on stdout, progress and messages on stderr; exit status 0 well, 1 a check failed, 2 bad input."""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.text import Text

from converters.config import read, spec
from converters.contract.errors import BadInput, FanoutError
from converters.processes import child as isolate
from converters.processes import collector
from converters.release import manifest, publish
from converters.release.assemble import Released
from converters.steps import key, reuse
from flows import settings
from flows.show.tables import ManifestTable, size

INTERRUPTED = 130
"""Exit status after Ctrl-C or SIGTERM, as shells have it for SIGINT."""
GRACE_SECONDS = 5.0

app = typer.Typer(
    help="One TensorFlow model in, every runtime out: converted in parallel, each output checked in its own runtime, "
    "released together.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# A pipe or file has no width: tables there are as wide as they need.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Releases = Annotated[
    Path | None,
    typer.Option("--releases", metavar="DIR", help="Where releases are; default FANOUT_RELEASES or releases/."),
]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model's name.")]


@app.command()
def deploy(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...", help="A config's name, CONFIG.yaml, SAVED_MODEL_DIR, FILE.keras or FILE.h5."
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every model that has a config.")] = False,
    targets: Annotated[
        str | None, typer.Option(metavar="LIST", help="Only these targets, with commas: tflite,tfjs,hdf5,serving.")
    ] = None,
    releases: Releases = None,
    force: Annotated[bool, typer.Option("--force", help="Redo what is unchanged, too.")] = False,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://HOST:PORT",
            envvar=settings.DASK,
            show_envvar=True,
            help="Convert and check on the workers of this Dask scheduler.",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|URL",
            envvar=settings.STORE,
            show_envvar=True,
            help="Where they and this machine exchange files.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build, export, convert, check and release models."""
    if everything == bool(models):
        raise BadInput("name the models to deploy, or give --all for every config; not both")
    chosen = read.names() if everything else list(dict.fromkeys(models or []))
    wanted = [target.strip() for target in targets.split(",")] if targets is not None else None
    specs = {}
    for model in chosen:  # all bad input is told before anything is done
        found = read.find(model)
        specs[model] = found if wanted is None else found.with_targets(wanted)
    for variable, given in ((settings.DASK, dask), (settings.STORE, store)):
        if given is not None:
            os.environ[variable] = given
    settings.cluster()
    root = _use(releases)
    publish.require_writable(root)
    if force or any(publish.current(root, each.name) is None for each in specs.values()):
        isolate.warm_up()
    api = settings.prepare()
    same = {} if force else _unchanged(root, specs)
    # Without a server nobody would see a run of nothing, and starting one takes longer than all the rest.
    changed = [model for model in chosen if model not in same]
    to_run = chosen if same and settings.server_runs() else changed
    made, bad = _run_flow(to_run, wanted, force, api, bool(changed)) if to_run else ([], [])
    kept = [each.released() for model, each in same.items() if model not in to_run]
    order = {wanted.name: number for number, wanted in enumerate(specs.values())}
    released = sorted([*made, *kept], key=lambda each: order[each.manifest.model])
    if as_json:
        _print_json({"manifests": [each.manifest.model_dump(mode="json", by_alias=True) for each in released]})
    for same_release in same.values():
        (err if as_json else out).print(same_release.sentence())
    if not as_json:
        unchanged = {specs[model].name for model in same}
        for index, each in enumerate(each for each in released if each.manifest.model not in unchanged):
            out.print("" if index else None, ManifestTable(each.manifest), sep="\n") if index else out.print(
                ManifestTable(each.manifest)
            )
            out.print(Text(f"{each.path}/report.html", style="dim"))
    for error in bad:
        _complain(error)
    raise typer.Exit(2 if bad else 1 if any(each.manifest.status == "failed" for each in released) else 0)


def _unchanged(root: Path, specs: dict[str, spec.ModelSpec]) -> dict[str, reuse.Kept]:
    """The models whose current release is what a deploy would make."""
    found = {}
    for model, wanted in specs.items():
        kept = reuse.look(root, wanted, key.known(wanted))
        if kept.whole:
            found[model] = kept
    return found


def _run_flow(
    models: list[str], targets: list[str] | None, force: bool, api: str, builds: bool
) -> tuple[list[Released], list[Exception]]:
    """Run the flow in this process. TensorFlow loads in the fork server while Prefect is imported, if it `builds`."""
    if builds:
        isolate.warm_up()
    err.print(Text(f"Prefect API: {api}", style="dim"))
    with collector.importing():
        from flows.deploy import deploy_all, deploy_model
        from flows.show.events import Event, listening
        from flows.show.progress import Progress

    made: list[Released] = []
    bad: list[Exception] = []

    def collect(event: Event) -> None:
        if event.released is not None:
            made.append(event.released)
        if event.error is not None:
            bad.append(event.error)
        if event.stage == "interrupted":
            _leave_soon()

    # As Ctrl-C does; without it the server that Prefect started for this run would be left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Progress(err) as progress, listening(progress), listening(collect):
        if len(models) == 1:
            state = deploy_model(models[0], targets, force, return_state=True)
        else:
            state = deploy_all(models, targets, force, return_state=True)
    if len(made) + len(bad) != len(models):  # the flow itself came to grief; its own exception says how
        state.result()
    return made, bad


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A SavedModel, .keras, .h5, .tflite or model.json.")],
    as_json: Json = False,
) -> None:
    """Show what a model file holds: signatures, dtypes, shapes, ops."""
    from converters.targets import describe
    from flows.show.description import render

    description = isolate.run(describe.describe, path.absolute()).value
    if as_json:
        _print_json(description)
    else:
        out.print(render(description))


@app.command()
def check(
    release_dir: Annotated[Path, typer.Argument(metavar="RELEASE_DIR", help="RELEASES/NAME/VERSION, or its current.")],
    as_json: Json = False,
) -> None:
    """Check a release again: its digests, and every check in every runtime."""
    from converters.steps.recheck import recheck

    isolate.warm_up()
    found, refusals = recheck(
        release_dir.resolve(), lambda target, variant: err.print(Text(f"checking {target} {variant}", style="dim"))
    )
    if as_json:
        _print_json(found.model_dump(mode="json", by_alias=True))
    else:
        out.print(ManifestTable(found))
    raise typer.Exit(1 if refusals else 0)


@app.command(name="releases")
def list_releases(model: Model, releases: Releases = None, as_json: Json = False) -> None:
    """List a model's releases, the newest last."""
    root = _use(releases)
    current = publish.current(root, model)
    found = [manifest.read(root / model / str(version)) for version in publish.versions(root, model)]
    entries = [
        {
            "version": m.version,
            "status": m.status,
            "current": m.version == current,
            "created": m.created,
            "seconds": m.seconds,
            "bytes": sum(record.bytes for record in m.files.values()),
        }
        for m in found
    ]
    if as_json:
        _print_json({"model": model, "releases": entries})
        return
    for entry in entries:
        line = Text(f"{model} {entry['version']}", style="bold" if entry["current"] else "")
        line.append(f"  {entry['created']}  {size(int(entry['bytes']))}  ", style="dim")
        line.append(str(entry["status"]), style="green" if entry["status"] == "passed" else "red")
        out.print(line.append("  current", style="cyan") if entry["current"] else line)


@app.command()
def promote(
    model: Model, version: Annotated[int, typer.Argument(metavar="VERSION")], releases: Releases = None
) -> None:
    """Make a passed version the current one."""
    publish.promote(_use(releases), model, version)
    out.print(f"{model} {version} is current")


@app.command()
def rollback(model: Model, releases: Releases = None) -> None:
    """Go back to the passed version before the current one."""
    out.print(f"{model} {publish.rollback(_use(releases), model)} is current")


@app.command()
def prune(
    model: Model,
    keep: Annotated[int, typer.Option("--keep", metavar="N", help="How many of the newest versions stay.")],
    releases: Releases = None,
) -> None:
    """Remove old versions; the current one always stays."""
    removed = publish.prune(_use(releases), model, keep)
    out.print(f"removed {model} {', '.join(map(str, removed))}" if removed else "nothing to remove")


@app.command()
def ui(
    host: Annotated[
        str, typer.Option(help="Where to listen. Other than this machine only with a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 4200,
    auth: Annotated[
        str | None,
        typer.Option(
            metavar="USER:PASSWORD",
            envvar=settings.AUTH,
            show_envvar=True,
            help="Ask for these in the UI and the API. Better set in the environment: arguments are seen by other users.",
        ),
    ] = None,
    releases: Releases = None,
) -> None:
    """Start Prefect's UI with a worker, the deployments and the nightly schedules; Ctrl-C ends it."""
    from flows.ui.supervise import serve

    publish.require_writable(_use(releases))
    try:
        serve(host, port, auth or None, err)
    except BadInput:
        raise
    except FanoutError as error:  # the server, not what was asked for
        _complain(error)
        raise typer.Exit(1) from error


@app.command()
def worker(
    address: Annotated[str, typer.Argument(metavar="tcp://HOST:PORT", help="A Dask scheduler's address.")],
    slots: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Conversions and checks at one time; default: one per core.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What it is called; default: host and process id.")] = None,
) -> None:
    """Convert and check for other machines, as a worker of a Dask cluster; Ctrl-C ends it."""
    try:
        from flows.cluster.worker import run
    except ImportError as error:
        raise BadInput(f"{error}; install tf-fanout with its extra 'cluster'") from error
    try:
        run(address, slots, name)
    except BadInput:
        raise
    except FanoutError as error:  # the scheduler, not what was asked for
        _complain(error)
        raise typer.Exit(1) from error


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say which runtimes are here, their versions, and how to get what is missing."""
    from flows.show.doctor import examine, table

    runtimes = examine()
    if as_json:
        _print_json({"runtimes": [runtime._asdict() for runtime in runtimes]})
    else:
        out.print(table(runtimes))
    raise typer.Exit(0 if all(runtime.found for runtime in runtimes if runtime.required) else 1)


def _leave_soon() -> None:
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
    _complain(FanoutError("interrupted; nothing more is published"))


def _use(releases: Path | None) -> Path:
    if releases is not None:
        os.environ[settings.RELEASES] = str(releases.absolute())
    return settings.releases_dir()


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


def _complain(error: Exception) -> None:
    err.print(Text("fanout: ", style="bold red").append(str(error), style="default"), soft_wrap=True)


def main() -> None:
    """The console script."""
    try:
        app()
    except FanoutError as error:
        _complain(error)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        collector.end()
