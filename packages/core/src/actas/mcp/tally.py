"""Minutes of refusals that anybody can cause at will: some are written one by one, the rest are counted."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from actas.core import Audit, AuditEvent
from actas.core.models import new_id

SECONDS = 60.0
"""How long refusals are counted before their number is written."""
MOST_GROUPS = 100
"""Callers told apart at a time; the others are counted together."""


@dataclass(slots=True)
class _Group:
    event: AuditEvent
    ends: float
    seen: int = 0
    counted: int = 0


class Tally:
    """Writes the first refusals of each caller, and the number of the others once a minute.

    So a flood, however many it comes from, adds at most ``MOST_GROUPS * (singly + 1)`` lines a minute and code. The
    number is written with the next refusal after the minute, or by :meth:`aclose`.

    Args:
        audit: where the minutes go.
        singly: how many of a caller are written one by one, each minute.
        clock: monotonic, in seconds.
    """

    def __init__(self, audit: Audit, *, singly: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit = audit
        self._singly = singly
        self._clock = clock
        self._groups: dict[Hashable, _Group] = {}

    async def record(self, who: Hashable, event: AuditEvent) -> None:
        """Write ``event`` about ``who``, or count it.

        Raises:
            AuditUnavailable: as any record does.
        """
        now = self._clock()
        await self._write_ended(now)
        group = self._group(who, event, now)
        group.seen += 1
        if group.seen <= self._singly:
            await self._audit.record(event)
        else:
            group.counted += 1

    async def aclose(self) -> None:
        """Write what was counted so far."""
        await self._write_ended(float("inf"))

    def _group(self, who: Hashable, event: AuditEvent, now: float) -> _Group:
        key = (event.code, who)
        group = self._groups.get(key)
        if group is None and len(self._groups) >= MOST_GROUPS:
            key = (event.code, None)
            event = AuditEvent(source=event.source, outcome=event.outcome, action=event.action, code=event.code)
            group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(event, now + SECONDS)
            if key[1] is None:
                group.seen = self._singly  # its events could be about anybody: there is no first one of each
        return group

    async def _write_ended(self, now: float) -> None:
        while self._groups:
            key = next(iter(self._groups))
            group = self._groups[key]
            if group.ends > now:
                return
            del self._groups[key]
            if group.counted:
                await self._audit.record(
                    replace(
                        group.event,
                        count=group.counted,
                        reason=f"so many more within {SECONDS:.0f} s: {group.event.reason or group.event.code}",
                        request_id="",
                        time=datetime.now(UTC),
                        event_id=new_id(),
                    )
                )
