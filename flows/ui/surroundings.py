"""The environment of what `fanout ui` starts: Prefect's settings, and who is told the password."""

import os
import secrets
from datetime import timedelta
from urllib.parse import urlsplit

from flows import api, connection, proxies
from flows.connection import CLIENT_AUTH, URL
from flows.settings import AUTH, AUTH_FILE, Settings

EVENT_DAYS = 7.0
"""Prefect's own default: most of what it writes are events, which nobody asks for when a run is long over."""
_ARENAS = {"MALLOC_ARENA_MAX": "2"}
"""The server's database connections are threads, and each that ends leaves memory in a heap of its own (mallopt(3)): measured
over 20 runs, the server's grew by 2 MB with this and by 10 without."""
_SETTINGS = {
    "PREFECT_UI_API_URL": "/api",  # whatever name or proxy the page was reached by, it asks where it came from
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_LOGGERS_PREFECT_FLOW_RUNS_LEVEL": "INFO",
    "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "INFO",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
}


def configure(host: str, port: int, settings: Settings) -> tuple[dict[str, str], dict[str, str]]:
    """The environments of the server, and of worker and runs. Prefect's part is this process's too, whose client reads it.

    Only the server is told the password. Everything else that is started here has a random word of this start.

    Raises BadInput where a proxy is none, its settings are refused by Prefect, or its home cannot be written.
    """
    if settings.auth is not None:
        os.environ[api.SERVER_AUTH] = os.environ[CLIENT_AUTH] = f"fanout:{secrets.token_urlsafe(32)}"
    api.set_defaults(None)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ[URL] = f"{api.address(host, port)}/api"
    proxies.except_this_machine(urlsplit(os.environ[URL]).hostname or host)
    connection.require_database(connection.require_settings())
    for name, value in _retention(settings.keep_days).items():
        os.environ.setdefault(name, value)
    # By default any page in the user's browser may use the API.
    names = {api.address(name, port) for name in (host, *api.LOOPBACK_NAMES)}
    os.environ.setdefault(api.ORIGINS, ",".join(sorted(names)))
    shared = {**os.environ, **settings.environment()}
    told = {api.SERVER_AUTH, AUTH, AUTH_FILE}
    return {**_ARENAS, **shared}, {name: value for name, value in shared.items() if name not in told}


def _retention(days: float) -> dict[str, str]:
    """What Prefect's server removes by itself; see `flows.ui.retention`."""
    return {
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"PT{timedelta(days=min(days, EVENT_DAYS)).total_seconds():.0f}S",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,orphans",
    }
