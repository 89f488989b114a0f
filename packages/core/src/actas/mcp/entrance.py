"""Who is it? From an HTTP request to the caller's session, or to what to answer instead."""

from collections.abc import Awaitable, Callable

from actas.core import Audit, AuthenticationError, AuthenticationUnavailable, Session, SessionRejected
from actas.mcp.arrivals import record_failure, record_session
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
                await record_failure(self._audit, "missing_token", "no bearer token")
                return self.challenges.missing_token()
            known = self._authenticator.cached(token)
            session = known or await self._authenticator.authenticate(token.decode("ascii"))
        except AuthenticationUnavailable as error:
            await record_failure(self._audit, error.code, error.detail, error.outcome)
            return self.challenges.unavailable(error)
        except AuthenticationError as error:
            await record_failure(self._audit, error.code, error.detail)
            return self.challenges.invalid_token(error)
        if known is None or session.rejected:
            await record_session(self._audit, session)
        if session.rejected:
            rejection = SessionRejected(detail=session.rejection_reason)
            return self.challenges.rejected(rejection)
        return session
