"""The clients of the embedded identity provider, who have to prove who they are for real."""

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import unquote_plus

from joserfc import jwt
from joserfc.errors import JoseError

from actas.testing.tokens import SigningKey

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LONGEST = 300
"""Seconds for which an assertion may be good."""


@dataclass(frozen=True, slots=True)
class DemoClient:
    """The client ``id``, with a ``secret``, a ``key`` of which the provider would have the public half, or a
    certificate."""

    id: str
    secret: str | None = field(default=None, repr=False)
    key: SigningKey | None = field(default=None, repr=False)
    certificate: str | None = None
    """SHA-256 of its certificate, in hexadecimal (RFC 8705 section 2.2)."""


class Clients:
    """Everybody who may ask.

    Args:
        audience: gives what an assertion must be for.
        clock: seconds since the epoch.
    """

    def __init__(self, audience: Callable[[], str], clock: Callable[[], float]) -> None:
        self._audience = audience
        self._clock = clock
        self._known: dict[str, DemoClient] = {}
        self.assertions: list[dict[str, object]] = []
        """The claims of all good assertions so far."""

    def add(self, client: DemoClient) -> DemoClient:
        """Let ``client`` in, in place of an earlier one with its id. Returns it."""
        self._known[client.id] = client
        return client

    def authenticated(
        self, headers: Mapping[str, str], form: Mapping[str, str], certificate: str | None = None
    ) -> str | None:
        """The id of the client that asks, where it proves that in exactly one way (RFC 6749 section 2.3)."""
        ways: list[Callable[[], str | None]] = []
        if "authorization" in headers:
            ways.append(lambda: self._by_basic(headers["authorization"]))
        if "client_secret" in form:
            ways.append(lambda: self._with_secret(form.get("client_id", ""), form["client_secret"]))
        if "client_assertion" in form:
            ways.append(lambda: self._by_assertion(form))
        if certificate is not None and not ways:
            ways.append(lambda: self._by_certificate(form.get("client_id", ""), certificate))
        return ways[0]() if len(ways) == 1 else None

    def _by_certificate(self, name: str, certificate: str) -> str | None:
        client = self._known.get(name)
        return name if client is not None and client.certificate == certificate else None

    def _by_basic(self, header: str) -> str | None:
        scheme, _, encoded = header.partition(" ")
        try:
            pair = b64decode(encoded, validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError):
            return None
        name, _, secret = pair.partition(":")
        return self._with_secret(unquote_plus(name), unquote_plus(secret)) if scheme.lower() == "basic" else None

    def _with_secret(self, name: str, secret: str) -> str | None:
        client = self._known.get(name)
        return name if client is not None and client.secret is not None and client.secret == secret else None

    def _by_assertion(self, form: Mapping[str, str]) -> str | None:
        client = self._known.get(form.get("client_id", ""))
        if client is None or client.key is None or form.get("client_assertion_type") != _ASSERTION_TYPE:
            return None
        try:
            decoded = jwt.decode(
                form["client_assertion"], client.key, algorithms=["RS256", "ES256", "ES384", "ES512", "Ed25519"]
            )
        except (JoseError, ValueError):
            return None
        claims = cast(dict[str, object], decoded.claims)
        now, ends = self._clock(), claims.get("exp")
        if claims.get("iss") != client.id or claims.get("sub") != client.id or claims.get("aud") != self._audience():
            return None
        if not isinstance(ends, int) or not now < ends <= now + _LONGEST:
            return None
        if not claims.get("jti") or any(claims["jti"] == earlier["jti"] for earlier in self.assertions):
            return None
        self.assertions.append(claims)
        return client.id
