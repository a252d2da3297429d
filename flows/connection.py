"""Prefect's settings, wherever they come from.

Prefect reads variables, `.env`, `prefect.toml` and `pyproject.toml` in the working directory, and the active profile of
`profiles.toml`, in this order (prefect/settings/base.py). That is Prefect's affair and takes it two seconds, so it is asked
only where a file or a variable says something.
"""

import base64
import io
import os
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import NamedTuple

import httpx
from pydantic import ValidationError

from converters.contract import secrets
from converters.contract.errors import BadInput, said

URL = "PREFECT_API_URL"
CLIENT_AUTH = "PREFECT_API_AUTH_STRING"
KEY = "PREFECT_API_KEY"
HOME = "PREFECT_HOME"
DATABASE = "PREFECT_API_DATABASE_CONNECTION_URL"
_SQLITE, _POSTGRESQL = "sqlite+aiosqlite", "postgresql+asyncpg"
_HOME, _PROFILES = "~/.prefect", "profiles.toml"
CLOUD = "https://api.prefect.cloud/api"
CONNECT_SECONDS = 5.0
"""Whoever listens is connected to at once, by the system, however busy the program is."""
ANSWER_SECONDS = 90.0
"""How long a server may be busy: its database can be locked for as long as 60 s."""


class Connection(NamedTuple):
    """How Prefect's client would ask its API.

    `url` is None where none is set, and `origin` is the file that sets it, if none of the variables does. `own` says whether
    Prefect may start a server for a process where there is none, which keeps `database` if that is set.
    """

    url: str | None = None
    origin: Path | None = None
    auth: str | None = None
    key: str | None = None
    headers: dict[str, str] = {}
    verify: bool | ssl.SSLContext = True
    cloud: str = CLOUD
    own: bool = True
    database: str | None = None

    def shown(self) -> str:
        """The address, for a person, and where it is from."""
        address = secrets.shown(self.url or "")
        return f"{address}, as {self.origin} says" if self.origin else address

    def named(self) -> str:
        """The address as it is set, for a person who has to change it."""
        return f"{URL}={secrets.shown(self.url or '')}" + (f" in {self.origin}" if self.origin else "")

    def get(self, path: str) -> httpx.Response:
        """Ask as Prefect's client does, which prefers user and password to a key. Raises what httpx raises."""
        headers = dict(self.headers)
        if self.auth:
            headers["Authorization"] = f"Basic {base64.b64encode(self.auth.encode()).decode()}"
        elif self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=timeout, verify=self.verify)


def read(known: frozenset[str] = frozenset()) -> Connection:
    """What is set, by variables other than those `known`, or by files. Raises BadInput where Prefect refuses a setting."""
    files = [file for file in _files() if _speaks(file)]
    variables = {name for name in os.environ if name.startswith("PREFECT_") and name != HOME}
    if not files and variables <= known:
        return Connection()
    return _as_prefect_does(files)


def require_settings() -> Connection:
    """What is set; to be called before Prefect is imported. Raises BadInput where it refuses a setting: its import would fail."""
    return _as_prefect_does([])


def require_database(there: Connection) -> None:
    """Raises BadInput where a server cannot keep its database: it would not come up, and say nothing."""
    kind, _, rest = (there.database or "").partition("://")
    if kind == _POSTGRESQL or ":memory:" in rest:
        return
    if kind not in ("", _SQLITE):
        raise BadInput(
            f"{DATABASE}={secrets.shown(there.database or '')} is no database that a Prefect server can use; give it as "
            f"{_SQLITE}:///PATH or {_POSTGRESQL}://USER:PASSWORD@HOST/DATABASE"
        )
    file = rest.removeprefix("/").partition("?")[0]
    home = os.environ.get(HOME) or _HOME
    elsewhere = bool(file) and Path(file).parent != Path(os.path.expanduser(home))
    place, name = (str(Path(file).parent), DATABASE) if elsewhere else (home, HOME)
    if not _writable(place, made=not elsewhere):
        raise BadInput(
            f"a Prefect server keeps its database in {place}, which cannot be written; let {name} name another"
        )


def find_home() -> None:
    """Where the user has named no home of Prefect's and none can be made: one that goes with this run."""
    if os.environ.get(HOME) or _writable(_HOME):
        return
    profiles = Path(os.path.expanduser(_HOME)) / _PROFILES
    if os.access(profiles, os.R_OK):
        os.environ.setdefault("PREFECT_PROFILES_PATH", str(profiles))
    os.environ[HOME] = os.path.join(tempfile.gettempdir(), "prefect")


def _writable(place: str, made: bool = True) -> bool:
    """Whether files can be made in a directory that is there or, if it is `made` where it is not, can be."""
    path = os.path.expanduser(place)
    if path.startswith("~"):  # nobody knows where that is
        return False
    folder = Path(path).absolute()
    there = next(each for each in (folder, *folder.parents) if each.exists()) if made else folder
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _as_prefect_does(files: list[Path]) -> Connection:
    told = io.StringIO()
    try:
        with redirect_stderr(told):  # at its import Prefect tells of wrong settings in many lines
            from prefect.settings import Settings
        from pydantic_settings import SettingsError

        try:
            settings = Settings()
            sys.stderr.write(told.getvalue())
        except (SettingsError, OSError) as error:
            where = next(_alone_wrong(), " or ".join(map(str, files)) or "the variables that begin with PREFECT_")
            raise BadInput(f"Prefect's settings cannot be read: {said(error)}; correct {where}") from error
    except ValidationError as error:
        raise BadInput(_refused(error)) from error
    api = settings.api
    url = api.url.rstrip("/") if api.url else None
    return Connection(
        url,
        next((file for file in files if url in file.read_text(errors="replace")), None)
        if url and URL not in os.environ
        else None,
        api.auth_string.get_secret_value() if api.auth_string else None,
        api.key.get_secret_value() if api.key else None,
        settings.client.custom_headers,
        _verify(api.tls_insecure_skip_verify, api.ssl_cert_file),
        settings.cloud.api_url,
        settings.server.ephemeral.enabled,
        database.get_secret_value() if (database := settings.server.database.connection_url) else None,
    )


def _refused(error: ValidationError) -> str:
    """What Prefect says of its first setting that is wrong, by the name of the variable that gives it, or of the file."""
    wrong = error.errors()[0]
    field = "_".join(map(str, wrong["loc"])).upper()
    given = [
        name
        for name, value in os.environ.items()
        if name.upper().startswith("PREFECT_") and name.upper().endswith(field) and value == wrong["input"]
    ]
    given = given or list(_alone_wrong())
    files = [str(file) for file in _files() if _speaks(file)]
    if given:
        name, where = given[0], "the variable"
    else:
        name = f"{error.title}: {field}".rstrip(": ")
        where = "it in " + (" or ".join(files) or "the variables that begin with PREFECT_")
    return f"Prefect does not accept its setting {name}: {said(wrong['msg'])}; correct {where}, or take it out"


def _alone_wrong() -> Iterator[str]:
    """Variables without which Prefect accepts its settings: some of its rules are of several, and name none."""
    from prefect.settings import Settings

    for name in [name for name in os.environ if name.upper().startswith("PREFECT_")]:
        value = os.environ.pop(name)
        try:
            Settings()
        except (ValueError, OSError):  # pydantic's are of the first
            continue
        else:
            yield name
        finally:
            os.environ[name] = value


def _verify(skip: bool, certificates: str | None) -> bool | ssl.SSLContext:
    if skip:
        return False
    if not certificates:
        return True
    try:
        return ssl.create_default_context(cafile=certificates)
    except OSError as error:
        raise BadInput(f"PREFECT_API_SSL_CERT_FILE={certificates} cannot be read: {error.strerror}") from error


def _files() -> list[Path]:
    """Those that exist, in Prefect's order."""
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH") or Path(os.environ.get(HOME) or _HOME) / _PROFILES)
    names = (Path(".env"), Path("prefect.toml"), Path("pyproject.toml"), profiles)
    return [file for name in names if (file := Path(os.path.expanduser(name)).absolute()).is_file()]


def _speaks(file: Path) -> bool:
    """Whether a file may say something of Prefect's settings."""
    if file.name == "prefect.toml":
        return True
    word = "tool.prefect" if file.name == "pyproject.toml" else "PREFECT_"
    return word in file.read_text(errors="replace")
