"""What the door says when it says no (RFC 6750 section 3, RFC 9449 section 7.1, RFC 9728 section 5.1)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from actas.core import (
    AuditUnavailable,
    AuthenticationError,
    AuthenticationUnavailable,
    AuthorizationError,
    InsufficientScope,
    NonceRequired,
    ServerBusy,
    Session,
    TooManyRequests,
)
from actas.oauth.asgi import Headers
from actas.oauth.binding import is_key_bound
from actas.oauth.dpop import PROOF_ALGORITHMS

NONCE_HEADER = b"dpop-nonce"
"""Gives a client the nonce for its next proof (RFC 9449 section 8)."""

_ALGORITHMS = " ".join(PROOF_ALGORITHMS)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A whole HTTP response."""

    status: int
    headers: Headers
    body: bytes


class Challenges:
    """Makes refusals for one resource.

    Each challenge is one header field, Bearer first: clients that know nothing else look no further. The scheme that
    the client used says what is wrong; the other one is only named (RFC 9449 section 7.2).

    Args:
        metadata_url: where the resource's metadata is.
        scopes: what a client should ask for at first.
        bearer: whether tokens under that scheme are accepted, from any provider.
    """

    def __init__(self, metadata_url: str, scopes: Iterable[str], *, bearer: bool = True) -> None:
        self._metadata = metadata_url
        self._scopes = " ".join(sorted(scopes))
        self._bearer = bearer

    def missing_token(self) -> Refusal:
        """401 without ``error``: nothing was wrong, nothing was there (RFC 6750 section 3.1)."""
        challenge = self._challenge({"scope": self._scopes}, dpop=False)
        return _refusal(401, challenge, "missing_token", "This server needs an access token.")

    def invalid_token(self, error: AuthenticationError, *, dpop: bool) -> Refusal:
        """401 with the error's code; says the same whatever was wrong.

        ``dpop``: whether the token came under that scheme.
        """
        attributes = {"error": error.code, "error_description": error.message, "scope": self._scopes}
        refusal = _refusal(401, self._challenge(attributes, dpop=dpop), error.code, error.message)
        if isinstance(error, NonceRequired):
            refusal.headers.append((NONCE_HEADER, error.nonce.encode()))
        return refusal

    def rejected(self, error: AuthorizationError) -> Refusal:
        """403 without a challenge: another token of the same user would not help."""
        return _refusal(403, None, error.code, error.message)

    def step_up(self, error: InsufficientScope, session: Session) -> Refusal:
        """403 ``insufficient_scope`` with all scopes that the call of ``session`` needs."""
        needed = " ".join(sorted(error.scopes))
        attributes = {"error": error.code, "error_description": error.message, "scope": needed}
        return _refusal(403, self._challenge(attributes, dpop=is_key_bound(session)), error.code, error.message)

    def too_much(self, error: TooManyRequests | ServerBusy) -> Refusal:
        """429 or 503 with ``Retry-After`` (RFC 6585 section 4, RFC 9110 section 10.2.3)."""
        refusal = _refusal(429 if isinstance(error, TooManyRequests) else 503, None, error.code, error.message)
        refusal.headers.append((b"retry-after", b"%d" % error.retry_after))
        return refusal

    def unavailable(self, error: AuditUnavailable | AuthenticationUnavailable) -> Refusal:
        """503 without a challenge: what cannot be recorded is not done, and the token is not to blame."""
        return _refusal(503, None, error.code, error.message)

    def cut_off(self) -> Refusal:
        """503: the server stops, or has another configuration, and the call took longer than was left to it."""
        refusal = _refusal(
            503, None, "cut_off", "The call took longer than this server, which stops or changes, had left. Try again."
        )
        refusal.headers.append((b"retry-after", b"1"))
        return refusal

    def _challenge(self, attributes: Mapping[str, str], *, dpop: bool) -> str:
        full = {**attributes, "resource_metadata": self._metadata}
        if dpop or not self._bearer:
            return _scheme("DPoP", {**full, "algs": _ALGORITHMS})
        return f"{_scheme('Bearer', full)}, {_scheme('DPoP', {'algs': _ALGORITHMS})}"


def _scheme(name: str, attributes: Mapping[str, str]) -> str:
    named = ", ".join(f'{attribute}="{_quoted(value)}"' for attribute, value in attributes.items() if value)
    return f"{name} {named}"


def _refusal(status: int, challenge: str | None, code: str, message: str) -> Refusal:
    body = orjson.dumps({"error": code, "error_description": message})
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"content-length", b"%d" % len(body)),
    ]
    if challenge is not None:
        headers.append((b"www-authenticate", challenge.encode("ascii", "replace")))
    return Refusal(status, headers, body)


def _quoted(value: str) -> str:
    """A quoted-string's inside (RFC 9110 section 5.6.4): what may not stand in a header becomes a question mark."""
    printable = "".join(character if " " <= character <= "~" else "?" for character in value)
    return printable.replace("\\", "\\\\").replace('"', '\\"')
