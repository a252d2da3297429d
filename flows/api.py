"""Which Prefect API is used. Imports nothing heavy; call `prepare` before importing Prefect, which reads the environment."""

import base64
import ipaddress
import os
from collections.abc import Mapping

import httpx
from pydantic import SecretStr

from converters.contract import secrets
from converters.contract.errors import BadInput
from flows import settings

DEFAULT = "http://127.0.0.1:4200/api"
URL = "PREFECT_API_URL"
SERVER_AUTH = "PREFECT_SERVER_API_AUTH_STRING"
CLIENT_AUTH = "PREFECT_API_AUTH_STRING"
ORIGINS = "PREFECT_SERVER_CORS_ALLOWED_ORIGINS"
LOOPBACK_NAMES = ("127.0.0.1", "localhost")
CONNECT_SECONDS = 5.0
"""Whoever listens is connected to at once, by the system, however busy the program is."""
ANSWER_SECONDS = 90.0
"""How long a server may be busy: its database can be locked for as long as 60 s."""

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
        BadInput: PREFECT_API_URL is set and nothing answers there, or too late, or the server wants another user and password.
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
    status = _get(f"{url}/version", headers).status_code
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise BadInput(f"the Prefect server at {secrets.shown(url)} was given too many wrong passwords; wait a minute")
    if status == httpx.codes.UNAUTHORIZED:
        wrong = "does not accept the user and password in" if auth else "wants a user and password; set"
        raise BadInput(
            f"the Prefect server at {secrets.shown(url)} {wrong} {settings.AUTH}=USER:PASSWORD (or {CLIENT_AUTH})"
        )


def _answers(url: str) -> bool:
    """Whether an HTTP server is there; one that wants a password answers too, and so does one that is slow.

    Raises BadInput where one is there, and does not answer in time.
    """
    try:
        _get(f"{url}/health")
    except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
        raise BadInput(
            f"what listens at {secrets.shown(url)} has not answered for {ANSWER_SECONDS:g} s; if it is a Prefect server, wait "
            f"until it is less busy or start it again, or set {URL} to another"
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return True


def _get(url: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    return httpx.get(url, headers=headers, timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS))
