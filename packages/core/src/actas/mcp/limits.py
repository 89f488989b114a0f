"""Who may have how much: of the server at once, and of its tools in a time.

::

    arrive ─▶ looking_at (is the token good?) | failed ─▶ admit ─▶ … spend_call … ─▶ release ─▶ leave

Nothing ever waits in a queue: what is too much is refused at once, and recorded without letting a flood fill the
minutes (:mod:`actas.mcp.tally`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches

from actas.core import Audit, AuditEvent, ConfigurationError, ServerBusy, Session, TooManyRequests
from actas.core.pipeline import current_request
from actas.mcp.rates import Rate, Windows
from actas.mcp.settings import LimitSettings
from actas.mcp.shared_windows import SharedWindows
from actas.mcp.tally import Tally
from actas.mcp.throttle import Throttle

Caller = tuple[str, ...]
"""Whom requests are counted for: issuer and subject, or issuer and client where a token stands for no user."""

BUSY_SECONDS = 1.0
"""When to try again where too much is asked for at once."""
_SINGLY = 5
"""Refusals of one address that are recorded one by one, each minute: an operator sees more than a number of them."""


def caller_of(session: Session) -> Caller:
    """Whom the requests of ``session`` are counted for."""
    if session.application:
        return session.issuer, "", session.client_id or session.subject
    return session.issuer, session.subject


@dataclass(slots=True)
class _Serving:
    """What is being served: in all, and for each caller."""

    requests: int = 0
    of: dict[Caller, int] = field(default_factory=dict[Caller, int])


class _Limit:
    """One rate: counted in the shared store where there is one and it answers, in this process otherwise."""

    def __init__(self, name: str, written: str, shared: SharedWindows | None) -> None:
        self.name = name
        self._rate = Rate.parse(written)
        self._here = Windows(self._rate.seconds)
        self._shared = shared

    def inherit(self, predecessor: "_Limit") -> None:
        """Take over the windows, where they are as long."""
        if predecessor._rate.seconds == self._rate.seconds:
            self._here = predecessor._here

    async def spend(self, key: Caller) -> None:
        """Count one hit of ``key``.

        Raises:
            TooManyRequests: it is one too many.
        """
        told = None if self._shared is None else await self._shared.hit(self.name, key, self._rate)
        if told is not None:
            count, left = told
        elif (count := self._here.hit(key).count) > self._rate.amount:
            left = self._here.left(key)
        else:
            return
        if count > self._rate.amount:
            raise TooManyRequests(left, detail=f"{self.name}: {self._rate.amount} in {self._rate.seconds} s")


class Limits:
    """All limits of one server.

    Args:
        settings: what is allowed.
        audit: where the minutes go.
        shared: where several processes count together.
    """

    def __init__(self, settings: LimitSettings, audit: Audit, shared: SharedWindows | None = None) -> None:
        self._concurrent = settings.concurrent
        self._concurrent_per_user = settings.concurrent_per_user
        self._serving = _Serving()
        self._per_user = None if settings.per_user is None else _Limit("per_user", settings.per_user, shared)
        self._per_issuer = None if settings.per_issuer is None else _Limit("per_issuer", settings.per_issuer, shared)
        self._per_tool = {tool: _Limit("per_tool", rate, shared) for tool, rate in settings.per_tool.items()}
        self._tally = Tally(audit, singly=1)
        self.strangers = Tally(audit, singly=_SINGLY)
        """For refusals before anybody is known."""
        failures = settings.failed_authentications_per_address
        self.throttle = Throttle(
            None if failures is None else Rate.parse(failures), at_once=max(1, settings.concurrent // 2)
        )

    def inherit(self, predecessor: "Limits") -> None:
        """Count on where the limits of another configuration stopped: a change of it gives nobody his rate anew."""
        self._serving = predecessor._serving
        self.throttle.inherit(predecessor.throttle)
        for mine, its in (
            (self._per_user, predecessor._per_user),
            (self._per_issuer, predecessor._per_issuer),
            *((limit, predecessor._per_tool.get(tool)) for tool, limit in self._per_tool.items()),
        ):
            if mine is not None and its is not None:
                mine.inherit(its)

    def check_tools(self, names: Iterable[str]) -> None:
        """Return where every tool that has a limit is there.

        Raises:
            ConfigurationError: naming those that are not.
        """
        known = list(names)
        problems: list[str] = []
        for tool in self._per_tool:
            if tool not in known:
                near = get_close_matches(tool, known, n=1)
                problems.append(f"limits.per_tool.{tool}: no such tool{f'; did you mean {near[0]}?' if near else ''}")
        if problems:
            raise ConfigurationError(problems)

    async def arrive(self) -> None:
        """A request begins; :meth:`leave` must follow where this returns.

        Raises:
            ServerBusy: there are as many as there may be. Recorded.
        """
        if self._serving.requests >= self._concurrent:
            error = ServerBusy(detail=f"concurrent: {self._concurrent}")
            event = AuditEvent(
                source="limits",
                outcome=error.outcome,
                action="arrive",
                request_id=current_request(),
                code=error.code,
                reason=error.detail,
            )
            await self.strangers.record("", event)
            raise error
        self._serving.requests += 1

    def leave(self) -> None:
        """A request ended, in whatever way."""
        self._serving.requests -= 1

    async def admit(self, session: Session) -> Caller:
        """A request turned out to be of ``session``; :meth:`release` of what this returns must follow.

        Raises:
            TooManyRequests: recorded.
        """
        caller = caller_of(session)
        serving = self._serving.of.get(caller, 0)
        if serving >= self._concurrent_per_user:
            error = TooManyRequests(BUSY_SECONDS, detail=f"concurrent_per_user: {serving}")
            await self._tally.record(caller, _event(session, error, "admit"))
            raise error
        self._serving.of[caller] = serving + 1
        try:
            if self._per_user is not None:
                await self._per_user.spend(caller)
            if self._per_issuer is not None:
                await self._per_issuer.spend((session.issuer,))
        except BaseException as error:
            self.release(caller)
            if isinstance(error, TooManyRequests):
                await self._tally.record(caller, _event(session, error, "admit"))
            raise
        return caller

    def release(self, caller: Caller) -> None:
        """A request of ``caller`` ended, in whatever way."""
        serving = self._serving.of[caller] - 1
        if serving:
            self._serving.of[caller] = serving
        else:
            del self._serving.of[caller]

    async def spend_call(self, session: Session, tool: str) -> None:
        """Count one call of ``tool``, which ``session`` must see: a hidden one must have no limit to run into.

        Raises:
            TooManyRequests: recorded.
        """
        limit = self._per_tool.get(tool)
        if limit is None:
            return
        caller = (*caller_of(session), tool)
        try:
            await limit.spend(caller)
        except TooManyRequests as error:
            await self._tally.record(caller, _event(session, error, "call", tool))
            raise

    async def aclose(self) -> None:
        """Write what was counted so far."""
        await self._tally.aclose()
        await self.strangers.aclose()


def _event(session: Session, error: TooManyRequests, action: str, tool: str | None = None) -> AuditEvent:
    return AuditEvent.of(
        session,
        source="limits",
        outcome=error.outcome,
        action=action,
        request_id=current_request(),
        tool=tool,
        code=error.code,
        reason=error.detail,
    )
