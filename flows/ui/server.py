"""Prefect's server as `fanout ui` starts it: `python -m flows.ui.server HOST PORT`.

It is Prefect's own application with three things around it. Its pages may load from and talk to this address only (a
Content-Security-Policy: parts of Prefect's UI fetch logos and report visits elsewhere). What the server itself would
download, its list of worker types, is answered from the copy in Prefect's package. And the releases' report pages are
served beside the UI, so that an artifact can link to them.
"""

import base64
import binascii
import hmac
import re
import sys
from pathlib import Path

import prefect.server.api
import uvicorn
from fastapi import FastAPI
from prefect.server.api.server import create_app
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from converters.contract.layout import MANIFEST, REPORT
from flows import api
from flows.settings import Settings

_VIEWS = Path(prefect.server.api.__file__).parent / "collections_data" / "views"
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' {sockets}; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
# A report shows names that came with a model; whatever they are, the page runs nothing and is no part of this origin.
_REPORT_POLICY = "sandbox allow-popups; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_PUBLIC_FILES = re.compile(rf"{re.escape(REPORT)}|{re.escape(MANIFEST)}|logs/[A-Za-z0-9._-]+\.log")


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
    path = _VIEWS / f"{Path(request.path_params['view']).name}.json"
    if not path.is_file():
        return PlainTextResponse("no such view", status_code=404)
    return FileResponse(path, media_type="application/json")


async def _release_file(request: Request) -> Response:
    """A release's report, manifest or log."""
    settings: Settings = request.app.state.settings
    if settings.auth and not _authorized(request.headers.get("Authorization", ""), settings.auth.get_secret_value()):
        return PlainTextResponse(
            "user and password, please", status_code=401, headers={"WWW-Authenticate": 'Basic realm="releases"'}
        )
    model, version, name = (request.path_params[key] for key in ("model", "version", "name"))
    release = settings.releases / Path(model).name / str(version)
    if not _PUBLIC_FILES.fullmatch(name) or not (release / name).is_file():
        return PlainTextResponse("no such file", status_code=404)
    kind = "text/html" if name == REPORT else "application/json" if name == MANIFEST else "text/plain"
    return FileResponse(release / name, media_type=kind, headers={"Content-Security-Policy": _REPORT_POLICY})


def _authorized(header: str, auth: str) -> bool:
    kind, _, encoded = header.partition(" ")
    try:
        credentials = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return False
    return kind == "Basic" and hmac.compare_digest(credentials, auth.encode())


def application(host: str, port: int) -> FastAPI:
    """Prefect's application, guarded as the module says."""
    app = create_app(final=True)
    app.state.settings = Settings.read()
    app.router.routes.insert(0, Route("/api/collections/views/{view}", _view))
    app.router.routes.insert(0, Route("/releases/{model}/{version:int}/{name:path}", _release_file))
    names = [f"{name}:{port}" for name in dict.fromkeys((host, *api.LOOPBACK_NAMES))]
    app.add_middleware(_Policy, sockets=" ".join(f"ws://{name}" for name in names))
    if api.is_loopback(host):
        # A page of another site whose name is made to resolve to this machine is told nothing.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[host, *api.LOOPBACK_NAMES])
    return app


if __name__ == "__main__":
    _host, _port = sys.argv[1], int(sys.argv[2])
    uvicorn.run(application(_host, _port), host=_host, port=_port, log_level="warning", timeout_keep_alive=5)
