"""Which Prefect API is used. Imports nothing heavy; call `prepare` before importing Prefect, which reads the environment."""

import base64
import ipaddress
import os

import httpx
from pydantic import SecretStr

from converters.contract import secrets
from converters.contract.errors import BadInput
from flows import settings

DEFAULT = "http://127.0.0.1:4200/api"
URL = "PREFECT_API_URL"
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


def set_defaults(auth: SecretStr | None) -> None:
    """Set Prefect's environment; what the user has set stays."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if auth:
        os.environ.setdefault(CLIENT_AUTH, auth.get_secret_value())


def prepare(auth: SecretStr | None) -> str:
    """Set Prefect's environment; what the user has set stays. Returns the API that will be used, for a person.

    That is PREFECT_API_URL, or a server on Prefect's default port, or else one that Prefect starts for this process.

    Raises:
        BadInput: PREFECT_API_URL is set and nothing answers there, or the server wants another user and password.
    """
    set_defaults(auth)
    url = os.environ.get(URL)
    if url and not _answers(url):
        raise BadInput(f"no Prefect server answers at {URL}={secrets.shown(url)}; start it, or unset the variable")
    if not url and _answers(DEFAULT):
        os.environ[URL] = url = DEFAULT
    if url:
        _require_welcome(url)
    return secrets.shown(url) if url else "a server of its own, for this run"


def server_runs() -> bool:
    """After `prepare`: whether the API that will be used is there already, and is not one that Prefect starts."""
    return bool(os.environ.get(URL))


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


def _require_welcome(url: str) -> None:
    auth = os.environ.get(CLIENT_AUTH)
    headers = {"Authorization": f"Basic {base64.b64encode(auth.encode()).decode()}"} if auth else {}
    if httpx.get(f"{url}/version", timeout=30.0, headers=headers).status_code == httpx.codes.UNAUTHORIZED:
        wrong = "does not accept the user and password in" if auth else "wants a user and password; set"
        raise BadInput(
            f"the Prefect server at {secrets.shown(url)} {wrong} {settings.AUTH}=USER:PASSWORD (or {CLIENT_AUTH})"
        )


def _answers(url: str) -> bool:
    """Whether an HTTP server is there; one that wants a password answers too."""
    try:
        httpx.get(f"{url}/health", timeout=5.0)
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return True
