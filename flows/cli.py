"""`fanout`: results on stdout, progress and messages on stderr; exit status 0 well, 1 a check failed, 2 bad input."""

import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from converters.config import read
from converters.config.asked import Asked
from converters.contract.errors import BadInput, ClusterFailed, FanoutError, ServerFailed, StoreFailed, of_disk
from converters.processes import child, imports, scratch
from converters.release.staging import require_writable
from converters.targets.registry import BUILT_IN, TARGETS
from flows import completion, init, proxies, releasing, running
from flows.settings import DASK, PUBLISH, STORE, Settings
from flows.show.tables import complaint
from flows.terminal import (
    Json,
    Quiet,
    Releases,
    TrustCode,
    Verbose,
    Wide,
    err,
    example,
    out,
    print_json,
    progress,
    show,
)

app = typer.Typer(
    epilog="Exit status: 0 all is well. 1 a check failed, a release was refused, or a server, cluster or other place did not "
    f"work. 2 bad input, or what was asked for cannot be done. {running.INTERRUPTED} it was interrupted.\n\n"
    "Results are on stdout, all else on stderr. NO_COLOR=1 in the environment: no colours. fanout COMMAND --help has examples.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(init.app)
app.add_typer(releasing.app)


def _version(asked: bool) -> None:
    if asked:
        out.print(f"tf-fanout {metadata.version('tf-fanout')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """One TensorFlow model in, every runtime out.

    Converted in parallel, each output checked in its own runtime, released together.
    """


def _targets() -> str:
    """Those to choose from; where another package's is broken, which a command then says, those that are built in."""
    try:
        return ", ".join(TARGETS.choices())
    except BadInput:
        return ", ".join(target.name for target in BUILT_IN if not target.always)


@app.command(
    epilog=example(
        "fanout deploy digits --targets tflite,tfjs",
        "fanout deploy model.keras --data photos/",
        "fanout deploy --all -q",
    )
)
def deploy(  # an option is a parameter, as Typer has it
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="A config's name, CONFIG.yaml, SAVED_MODEL_DIR, FILE.keras or FILE.h5.",
            autocompletion=completion.models,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every model that has a config.")] = False,
    targets: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help=f"Only these targets, with commas: {_targets()}.", autocompletion=completion.targets
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Real inputs of the model, to compare and calibrate on: .npz, .npy, .csv, .tsv, TFRecord, FILE.py:FUNCTION, "
            "or a folder of images (PATH:0..255 names the range it expects), .wav or .txt files.",
        ),
    ] = None,
    releases: Releases = None,
    force: Annotated[bool, typer.Option("--force", help="Redo what is unchanged, too.")] = False,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What the model is called; default: its config or path says.")
    ] = None,
    tags: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="The tag-set of the SavedModel, with commas; default: the one with 'serve'."),
    ] = None,
    custom: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py",
            help="The classes that a Keras file was made with, and a function for each Lambda layer, of its name.",
        ),
    ] = None,
    trust_code: TrustCode = False,
    accept_contract_change: Annotated[
        bool,
        typer.Option(
            "--accept-contract-change", help="Promote also if signatures are not those of the current release."
        ),
    ] = False,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://HOST:PORT", envvar=DASK, help="Convert and check on the workers of this Dask scheduler."
        ),
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="DIR|URL", envvar=STORE, help="Where they and this machine exchange files.")
    ] = None,
    publish: Annotated[
        str | None,
        typer.Option(metavar="DIR|URL", envvar=PUBLISH, help="Another place where promoted releases are to be, too."),
    ] = None,
    wide: Wide = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Build, export, convert, check and release models."""
    shown = progress(quiet, verbose)
    if everything == bool(models):
        raise BadInput("name the models to deploy, or give --all for every config; not both")
    settings = Settings.read(releases=releases, dask=dask, store=store, publish=publish)
    chosen = read.names(settings.configs) if everything else list(dict.fromkeys(models or []))
    only = [target.strip() for target in targets.split(",")] if targets is not None else None
    asked = Asked(
        targets=None if only is None else tuple(only), data=data, name=name, tags=tags, custom=custom,
        trust_code=trust_code, accept_contract_change=accept_contract_change,
    )  # fmt: skip
    for field, option in running.OF_ONE.items():
        if getattr(asked, field) is not None and (everything or len(chosen) > 1):
            raise BadInput(f"{option} belongs to one model; name that model alone, or say it in each model's config")
    # All bad input is told before anything is done.
    specs = {model: read.find(model, settings.configs) for model in chosen}
    specs = {model: asked.of(spec) for model, spec in specs.items()}
    read.require_distinct(specs)
    outcome = running.deploy(running.Request(specs, asked, force, verbose), settings, shown)
    _show(outcome, as_json=as_json, quiet=quiet, wide=wide, verbose=verbose)
    raise typer.Exit(outcome.status)


def _show(outcome: running.Outcome, *, as_json: bool, quiet: bool, wide: bool, verbose: bool) -> None:
    if as_json:
        print_json({"manifests": [each.manifest.model_dump(mode="json", by_alias=True) for each in outcome.released]})
    for same in outcome.unchanged:
        (err if as_json else out).print(same.sentence())
    unchanged = {same.path for same in outcome.unchanged}
    new = [] if as_json else [each for each in outcome.released if each.path not in unchanged]
    for index, each in enumerate(new):
        if quiet:
            out.print(each.sentence(), soft_wrap=True)
            continue
        if index:
            out.print()
        show(each.manifest, wide=wide, verbose=verbose)
        out.print(Text(f"{each.path}/report.html", style="dim"), soft_wrap=True)
    for each in outcome.released:
        for row in each.manifest.left_out():
            _complain(
                FanoutError(f"left out of {each.manifest.model} {each.manifest.version}: {row.title}: {row.reason}")
            )
        if each.only_here is not None:
            _complain(FanoutError(each.only_here))
    for error in outcome.errors:
        _complain(error)


@app.command(epilog=example("fanout inspect exports/prices/1", "fanout inspect model.tflite --json"))
def inspect(
    path: Annotated[Path, typer.Argument(help="A SavedModel, .keras, .h5, .tflite or model.json.")],
    as_json: Json = False,
) -> None:
    """Show what a model file holds: signatures, dtypes, shapes, ops."""
    from converters.targets import describe
    from flows.show.description import render

    description = child.run(describe.describe, path.absolute()).value
    if as_json:
        print_json(description)
    else:
        out.print(render(description))


@app.command(epilog=example("fanout ui", "fanout ui --port 4300 --releases /srv/releases"))
def ui(
    host: Annotated[
        str, typer.Option(help="Where to listen. Other than this machine only with a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 4200,
    releases: Releases = None,
) -> None:
    """Start Prefect's UI with a worker, the deployments and the nightly schedules; Ctrl-C ends it.

    USER:PASSWORD for UI and API come by FANOUT_AUTH_FILE=PATH, a file that only you may read, or by FANOUT_AUTH.
    """
    from flows.ui.supervise import serve

    settings = Settings.read(releases=releases)
    require_writable(settings.releases)
    serve(host, port, settings, err)


@app.command(epilog=example("fanout worker tcp://10.0.0.5:8786 --slots 4"))
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
    run(address, slots, name)


@app.command(epilog=example("fanout doctor"))
def doctor(as_json: Json = False) -> None:
    """Say which runtimes are here, their versions, and how to get what is missing."""
    from flows.show.doctor import examine, table

    runtimes = examine()
    if as_json:
        print_json({"runtimes": [runtime._asdict() for runtime in runtimes]})
    else:
        out.print(table(runtimes))
    raise typer.Exit(0 if all(runtime.found for runtime in runtimes if runtime.required) else 1)


def _complain(error: Exception) -> None:
    err.print(complaint(error), soft_wrap=True)


def main() -> None:
    """All that `fanout` does."""
    try:
        proxies.except_this_machine()
        scratch.begin()
        app(prog_name="fanout")
    except FanoutError as error:
        _complain(error)
        # Prefect's server, the scheduler or another place, or what was asked for.
        sys.exit(1 if isinstance(error, ServerFailed | ClusterFailed | StoreFailed) else 2)
    except OSError as error:
        known = of_disk(error, Path())
        if known is None:
            raise
        _complain(known)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(running.INTERRUPTED)
    finally:
        imports.end()
