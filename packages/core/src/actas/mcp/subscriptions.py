"""Streams of events: what one may listen to, and for how long."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from actas.core import Action, InvalidParameters, Session

LONGEST = 3600.0
"""Seconds after which a client has to listen anew."""
MOST = 1000
"""URIs that one stream is about."""

_Result = TypeVar("_Result")

_running: dict[asyncio.Timeout, tuple[Session, asyncio.AbstractEventLoop]] = {}
"""Streams that nothing but time would end."""


def listening(needed: Iterable[Action]) -> Action:
    """Listening, as an action: it needs the scopes of everything that is listened to."""
    scopes = frozenset[str]().union(*(action.scopes for action in needed))
    return Action(name="subscriptions/listen", description="", scopes=scopes, timeout=LONGEST + 60)


def counted(uris: list[str]) -> list[str]:
    """``uris``. Raises InvalidParameters where they are more than :data:`MOST`."""
    if len(uris) > MOST:
        raise InvalidParameters(f"resourceSubscriptions: more than {MOST} URIs. Listen to fewer.")
    return uris


async def while_admitted(session: Session, stream: Callable[[], Awaitable[_Result]], ended: _Result) -> _Result:
    """Run ``stream``, until the session's token ends or :func:`end_streams` ends it: then ``ended`` is its result."""
    until = asyncio.timeout(max(0.0, min(session.expires_at - time.time(), LONGEST)))
    _running[until] = session, asyncio.get_running_loop()
    try:
        async with until:
            return await stream()
    except TimeoutError:
        if not until.expired():
            raise
    finally:
        del _running[until]
    return ended


def end_streams(denied: Callable[[Session], bool]) -> None:
    """End the streams, in this event loop, of sessions that are ``denied`` by now."""
    here = asyncio.get_running_loop()
    for until, (session, loop) in list(_running.items()):
        if loop is here and not until.expired() and denied(session):
            until.reschedule(here.time())
