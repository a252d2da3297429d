"""Proxies that the environment names: what is asked of this machine goes by none, or it would not arrive."""

import os
import urllib.request

import httpx

from converters.contract import secrets
from converters.contract.errors import BadInput

_EXCEPT = ("no_proxy", "NO_PROXY")
"""Python's own clients read the first before the second, others one of them only; gRPC takes the second where it is alone."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EVERYTHING = "*"
_FOR = ("http", "https", "all")


def except_this_machine(*hosts: str) -> None:
    """Have this process, and what it starts, ask loopback addresses and these names of this machine by no proxy.

    What the user has excepted stays so. Nothing is done where no proxy is named.
    """
    if not urllib.request.getproxies_environment():
        return
    said = [name.strip() for variable in _EXCEPT for name in os.environ.get(variable, "").split(",")]
    names = dict.fromkeys(name for name in (*said, *_LOOPBACK, *hosts) if name)
    # urllib knows this one only where it is alone.
    value = _EVERYTHING if _EVERYTHING in names else ",".join(names)
    os.environ.update(dict.fromkeys(_EXCEPT, value))


def require_usable() -> None:
    """Raises BadInput where a proxy is named by what is no address of one; every client would end by that."""
    for scheme, address in urllib.request.getproxies_environment().items():
        if scheme not in _FOR:
            continue
        try:
            httpx.Proxy(address if "://" in address else f"http://{address}")
        except (ValueError, httpx.InvalidURL) as error:
            raise BadInput(
                f"{scheme.upper()}_PROXY={secrets.shown(address)} names no proxy that can be used; give it as "
                "http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT, or unset the variable"
            ) from error
