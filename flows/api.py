"""Which Prefect API is used. Imports nothing heavy; call `prepare` before importing Prefect, which reads the environment."""

import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from pydantic import SecretStr

from converters.contract import secrets
from converters.contract.errors import BadInput, ServerFailed
from flows import answers, connection, proxies
from flows.connection import CLIENT_AUTH, URL, Connection

DEFAULT = "http://127.0.0.1:4200/api"
CONSOLE_LEVEL = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"
SERVER_AUTH = "PREFECT_SERVER_API_AUTH_STRING"
ORIGINS = "PREFECT_SERVER_CORS_ALLOWED_ORIGINS"
LOOPBACK_NAMES = ("127.0.0.1", "localhost")
_FORCED = {
    # Where a server that is started here has its API, as Prefect's own client and ours expect it.
    "PREFECT_SERVER_API_BASE_PATH": "/api",
    # What a run makes is in its release; Prefect keeps nothing of it.
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    "PREFECT_TASKS_DEFAULT_PERSIST_RESULT": "false",
}
_UNSET = ("PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK", "PREFECT_DEFAULT_RESULT_STORAGE_BLOCK")
"""Prefect looks where results would be kept also where none are, and ends the run if that is not there."""
_OWN = ("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "PREFECT_SERVER_EPHEMERAL_ENABLED")
"""Names of one setting. Prefect's default profile sets it, a person's own need not."""

_DEFAULTS = {
    # Nothing is sent to any outside host.
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    # A new Prefect home takes up to 20 s to come up here, which is the default limit.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # The command line shows progress of its own; Prefect's logs still go to its API, and so to its UI.
    CONSOLE_LEVEL: "CRITICAL",
}
_OF_OWN = {
    # Nobody looks while a run's own server is there, so that task runs need not be written one by one: of 150 tasks it takes half
    # the time, and none at the end.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "2",
}


def set_defaults(auth: SecretStr | None) -> None:
    """Set Prefect's environment; what the user has set stays. Raises BadInput where a proxy is none."""
    proxies.require_usable()
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.update(_FORCED)
    for name in _UNSET:
        os.environ.pop(name, None)
    if not any(os.environ.get(name) for name in _OWN):
        os.environ[_OWN[0]] = "true"
    if auth:
        os.environ.setdefault(CLIENT_AUTH, auth.get_secret_value())


def prepare(auth: SecretStr | None) -> str:
    """Set Prefect's environment; what the user has set stays. Returns the API that will be used, for a person.

    That is what PREFECT_API_URL or one of Prefect's files says, or a server on Prefect's default port, or else one that Prefect
    starts for this process.

    Raises:
        BadInput: a server is named that is none, or of no use here (`answers.require_prefect`), or Prefect refuses a setting.
    """
    set_defaults(auth)
    connection.find_home()
    if not os.environ.get(URL):
        os.environ.pop(URL, None)
    there = connection.read(
        frozenset((*_DEFAULTS, *_FORCED, *(name for name in _OWN if os.environ.get(name) == "true")))
    )
    default = Connection(DEFAULT, None, *there[2:])
    note = ""
    if there.url is None:
        found = answers.at(default)
        if found == "Prefect":
            there = default
        elif not there.own:
            raise BadInput(
                f"no Prefect server answers at {DEFAULT}, and {_OWN[0]} forbids one for this run; start one "
                f"(`fanout ui`), set {URL}, or set {_OWN[0]}=true"
            )
        elif found == "another program":
            note = f" (what listens at {secrets.shown(DEFAULT).removesuffix('/api')} is no Prefect server)"
    if there.url is None:
        connection.require_database(there)
        return f"a server of its own, for this run{note}"
    os.environ[URL] = there.url
    host = urlsplit(there.url).hostname or ""
    if is_loopback(host):
        proxies.except_this_machine(host)
    answers.require_prefect(there)
    return there.shown()


def require_still() -> None:
    """Raises ServerFailed where the server that `prepare` found is gone."""
    there = connection.read(frozenset())
    if server_runs() and answers.at(there) == "nobody":
        raise ServerFailed(
            f"the Prefect server at {there.shown()}, which answered when this began, is gone; start it and deploy again, or "
            f"unset {URL} and have a server of this run's own"
        )


def server_runs() -> bool:
    """After `prepare`: whether the API that will be used is there already, and is not one that Prefect starts."""
    return bool(os.environ.get(URL))


@contextmanager
def own_address() -> Iterator[socket.socket]:
    """Have the API that Prefect will use be at a free port of this machine for the block; what is to listen there."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK_NAMES[0], 0))
        os.environ[URL] = f"{address(*listener.getsockname())}/api"
        for name, value in _OF_OWN.items():
            os.environ.setdefault(name, value)
        try:
            yield listener
        finally:
            del os.environ[URL]


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
