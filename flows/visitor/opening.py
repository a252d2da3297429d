"""Which release `fanout open` serves, and serving it until Ctrl-C."""

import os
import sys
import tempfile
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from converters.contract.errors import BadInput
from converters.release import publish
from converters.release.locking import reading
from converters.release.signing import Keys
from converters.steps.visiting import Visits
from flows import signals
from flows.visitor.server import Server


def chosen(releases: Path, model: str, version: int | None) -> Path:
    """The release of a model: of that version, or the current one. Raises BadInput where there is none."""
    known = publish.versions(releases, model)
    number = version if version is not None else publish.current(releases, model)
    if number is None:
        raise BadInput(
            f"{model} has no current release; name one of {', '.join(map(str, known))}: --version {known[-1]}"
        )
    if number not in known:
        raise BadInput(f"{model} has no release {number}; it has {', '.join(map(str, known))}")
    return releases / model / str(number)


def serve(root: Path, keys: Keys, port: int, ready: Callable[[str], None]) -> None:
    """Serve a release until Ctrl-C or SIGTERM; it is not pruned meanwhile. `ready` is told the address.

    Raises:
        BadInput: it is no release that `keys` trust, nothing in it runs in a browser, or the port is taken.
    """
    with reading(root), tempfile.TemporaryDirectory(prefix="fanout-open-") as work:
        keys.verify(root)
        with signals.raising(), Server(Visits(root, Path(work)), port) as server, suppress(signals.Ended):
            ready(server.url)
            server.serve_forever()


def show(url: str) -> bool:
    """Open the page, where there is a screen; whether that was tried. A browser for terminals could not run it."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    return webbrowser.open(url)
