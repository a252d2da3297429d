"""Prefect's server as `fanout ui` starts it: `python -m flows.ui.server HOST PORT`.

It is Prefect's own application with four things around it. Who may ask for what is the affair of `guard`. Its pages may
load from and talk to this address only (a Content-Security-Policy: parts of Prefect's UI fetch logos and report visits
elsewhere). What the server itself would download, its list of worker types, is answered from the copy in Prefect's package.
And what releases hold is served beside the UI, so that an artifact can link to it (`outputs`).
"""

import os
import sys
from pathlib import Path

import prefect.server.api
import uvicorn
from fastapi import FastAPI
from prefect.server.api.server import create_app
from pydantic import SecretStr
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows import api, database
from flows.settings import Settings
from flows.ui import outputs
from flows.ui.guard import Door, Hosts, Neighbours, Passwords

_VIEWS = Path(prefect.server.api.__file__).parent / "collections_data" / "views"
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' {sockets}; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)


class _Policy:
    """ASGI middleware: every answer without a policy of its own gets the page's."""

    def __init__(self, app: ASGIApp, sockets: str) -> None:
        self._app = app
        self._policy = _PAGE_POLICY.format(sockets=sockets)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", self._policy)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "no-referrer")
            await send(message)

        await self._app(scope, receive, with_policy)


async def _view(request: Request) -> Response:
    """A list that Prefect's server would fetch from GitHub, from the copy in its package."""
    views = {path.stem: path for path in _VIEWS.glob("*.json")}
    if (path := views.get(request.path_params["view"])) is None:
        return PlainTextResponse("no such view", status_code=404)
    return FileResponse(path, media_type="application/json")


def application(host: str, port: int) -> FastAPI:
    """Prefect's application, guarded as the module says."""
    database.queue_writers()
    app = create_app(final=True)
    app.state.settings = Settings.read()
    app.router.routes.insert(0, Route("/api/collections/views/{view}", _view))
    app.router.routes.insert(0, Route("/releases/{path:path}", outputs.fetched))
    settings: Settings = app.state.settings
    names = [f"{name}:{port}" for name in dict.fromkeys((host, *api.LOOPBACK_NAMES))]
    if settings.auth is not None:
        passwords = Passwords(settings.auth, SecretStr(os.environ[api.SERVER_AUTH]))
        app.add_middleware(Door, passwords=passwords, locked=lambda scope: _is_locked(app, scope))
    app.add_middleware(Neighbours, hosts=Hosts(host, settings.names()), origins=os.environ[api.ORIGINS].split(","))
    app.add_middleware(_Policy, sockets=" ".join(f"ws://{name}" for name in names))
    return app


def _is_locked(app: FastAPI, scope: Scope) -> bool:
    """All that the application answers but Prefect's pages, which are the same everywhere and hold the form for a password."""
    routes = [route for route in app.router.routes if getattr(route, "name", None) != "ui"]
    return any(route.matches(scope)[0] is not Match.NONE for route in routes)


if __name__ == "__main__":
    _host, _port = sys.argv[1], int(sys.argv[2])
    uvicorn.run(
        application(_host, _port),
        host=_host,
        port=_port,
        log_level="warning",
        timeout_keep_alive=5,
        # Whoever may say whom a request is from may guess passwords in everybody's name.
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
    )
