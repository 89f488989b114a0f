"""A service that takes exchanged tokens, on a real socket: for tests of a module that reaches its system by HTTP."""

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from actas.testing.idp import IdentityProvider

_HOST = "127.0.0.1"
_BRIEF = 0.02
"""Seconds between two looks whether to stop."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request whose token was good."""

    user: str
    """Whom the token is about, by the service's own checks."""
    method: str
    """``GET``."""
    target: str
    """Path and query, as they came."""
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)
    """As it came."""

    def json(self) -> Any:  # Any: what the client sent
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answered:
    """What the service answers, as JSON."""

    body: object
    """Anything that JSON can say."""
    status: int = 200
    """The HTTP status."""


Application = Callable[[Asked], Answered]


class Tokens:
    """Verifies what the provider signed for ``audience``, by the keys that it publishes.

    For services of any protocol: :class:`TokenService` is the one of HTTP.
    """

    def __init__(self, provider: IdentityProvider, audience: str) -> None:
        self._provider, self._audience = provider, audience
        self._keys: KeySet | None = None

    def user(self, authorization: str | None) -> str | None:
        """Whom the token of an ``authorization`` header is about; None where it is not good here."""
        scheme, _, token = (authorization or "").partition(" ")
        try:
            claims: dict[str, Any] = jwt.decode(token, self._published(), algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            return None
        good = (
            scheme == "Bearer"
            and claims.get("iss") == self._provider.issuer
            and claims.get("aud") == self._audience
            and claims.get("exp", 0) > time.time()
        )
        return str(claims["sub"]) if good else None

    def _published(self) -> KeySet:
        if self._keys is None:
            with urllib.request.urlopen(f"{self._provider.origin}{self._provider.jwks_path}") as answer:  # noqa: S310 -- our own http
                self._keys = KeySet.import_key_set(json.load(answer))
        return self._keys


class TokenService:
    """Serves ``application`` between ``__enter__`` and ``__exit__``: to whoever has a token for ``audience``.

    Anybody else gets a 401, except at ``/health``. ``seen`` has what came with a good token.
    """

    def __init__(self, provider: IdentityProvider, audience: str, application: Application) -> None:
        self.audience = audience
        self.seen: list[Asked] = []
        self._tokens = Tokens(provider, audience)
        self._application = application
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://{_HOST}:{self._port}"

    def __enter__(self) -> Self:
        self._serve()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @contextmanager
    def outage(self) -> Generator[None]:
        """Nobody listens meanwhile; afterwards it serves again, at the same address."""
        self._close()
        try:
            yield
        finally:
            self._serve()

    def _serve(self) -> None:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            timeout = 30

            def answer(self) -> None:
                service._answer(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: requests are kept instead."""

        self._server = _Server((_HOST, self._port), Handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(_BRIEF,), daemon=True, name="token-service").start()

    def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        if self._server is None:  # a connection that was kept from before the outage
            handler.close_connection = True
            return
        answered = self._answered(handler, body)
        content = json.dumps(answered.body).encode()
        try:
            handler.send_response(answered.status)
            handler.send_header("content-type", "application/json")
            handler.send_header("content-length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)
        except OSError:
            handler.close_connection = True

    def _answered(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answered:
        if handler.path == "/health":
            return Answered({"healthy": True})
        user = self._tokens.user(handler.headers.get("authorization"))
        if user is None:
            return Answered({"error": "no good token"}, 401)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(user, handler.command, handler.path, headers, body)
        self.seen.append(asked)
        return self._application(asked)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up."""
