"""The middleware for the service behind: who gets in, and what the service sees."""

import socket
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import uvicorn

from actas.core.models import SCOPE_KEY, Session
from actas.core.roles import Permissions
from actas.oauth import Authenticator
from actas.oauth.receiving import ReceivingMiddleware
from actas.oauth.settings import KnownActor
from actas.testing.idp import IdentityProvider

pytestmark = pytest.mark.anyio

SERVICE = "https://orders.example"


class Application:
    """Keeps what it was called with."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append((scope["type"], scope.get(SCOPE_KEY)))
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"served"})


def started(server: uvicorn.Server, listening: socket.socket) -> threading.Thread:
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    return thread


@asynccontextmanager
async def served(idp: IdentityProvider) -> AsyncGenerator[tuple[str, Application]]:
    issuer = idp.trusted(audience=[SERVICE], actors=[KnownActor(subject="gateway")])
    application = Application()
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    made = ReceivingMiddleware(application, Authenticator([issuer], Permissions()))
    server = uvicorn.Server(uvicorn.Config(made, interface="asgi3", log_level="error", ws="none", lifespan="on"))
    thread = started(server, listening)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/", application
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


async def get(url: str, *authorizations: str) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False) as client:
        return await client.get(url, headers=[("authorization", each) for each in authorizations])


async def test_the_service_sees_for_whom_and_by_whom_it_is_called(idp: IdentityProvider) -> None:
    async with served(idp) as (url, application):
        token = idp.issue("alice", audience=SERVICE, claims={"act": {"sub": "gateway"}})
        answer = await get(url, f"Bearer {token}")
        directly = await get(url, f"bearer {idp.issue('bob', audience=SERVICE)}")
    assert (answer.status_code, answer.text, directly.status_code) == (200, "served", 200)
    assert [kind for kind, _ in application.seen] == ["lifespan", "http", "http"]
    alice, bob = application.seen[1][1], application.seen[2][1]
    assert isinstance(alice, Session) and isinstance(bob, Session)
    assert (alice.subject, [actor.subject for actor in alice.actors]) == ("alice", ["gateway"])
    assert (bob.subject, bob.actors) == ("bob", ())


async def test_nobody_else_gets_in_and_nothing_is_told_of_why(idp: IdentityProvider) -> None:
    good = idp.issue("alice", audience=SERVICE)
    head, payload, signature = good.split(".")
    tries = {
        "nothing": (),
        "no scheme": (good,),
        "another scheme": (f"Basic {good}",),
        "DPoP": (f"DPoP {good}",),
        "twice": (f"Bearer {good}", f"Bearer {good}"),
        "two in one": (f"Bearer {good}, Bearer {good}",),
        "for another service": (f"Bearer {idp.issue('alice', audience='https://elsewhere.example')}",),
        "past": (f"Bearer {idp.issue('alice', audience=SERVICE, expires_in=-400)}",),
        "unsigned": (f"Bearer {head}.{payload}.",),
        "another signature": (f"Bearer {head}.{payload}.{signature[:-8]}AAAAAAAA",),
        "bound to a key": (f"Bearer {idp.issue('alice', audience=SERVICE, claims={'cnf': {'jkt': 'x' * 43}})}",),
        "long": (f"Bearer {'x' * 40_000}",),
    }
    async with served(idp) as (url, application):
        answers = {name: await get(url, *headers) for name, headers in tries.items()}
        unknown = await get(url, f"Bearer {idp.issue('alice', audience=SERVICE, claims={'act': {'sub': 'evil'}})}")
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(tries, 401)
    assert len({answer.text for answer in answers.values()}) == 1
    assert {answer.headers["www-authenticate"] for answer in answers.values()} == {'Bearer error="invalid_token"'}
    assert unknown.status_code == 403 and "evil" not in unknown.text
    assert [kind for kind, _ in application.seen] == ["lifespan"]


async def test_where_nobody_can_know_it_is_not_the_callers_fault(idp: IdentityProvider) -> None:
    issuer = idp.trusted(audience=[SERVICE], jwks_uri="http://127.0.0.1:1/jwks")
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any: ...

    application = Application()
    made = ReceivingMiddleware(application, Authenticator([issuer], Permissions()))
    header = (b"Authorization", f"Bearer {idp.issue('alice', audience=SERVICE)}".encode())
    await made({"type": "http", "headers": [header]}, receive, send)
    assert sent[0]["status"] == 503 and application.seen == []


async def test_a_websocket_is_closed(idp: IdentityProvider) -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any: ...

    application = Application()
    made = ReceivingMiddleware(application, Authenticator([idp.trusted()], Permissions()))
    header = (b"authorization", f"Bearer {idp.issue('alice')}".encode())
    await made({"type": "websocket", "headers": [header]}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}] and application.seen == []
