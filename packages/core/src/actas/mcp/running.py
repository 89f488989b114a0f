"""The calls that run, so that whoever made one can take it back with another request.

There are no sessions here: what belongs together is found by who calls, through which client, and who acts for him.
Nobody's calls are within anybody else's reach. Where one caller has two of the same id, neither is touched: it could be
the wrong one.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager

from actas.core import Session
from actas.core.models import Actor

_Key = tuple[str, str, str | None, tuple[Actor, ...], str, str | int]


PATIENCE = 0.05
"""Seconds after which a call is worth looking after: most have ended before, and pay nothing for it."""


class RunningCalls:
    """Belongs to one event loop; outlives the site that serves."""

    def __init__(self) -> None:
        self._running: dict[_Key, list[Callable[[], None]]] = {}
        self._young: deque[tuple[float, Callable[[], None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def after_a_while(self, do: Callable[[], None]) -> None:
        """Call ``do`` when ``PATIENCE`` is over, whatever has become of the call. One timer for all of them."""
        loop = asyncio.get_running_loop()
        self._young.append((loop.time() + PATIENCE, do))
        if self._timer is None:
            self._timer = loop.call_later(PATIENCE, self._grown)

    def _grown(self) -> None:
        loop = asyncio.get_running_loop()
        now, young = loop.time(), self._young
        while young and young[0][0] <= now:
            young.popleft()[1]()
        self._timer = loop.call_at(young[0][0], self._grown) if young else None

    @contextmanager
    def listed(self, session: Session, request_id: str | int, take_back: Callable[[], None]) -> Generator[None]:
        """Inside, ``take_back`` is called where the caller takes the request back."""
        key = _key(session, request_id)
        self._running.setdefault(key, []).append(take_back)
        try:
            yield
        finally:
            left = self._running[key]
            left.remove(take_back)
            if not left:
                del self._running[key]

    def take_back(self, session: Session, request_id: str | int) -> None:
        """Take back the one call of this caller that has this id; nothing where there is none, or more than one."""
        found = self._running.get(_key(session, request_id), [])
        if len(found) == 1:
            found[0]()


def _key(session: Session, request_id: str | int) -> _Key:
    # 1 and "1" are two ids (JSON-RPC 2.0), and True would be 1.
    kind = type(request_id).__name__
    return session.issuer, session.subject, session.client_id, session.actors, kind, request_id
