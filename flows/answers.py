"""What answers where a Prefect server should be: asked for what only Prefect says."""

import json
import re
from importlib.metadata import version
from typing import Any, Literal

import httpx

from converters.contract.errors import BadInput, said
from flows import connection, settings
from flows.connection import CLIENT_AUTH, KEY, URL, Connection

_VERSION = re.compile(r"\d+(\.\w+)+([+-][\w.]+)?")
_WANTS = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
_OTHER = f"end it, or set {URL} to a Prefect server's address, which ends with /api"


def at(there: Connection) -> Literal["Prefect", "another program", "nobody"]:
    """Who listens there; a Prefect server that wants a password is one, and one that is slow.

    Raises BadInput where something listens and does not answer.
    """
    try:
        answer = _get(there, "/health")
    except (httpx.ConnectError, httpx.ConnectTimeout):
        return "nobody"
    except httpx.HTTPError:
        return "another program"
    return "Prefect" if answer.is_success and _json(answer) is True else "another program"


def require_prefect(there: Connection) -> None:
    """Have a Prefect server there that this machine may use.

    Raises:
        BadInput: nothing answers there, or too late, or no Prefect server, or one of another major version, or it wants
            another user and password, or another key.
    """
    cloud = (there.url or "").startswith(there.cloud)
    if cloud and not there.key:
        raise BadInput(f"{there.named()} is Prefect Cloud, which wants a key; set {KEY}, or {URL} to another server")
    try:
        # What Prefect's own `cloud login` asks, and its client when it begins (prefect/client/cloud.py, orchestration).
        answer = _get(there._replace(url=there.cloud), "/me/workspaces") if cloud else _get(there, "/admin/version")
    except (httpx.RemoteProtocolError, httpx.ReadError) as error:
        raise BadInput(f"what listens at {there.shown()} is no Prefect server: {said(error)}; {_OTHER}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        otherwise = "unset the variable" if there.origin is None else f"set {URL} to another"
        raise BadInput(
            f"no Prefect server answers at {there.named()}: {said(error)}; start it, or {otherwise}"
        ) from error
    _require_welcome(there, answer)
    found = _json(answer)
    if cloud and answer.is_success and isinstance(found, list):
        return
    if not (answer.is_success and isinstance(found, str) and _VERSION.fullmatch(found)):
        told = "with what Prefect does not say" if answer.is_success else f"with status {answer.status_code}"
        raise BadInput(f"what listens at {there.shown()} is no Prefect server: it answers {told}; {_OTHER}")
    ours = version("prefect")
    if found.partition(".")[0] != ours.partition(".")[0]:
        raise BadInput(
            f"the Prefect server at {there.shown()} is of version {found}, which a client of {ours} cannot use; "
            f"set {URL} to another"
        )


def _require_welcome(there: Connection, answer: httpx.Response) -> None:
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise BadInput(f"the Prefect server at {there.shown()} was given too many wrong passwords; wait a minute")
    if answer.status_code in _WANTS:
        does = f"wants a user and password, or a key; set {settings.AUTH}=USER:PASSWORD (or {CLIENT_AUTH}), or {KEY}"
        if there.auth:
            does = f"does not accept the user and password in {settings.AUTH}=USER:PASSWORD (or {CLIENT_AUTH})"
        elif there.key:
            does = f"does not accept the key in {KEY}; set another, or {settings.AUTH}=USER:PASSWORD if it wants these"
        raise BadInput(f"the Prefect server at {there.shown()} {does}")


def _get(there: Connection, path: str) -> httpx.Response:
    """Raises BadInput where what is connected to does not answer in time, else what httpx raises."""
    try:
        return there.get(path)
    except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
        raise BadInput(
            f"what listens at {there.shown()} has not answered for {connection.ANSWER_SECONDS:g} s; if it is a Prefect "
            f"server, wait until it is less busy or start it again, or set {URL} to another"
        ) from error


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
