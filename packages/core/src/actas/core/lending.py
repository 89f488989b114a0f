"""Lends one call the tickets of its session's user, and takes them back."""

from actas.core.models import Session
from actas.core.protocols import TicketGranter
from actas.core.tickets import Ticket


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
