"""What the door says when it says no (RFC 6750 section 3, RFC 9728 section 5.1)."""

from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from actas.core import (
    AuditUnavailable,
    AuthenticationError,
    AuthenticationUnavailable,
    AuthorizationError,
    InsufficientScope,
)
from actas.mcp.asgi import Headers


@dataclass(frozen=True, slots=True)
class Refusal:
    """A whole HTTP response."""

    status: int
    headers: Headers
    body: bytes


class Challenges:
    """Makes refusals for one resource.

    Args:
        metadata_url: where the resource's metadata is.
        scopes: what a client should ask for at first.
    """

    def __init__(self, metadata_url: str, scopes: Iterable[str]) -> None:
        self._metadata = metadata_url
        self._scopes = " ".join(sorted(scopes))

    def missing_token(self) -> Refusal:
        """401 without ``error``: nothing was wrong, nothing was there (RFC 6750 section 3.1)."""
        return self._refuse(401, {"scope": self._scopes}, "missing_token", "This server needs an access token.")

    def invalid_token(self, error: AuthenticationError) -> Refusal:
        """401 ``invalid_token``; says the same whatever was wrong."""
        return self._refuse(
            401,
            {"error": error.code, "error_description": error.message, "scope": self._scopes},
            error.code,
            error.message,
        )

    def rejected(self, error: AuthorizationError) -> Refusal:
        """403 without a challenge: another token of the same user would not help."""
        return self._refuse(403, None, error.code, error.message)

    def step_up(self, error: InsufficientScope) -> Refusal:
        """403 ``insufficient_scope`` with all scopes that the call needs."""
        needed = " ".join(sorted(error.scopes))
        attributes = {"error": error.code, "error_description": error.message, "scope": needed}
        return self._refuse(403, attributes, error.code, error.message)

    def unavailable(self, error: AuditUnavailable | AuthenticationUnavailable) -> Refusal:
        """503 without a challenge: what cannot be recorded is not done, and the token is not to blame."""
        return self._refuse(503, None, error.code, error.message)

    def cut_off(self) -> Refusal:
        """503: the server stops, or has another configuration, and the call took longer than was left to it."""
        refusal = self._refuse(
            503, None, "cut_off", "The call took longer than this server, which stops or changes, had left. Try again."
        )
        refusal.headers.append((b"retry-after", b"1"))
        return refusal

    def _refuse(self, status: int, attributes: dict[str, str] | None, code: str, message: str) -> Refusal:
        body = orjson.dumps({"error": code, "error_description": message})
        headers: Headers = [
            (b"content-type", b"application/json"),
            (b"cache-control", b"no-store"),
            (b"content-length", b"%d" % len(body)),
        ]
        if attributes is not None:
            named = {name: value for name, value in attributes.items() if value} | {"resource_metadata": self._metadata}
            challenge = "Bearer " + ", ".join(f'{name}="{_quoted(value)}"' for name, value in named.items())
            headers.append((b"www-authenticate", challenge.encode("ascii", "replace")))
        return Refusal(status, headers, body)


def _quoted(value: str) -> str:
    """A quoted-string's inside (RFC 9110 section 5.6.4)."""
    return value.replace("\\", "\\\\").replace('"', '\\"')
