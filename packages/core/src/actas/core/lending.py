"""What a module is given to act with: an exchanged token, or tickets; other ones once, where they were refused.

A downstream that did not let somebody in has begun nothing, so the call may be carried out again; the token or
the ticket may have been revoked, or a key changed, since it was kept.
"""

from collections.abc import Awaitable, Callable

from actas.core.errors import CredentialRejected
from actas.core.models import DelegationCall, DelegationResult, Session
from actas.core.protocols import CredentialSource, TicketGranter
from actas.core.tickets import Ticket

Step = Callable[[DelegationCall], Awaitable[DelegationResult]]
"""Carries a call out."""


def equipped(step: Step, credentials: CredentialSource | None, granter: TicketGranter | None) -> Step:
    """``step``, and before it whatever the module's configuration says that it acts with."""
    if granter is not None:
        return _with_tickets(step, granter)
    return step if credentials is None else _with_credential(step, credentials)


def _with_credential(step: Step, source: CredentialSource) -> Step:
    async def carry_out(call: DelegationCall) -> DelegationResult:
        credential = await source.obtain(call.session)
        try:
            return await step(call.holding(credential))
        except CredentialRejected:
            await source.discard(call.session, credential)
            another = await source.obtain(call.session)
            if another.token == credential.token:
                raise
        return await step(call.holding(another))

    return carry_out


def _with_tickets(step: Step, granter: TicketGranter) -> Step:
    async def carry_out(call: DelegationCall) -> DelegationResult:
        lent = Lent(granter, call.session, call.deadline)
        try:
            return await step(call.presenting(lent))
        except CredentialRejected:
            if not await lent.discard():
                raise
        return await step(call.presenting(lent))

    return carry_out


class Lent:
    """What a module finds in ``call.tickets``: tickets of ``session``'s user until ``deadline``.

    Args:
        deadline: on :func:`time.monotonic`'s clock.
    """

    def __init__(self, granter: TicketGranter, session: Session, deadline: float) -> None:
        self._granter = granter
        self._session = session
        self._deadline = deadline
        self._targets: set[str] = set()

    async def obtain(self, target: str) -> Ticket:
        """See :meth:`.Tickets.obtain`."""
        ticket = await self._granter.ticket(self._session, target, deadline=self._deadline)
        self._targets.add(target)
        return ticket

    async def discard(self) -> bool:
        """Forget what was obtained: a target did not take it. Whether there was anything."""
        targets, self._targets = self._targets, set()
        for target in targets:
            await self._granter.discard(self._session, target)
        return bool(targets)
