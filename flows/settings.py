"""Where releases go and which Prefect API is used. Imports nothing heavy; call `prepare` before importing Prefect."""

import base64
import importlib.util
import ipaddress
import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from converters.contract.errors import BadInput

ROOT = Path(__file__).resolve().parent.parent
RELEASES = "FANOUT_RELEASES"
DEFAULT_API = "http://127.0.0.1:4200/api"
REPORTS = "FANOUT_REPORTS"
"""Environment variable: the address below which reports are served, when a server of ours is there."""
AUTH = "FANOUT_AUTH"
"""Environment variable: USER:PASSWORD of the server, for those who start it and those who use it."""
DASK = "FANOUT_DASK"
"""Environment variable: the address of the Dask scheduler whose workers convert and check; unset for this machine."""
STORE = "FANOUT_STORE"
"""Environment variable: directory or URL through which they and this machine exchange files."""
PATIENCE = "FANOUT_DASK_PATIENCE"
"""Environment variable: seconds to wait while the cluster has no worker."""
SERVER_AUTH = "PREFECT_SERVER_API_AUTH_STRING"
CLIENT_AUTH = "PREFECT_API_AUTH_STRING"
LOOPBACK_NAMES = ("127.0.0.1", "localhost")

_DEFAULTS = {
    # Nothing is sent to any outside host.
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    # A new Prefect home takes up to 20 s to come up here, which is the default limit.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # The command line shows progress of its own; Prefect's logs still go to its API, and so to its UI.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}


def releases_dir() -> Path:
    """RELEASES: FANOUT_RELEASES, or releases/ in the checkout."""
    return Path(os.environ.get(RELEASES) or ROOT / "releases").expanduser().absolute()


class ClusterSettings(NamedTuple):
    """A Dask scheduler's address, and the store."""

    dask: str
    store: str
    patience: float = 30.0
    """Seconds to wait while the cluster has no worker at all."""


def cluster() -> ClusterSettings | None:
    """Where conversions run, if not on this machine.

    Raises:
        BadInput: FANOUT_DASK is no address, or comes without FANOUT_STORE, or what both need is not installed.
    """
    address, store = os.environ.get(DASK), os.environ.get(STORE)
    if not address:
        return None
    require_scheduler_address(address)
    if not store:
        raise BadInput(
            f"a Dask cluster needs a store; set {STORE} or --store to a directory or URL that this machine and all "
            "workers reach"
        )
    if any(importlib.util.find_spec(name) is None for name in ("distributed", "fsspec")):
        raise BadInput(
            "a Dask cluster needs packages that are not installed; install tf-fanout with its extra 'cluster'"
        )
    url = store if "://" in store else str(Path(store).expanduser().absolute())
    patience = os.environ.get(PATIENCE)
    try:
        return ClusterSettings(address, url, float(patience)) if patience else ClusterSettings(address, url)
    except ValueError as error:
        raise BadInput(f"{PATIENCE}={patience} is no number of seconds") from error


def require_scheduler_address(address: str) -> None:
    """Raises BadInput where it is none."""
    try:
        parts = urlsplit(address)
        complete = bool(parts.scheme and parts.hostname and parts.port)
    except ValueError:
        complete = False
    if not complete:
        raise BadInput(f"{address!r} is no address of a Dask scheduler; give it as tcp://HOST:PORT")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address(host: str, port: int) -> str:
    """The URL of a server that listens there, for this machine: where it listens everywhere, by the loopback."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"


def set_defaults() -> None:
    """Set Prefect's environment; what the user has set stays."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if os.environ.get(AUTH):
        os.environ.setdefault(CLIENT_AUTH, os.environ[AUTH])


def prepare() -> str:
    """Set Prefect's environment; what the user has set stays. Returns the API that will be used, for a person.

    That is PREFECT_API_URL, or a server on Prefect's default port, or else one that Prefect starts for this process.

    Raises:
        BadInput: PREFECT_API_URL is set and nothing answers there, or the server wants another user and password.
    """
    set_defaults()
    given = os.environ.get("PREFECT_API_URL")
    if given and not _answers(given):
        raise BadInput(f"no Prefect server answers at PREFECT_API_URL={given}; start it, or unset the variable")
    if not given and _answers(DEFAULT_API):
        os.environ["PREFECT_API_URL"] = given = DEFAULT_API
    if given:
        _require_welcome(given)
    return given or "a server of its own, for this run"


def _require_welcome(api: str) -> None:
    auth = os.environ.get(CLIENT_AUTH)
    headers = {"Authorization": f"Basic {base64.b64encode(auth.encode()).decode()}"} if auth else {}
    if httpx.get(f"{api}/version", timeout=30.0, headers=headers).status_code == httpx.codes.UNAUTHORIZED:
        wrong = "does not accept the user and password in" if auth else "wants a user and password; set"
        raise BadInput(f"the Prefect server at {api} {wrong} {AUTH}=USER:PASSWORD (or {CLIENT_AUTH})")


def server_runs() -> bool:
    """After `prepare`: whether the API that will be used is there already, and is not one that Prefect starts."""
    return bool(os.environ.get("PREFECT_API_URL"))


def _answers(api: str) -> bool:
    """Whether an HTTP server is there; one that wants a password answers too."""
    try:
        httpx.get(f"{api}/health", timeout=5.0)
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return True
