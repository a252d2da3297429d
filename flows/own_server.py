"""Prefect's server of one run, where there is none: in a thread of this process, which has most of Prefect imported.

Prefect would start one in a process of its own (`SubprocessASGIServer`, prefect/server/api/server.py), which imports all of it
once more, and has to be ended. It is the same application, on a port of this machine that the system chooses.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from prefect.context import refresh_global_settings_context
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.server.api.server import create_app
from prefect.server.utilities.messaging.memory import METRICS
from prefect.settings import get_current_settings
from starlette.types import Message, Receive, Scope, Send

from converters.contract.errors import ServerFailed, said
from flows import database
from flows.connection import URL

_SETTLE_SECONDS = 60.0
_PATIENCE_SECONDS = 5
"""How long connections may take to end that are still open at the end."""


@contextmanager
def serving(listener: socket.socket) -> Iterator[None]:
    """Have the server that `api.own_address` has made room for, for the block; after it, all it was told is in its database.

    Raises ServerFailed where it does not come up.
    """
    if get_current_settings().api.url != os.environ[URL]:  # Prefect was imported before, to read what its files say
        refresh_global_settings_context()
    server = _Server(listener)
    try:
        yield
    finally:
        server.end()


class _Server:
    """A server that runs in a thread until it is ended."""

    def __init__(self, listener: socket.socket) -> None:
        database.queue_writers()
        self._application = create_app(ephemeral=True, final=True)
        self._listener = listener
        self._failure = ""
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._serve, interface="asgi3", lifespan="on", log_config=None, log_level="critical", access_log=False,
                timeout_graceful_shutdown=_PATIENCE_SECONDS,
            )
        )  # fmt: skip
        self._thread = threading.Thread(target=self._run, name="prefect-server", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + get_current_settings().server.ephemeral.startup_timeout_seconds
        while not self._server.started:
            self._thread.join(0.02)
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise ServerFailed(
                    f"the Prefect server for this run did not start: {self._failure or 'it took too long'}; "
                    "`fanout ui` shows what it says, and may serve runs"
                )

    def end(self) -> None:
        """Have what clients of this process have not yet sent go there, and the server end when all of it is written."""
        for worker in (APILogWorker, EventsWorker):
            worker.drain_all(at_exit=False)
        self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        # Signals are the main thread's affair: Ctrl-C ends the run, and what it says of that is still written.
        self._server.run(sockets=[self._listener])

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Prefect's application, which is told to shut down only when it has handled what it was told before."""
        if scope["type"] != "lifespan":
            await self._application(scope, receive, send)
            return

        async def settled() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await _settle()
            return message

        try:
            await self._application(scope, settled, send)
        except Exception as error:
            self._failure = said(error)
            raise


async def _settle() -> None:
    """Wait until what was published in this process is consumed; services that are stopped leave the rest unread."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while any(topic["consumed"] < topic["published"] for topic in METRICS.values()) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
