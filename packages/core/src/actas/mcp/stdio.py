"""MCP over standard input and output: one caller, who is whoever the token says, on every request.

Nothing proves that the process on the other end is the token's owner but that it could give us the
token. So there is no caller without one, and none with a token that is bound to a key (RFC 9449,
RFC 8705): possession cannot be proven here. The token is looked at anew for every request: it may
have expired, been revoked, or been renewed in its file.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anyio
import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from actas.core import (
    ActasError,
    AuditUnavailable,
    AuthenticationError,
    AuthenticationUnavailable,
    ConfigurationError,
    InsufficientScope,
    Session,
    SessionRejected,
    TooManyRequests,
)
from actas.core.models import new_id
from actas.core.pipeline import request_id
from actas.core.secret import Secret
from actas.mcp.arrivals import record_failure, record_session
from actas.mcp.endpoint import with_caller
from actas.mcp.inflight import CutOff
from actas.mcp.site import Site
from actas.mcp.stdin import standard_input
from actas.oauth.reasons import Reason

logger = logging.getLogger(__name__)

_MAX_FILE_BYTES = 1_048_576
_RENEW_FILE = (
    "The access token is not accepted any more. Put a new one of the same user into the token file, and go on."
)
_RENEW_ALL = "The access token is not accepted any more. Start this server anew with a new one in ACTAS_TOKEN."


@dataclass(frozen=True, slots=True)
class TokenSource:
    """Where the caller's token is: given once, or in a file, which is read for every request."""

    given: Secret | None = None
    file: Path | None = None

    def __post_init__(self) -> None:
        if (self.given is None) == (self.file is None):
            raise ConfigurationError(
                "stdio: whose tools are these? Set ACTAS_TOKEN to the user's access token, or name a file that holds it"
                " with --token-file. One of the two, and nobody is served without."
            )

    def token(self) -> str:
        """The token as it is now. Raises AuthenticationError: there is none."""
        if self.file is None:
            token = self.given.reveal() if self.given is not None else ""
        else:
            try:
                with self.file.open("rb") as stream:
                    token = stream.read(_MAX_FILE_BYTES).decode("ascii", "replace")
            except (OSError, ValueError):
                raise AuthenticationError(Reason.NO_TOKEN, detail="the token file cannot be read") from None
        token = token.strip()
        if not token:
            raise AuthenticationError(Reason.NO_TOKEN)
        return token

    @property
    def renewal(self) -> str:
        """What to do when the token is not accepted."""
        return _RENEW_ALL if self.file is None else _RENEW_FILE


class Caller:
    """The one caller of a connection over stdio.

    Args:
        site: verifies, records and serves.
        source: where his token is.
    """

    def __init__(self, site: Site, source: TokenSource) -> None:
        self._site = site
        self._source = source
        self._first: Session | None = None

    async def identify(self) -> Session:
        """Who he is now.

        Raises:
            AuthenticationError: his token is not accepted, or not any more. Recorded.
            SessionRejected: he is known, and admitted to nothing. Recorded.
            AuditUnavailable: it cannot be recorded.
        """
        audit = self._site.context.audit
        try:
            session, known = await self._verified()
        except AuthenticationError as error:
            await record_failure(audit.record, error.code, error.detail, error.outcome)
            raise
        if not known or session.rejected:
            await record_session(audit.record, session)
        if session.rejected:
            raise SessionRejected(detail=session.rejection_reason)
        self._first = self._first or session
        return session

    async def _verified(self) -> tuple[Session, bool]:
        token = self._source.token()
        authenticator = self._site.context.authenticator
        known = authenticator.cached(token.encode("ascii", "replace"))
        session = known or await authenticator.authenticate(token)
        if not self._site.binding.is_free(session):
            raise AuthenticationError(Reason.SENDER_CONSTRAINED)
        first = self._first
        if first is not None and (first.issuer, first.subject) != (session.issuer, session.subject):
            raise AuthenticationError(Reason.OTHER_CALLER)
        return session, known is not None

    async def admit(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """The SDK's middleware: nothing is done for a request whose caller is not known. (Any: the SDK's own types.)"""
        if ctx.request_id is None:
            return await call_next(ctx)  # a notification asks for nothing
        current = request_id.set(new_id())
        try:
            return await self._site.in_flight.run(self._serve(ctx, call_next))
        except CutOff:
            raise MCPError(types.INTERNAL_ERROR, "The server is stopping. Start it anew.") from None
        finally:
            request_id.reset(current)

    async def _serve(self, context: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        try:
            session = await self.identify()
        except (AuthenticationUnavailable, SessionRejected, AuditUnavailable) as error:
            raise _told(error) from None
        except AuthenticationError as error:
            raise _told(error, self._source.renewal) from None
        site = self._site
        try:
            caller = await site.limits.admit(session)
        except (TooManyRequests, AuditUnavailable) as error:
            raise _told(error) from None
        arrived, exchange = with_caller(context, session, site.entrance.challenges, site.context.pipeline)
        try:
            return await call_next(arrived)
        except MCPError:
            if exchange.error is None:
                raise
            raise _told(exchange.error) from None
        finally:
            site.limits.release(caller)


def _told(error: ActasError, message: str | None = None) -> MCPError:
    """What the door would say with a status and a challenge, as a JSON-RPC error."""
    data: dict[str, object] = {"error": error.code}
    if isinstance(error, InsufficientScope):
        data["scopes"] = sorted(error.scopes)
    if isinstance(error, TooManyRequests):
        data["retryAfter"] = error.retry_after
    return MCPError(types.INVALID_REQUEST, message or error.message, data)


async def serve(site: Site, source: TokenSource, *, started: Callable[[Session], None], stop: asyncio.Event) -> None:
    """Serve over this process's standard input and output, until the client closes them or ``stop`` is set.

    Raises:
        AuthenticationError, SessionRejected: the token was not accepted to begin with. Nothing was read.
    """
    caller = Caller(site, source)
    current = request_id.set(new_id())
    try:
        started(await caller.identify())
    finally:
        request_id.reset(current)
    async with (
        standard_input(site.settings.mcp.max_body_bytes) as lines,
        stdio_server(stdin=cast("anyio.AsyncFile[str]", lines)) as streams,
    ):
        serving = asyncio.create_task(site.sdk.over_streams(streams, caller.admit))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                await site.finish()
        finally:
            lines.end()
            stopping.cancel()
            serving.cancel()
            await asyncio.wait([serving])
        if not serving.cancelled():
            serving.result()
