"""What the environment of a real machine may hold, and what becomes of it: nothing, or a refusal in one sentence."""

import ctypes
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from converters.formats.digest import PACKAGE

OTHER = "http://127.0.0.1:9"
"""Where nobody answers (RFC 863's port, on a machine without it)."""

SHAPES = {
    "PYTHONHASHSEED": "7",
    "CUDA_VISIBLE_DEVICES": "0",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_USE_LEGACY_KERAS": "1",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
    "XLA_FLAGS": "--xla_cpu_use_thunk_runtime=false",
    "KERAS_BACKEND": "jax",
    "OMP_NUM_THREADS": "1",
}
"""Those that shape what is made: where they differ, it is made again."""

LOOK = {
    **SHAPES,
    "COLUMNS": "40",
    "LINES": "10",
    "NO_COLOR": "1",
    "TERM": "dumb",
    "CI": "true",
    "FORCE_COLOR": "",
    "LANG": "tr_TR.UTF-8",
    "LC_ALL": "C",
    "LANGUAGE": "de:tr",
    "PYTHONIOENCODING": "ascii",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONWARNINGS": "default",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONNOUSERSITE": "1",
    "PYTHONFAULTHANDLER": "1",
    "NODE_OPTIONS": "--max-old-space-size=2048 --no-warnings",
    "NODE_ENV": "production",
    "TF_CPP_MIN_LOG_LEVEL": "0",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "KERAS_HOME": "/dev/null/nowhere/keras",
    "XDG_CACHE_HOME": "/dev/null/nowhere/cache",
    "XDG_CONFIG_HOME": "/dev/null/nowhere/config",
    "XDG_DATA_HOME": "/dev/null/nowhere/data",
    "XDG_RUNTIME_DIR": "/dev/null/nowhere/run",
    "TZ": "Asia/Kathmandu",
    "UMASK": "077",
    "EDITOR": "false",
    "PAGER": "false",
    "GIT_DIR": "/dev/null/nowhere/.git",
    "SSL_CERT_DIR": "/dev/null/nowhere/certs",
}
"""Terminal, language, Python, Node, TensorFlow, Keras, folders."""

PROXIES = {
    name: address
    for kind, address in (("HTTP_PROXY", OTHER), ("HTTPS_PROXY", OTHER), ("ALL_PROXY", "socks5://127.0.0.1:9"))
    for name in (kind, kind.lower())
}

PREFECT = {
    "PREFECT_LOGGING_LEVEL": "DEBUG",
    "PREFECT_LOGGING_COLORS": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "httpx,asyncio",
    "PREFECT_LOGGING_LOG_PRINTS": "true",
    "PREFECT_LOGGING_MARKUP": "true",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "error",
    "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG",
    "PREFECT_DEBUG_MODE": "true",
    "PREFECT_PROFILE": "ephemeral",
    "PREFECT_API_KEY": "pnu_0123456789",
    "PREFECT_API_REQUEST_TIMEOUT": "30",
    "PREFECT_API_ENABLE_HTTP2": "true",
    "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "true",
    "PREFECT_CLIENT_MAX_RETRIES": "0",
    "PREFECT_CLIENT_METRICS_ENABLED": "false",
    "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X-Team": "models"}',
    "PREFECT_CLI_COLORS": "false",
    "PREFECT_CLI_PROMPT": "true",
    "PREFECT_CLI_WRAP_LINES": "false",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK": "local-file-system/dev/null/nowhere",
    "PREFECT_RESULTS_LOCAL_STORAGE_PATH": "/dev/null/nowhere/results",
    "PREFECT_LOCAL_STORAGE_PATH": "/dev/null/nowhere/storage",
    "PREFECT_TASKS_REFRESH_CACHE": "true",
    "PREFECT_TASKS_DEFAULT_RETRIES": "2",
    "PREFECT_TASKS_DEFAULT_RETRY_DELAY_SECONDS": "1",
    "PREFECT_TASKS_DEFAULT_PERSIST_RESULT": "true",
    "PREFECT_TASKS_DISABLE_CACHING": "true",
    "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS": "1",
    "PREFECT_FLOWS_DEFAULT_RETRIES": "1",
    "PREFECT_FLOWS_DEFAULT_RETRY_DELAY_SECONDS": "1",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_DEFAULT_DOCKER_BUILD_NAMESPACE": "team",
    "PREFECT_DEPLOYMENTS_DEFAULT_WORK_POOL_NAME": "elsewhere",
    "PREFECT_RUNNER_PROCESS_LIMIT": "1",
    "PREFECT_RUNNER_POLL_FREQUENCY": "5",
    "PREFECT_RUNNER_SERVER_ENABLE": "true",
    "PREFECT_RUNNER_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
    "PREFECT_WORKER_PREFETCH_SECONDS": "5",
    "PREFECT_WORKER_WEBSERVER_PORT": "0",
    "PREFECT_SERVER_API_HOST": "0.0.0.0",
    "PREFECT_SERVER_API_PORT": "4999",
    "PREFECT_SERVER_API_BASE_PATH": "/elsewhere",
    "PREFECT_SERVER_UI_ENABLED": "true",
    "PREFECT_SERVER_UI_API_URL": "http://elsewhere.example/api",
    "PREFECT_SERVER_UI_SERVE_BASE": "/",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "true",
    "PREFECT_SERVER_MEMO_STORE_PATH": "/dev/null/nowhere/memo.toml",
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
    "PREFECT_SERVER_DATABASE_TIMEOUT": "20",
    "PREFECT_SERVER_DATABASE_ECHO": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "30",
    "PREFECT_SERVER_METRICS_ENABLED": "true",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_EVENTS_MAXIMUM_LABELS_PER_RESOURCE": "300",
    "PREFECT_EXPERIMENTS_WARN": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "PREFECT_UI_URL": "http://elsewhere.example",
    "PREFECT_CLOUD_API_URL": "https://api.prefect.cloud/api",
    "PREFECT_PLUGINS_ENABLED": "true",
    "PREFECT_UNHEARD_OF": "anything",
}
"""Settings that say something of Prefect, and nothing that could keep a deploy from its work."""


_CAPBSET_DROP = 24
_DAC_OVERRIDE, _DAC_READ_SEARCH, _FOWNER = 1, 2, 3
"""prctl(2), capabilities(7)."""
_JAVASCRIPT = "converters/javascript/js/node_modules"


def unprivileged() -> None:
    """Before a program is executed: permissions of files apply to it, also if this user is root."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH, _FOWNER):
        libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0)  # fails where there is none to drop


def checkout(folder: Path) -> Path:
    """This checkout in that folder, which is made, with what is installed in it."""
    folder.mkdir(parents=True)
    for name in ("converters", "flows"):
        shutil.copytree(
            PACKAGE.parent / name, folder / name, ignore=shutil.ignore_patterns("node_modules", "__pycache__")
        )
    (folder / _JAVASCRIPT).symlink_to(PACKAGE.parent / _JAVASCRIPT)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def seal(folder: Path, sealed: bool = True) -> None:
    """Have nobody write to anything there, or the owner again."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222 if sealed else path.stat().st_mode | 0o200)


class Odd(NamedTuple):
    """Variables that belong together; an empty value means that the variable is not set.

    `said` is what a refusal says, by exit status 2; None where the deploy works.
    """

    name: str
    variables: dict[str, str]
    said: str | None = None


def odd(folder: Path) -> list[Odd]:
    """What is tried one by one; `folder` is as `prepare` made it."""
    deep, sealed = _deep(folder), folder / "sealed"
    return [
        Odd("no locale", {"LC_ALL": "xx_YY.UTF-8", "LANG": "xx_YY"}),
        Odd("C locale", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        Odd("POSIX without coercion", {"LC_ALL": "POSIX", "PYTHONIOENCODING": "latin-1"}),
        Odd("torch", {"KERAS_BACKEND": "torch"}),
        Odd("unknown backend", {"KERAS_BACKEND": "theano"}),
        Odd("Keras 3 for tf.keras", {"TF_USE_LEGACY_KERAS": "0"}),
        Odd("no GPU", {"CUDA_VISIBLE_DEVICES": ""}),
        Odd("warnings are errors", {"PYTHONWARNINGS": "error"}),
        Odd("development mode", {"PYTHONDEVMODE": "1"}),
        Odd("optimised", {"PYTHONOPTIMIZE": "2"}),
        Odd("long TMPDIR", {"TMPDIR": str(deep)}),
        Odd("missing TMPDIR", {"TMPDIR": str(folder / "absent")}),
        Odd("relative TMPDIR", {"TMPDIR": "."}),
        Odd("missing relative TMPDIR", {"TMPDIR": "./tmp"}),
        Odd("sealed TMPDIR", {"TMPDIR": str(sealed)}),
        Odd("no HOME", {"HOME": ""}),
        Odd("no HOME of its user", {"HOME": "~nobody-here", "PREFECT_HOME": ""}),
        Odd("missing HOME", {"HOME": str(folder / "nobody"), "PREFECT_HOME": ""}),
        Odd("sealed HOME", {"HOME": str(sealed), "PREFECT_HOME": ""}),
        Odd("missing PREFECT_HOME", {"PREFECT_HOME": str(folder / "new" / "prefect")}),
        Odd("sealed PREFECT_HOME", {"PREFECT_HOME": str(sealed / "prefect")}, "PREFECT_HOME"),
        Odd("no PATH", {"PATH": "/dev/null/nowhere"}),
        Odd("Node that needs a file", {"NODE_OPTIONS": "--require /dev/null/nowhere.js"}),
        Odd("unknown profile", {"PREFECT_PROFILE": "nobody"}),
        Odd("test mode", {"PREFECT_TESTING_TEST_MODE": "true"}),
        Odd("no server", {"PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"}, "forbids one for this run"),
        Odd("own auth", {"PREFECT_SERVER_API_AUTH_STRING": "ann:pw", "PREFECT_API_AUTH_STRING": "ann:pw"}),
        Odd("CSRF", {"PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true"}),
        Odd("half an auth", {"PREFECT_SERVER_API_AUTH_STRING": "ann:pw"}),
        Odd("wrong level", {"PREFECT_LOGGING_LEVEL": "LOUD"}, "does not accept its setting PREFECT_LOGGING_LEVEL"),
        Odd("wrong number", {"PREFECT_CLIENT_MAX_RETRIES": "some"}, "setting PREFECT_CLIENT_MAX_RETRIES"),
        Odd("wrong headers", {"PREFECT_CLIENT_CUSTOM_HEADERS": "X: y"}, "cannot be read|does not accept"),
        Odd("no logging file", {"PREFECT_LOGGING_CONFIG_PATH": "/dev/null/nowhere/logging.yml"}),
        Odd(
            "no database",
            {"PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:////dev/null/nowhere/x.db"},
            "Prefect",
        ),
        Odd("wrong database", {"PREFECT_API_DATABASE_CONNECTION_URL": "mysql://db"}, "Prefect"),
        Odd("database in memory", {"PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///:memory:"}),
        Odd("nobody at the API", {"PREFECT_API_URL": f"{OTHER}/api"}, "no Prefect server answers at PREFECT_API_URL="),
        Odd("no address", {"PREFECT_API_URL": "prefect"}, "no Prefect server answers at PREFECT_API_URL=prefect"),
        Odd("empty address", {"PREFECT_API_URL": ""}),
        Odd(
            "Prefect Cloud", {"PREFECT_API_URL": "https://api.prefect.cloud/api/accounts/a/workspaces/b"}, "wants a key"
        ),
        Odd("no proxy", {"HTTPS_PROXY": "socks4://proxy:1080"}, "HTTPS_PROXY=socks4://proxy:1080 names no proxy"),
    ]


def prepare(folder: Path) -> None:
    """Make what `odd` speaks of."""
    _deep(folder).mkdir(parents=True)
    (folder / "sealed").mkdir(mode=0o555)


def _deep(folder: Path) -> Path:
    return folder / ("t" * 120) / ("u" * 100)
