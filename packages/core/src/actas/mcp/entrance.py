"""Who is it? From an HTTP request to the caller's session, or to what to answer instead."""

from collections.abc import Awaitable, Callable
from functools import partial

from actas.core import (
    Audit,
    AuthenticationError,
    AuthenticationUnavailable,
    NonceRequired,
    ServerBusy,
    Session,
    SessionRejected,
    TooManyRequests,
)
from actas.mcp.arrivals import Record, record_failure, record_misuse, record_session
from actas.mcp.challenge import NONCE_HEADER, Challenges, Refusal
from actas.mcp.limits import Limits
from actas.mcp.peer import Peers
from actas.mcp.throttle import network_of
from actas.oauth.asgi import Message, Receive, Scope, Send
from actas.oauth.authentication import Authenticator
from actas.oauth.binding import BindingChecker, Presentation
from actas.oauth.credentials import Credentials, credentials, proofs, token68

_MOST_ADMITTED = 10_000
"""Sessions of bound tokens that are known to have been recorded."""

_NONCE = "actas.dpop_nonce"
"""Key in the ASGI scope: a new nonce for a client whose old one runs out."""

Endpoint = Callable[[Scope, Receive, Send, Session], Awaitable[None]]
"""What lies behind the entrance; gets the caller besides."""


class Entrance:
    """Identifies callers; failures and first successes are recorded.

    Args:
        authenticator: verifies tokens.
        binding: holds tokens to what they are bound to.
        peers: who is on the other end of a connection.
        challenges: makes the refusals.
        audit: where the minutes go.
        limits: how often somebody may fail.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        binding: BindingChecker,
        peers: Peers,
        challenges: Challenges,
        audit: Audit,
        limits: Limits,
    ) -> None:
        self._authenticator = authenticator
        self._binding = binding
        self._peers = peers
        self.challenges = challenges
        self._audit = audit
        self._limits = limits
        self._admitted: dict[str, None] = {}

    async def identify(self, scope: Scope) -> Session | Refusal:
        """The caller's session, or what to answer instead."""
        dpop, token = False, None
        session: Session | None = None
        try:
            given = credentials(scope["headers"])
            if given is None:
                # How every OAuth client begins, and no work: recorded, and not counted against the address.
                address = self._address(scope)
                await record_failure(self._counted(address), "missing_token", "no token", address=address)
                return self.challenges.missing_token()
            token, dpop = given
            known = self._authenticator.cached(token)
            session = known or await self._first_seen(scope, token)
            first = known is None
            if dpop or not self._binding.is_free(session):
                await self._check_binding(scope, given, session)
                first = self._is_first(session)
        except AuthenticationUnavailable as error:
            address = self._address(scope)
            await record_failure(self._counted(address), error.code, error.detail, error.outcome, address=address)
            return self.challenges.unavailable(error)
        except AuthenticationError as error:
            await self._record_refusal(scope, error, session, token)
            return self.challenges.invalid_token(error, dpop=dpop)
        except (TooManyRequests, ServerBusy) as error:
            address = self._address(scope)
            await record_failure(self._counted(address), error.code, error.detail, address=address)
            return self.challenges.too_much(error)
        if first or session.rejected:
            counted = partial(self._limits.strangers.record, (session.issuer, session.subject))
            record = counted if session.rejected else self._audit.record
            await record_session(record, session, address=self._address(scope))
        if session.rejected:
            rejection = SessionRejected(detail=session.rejection_reason)
            return self.challenges.rejected(rejection)
        return session

    async def _check_binding(self, scope: Scope, given: Credentials, session: Session) -> None:
        token, dpop = given
        presented = Presentation(
            token=token,
            method=scope["method"],
            proofs=proofs(scope["headers"]) if dpop else None,
            certificate=self._peers.of(scope).certificate,
        )
        scope[_NONCE] = await self._binding.check(session, presented)

    def _is_first(self, session: Session) -> bool:
        """Whether ``session`` is admitted for the first time: its token may have been seen before, without a proof."""
        if session.session_id in self._admitted:
            return False
        if len(self._admitted) >= _MOST_ADMITTED:
            del self._admitted[next(iter(self._admitted))]
        self._admitted[session.session_id] = None
        return True

    async def _first_seen(self, scope: Scope, token: bytes) -> Session:
        """The session of a token that is not remembered, if its address has not failed too often."""
        with self._limits.throttle.looking_at(self._address(scope), token):
            return await self._authenticator.authenticate(token68(token))

    async def _record_refusal(
        self, scope: Scope, error: AuthenticationError, session: Session | None, token: bytes | None
    ) -> None:
        address = self._address(scope)
        if not isinstance(error, NonceRequired):  # which is how every client that must prove something begins
            # A good token that somebody else presents stays a good one.
            self._limits.throttle.failed(address, token if session is None else None)
        if session is None:
            await record_failure(self._counted(address), error.code, error.detail, address=address)
        else:
            await record_misuse(self._counted(address), session, error, address=address)

    def _counted(self, address: str) -> Record:
        """Writes events that anybody can cause at will from ``address``: of a flood of them, the number."""
        return partial(self._limits.strangers.record, network_of(address))

    def _address(self, scope: Scope) -> str:
        return self._peers.of(scope).address


def with_new_nonce(scope: Scope, send: Send) -> Send:
    """``send``, which also gives the client its new nonce, where :meth:`Entrance.identify` found that it needs one."""
    nonce: str | None = scope.get(_NONCE)
    if nonce is None:
        return send

    async def send_with_nonce(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (NONCE_HEADER, nonce.encode())]}
        await send(message)

    return send_with_nonce
