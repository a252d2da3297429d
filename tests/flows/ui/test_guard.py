"""Who may talk to the server, with a small application behind."""

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message
from starlette.websockets import WebSocket

from flows.ui.guard import Door, Hosts, Neighbours, Passwords
from flows.ui.tries import FREE, Tries

GIVEN, INNER = "ann:grüße", "fanout:inner"


def basic(credentials: str, scheme: str = "Basic") -> dict[str, str]:
    return {"Authorization": f"{scheme} {base64.b64encode(credentials.encode()).decode()}"}


def application() -> Starlette:
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.headers.get("authorization", "none"))

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(await websocket.receive_json())
        await websocket.close()

    routes = [Route("/{path:path}", page, methods=["GET", "POST", "OPTIONS"]), WebSocketRoute("/talk", talk)]
    return Starlette(routes=routes)


@pytest.fixture(name="clock")
def _clock() -> list[float]:
    return [0.0]


@dataclass
class Answer:
    """To a request, or what a websocket was sent after it had said one thing."""

    status: int
    headers: Headers
    text: str


@dataclass
class Client:
    """Asks an ASGI application as a server would."""

    app: ASGIApp

    def ask(self, method: str, path: str, headers: Mapping[str, str] | list[tuple[bytes, bytes]] = {}) -> Answer:  # noqa: B006
        begun, *bodies = self._sent({"type": "http", "method": method}, path, headers, {"type": "http.request"})
        text = b"".join(body.get("body", b"") for body in bodies).decode()
        return Answer(begun["status"], Headers(raw=begun["headers"]), text)

    def get(self, path: str, headers: Mapping[str, str] | list[tuple[bytes, bytes]] = {}) -> Answer:  # noqa: B006
        return self.ask("GET", path, headers)

    def talk(self, document: Any, headers: Mapping[str, str] = {}) -> list[Message]:
        said = {"type": "websocket.receive", "text": json.dumps(document)}
        return self._sent({"type": "websocket"}, "/talk", headers, {"type": "websocket.connect"}, said)

    def token(self, given: object) -> object:
        """What the application hears as a websocket's token."""
        return json.loads(self.talk({"type": "auth", "token": given})[1]["text"])["token"]

    def _sent(
        self,
        scope: dict[str, Any],
        path: str,
        headers: Mapping[str, str] | list[tuple[bytes, bytes]],
        *received: Message,
    ) -> list[Message]:
        given = headers if isinstance(headers, list) else Headers(headers).raw
        host = [] if any(name == b"host" for name, _ in given) else [(b"host", b"127.0.0.1:4200")]
        scope |= {"path": path, "headers": [*host, *given], "query_string": b"", "client": ("10.0.0.1", 5)}
        waiting, sent = list(received), []

        async def receive() -> Message:
            return waiting.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))  # type: ignore[arg-type]
        return sent


@pytest.fixture(name="client")
def _client(clock: list[float]) -> Client:
    tries = Tries(lambda: clock[0])
    passwords = Passwords(SecretStr(GIVEN), SecretStr(INNER))
    return Client(Door(application(), passwords, lambda scope: scope["path"] != "/open", tries))


def near(*hosts: str) -> Client:
    return Client(Neighbours(application(), Hosts(hosts[0], hosts[1:]), ["http://other.example"]))


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
@pytest.mark.parametrize("credentials", [GIVEN, INNER])
def test_door_lets_in_and_hands_on_the_inner_word_when_the_password_is_right(
    client: Client, scheme: str, credentials: str
) -> None:
    assert client.get("/api/x", basic(credentials, scheme)).text == basic(INNER)["Authorization"]


@pytest.mark.parametrize(
    "header",
    [b"Basic !", b"Basic \xff\xfe", b"Basic", b"", b"Bearer abc", b"B\xe4sic abc", b"Basic YW5uOm90aGVy", b"Basic " + b"A" * 9999],
)  # fmt: skip
def test_door_answers_401_when_the_header_is_none_that_it_knows(client: Client, header: bytes) -> None:
    assert client.get("/api/x", [(b"authorization", header)]).status == 401
    asked = client.get("/releases/x", [(b"authorization", header)])
    assert asked.headers["www-authenticate"].startswith('Basic realm="fanout"')


def test_door_answers_401_when_there_are_two_headers(client: Client) -> None:
    right = (b"authorization", basic(GIVEN)["Authorization"].encode())
    assert client.get("/api/x", [right, right]).status == 401


def test_door_leaves_open_what_is_not_locked_and_health_and_preflight(client: Client) -> None:
    assert client.get("/open").text == "none"
    assert client.get("/api/health").status == 200
    assert client.ask("POST", "/api/health").status == 401
    assert client.ask("OPTIONS", "/api/x", {"Access-Control-Request-Method": "POST"}).status == 200
    assert client.ask("OPTIONS", "/api/x").status == 401


def test_door_makes_a_guesser_wait_but_nobody_with_the_inner_word(client: Client, clock: list[float]) -> None:
    for number in range(FREE + 1):
        assert client.get("/api/x", basic(f"ann:{number}")).status == 401
    refused = client.get("/api/x", basic(GIVEN))
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert client.get("/api/x", basic(INNER)).status == 200
    assert client.token(GIVEN) is None
    assert client.token(INNER) == INNER
    clock[0] += 1
    assert client.get("/api/x", basic(GIVEN)).status == 200


def test_door_translates_the_first_message_of_a_websocket(client: Client) -> None:
    assert client.token(GIVEN) == INNER
    assert client.token("ann:other") is None
    assert client.token("\udcff") is None
    assert client.token(7) is None
    assert json.loads(client.talk({"type": "hello"})[1]["text"]) == {"type": "hello"}


def test_door_counts_what_websockets_are_given(client: Client) -> None:
    for number in range(FREE + 1):
        client.token(f"ann:{number}")
    assert client.get("/api/x", basic(GIVEN)).status == 429


@pytest.mark.parametrize(
    ("host", "answer"),
    [("127.0.0.1:4200", 200), ("LOCALHOST", 200), ("[::1]:4200", 200), ("proxy.example", 200), ("10.0.0.1", 400),
     ("elsewhere.example", 400), ("127.0.0.1.elsewhere.example", 400), ("[::1", 400), ("", 400)],
)  # fmt: skip
def test_neighbours_refuse_a_host_that_is_none_of_the_servers_names(host: str, answer: int) -> None:
    client = near("127.0.0.1", "proxy.example")
    assert client.get("/api/x", {"Host": host}).status == answer


@pytest.mark.parametrize(
    ("host", "answer"), [("10.0.0.1:4200", 200), ("[fe80::1]:4200", 200), ("elsewhere.example", 400)]
)
def test_neighbours_know_every_address_when_the_server_listens_on_all(host: str, answer: int) -> None:
    assert near("0.0.0.0").get("/api/x", {"Host": host}).status == answer


@pytest.mark.parametrize(
    ("origin", "answer"),
    [("http://127.0.0.1:4200", 200), ("http://other.example", 200), ("http://127.0.0.1:4201", 403),
     ("http://elsewhere.example", 403), ("null", 403), ("http://[", 403)],
)  # fmt: skip
def test_neighbours_refuse_a_change_or_a_websocket_that_another_sites_page_asks_for(origin: str, answer: int) -> None:
    client = near("127.0.0.1")
    assert client.ask("POST", "/api/x", {"Origin": origin}).status == answer
    assert client.get("/api/x", {"Origin": origin}).status == 200
    begun = client.talk({}, {"Origin": origin})[0]
    assert begun["type"] == ("websocket.accept" if answer == 200 else "websocket.close")
