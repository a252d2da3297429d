"""Where releases go and which Prefect API is used. Imports nothing heavy; call `prepare` before importing Prefect."""

import os
from pathlib import Path

import httpx

from converters.errors import BadInput

ROOT = Path(__file__).resolve().parent.parent
RELEASES = "FANOUT_RELEASES"
DEFAULT_API = "http://127.0.0.1:4200/api"

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


def prepare() -> str:
    """Set Prefect's environment; what the user has set stays. Returns the API that will be used, for a person.

    That is PREFECT_API_URL, or a server on Prefect's default port, or else one that Prefect starts for this process.

    Raises:
        BadInput: PREFECT_API_URL is set and nothing answers there.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    given = os.environ.get("PREFECT_API_URL")
    if given and not _answers(given):
        raise BadInput(f"no Prefect server answers at PREFECT_API_URL={given}; start it, or unset the variable")
    if not given and _answers(DEFAULT_API):
        os.environ["PREFECT_API_URL"] = given = DEFAULT_API
    return given or "a server of its own, for this run"


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
