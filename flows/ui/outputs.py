"""What a person fetches of releases beside Prefect's UI: the list of all, reports, and whatever a manifest lists.

Nothing of it is a page of this origin: what came with a model runs nothing here.
"""

import re
import tempfile
import zipfile
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from converters.contract import names
from converters.contract.errors import BadInput
from converters.contract.layout import KEY, MANIFEST, REPORT, SIGNATURE
from converters.contract.names import MODEL
from converters.release import manifest as manifests
from converters.release.index import INDEX
from flows.settings import Settings

# A report shows names that came with a model; whatever they are, the page runs nothing and is no part of this origin.
_POLICY = "sandbox allow-popups allow-downloads; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_ASKED = re.compile(rf"(?P<model>{MODEL.pattern})/(?P<version>[0-9]{{1,9}})/(?P<name>.+)", re.DOTALL)
_SHOWN = {
    REPORT: "text/html",
    INDEX: "text/html",
    MANIFEST: "application/json",
    ".json": "application/json",
    ".log": "text/plain",
}


def fetched(request: Request) -> Response:
    """A file of a release, or a folder of it as a zip archive."""
    settings: Settings = request.app.state.settings
    path = request.path_params["path"]
    if path in ("", INDEX):
        return _file(settings.releases, INDEX) or _NONE
    asked = _ASKED.fullmatch(path)
    if asked is None or names.climbs(asked["name"]):
        return _NONE
    release, name = settings.releases / asked["model"] / asked["version"], asked["name"].rstrip("/")
    try:
        listed = manifests.read(release).files.keys() - {KEY} | {MANIFEST, SIGNATURE}
    except (BadInput, OSError, ValueError):  # there is none, or none of such a name can be
        return _NONE
    if name in listed:
        return _file(release, name) or _NONE
    inside = sorted(each for each in listed if each.startswith(f"{name}/"))
    return _zipped(release, name, inside, f"{asked['model']}-{asked['version']}") if inside else _NONE


_NONE = PlainTextResponse("no such file", status_code=404)


def _file(folder: Path, name: str) -> Response | None:
    """To be looked at, if it is text that a browser shows; all others are saved."""
    if (path := _inside(folder, name)) is None:
        return None
    headers = {"Content-Security-Policy": _POLICY}
    kind = _SHOWN.get(name) or _SHOWN.get(path.suffix)
    if kind is not None:
        return FileResponse(path, media_type=kind, headers=headers)
    return FileResponse(path, media_type="application/octet-stream", headers=headers, filename=path.name)


def _zipped(release: Path, name: str, inside: list[str], called: str) -> Response:
    """These files, below the folder's own name; weights do not get smaller, so that none are compressed."""
    paths = {each: path for each in inside if (path := _inside(release, each)) is not None}
    if len(paths) < len(inside):  # an archive without it would look whole
        return _NONE
    descriptor, made = tempfile.mkstemp(prefix="fanout-", suffix=".zip")
    archive = Path(made)
    try:
        with open(descriptor, "wb") as file, zipfile.ZipFile(file, "w") as zipped:
            for each, path in paths.items():
                zipped.write(path, Path(each).relative_to(Path(name).parent))
    except BaseException:
        archive.unlink()
        raise
    saved = f"{called}-{name.replace('/', '-')}.zip"
    headers = {"Content-Security-Policy": _POLICY}
    done = BackgroundTask(archive.unlink)
    return FileResponse(archive, media_type="application/zip", headers=headers, filename=saved, background=done)


def _inside(folder: Path, name: str) -> Path | None:
    """The file of that name, where it is in the folder and not only linked from there."""
    try:
        path = (folder / name).resolve(strict=True)
    except (OSError, ValueError):  # there is none, or none of so long a name can be
        return None
    return path if path.is_file() and path.is_relative_to(folder.resolve()) else None
