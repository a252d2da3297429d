"""Prefect's own database, where it is SQLite: a transaction that writes takes its turn from the start.

Prefect begins most of them as readers (BEGIN DEFERRED). One that then writes, while another has written meanwhile, is refused
at once, whatever the time-out is (SQLITE_BUSY_SNAPSHOT, sqlite.org/rescode.html): the server answers 503, a form of the UI
shows an error, and a client asks again after seconds. Begun as a writer (BEGIN IMMEDIATE) it waits for the others.
See PrefectHQ/prefect issue 18934.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.dependencies import MODELS_DEPENDENCIES
from prefect.server.utilities.database import get_dialect
from prefect.settings import get_current_settings
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction


class _Queued(AioSqliteConfiguration):
    @asynccontextmanager
    async def begin_transaction(
        self, session: AsyncSession, with_for_update: bool = False
    ) -> AsyncGenerator[AsyncSessionTransaction, None]:
        async with super().begin_transaction(session, with_for_update=True) as transaction:
            yield transaction


def queue_writers() -> None:
    """Have a server that is made in this process from here on begin its transactions so; another database stays as it is."""
    url = get_current_settings().server.database.connection_url
    assert url is not None  # by default one in Prefect's home
    text = url.get_secret_value()
    if get_dialect(text).name == "sqlite":
        MODELS_DEPENDENCIES["database_config"] = _Queued(connection_url=text)
