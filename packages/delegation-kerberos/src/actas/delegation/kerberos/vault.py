"""The tickets that are kept: one for each user and target, for minutes, a bounded number of them, obtained once for all
who wait for the same one, and renewed before they run out."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass

from actas.core.errors import ActasError, DownstreamUnavailable
from actas.delegation.kerberos.failures import KdcUnavailable
from actas.delegation.kerberos.principals import Principal
from actas.delegation.kerberos.settings import LimitSettings
from actas.delegation.kerberos.tickets import Evidence, KerberosTicket, Obtainer
from actas.delegation.kerberos.workers import Workers

_SPARE = 30.0
"""Seconds before its end at which a ticket is not given out any more, or a tenth of a short life."""
_RENEWED_AFTER = 0.8
"""Part of its time here after which another one is obtained, while it serves on."""

_Key = tuple[Principal, str]


@dataclass(frozen=True, slots=True)
class _Kept:
    ticket: KerberosTicket
    renew_at: float
    until: float


class Vault:
    """Gives out tickets, from memory or from the KDC. Belongs to one event loop."""

    def __init__(self, obtainer: Obtainer, workers: Workers, limits: LimitSettings) -> None:
        self._obtainer = obtainer
        self._workers = workers
        self._limits = limits
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._under_way: dict[_Key, asyncio.Task[KerberosTicket]] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._kept)

    async def ticket(self, user: Principal, target: str, deadline: float) -> KerberosTicket:
        """The ticket of ``user`` for ``target``.

        Args:
            target: with its realm.
            deadline: on :func:`time.monotonic`'s clock.

        Raises:
            KdcUnavailable: the KDC did not answer within ``limits.kdc_seconds``, or by the deadline.
            ActasError: as :meth:`Obtainer.ticket`.
        """
        key = user, target
        kept, now = self._kept.get(key), time.time()
        if kept is not None and now < kept.until:
            self._kept.move_to_end(key)
            if now >= kept.renew_at:
                self._obtain(key)
            return kept.ticket
        waiting = asyncio.shield(self._obtain(key))
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await waiting
        except TimeoutError:
            raise KdcUnavailable(detail="the KDC did not answer by the call's deadline") from None
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is not None and caller.cancelling():
                raise
            raise _gone() from None  # it was not the caller who was told to stop

    async def evidence(self, user: Principal, deadline: float) -> Evidence:
        """What the KDC says of ``user``, now.

        Raises:
            ActasError: as :meth:`Obtainer.evidence`, and :meth:`ticket`.
        """
        until = min(deadline, time.monotonic() + self._limits.kdc_seconds)
        try:
            return await self._workers.run(lambda: self._obtainer.evidence(user), until, user)
        except TimeoutError:
            raise KdcUnavailable(detail="the KDC did not answer in time") from None

    def discard(self, user: Principal, target: str) -> None:
        """Forget the ticket. It is wiped as soon as nobody uses it any more."""
        self._kept.pop((user, target), None)

    def close(self) -> None:
        """Wipe all of them, whoever uses them, and obtain no others."""
        self._closed = True
        for task in self._under_way.values():
            task.cancel()
        for kept in self._kept.values():
            kept.ticket.wipe()
        self._kept.clear()

    def _obtain(self, key: _Key) -> asyncio.Task[KerberosTicket]:
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self._obtained(key))
            task.add_done_callback(lambda ended: self._ended(key, ended))
        return task

    async def _obtained(self, key: _Key) -> KerberosTicket:
        user, target = key
        if self._closed:
            raise _gone()
        try:
            ticket = await self._workers.run(
                lambda: self._obtainer.ticket(user, target), time.monotonic() + self._limits.kdc_seconds, user
            )
        except TimeoutError:
            raise KdcUnavailable(detail="the KDC did not answer within limits.kdc_seconds") from None
        life = ticket.expires_at - ticket.obtained_at
        until = min(ticket.obtained_at + self._limits.ticket_seconds, ticket.expires_at - min(_SPARE, life / 10))
        renew_at = ticket.obtained_at + (until - ticket.obtained_at) * _RENEWED_AFTER
        self._kept[key] = _Kept(ticket, renew_at, until)
        self._kept.move_to_end(key)
        while len(self._kept) > self._limits.tickets:
            self._kept.popitem(last=False)
        return ticket

    def _ended(self, key: _Key, task: asyncio.Task[KerberosTicket]) -> None:
        self._under_way.pop(key, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, KdcUnavailable) and isinstance(error, ActasError):
            # A renewal that was refused: she may no longer, so the present one does not serve on either.
            self._kept.pop(key, None)


def _gone() -> DownstreamUnavailable:
    return DownstreamUnavailable(detail="the module was destroyed")
