"""Web pages that may call this server: the part of the Fetch standard that a server answers (CORS).

No answer says ``*`` and none allows credentials: a page sends its token in a header, never a cookie.
"""

import re
from collections.abc import Sequence

from actas.mcp.challenge import Refusal
from actas.oauth.asgi import Headers, Message, Scope, Send

_ALLOWED = frozenset({b"accept", b"authorization", b"content-type", b"dpop", b"last-event-id"})
_MCP = re.compile(rb"mcp-[a-z0-9-]{1,60}")
"""Header names that a page may send, besides those that need no permission."""
_MOST_NAMES = 32
_EXPOSED = b"www-authenticate, retry-after, dpop-nonce, mcp-session-id, mcp-protocol-version"
_PREFLIGHT_SECONDS = b"600"


class Cors:
    """Answers preflights and lets pages of known origins read answers.

    Args:
        origins: as ``mcp.allowed_origins`` has them; ``:*`` at the end stands for any port.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        self._exact = frozenset(origin.encode() for origin in origins)
        self._any_port = tuple(origin[:-1].encode() for origin in origins if origin.endswith(":*"))

    def answer(self, scope: Scope) -> Refusal | None:
        """The answer to a preflight, before anybody is identified, since it never carries a token; None for others."""
        if scope["method"] != "OPTIONS":
            return None
        origin, method = _only(scope, b"origin"), _only(scope, b"access-control-request-method")
        if origin is None or method is None:
            return None
        if not self._knows(origin):
            return Refusal(403, [(b"content-type", b"text/plain"), (b"vary", b"Origin")], b"Origin not allowed\n")
        wanted = _only(scope, b"access-control-request-headers") or b""
        names = [name.strip(b" \t").lower() for name in wanted.split(b",", _MOST_NAMES)[:_MOST_NAMES]]
        allowed = [name for name in names if name in _ALLOWED or _MCP.fullmatch(name)]
        return Refusal(
            204,
            [
                (b"access-control-allow-methods", b"POST"),
                (b"access-control-allow-headers", b", ".join(allowed) or b"authorization"),
                (b"access-control-max-age", _PREFLIGHT_SECONDS),
            ],
            b"",
        )

    def readable(self, scope: Scope, send: Send) -> Send:
        """``send``, with the headers without which a page of a known origin cannot read the answer."""
        if not self._exact:
            return send
        origin = _only(scope, b"origin")
        if origin is None or not self._knows(origin):
            return send
        added: Headers = [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"Origin, Access-Control-Request-Headers"),
        ]

        async def send_readable(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        return send_readable

    def _knows(self, origin: bytes) -> bool:
        if origin in self._exact:
            return True
        return any(origin.startswith(start) and origin[len(start) :].isdigit() for start in self._any_port)


def _only(scope: Scope, name: bytes) -> bytes | None:
    """The value of a header that is there once; several are as good as none."""
    found = [value for each, value in scope["headers"] if each == name]
    return found[0] if len(found) == 1 else None
