"""A GraphQL service on a real socket. It verifies each token by the provider's published keys, and answers per user."""

import asyncio
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Self

import uvicorn
from graphql_schema import SCHEMA, Shop
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from strawberry.asgi import GraphQL

from actas.testing.dpop import proved
from actas.testing.idp import IdentityProvider

AUDIENCE = "https://shop.example"


@dataclass
class Seen:
    """One request, as it arrived."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    subject: str | None

    def header(self, name: str) -> str | None:
        """The one value of that header."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else None

    @property
    def sent(self) -> dict[str, Any]:
        """The body."""
        return dict(json.loads(self.body))


@dataclass
class Reply:
    """What to answer instead of the usual."""

    body: object = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    delay: float = 0.0


class Shopfront(GraphQL[Any, Any]):
    """Strawberry's own ASGI application, which is told who asks."""

    async def get_context(self, request: Any, response: Any) -> dict[str, Any]:
        return {"user": request.scope["user"], "shop": request.scope["shop"]}


class Service:
    """Serves between ``__enter__`` and ``__exit__``."""

    def __init__(self, provider: IdentityProvider, audience: str = AUDIENCE) -> None:
        self.seen: list[Seen] = []
        self.reply: Reply | Callable[[Seen], Reply | None] | None = None
        self.refused: set[str] = set()
        """Tokens that are not taken (revoked, say)."""
        self.tells_schema = False
        """Whether somebody without a token is told the schema."""
        self.nonce: str | None = None
        self.provider = provider
        self.shop = Shop()
        self._audience = audience
        self._keys: KeySet | None = None
        self._strawberry = Shopfront(SCHEMA)
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            self.app, interface="asgi3", log_level="error", lifespan="off", ws="none", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/graphql"

    async def app(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        headers = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        seen = Seen(scope["method"], scope["path"], headers, body, None)
        seen.subject = await asyncio.to_thread(self._subject, seen)
        self.seen.append(seen)
        reply = self.reply(seen) if callable(self.reply) else self.reply
        if reply is None and seen.subject is None and not (self.tells_schema and b"IntrospectionQuery" in body):
            challenge = {"www-authenticate": 'DPoP error="use_dpop_nonce"', "dpop-nonce": self.nonce or ""}
            reply = Reply({"errors": [{"message": "no"}]}, 401, challenge if self.nonce else {})
        if reply is not None:
            await self._send(reply, send)
            return

        async def again() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._strawberry({**scope, "user": seen.subject, "shop": self.shop}, again, send)

    async def _send(self, reply: Reply, send: Any) -> None:
        await asyncio.sleep(reply.delay)
        raw = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        headers = {"content-type": "application/json", "content-length": str(len(raw)), **reply.headers}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": encoded})
        await send({"type": "http.response.body", "body": raw})

    def _subject(self, seen: Seen) -> str | None:
        """Whom the token is about: signed by the provider, for this service, presented by whom it is bound to."""
        scheme, _, token = (seen.header("authorization") or "").partition(" ")
        if token in self.refused:
            return None
        try:
            claims: dict[str, Any] = jwt.decode(token, self._published(), algorithms=["RS256"]).claims
            proof = proved(seen.header("dpop") or "", "POST", token) if scheme == "DPoP" else {}
        except (JoseError, ValueError):
            return None
        good = claims["aud"] == self._audience and claims["iss"] == self.provider.issuer
        alive = claims["exp"] > time.time() and proof.get("nonce") == self.nonce
        return claims["sub"] if good and alive and claims.get("cnf", {}).get("jkt") == proof.get("jkt") else None

    def _published(self) -> KeySet:
        if self._keys is None:
            with urllib.request.urlopen(f"{self.provider.origin}{self.provider.jwks_path}") as answer:
                self._keys = KeySet.import_key_set(json.load(answer))
        return self._keys
