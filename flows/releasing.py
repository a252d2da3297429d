"""Commands on releases that exist: check, list, promote, roll back, publish elsewhere, prune; and keys to sign them."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from converters.contract.errors import BadInput
from converters.contract.values import UnitName
from converters.processes import child
from converters.release import figures, mirror, publish, signing
from converters.release.history import Promotion
from converters.release.manifest import read as read_manifest
from flows import completion, elsewhere
from flows.settings import PUBLISH, Settings
from flows.terminal import (
    Json,
    Model,
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

app = typer.Typer()
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for the model's history.")]


@app.command(
    epilog=example("fanout check releases/digits/current", "fanout check s3://bucket/releases/digits/3 --json")
)
def check(
    release: Annotated[
        str, typer.Argument(metavar="RELEASE", help="RELEASES/NAME/VERSION, or its current; or URL/NAME/VERSION.")
    ],
    trust_code: TrustCode = False,
    wide: Wide = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Check a release again: its digests, its signature, and every check in every runtime."""
    from converters.steps.recheck import recheck

    shown = progress(quiet, verbose)
    child.warm_up()
    keys = Settings.read().read_keys()
    with mirror.fetched(release, keys) if "://" in release else nullcontext(Path(release).resolve()) as root:
        manifest = recheck(
            root,
            lambda target, variant: shown.print(Text(f"checking {UnitName(target, variant).title}", style="dim")),
            keys,
            trust_code=trust_code,
        )
    if as_json:
        print_json(manifest.model_dump(mode="json", by_alias=True))
    elif quiet:
        found = f"does not pass: {manifest.refusal()}" if manifest.refusals else "passes every check"
        out.print(f"{manifest.model} {manifest.version} {found}", soft_wrap=True)
    else:
        show(manifest, wide=wide, verbose=verbose)
    raise typer.Exit(1 if manifest.refusals else 0)


@app.command(name="open", epilog=example("fanout open digits", "fanout open digits --version 3 --no-browser"))
def open_release(
    model: Model,
    version: Annotated[
        int | None,
        typer.Option("--version", metavar="N", help="Default: the current one.", autocompletion=completion.versions),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of this machine alone; 0: any that is free.")] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the page's address, and open nothing.")
    ] = False,
    releases: Releases = None,
) -> None:
    """Run a release's files in your own browser: whether they agree there, how fast, and with a picture of yours."""
    from flows.visitor import opening

    settings = Settings.read(releases=releases)
    root = opening.chosen(settings.releases, model, version)

    def ready(url: str) -> None:
        out.print(url, soft_wrap=True)
        err.print(Text(f"{root} is shown there, to this machine alone; Ctrl-C ends it", style="dim"), soft_wrap=True)
        if not no_browser:
            opening.show(url)

    opening.serve(root, settings.read_keys(), port, ready)


@app.command(name="releases", epilog=example("fanout releases digits"))
def list_releases(model: Model, releases: Releases = None, as_json: Json = False) -> None:
    """List a model's releases, the newest last."""
    settings = Settings.read(releases=releases)
    root = settings.releases
    current, past = publish.current(root, model), publish.past(root, model)
    manifests = [read_manifest(root / model / str(version)) for version in publish.versions(root, model)]
    entries = [
        {
            "version": each.version,
            "status": each.status,
            "current": each.version == current,
            "created": each.created,
            "seconds": each.seconds,
            "bytes": each.bytes,
        }
        for each in manifests
    ]
    if as_json:
        print_json({"model": model, "releases": entries, "history": [entry.model_dump() for entry in past]})
        return
    for entry in entries:
        line = Text(f"{model} {entry['version']}", style="bold" if entry["current"] else "")
        line.append(f"  {entry['created']}  {figures.size(int(entry['bytes']))}  ", style="dim")
        line.append(str(entry["status"]), style="green" if entry["status"] == "passed" else "red")
        out.print(line.append("  current", style="cyan") if entry["current"] else line)
    if past:
        out.print()
    for promotion in past:
        out.print(_promotion(promotion))
    if settings.publish is not None:
        there = settings.mirror()
        out.print()
        out.print(f"at {there.url}: {there.current(model) or 'none'} is current", soft_wrap=True)


def _promotion(entry: Promotion) -> Text:
    instead = f" in place of {entry.replaced}" if entry.replaced is not None else ""
    line = Text(f"{entry.time:%Y-%m-%dT%H:%M:%SZ}  ", style="dim")
    line.append(f"{entry.version} {entry.how}{instead}", style="default not dim")
    return line.append(f" by {entry.by}" + (f": {entry.reason}" if entry.reason else ""))


@app.command(epilog=example("fanout promote digits 3 --reason 'seen on real devices'"))
def promote(
    model: Model,
    version: Annotated[int, typer.Argument(metavar="VERSION", autocompletion=completion.versions)],
    reason: Reason = None,
    releases: Releases = None,
) -> None:
    """Make a passed version the current one."""
    settings = Settings.read(releases=releases)
    publish.promote(settings.releases, model, version, reason=reason, keys=settings.read_keys())
    out.print(f"{model} {version} is current")
    _elsewhere(settings, model)


@app.command(epilog=example("fanout rollback digits --reason 'slow on old phones'"))
def rollback(model: Model, reason: Reason = None, releases: Releases = None) -> None:
    """Go back to the version that was promoted before the current one."""
    settings = Settings.read(releases=releases)
    version = publish.rollback(settings.releases, model, reason=reason, keys=settings.read_keys())
    out.print(f"{model} {version} is current")
    _elsewhere(settings, model)


@app.command(name="publish", epilog=example("fanout publish digits --publish s3://bucket/releases"))
def publish_elsewhere(
    model: Model,
    place: Annotated[
        str | None, typer.Option("--publish", metavar="DIR|URL", envvar=PUBLISH, help="The other place.")
    ] = None,
    releases: Releases = None,
) -> None:
    """Have a model's current release in another place, too; what is there already is not sent again."""
    settings = Settings.read(releases=releases, publish=place)
    settings.mirror()
    publish.versions(settings.releases, model)
    if publish.current(settings.releases, model) is None:
        raise BadInput(f"{model} has no promoted release to publish; promote one (fanout promote)")
    _elsewhere(settings, model)


def _elsewhere(settings: Settings, model: str) -> None:
    done = elsewhere.publish(settings, model)
    if done is not None:
        what = (
            f"{done.sent.files} files sent, {figures.size(done.sent.bytes)}"
            if done.sent.files
            else "all of it was there"
        )
        out.print(f"{model} {done.version} is current at {settings.mirror().url} ({what})", soft_wrap=True)


@app.command(epilog=example("fanout keygen ~/fanout-keys"))
def keygen(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the two files are written.")],
) -> None:
    """Make a pair of keys: one to sign releases with, one by which others verify them."""
    private, public = signing.generate(folder)
    out.print(
        f"{signing.SIGNING}={private.absolute()}   # signs; keep it secret\n{signing.TRUSTED}={public.absolute()}   # verifies",
        soft_wrap=True,
    )


@app.command(epilog=example("fanout prune digits --keep 5"))
def prune(
    model: Model,
    keep: Annotated[int, typer.Option("--keep", metavar="N", help="How many of the newest versions stay.")],
    releases: Releases = None,
) -> None:
    """Remove old versions; the current one always stays, and one that is being checked."""
    settings = Settings.read(releases=releases)
    pruned = publish.prune(settings.releases, model, keep)
    out.print(f"removed {model} {', '.join(map(str, pruned.removed))}" if pruned.removed else "nothing to remove")
    if settings.publish is not None and (
        there := settings.mirror().prune(model, publish.versions(settings.releases, model))
    ):
        out.print(f"removed {model} {', '.join(map(str, there))} at {settings.mirror().url}", soft_wrap=True)
    if pruned.read:
        out.print(f"left {model} {', '.join(map(str, pruned.read))}, which is being read; prune again later")
