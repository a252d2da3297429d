"""What the environment and the command line's options say, as one value that is read once and handed on."""

import importlib.util
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator

from converters.config import read
from converters.contract.errors import BadInput, StoreFailed
from converters.contract.values import Frozen
from converters.release.mirror import Mirror
from converters.release.signing import Keys

ROOT = Path(__file__).resolve().parent.parent
AUTH, AUTH_FILE, DASK, STORE = "FANOUT_AUTH", "FANOUT_AUTH_FILE", "FANOUT_DASK", "FANOUT_STORE"
PUBLISH = "FANOUT_PUBLISH"


class ClusterSettings(NamedTuple):
    """A Dask scheduler's address, the store, and the seconds to wait while the cluster has no worker at all."""

    dask: str
    store: str
    patience: float


class Settings(Frozen):
    """Each is the environment variable FANOUT_ and its name in capitals, and some are options too.

    The first line of the file FANOUT_AUTH_FILE may hold `auth` instead. Without `dask` and `store`, all is done here.
    """

    configs: Path = Field(default=read.CONFIGS, description="the folder of configs")
    releases: Path = Field(default=ROOT / "releases", description="where releases are")
    reports: str | None = Field(
        default=None, description="the address below which reports are served; `make ui` sets it"
    )
    auth: SecretStr | None = Field(default=None, description="USER:PASSWORD of `make ui`'s pages and API")
    hosts: str | None = Field(default=None, description="further names that `make ui` answers to, with commas")
    keep_days: float = Field(
        default=30.0, gt=0, le=36500, description="how long `make ui` keeps ended runs in Prefect's database"
    )
    dask: str | None = Field(default=None, description="a Dask scheduler, whose workers convert and check")
    dask_patience: float = Field(default=30.0, description="seconds to wait while it has no worker at all")
    store: str | None = Field(
        default=None, description="a directory or URL through which they exchange files with this machine"
    )
    signing_key: Path | None = Field(default=None, description="the key that releases are signed with")
    verify_keys: Path | None = Field(default=None, description="a public key that is trusted, or a folder of such")
    publish: str | None = Field(default=None, description="a directory or URL where promoted releases are to be, too")

    @field_validator("configs", "releases", "signing_key", "verify_keys")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @classmethod
    def read(cls, **options: object) -> "Settings":
        """What the environment says, but for the options that are given.

        Raises:
            BadInput: a variable is not what it should be, or others may read the file of the password.
        """
        values: dict[str, object] = {name: os.environ.get(f"FANOUT_{name.upper()}") for name in cls.model_fields}
        values |= {name: value for name, value in options.items() if value is not None}
        if not values["auth"] and (file := os.environ.get(AUTH_FILE)):
            values["auth"] = _first_line(Path(file).expanduser())
        try:
            return cls.model_validate({name: value for name, value in values.items() if value})
        except ValidationError as error:
            wrong = error.errors()[0]
            name = str(wrong["loc"][0])
            given = "" if name == "auth" else f"={values[name]}"
            raise BadInput(f"FANOUT_{name.upper()}{given}: {wrong['msg'].lower()}") from error

    def names(self) -> list[str]:
        """Those of `hosts`."""
        return [name.strip() for name in (self.hosts or "").split(",") if name.strip()]

    def environment(self) -> dict[str, str]:
        """The same for another process."""
        values = {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in self}
        return {f"FANOUT_{name.upper()}": "" if value is None else str(value) for name, value in values.items()}

    def read_keys(self) -> Keys:
        """Those to sign and verify releases with. Raises BadInput where a file holds none."""
        return Keys.read(self.signing_key, self.verify_keys)

    def ready(self) -> Keys:
        """The same for a deploy. Raises BadInput where what it makes could not be promoted, or published, as is asked for."""
        if self.publish is not None:
            with suppress(StoreFailed):  # it may answer when there is something to publish
                self.mirror()
        return self.read_keys().for_signing()

    def mirror(self) -> Mirror:
        """The place that `publish` names. Raises BadInput where there is none, StoreFailed where it does not answer."""
        if self.publish is None:
            raise BadInput(f"no place is named to publish to; set {PUBLISH} or --publish to a directory or a URL")
        return Mirror(_place(self.publish))

    def cluster(self) -> ClusterSettings | None:
        """Where conversions run, if not on this machine.

        Raises:
            BadInput: `dask` is no address, or comes without `store`, or what both need is not installed.
        """
        if self.dask is None:
            return None
        require_scheduler_address(self.dask)
        if self.store is None:
            raise BadInput(
                f"a Dask cluster needs a store; set {STORE} or --store to a directory or URL that this machine and all "
                "workers reach"
            )
        if any(importlib.util.find_spec(name) is None for name in ("distributed", "fsspec")):
            raise BadInput(
                "a Dask cluster needs packages that are not installed; install tf-fanout with its extra 'cluster'"
            )
        return ClusterSettings(self.dask, _place(self.store), self.dask_patience)


def _place(url: str) -> str:
    """A URL as it is; a directory as it is called everywhere."""
    return url if "://" in url else str(Path(url).expanduser().absolute())


def _first_line(path: Path) -> str:
    """The password's file, which nobody else may read."""
    try:
        with path.open() as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
                raise BadInput(f"{AUTH_FILE}: other users may read or change {path}; `chmod 600` it")
            return file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BadInput(f"{AUTH_FILE}: {path} cannot be read: {reason}; it must hold USER:PASSWORD") from error


def require_scheduler_address(address: str) -> None:
    """Raises BadInput where it is none."""
    try:
        parts = urlsplit(address)
        complete = bool(parts.scheme and parts.hostname and parts.port)
    except ValueError:
        complete = False
    if not complete:
        raise BadInput(f"{address!r} is no address of a Dask scheduler; give it as tcp://HOST:PORT")


_given: ContextVar[Settings | None] = ContextVar("settings", default=None)


@contextmanager
def given(settings: Settings) -> Iterator[None]:
    """Have flows that are run in the block take these, since Prefect knows their parameters only."""
    token = _given.set(settings)
    try:
        yield
    finally:
        _given.reset(token)


def in_force() -> Settings:
    """What a flow goes by: what it was given, or what the environment says. Raises BadInput."""
    return _given.get() or Settings.read()
