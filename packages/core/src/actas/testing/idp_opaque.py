"""Opaque tokens of the embedded identity provider: introspection (RFC 7662, RFC 9701) and revocation (RFC 7009)."""

import json
import uuid
from collections.abc import Callable, Mapping
from threading import Lock

from actas.testing.idp_clients import Clients
from actas.testing.idp_http import Answer, Request
from actas.testing.tokens import PublishedKey, sign

_SIGNED = "application/token-introspection+jwt"


class OpaqueTokens:
    """The tokens that are active, and answers about them to clients that proved who they are.

    Args:
        issuer: gives the issuer identifier.
        key: gives what answers are signed with.
        clock: seconds since the epoch.
    """

    def __init__(self, issuer: Callable[[], str], key: Callable[[], PublishedKey], clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._key = key
        self._clock = clock
        self._lock = Lock()
        self.clients = Clients(issuer, clock)
        """Who may ask about tokens, and revoke them."""
        self.active: dict[str, dict[str, object]] = {}
        """What each token stands for."""
        self.shown: list[str] = []
        """Tokens that somebody asked about."""

    def issue(self, claims: dict[str, object], prefix: str = "") -> str:
        """A new token that stands for ``claims``."""
        token = prefix + uuid.uuid4().hex
        self.active[token] = claims
        return token

    def introspect(self, request: Request) -> Answer:
        """What one client is told about one token."""
        client = self._client_of(request)
        if client is None:
            return Answer(401, b'{"error":"invalid_client"}')
        token = request.form.get("token", "")
        self.shown.append(token)
        answer = self._answer(token)
        if request.headers.get("accept") == _SIGNED:
            return Answer(200, self.signed(answer, client).encode(), _SIGNED)
        return Answer(200, json.dumps(answer).encode())

    def revoke(self, request: Request) -> Answer:
        """Let one token be good no longer."""
        if self._client_of(request) is None:
            return Answer(401, b'{"error":"invalid_client"}')
        self.active.pop(request.form.get("token", ""), None)
        return Answer(200, b"{}")

    def signed(self, answer: Mapping[str, object], client: str, **changed: object) -> str:
        """A signed answer (RFC 9701 section 5); ``changed`` on top, None takes one out; ``typ`` is the header's."""
        key = self._key()
        header = {"alg": key.algorithm, "typ": changed.pop("typ", "token-introspection+jwt"), "kid": key.key_id}
        usual = {"iss": self._issuer(), "aud": client, "iat": int(self._clock()), "token_introspection": dict(answer)}
        claims = {name: value for name, value in {**usual, **changed}.items() if value is not None}
        return sign(header, claims, algorithm=key.algorithm, key=key.key)

    def _client_of(self, request: Request) -> str | None:
        with self._lock:
            return self.clients.authenticated(request.headers, request.form, request.certificate)

    def _answer(self, token: str) -> dict[str, object]:
        claims = self.active.get(token, {"exp": 0})
        ends = claims.get("exp")
        ended = type(ends) is int and ends <= self._clock()
        return {"active": False} if ended else {"active": True, **claims}
