"""Streams that are resumed: by whom they were meant for.

The MCP SDK names a stream by the JSON-RPC id of the request that opened it, and asks one store for all sessions: two
users who count from one would share a stream, and either could resume the other's. So could whoever acts for a user,
with fewer rights than he has himself.
"""

import json
from collections.abc import Callable
from hashlib import sha256

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCMessage

from actas.core import Session
from actas.mcp.caller import client_of

_DIGITS = 32


class OwnEvents(EventStore):
    """Keeps the streams of each user and client, and of whoever acts for him, apart in ``store``.

    Args:
        store: keeps them.
        caller: whose request is being served.
    """

    def __init__(self, store: EventStore, caller: Callable[[], Session]) -> None:
        self._store = store
        self._caller = caller

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """As the SDK has it; the event's id says whose it is."""
        owner = self._owner()
        return owner + await self._store.store_event(owner + stream_id, message)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """As the SDK has it; of another user's event nothing is known."""
        owner = self._owner()
        if not last_event_id.startswith(owner):
            return None

        async def send(event: EventMessage) -> None:
            named = event.event_id if event.event_id is None else owner + event.event_id
            await send_callback(EventMessage(event.message, named))

        stream = await self._store.replay_events_after(last_event_id.removeprefix(owner), send)
        return None if stream is None else stream.removeprefix(owner)

    def _owner(self) -> str:
        session = self._caller()
        whom = json.dumps([session.issuer, session.subject, client_of(session)])
        return sha256(whom.encode()).hexdigest()[:_DIGITS] + "-"
