"""Who may talk to the server: ASGI middleware around all that it answers, pages, API, documents and websockets.

A request must be for this server by a name that it has (a page of another site whose own name is made to resolve to this
machine is told nothing: DNS rebinding), must not come from a page of another site if it changes anything (CORS keeps such a
page from reading an answer, not from asking), and must bring user and password where one is set. Prefect's application
itself knows only a random word of this start, which is put in the password's place, and which our own worker and runs
bring: their requests are not slowed down when somebody guesses.
"""

import base64
import binascii
import hmac
import ipaddress
import json
import math
import socket
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows import api
from flows.ui.tries import Tries

_SAFE = ("GET", "HEAD", "OPTIONS")
_OPEN = ("/api/health", "/api/ready")
"""What may be asked without a password, so that a supervisor need not know it."""
_POLICY_VIOLATION = 1008
"""RFC 6455, 7.4.1."""


class Passwords(NamedTuple):
    """USER:PASSWORD that people give, and what Prefect's application knows in its place."""

    given: SecretStr
    inner: SecretStr

    def is_given(self, credentials: bytes) -> bool:
        return hmac.compare_digest(credentials, self.given.get_secret_value().encode())

    def is_inner(self, credentials: bytes) -> bool:
        return hmac.compare_digest(credentials, self.inner.get_secret_value().encode())


class Hosts:
    """The names by which this server may be asked for."""

    def __init__(self, host: str, more: Iterable[str] = ()) -> None:
        self._names = {name.lower() for name in (host, *api.LOOPBACK_NAMES, "::1", *more)}
        self._open = not api.is_loopback(host)
        if self._open:
            self._names.add(socket.gethostname().lower())

    def hold(self, header: str) -> bool:
        """Whether a Host header names one. A bare address is no other site's name, and this machine may have many."""
        try:
            name = urlsplit(f"//{header}").hostname or ""
        except ValueError:
            return False
        return name in self._names or (self._open and _is_address(name))


class Neighbours:
    """Middleware that refuses what is asked by another name, or by pages of others than `origins` and this server's own."""

    def __init__(self, app: ASGIApp, hosts: Hosts, origins: Iterable[str] = ()) -> None:
        self._app, self._hosts, self._origins = app, hosts, set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await refusal(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.getlist("host")
        if len(host) != 1 or not self._hosts.hold(host[0]):
            return PlainTextResponse("this server has no such name; FANOUT_HOSTS may give it one\n", status_code=400)
        origin = headers.get("origin")
        if origin is None or (scope["type"] == "http" and scope["method"] in _SAFE):
            return None
        if origin in self._origins or _netloc(origin) == host[0].lower():
            return None
        return PlainTextResponse("pages of other sites may change nothing here\n", status_code=403)


class Door:
    """Middleware that wants user and password where `locked` says so of a scope, and in websockets' first message."""

    def __init__(
        self, app: ASGIApp, passwords: Passwords, locked: Callable[[Scope], bool], tries: Tries | None = None
    ) -> None:
        self._app, self._passwords, self._locked = app, passwords, locked
        self._tries = Tries() if tries is None else tries

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            receive = self._translated(scope, receive)
        elif scope["type"] == "http" and self._wants(scope) and (refusal := self._refusal(scope)) is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _wants(self, scope: Scope) -> bool:
        if scope["method"] == "OPTIONS" and "access-control-request-method" in Headers(scope=scope):
            return False  # a browser asks what it may ask, without a password (Fetch, CORS-preflight request)
        return self._locked(scope) and not (scope["method"] == "GET" and scope["path"] in _OPEN)

    def _refusal(self, scope: Scope) -> Response | None:
        """None where the request may go on, with what Prefect's application knows in the password's place."""
        credentials = _credentials(scope)
        pause, right = self._tried(scope, credentials)
        if right:
            inner = base64.b64encode(self._passwords.inner.get_secret_value().encode()).decode()
            MutableHeaders(scope=scope)["Authorization"] = f"Basic {inner}"
            return None
        if pause:
            retry = {"Retry-After": str(math.ceil(pause))}
            return PlainTextResponse("too many wrong passwords; wait\n", status_code=429, headers=retry)
        # For the API a browser would ask by itself, though Prefect's page has a form for it.
        ask = {} if scope["path"].startswith("/api/") else {"WWW-Authenticate": 'Basic realm="fanout", charset="UTF-8"'}
        return PlainTextResponse("user and password, please\n", status_code=401, headers=ask)

    def _tried(self, scope: Scope, credentials: bytes | None) -> tuple[float, bool]:
        """The pause that the client must make, in seconds, for which a password is not looked at; and whether it is right."""
        if credentials is not None and self._passwords.is_inner(credentials):
            return 0.0, True
        address = str(scope["client"][0]) if scope.get("client") else None
        if (pause := self._tries.pause(address)) or credentials is None:
            return pause, False
        right = self._passwords.is_given(credentials)
        if not right:
            self._tries.wrong(address, credentials)
        return 0.0, right

    def _translated(self, scope: Scope, receive: Receive) -> Receive:
        """Prefect's websockets bring the password in their first message, for a browser can give them no header."""
        first = True

        async def translated() -> Message:
            nonlocal first
            message = await receive()
            if not first or message["type"] != "websocket.receive":
                return message
            first = False
            told = _json(message)
            if not isinstance(told, dict) or told.get("type") != "auth":
                return message
            given = str(told.get("token") or "").encode(errors="replace") or None
            _, right = self._tried(scope, given)
            token = self._passwords.inner.get_secret_value() if right else None
            return {"type": "websocket.receive", "text": json.dumps({**told, "token": token})}

        return translated


def _credentials(scope: Scope) -> bytes | None:
    """What the one Authorization header gives by HTTP's scheme Basic, whose name's case is free (RFC 7617, 2)."""
    given = Headers(scope=scope).getlist("authorization")
    kind, _, encoded = given[0].strip().partition(" ") if len(given) == 1 else ("", "", "")
    try:
        return base64.b64decode(encoded.strip(), validate=True) if kind.lower() == "basic" else None
    except (binascii.Error, ValueError):  # ValueError: it is not ASCII
        return None


def _json(message: Message) -> Any:
    try:
        return json.loads(message.get("text") or message.get("bytes") or b"")
    except ValueError:
        return None


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
