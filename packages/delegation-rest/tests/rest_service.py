"""A REST service on a real socket. It verifies each token by the provider's published keys, and answers per user."""

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from actas.testing.dpop import proved
from actas.testing.idp import IdentityProvider

AUDIENCE = "https://crm.example"
STACK = 'Traceback (most recent call last):\n  File "/srv/app.py", line 7\npassword=hunter2'


@dataclass
class Seen:
    """One request, as it arrived."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    subject: str | None

    def header(self, name: str) -> str | None:
        """The one value of that header."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else None


@dataclass
class Reply:
    """What to answer."""

    body: object = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """``content-type`` among them; JSON else."""


class Service:
    """Serves between ``__enter__`` and ``__exit__``; ``replies`` has what to answer, by path, instead of the usual."""

    def __init__(self, provider: IdentityProvider, audience: str, port: int = 0) -> None:
        self.seen: list[Seen] = []
        self.replies: dict[str, Reply | Callable[[Seen], Reply]] = {}
        self.refused: set[str] = set()
        """Tokens that are not taken (revoked, say)."""
        self.delay = 0.0
        self.away = False
        """While True, it hangs up on whoever comes."""
        self.nonce: str | None = None
        """What DPoP proofs must have; told to whoever lacks it."""
        self.proofs: set[object] = set()
        self.provider, self._audience = provider, audience
        self._keys: KeySet | None = None
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                service.answer(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, format: str, *args: object) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 100

            def handle_error(self, request: object, client_address: object) -> None: ...

        self._server = Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def base(self) -> str:
        return f"{self.origin}/v1"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        if self.away:
            handler.close_connection = True
            return
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        scheme, _, token = (handler.headers.get("authorization") or "").partition(" ")
        proof = handler.headers.get("dpop")
        subject = self._subject(token, None if scheme == "Bearer" else self._proved(handler, token, proof or ""))
        seen = Seen(handler.command, handler.path, list(handler.headers.items()), body, subject)
        self.seen.append(seen)
        if self.delay:
            time.sleep(self.delay)
        reply = self._reply(seen)
        raw = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        if reply.status == 204:
            raw = b""
        try:
            handler.send_response(reply.status)
            for name, value in {
                "content-type": "application/json",
                "content-length": str(len(raw)),
                **reply.headers,
            }.items():
                handler.send_header(name, value)
            handler.end_headers()
            if handler.command != "HEAD":
                handler.wfile.write(raw)
        except OSError:
            handler.close_connection = True

    def _reply(self, seen: Seen) -> Reply:
        path = seen.target.partition("?")[0]
        if path == "/v1/health" and path not in self.replies:
            return Reply({"up": True})
        if path == "/v1/health" and isinstance(made := self.replies[path], Reply):
            return made
        if seen.subject is None and self.nonce is not None:
            challenge = {"www-authenticate": 'DPoP error="use_dpop_nonce"', "dpop-nonce": self.nonce}
            return Reply({"error": STACK}, 401, challenge)
        if seen.subject is None:
            return Reply({"error": STACK}, 401)
        made = self.replies.get(path)
        if made is not None:
            return made(seen) if callable(made) else made
        if path.startswith("/v1/status/"):
            return Reply({"error": STACK}, int(path.rpartition("/")[2]))
        return Reply({"subject": seen.subject, "method": seen.method, "target": seen.target})

    def _proved(self, handler: BaseHTTPRequestHandler, token: str, proof: str) -> object:
        """The thumbprint of the key that this request proves: for it alone, once, and with our nonce."""
        try:
            claims = proved(proof, handler.command, token)
        except ValueError:
            return "none"
        new = claims["jti"] not in self.proofs
        self.proofs.add(claims["jti"])
        there = claims["htu"] == f"{self.origin}{handler.path.partition('?')[0]}"
        return claims["jkt"] if new and there and claims.get("nonce") == self.nonce else "none"

    def _subject(self, token: str, key: object = None) -> str | None:
        """Whom the token is about: signed by the provider, for this service, bound to ``key``, and not at its end."""
        if token in self.refused:
            return None
        try:
            claims: dict[str, Any] = jwt.decode(token, self._published(), algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            return None
        good = claims["aud"] == self._audience and claims["iss"] == self.provider.issuer and claims["exp"] > time.time()
        return claims["sub"] if good and claims.get("cnf", {}).get("jkt") == key else None

    def _published(self) -> KeySet:
        if self._keys is None:
            with urllib.request.urlopen(f"{self.provider.origin}{self.provider.jwks_path}") as answer:
                self._keys = KeySet.import_key_set(json.load(answer))
        return self._keys
