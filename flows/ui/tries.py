"""Wrong passwords are slowed down, by client: whoever guesses soon waits a minute for each guess."""

import hashlib
import ipaddress
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

FREE = 5
"""Wrong passwords that cost nothing: a person mistypes."""
LONGEST_SECONDS = 60.0
"""The longest pause, after which a right password is taken however many wrong ones there were."""
FORGIVEN_SECONDS = 600.0
"""A wrong password counts for so long."""
MOST_CLIENTS = 1024
_MOST_KNOWN = 8


@dataclass
class _Client:
    count: int = 0
    last: float = 0.0
    known: list[bytes] = field(default_factory=list)


class Tries:
    """What clients have tried. A wrong password that is given again is no new guess: a page asks for many things at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._salt = os.urandom(16)  # what is kept of a wrong password, often nearly the right one, tells nothing

    def pause(self, address: str | None) -> float:
        """Seconds for which nothing that this client gives is looked at; 0 where it may try."""
        client = self._clients.get(_network(address))
        if client is None or client.count <= FREE:
            return 0.0
        pause = min(LONGEST_SECONDS, 2.0 ** min(client.count - FREE - 1, 16))
        return max(0.0, client.last + pause - self._clock())

    def wrong(self, address: str | None, given: bytes) -> None:
        """Count a wrong password."""
        name, now = _network(address), self._clock()
        client = self._clients.setdefault(name, _Client())
        self._clients.move_to_end(name)
        if now - client.last > FORGIVEN_SECONDS:
            client.count = 0
        tried = hashlib.blake2b(given, key=self._salt).digest()
        if tried not in client.known:
            client.count += 1
            client.known = [*client.known, tried][-_MOST_KNOWN:]
            client.last = now
        if len(self._clients) > MOST_CLIENTS:
            self._clients.popitem(last=False)

    def __len__(self) -> int:
        return len(self._clients)


def _network(address: str | None) -> str:
    """Whom an address stands for: of IPv6 one has 2^64 (RFC 6177)."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return ""
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((int(ip) >> 64 << 64, 64)))
    return str(ip)
