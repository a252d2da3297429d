"""A ModelServer that runs: whether it lives, whether it serves the version yet, and what its log says of the warmup.

Words of its log: tensorflow_serving/servables/tensorflow/saved_model_warmup_util.cc.
"""

import re
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from converters.contract.errors import ServerFailed, said
from converters.targets.serving.layout import Layout

if TYPE_CHECKING:
    from converters.targets.serving.client import Client

ADDRESSES = "FANOUT_MODEL_SERVER"
_WARMED_UP = re.compile(r"Number of warmup records read: (\d+)")
_CONNECT_SECONDS = 5.0
_LATER_SECONDS = 0.5


@dataclass(frozen=True)
class Running:
    """A server to be asked; `process` and `log` are those of one that was started for it."""

    runtime: str
    grpc: str
    rest: str
    how: str
    process: "subprocess.Popen[bytes] | None" = None
    log: Path | None = None
    since: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """Since it was started, or found."""
        return time.monotonic() - self.since

    def require_alive(self, when: str) -> None:
        """Raises ServerFailed where the server was started and has ended."""
        status = self.process.poll() if self.process is not None else None
        if status is not None:
            ended = f"signal {-status}" if status < 0 else f"exit status {status}"
            raise ServerFailed(f"{self.how} ended with {ended} {when}{self._last_words()}")

    def wait_available(self, client: "Client", deadline: float) -> None:
        """Wait until the server says AVAILABLE of the version. Raises ServerFailed."""
        state = "unknown to it"
        wanted = f"{client.model} {client.version}"
        if self.process is None:
            require_listening(self.grpc, self.rest)
        while time.monotonic() < deadline:
            self.require_alive("before it served the model")
            known = client.versions(deadline, starting=self.process is not None)
            found = next((version for version in known if version.number == client.version), None)
            if found is not None and found.state == "AVAILABLE":
                return
            if found is not None and found.error:
                raise ServerFailed(f"{self.how} could not load {wanted}: {said(found.error)}")
            if self.process is None and found is None:
                has = f"has version {', '.join(str(v.number) for v in known)} of it" if known else "knows no such model"
                raise ServerFailed(f"{self.how} does not serve {wanted}: it {has}")
            state = found.state if found is not None else state
            time.sleep(0.1)
        raise ServerFailed(f"{wanted} was not AVAILABLE in {self.how} after {self.seconds():.1f} s: {state}")

    def warmup(self, layout: Layout) -> str:
        """What is known of the warmup requests. Raises ServerFailed where its log says that they were not replayed."""
        if self.log is None:
            return "whether it replayed the warmup requests is not to be seen from here"
        log = self.log.read_text(errors="replace")
        if "No warmup data file found" in log:
            raise ServerFailed(f"{self.how} found no warmup requests, says its log")
        replayed = _WARMED_UP.findall(log)
        if not replayed:
            return "its log says nothing of warmup requests, which it replays before it is AVAILABLE"
        if int(replayed[-1]) != layout.warmups:
            raise ServerFailed(f"{self.how} replayed {replayed[-1]} of {layout.warmups} warmup requests, says its log")
        return f"{replayed[-1]} warmup request{'s' if layout.warmups > 1 else ''} replayed, says its log"

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log is not None else []
        blaming = [line for line in lines if "error" in line.lower()] or lines
        return f": {said(blaming[-1])}" if blaming else ""

    def blame(self, error: ServerFailed) -> str:
        """The error, or that the server has ended, which a connection notices before the parent does."""
        if self.process is None:
            return str(error)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_LATER_SECONDS)
        try:
            self.require_alive("while it was asked")
        except ServerFailed as ended:
            return str(ended)
        return str(error)


def require_listening(*addresses: str) -> None:
    """Raises ServerFailed where nobody takes a connection at one of the addresses."""
    for address in addresses:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise ServerFailed(f"nothing listens at {address}: {error}; correct or unset {ADDRESSES}") from error
