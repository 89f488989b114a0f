"""Who is it? From an HTTP request to the caller's session, or to what to answer instead."""

from collections.abc import Awaitable, Callable

from actas.core import (
    Audit,
    AuditEvent,
    AuthenticationError,
    AuthenticationUnavailable,
    Outcome,
    Session,
    SessionRejected,
)
from actas.core.pipeline import request_id
from actas.mcp.asgi import Receive, Scope, Send
from actas.mcp.challenge import Challenges, Refusal
from actas.mcp.credentials import bearer_token
from actas.oauth.authentication import Authenticator

Endpoint = Callable[[Scope, Receive, Send, Session], Awaitable[None]]
"""What lies behind the entrance; gets the caller besides."""


class Entrance:
    """Identifies callers; failures and first successes are recorded.

    Args:
        authenticator: verifies tokens.
        challenges: makes the refusals.
        audit: where the minutes go.
    """

    def __init__(self, authenticator: Authenticator, challenges: Challenges, audit: Audit) -> None:
        self._authenticator = authenticator
        self.challenges = challenges
        self._audit = audit

    async def identify(self, scope: Scope) -> Session | Refusal:
        """The caller's session, or what to answer instead."""
        try:
            token = bearer_token(scope["headers"])
            if token is None:
                await self._record_failure("missing_token", "no bearer token")
                return self.challenges.missing_token()
            known = self._authenticator.cached(token)
            session = known or await self._authenticator.authenticate(token.decode("ascii"))
        except AuthenticationUnavailable as error:
            await self._record_failure(error.code, error.detail, error.outcome)
            return self.challenges.unavailable(error)
        except AuthenticationError as error:
            await self._record_failure(error.code, error.detail)
            return self.challenges.invalid_token(error)
        if known is None or session.rejected:
            await self._record_session(session)
        if session.rejected:
            rejection = SessionRejected(detail=session.rejection_reason)
            return self.challenges.rejected(rejection)
        return session

    async def _record_failure(self, code: str, reason: str | None, outcome: Outcome = Outcome.REFUSED) -> None:
        await self._audit.record(
            AuditEvent(
                source="auth",
                outcome=outcome,
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
