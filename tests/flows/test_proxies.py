"""Proxies of the environment: this machine is asked by none of them."""

import os
import urllib.request

import httpx
import pytest
import requests.utils
import websockets.proxy
import websockets.uri

from converters.contract.errors import BadInput
from flows import proxies

NEAR = ("127.0.0.1:4200", "localhost:4200", "[::1]:4200", "127.0.0.5:9000")
PROXY = "http://proxy.example:3128"


@pytest.fixture(name="environment", autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        for variable in (name, name.lower()):
            monkeypatch.setenv(variable, "")
            monkeypatch.delenv(variable)
    return monkeypatch


def proxied(address: str) -> list[str]:
    """The clients that would ask by a proxy."""
    url = f"http://{address}/api"
    found = []
    with httpx.Client() as client:
        if type(client._transport_for_url(httpx.URL(url))._pool).__name__ != "ConnectionPool":  # type: ignore[attr-defined]
            found.append("httpx")
    if requests.utils.get_environ_proxies(url):
        found.append("requests")
    if not address.startswith("[") and not urllib.request.proxy_bypass_environment(address):
        found.append("urllib")
    if websockets.proxy.get_proxy(websockets.uri.parse_uri(url.replace("http", "ws", 1))) is not None:
        found.append("websockets")
    return found


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("excepted", [None, "intra.example", "*", "127.0.0.1"])
def test_except_this_machine_leaves_the_rest_to_the_proxy(
    variable: str, excepted: str | None, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv(variable, PROXY)
    if excepted is not None:
        environment.setenv("no_proxy", excepted)
    far_before = proxied("hooks.example:80")
    proxies.except_this_machine("127.0.0.5")
    assert [proxied(address) for address in NEAR] == [[]] * len(NEAR)
    assert proxied("hooks.example:80") == far_before
    if excepted == "intra.example":
        assert proxied("intra.example:80") == []
        assert "httpx" in far_before


def test_except_this_machine_sets_nothing_when_there_is_no_proxy() -> None:
    proxies.except_this_machine()
    assert not {"NO_PROXY", "no_proxy"} & set(os.environ)


@pytest.mark.parametrize(
    "address", [PROXY, "proxy.example:3128", "socks5://proxy.example", "socks5h://user:pw@proxy:1080"]
)
def test_clients_begin_when_the_proxy_is_usable(address: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALL_PROXY", address)
    proxies.require_usable()
    httpx.Client().close()


@pytest.mark.parametrize("address", ["socks4://user:secret@proxy:1080", "ftp://proxy", "http://proxy:port"])
def test_require_usable_names_the_variable_when_it_is_no_proxy(address: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("https_proxy", address)
    with pytest.raises(BadInput, match=r"HTTPS_PROXY=.* names no proxy that can be used; give it as") as refused:
        proxies.require_usable()
    assert "secret" not in str(refused.value)
