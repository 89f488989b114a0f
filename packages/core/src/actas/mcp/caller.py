"""Who makes a request, for whatever serves it: kept in the ASGI scope, and nowhere else."""

import json
from dataclasses import dataclass
from typing import Protocol, cast

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.authentication import AuthCredentials

from actas.core import (
    ActasError,
    AuditUnavailable,
    AuthenticationError,
    InsufficientScope,
    Pipeline,
    Session,
    SessionExpired,
    TooManyRequests,
)
from actas.mcp.attendance import Attendance
from actas.mcp.challenge import Challenges, Refusal
from actas.oauth.asgi import Scope
from actas.oauth.binding import is_key_bound
from actas.oauth.reasons import Reason

_EXCHANGE = "actas.exchange"


@dataclass(slots=True)
class Exchange:
    """One request that the door let in, while it is served."""

    session: Session
    challenges: Challenges
    pipeline: Pipeline
    refusal: Refusal | None = None
    """What the door has to answer in the application's place."""
    error: ActasError | None = None
    """Why."""
    decided: bool = False
    """Whether what was asked for has been allowed: from then on the application's own words may go out."""
    attendance: Attendance | None = None
    """Looks after the call, where the connection is ours to look at."""

    def refuse(self, error: ActasError) -> bool:
        """Answer ``error`` in the application's place, if it is the door's to answer.

        That is a step-up, a token that has run out meanwhile, too many calls, or minutes that cannot be kept; and
        none of them where events have gone out already.
        """
        if self.attendance is not None and self.attendance.begun:
            return False
        match error:
            case InsufficientScope():
                self.refusal = self.challenges.step_up(error, self.session)
            case SessionExpired():
                expired = AuthenticationError(Reason.EXPIRED)
                self.refusal = self.challenges.invalid_token(expired, dpop=is_key_bound(self.session))
            case TooManyRequests():
                self.refusal = self.challenges.too_much(error)
            case AuditUnavailable():
                self.refusal = self.challenges.unavailable(error)
            case _:
                return False
        self.error = error
        return True


class _HasScope(Protocol):
    @property
    def scope(self) -> Scope: ...


class _HasRequest(Protocol):
    @property
    def request_context(self) -> object: ...


def enter(scope: Scope, session: Session, challenges: Challenges, pipeline: Pipeline) -> Exchange:
    """Put the caller into ``scope``: for :func:`current_session`, for Starlette, and for the MCP SDK."""
    exchange = scope[_EXCHANGE] = Exchange(session, challenges, pipeline)
    scope["user"], scope["auth"] = sdk_user(session), AuthCredentials(list(session.scopes))
    return exchange


def exchange_of(scope: Scope) -> Exchange | None:
    """The exchange that ``scope`` belongs to; None where it did not come through the door."""
    return cast("Exchange | None", scope.get(_EXCHANGE))


def current_session(of: _HasScope | _HasRequest) -> Session:
    """Who calls.

    Args:
        of: a request of Starlette or FastAPI, or the ``Context`` of a tool, resource or prompt of the MCP SDK.

    Raises:
        LookupError: the request did not come through the door, and nobody is known.
    """
    return _exchange(of).session


def current_pipeline(of: _HasScope | _HasRequest) -> Pipeline:
    """The pipeline, to delegate with as :func:`current_session`. Raises LookupError as that does."""
    return _exchange(of).pipeline


def _exchange(of: _HasScope | _HasRequest) -> Exchange:
    request = of if hasattr(of, "scope") else getattr(getattr(of, "request_context", None), "request", None)
    scope = cast("Scope | None", getattr(request, "scope", None))
    exchange = None if scope is None else exchange_of(scope)
    if exchange is None:
        raise LookupError("this request did not come through the door: it has no session")
    return exchange


def sdk_user(session: Session) -> AuthenticatedUser:
    """The caller as the SDK knows him: it binds sessions and its sealed request state to client, issuer and subject.

    The SDK knows no actors: whoever acts for a user is another client than the one that he uses himself.
    It gets no token: nothing in the SDK needs it, so nothing can pass it on.
    """
    return AuthenticatedUser(
        AccessToken.model_construct(
            token="",
            client_id=client_of(session),
            scopes=list(session.scopes),
            expires_at=None,
            resource=None,
            subject=session.subject,
            claims={"iss": session.issuer},
        )
    )


def client_of(session: Session) -> str:
    """Through whom the user calls: his client, and with it those who act for him, where there are any."""
    if not session.actors:
        return session.client_id or ""
    return json.dumps([session.client_id, *([actor.issuer, actor.subject] for actor in session.actors)])
