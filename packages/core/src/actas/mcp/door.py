"""The door: an ASGI application that lets nobody through without a verified token.

::

    /.well-known/oauth-protected-resource/…   metadata (RFC 9728), open to all
    the MCP path                              token ─▶ Session ─▶ the MCP endpoint
    anything else                             404
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit

import orjson

from actas.core import (
    ActasError,
    Audit,
    AuditEvent,
    AuditUnavailable,
    AuthenticationError,
    Outcome,
    Session,
    SessionRejected,
)
from actas.core.models import new_id
from actas.core.pipeline import request_id
from actas.mcp.challenge import Challenges, Headers, Refusal
from actas.oauth.authentication import Authenticator
from actas.oauth.reasons import Reason

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]  # Any: as the ASGI specification has it
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Endpoint = Callable[[Scope, Receive, Send, Session], Awaitable[None]]
"""The MCP endpoint behind the door; gets the caller besides."""

_WELL_KNOWN = "/.well-known/oauth-protected-resource"


def metadata_url(resource: str) -> str:
    """Where the metadata of ``resource`` is (RFC 9728 section 3.1: the well-known part goes before the path)."""
    parts = urlsplit(resource)
    return f"{parts.scheme}://{parts.netloc}{_WELL_KNOWN}{'' if parts.path == '/' else parts.path}"


def metadata_document(resource: str, name: str, issuers: list[str], scopes: list[str]) -> dict[str, object]:
    """The metadata of ``resource`` (RFC 9728 section 2)."""
    document: dict[str, object] = {
        "resource": resource,
        "authorization_servers": list(dict.fromkeys(issuers)),
        "bearer_methods_supported": ["header"],
        "resource_name": name,
    }
    return document | {"scopes_supported": scopes} if scopes else document


class Door:
    """Authenticates every request to ``path`` and hands it with its Session to ``endpoint``.

    Args:
        path: the path of the MCP endpoint.
        authenticator: verifies tokens.
        challenges: makes the refusals.
        metadata: the RFC 9728 document.
        metadata_path: its path.
        audit: failures and first successes are recorded.
        endpoint: gets what is let in.
        lifespan: entered when the server starts, left when it stops.
    """

    def __init__(
        self,
        *,
        path: str,
        authenticator: Authenticator,
        challenges: Challenges,
        metadata: Mapping[str, object],
        metadata_path: str,
        audit: Audit,
        endpoint: Endpoint,
        lifespan: Callable[[], AbstractAsyncContextManager[object]],
    ) -> None:
        self._path = path
        self._authenticator = authenticator
        self._challenges = challenges
        self._metadata = orjson.dumps(metadata)
        self._metadata_path = metadata_path
        self._audit = audit
        self._endpoint = endpoint
        self.lifespan = lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            if scope["path"] == self._path:
                await self._enter(scope, receive, send)
            elif scope["path"] == self._metadata_path:
                await self._send_metadata(scope, send)
            else:
                await respond(send, 404, [(b"content-type", b"text/plain")], b"Not found\n")
        elif scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = request_id.set(new_id())
        try:
            session = await self._identify(scope)
            if isinstance(session, Refusal):
                await respond(send, session.status, session.headers, session.body)
            else:
                await self._endpoint(scope, receive, send, session)
        except AuditUnavailable as error:
            refusal = self._challenges.unavailable(error)
            await respond(send, refusal.status, refusal.headers, refusal.body)
        finally:
            request_id.reset(context)

    async def _identify(self, scope: Scope) -> Session | Refusal:
        """The caller's session, or what to answer instead."""
        try:
            token = bearer_token(scope["headers"])
            if token is None:
                await self._record_failure("missing_token", "no bearer token")
                return self._challenges.missing_token()
            known = self._authenticator.cached(token)
            session = known or await self._authenticator.authenticate(token.decode("ascii"))
        except AuthenticationError as error:
            await self._record_failure(error.code, error.detail)
            return self._challenges.invalid_token(error)
        if known is None or session.rejected:
            await self._record_session(session)
        if session.rejected:
            rejection = SessionRejected(detail=session.rejection_reason)
            return self._challenges.rejected(rejection)
        return session

    async def _record_failure(self, code: str, reason: str | None) -> None:
        await self._audit.record(
            AuditEvent(
                source="auth",
                outcome=Outcome.REFUSED,
                action="authenticate",
                request_id=request_id.get(),
                code=code,
                reason=reason,
            )
        )

    async def _record_session(self, session: Session) -> None:
        """Authenticated but admitted to nothing is another event than not authenticated."""
        await self._audit.record(
            AuditEvent.of(
                session,
                source="auth",
                outcome=Outcome.REFUSED if session.rejected else Outcome.SUCCESS,
                action="authenticate",
                request_id=request_id.get(),
                code=SessionRejected.code if session.rejected else None,
                reason=session.rejection_reason,
            )
        )

    async def _send_metadata(self, scope: Scope, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await respond(send, 405, [(b"allow", b"GET, HEAD")], b"")
            return
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self._metadata)),
            (b"cache-control", b"max-age=300"),
            (b"access-control-allow-origin", b"*"),
        ]
        await respond(send, 200, headers, self._metadata if scope["method"] == "GET" else b"")

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        started = False
        try:
            async with self.lifespan():
                started = True
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as error:
            if not started:
                await send({"type": "lifespan.startup.failed", "message": _told(error)})
                return
            logger.exception("the shutdown raised")
            await send({"type": "lifespan.shutdown.failed", "message": type(error).__name__})
            return
        await send({"type": "lifespan.shutdown.complete"})


def bearer_token(headers: Headers) -> bytes | None:
    """The token of the one ``Authorization`` header, or None where there is none or of another scheme.

    Another scheme counts as no authentication at all (RFC 6750 section 3.1).

    Raises:
        AuthenticationError: there are several headers, or nothing that could be a token after the scheme.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            if found is not None:
                raise AuthenticationError(Reason.MALFORMED, detail="several Authorization headers")
            found = value
    if found is None:
        return None
    scheme, _, token = found.partition(b" ")
    if scheme.lower() != b"bearer":
        return None
    token = token.strip(b" ")
    if not token or not token.isascii():
        raise AuthenticationError(Reason.MALFORMED, detail="no token after Bearer")
    return token


def _told(error: Exception) -> str:
    """What the host may print: the text of a foreign exception may hold anything."""
    return error.message if isinstance(error, ActasError) else type(error).__name__


async def respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a whole response."""
    if not any(name == b"content-length" for name, _ in headers):
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
