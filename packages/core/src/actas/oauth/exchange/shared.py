"""Sealed entries in a store that several processes share, and one exchange for all of them.

What lies there is what lies in the process's own store: sealed, under a name that says nothing. Where the store does
not answer, each process keeps and exchanges for itself.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from actas.oauth.shared_store import SharedStore

_ENTRY = b"actas:token/"
_LEADER = b"actas:token-leader/"
_LOOK_SECONDS = 0.03
"""How often those who wait look whether the leader is done."""
_DROP_IF = """
if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("del", KEYS[1]) end
return 0
"""
"""Removes a key, if it has still this value: an entry, or the lead, which ends by itself where its process died."""


class SharedEntries:
    """Entries by name, for as long as each is good.

    Args:
        store: where they are; stays the caller's to close.
    """

    def __init__(self, store: SharedStore) -> None:
        self._store = store

    async def get(self, name: bytes) -> bytes | None:
        """The entry called ``name``; None where there is none, or the store does not answer."""
        found = await self._store.attempt(lambda: self._store.client.get(_ENTRY + name))
        return found[0] if found is not None and isinstance(found[0], bytes) else None

    async def put(self, name: bytes, entry: bytes, seconds: float) -> None:
        """Keep ``entry`` so long, if the store answers."""
        lifetime = int(seconds * 1000)
        if lifetime > 0:
            await self._store.attempt(lambda: self._store.client.set(_ENTRY + name, entry, px=lifetime))

    async def drop_if(self, name: bytes, entry: bytes) -> None:
        """Forget ``entry``, if the store answers; one that came in its place meanwhile stays."""
        await self._store.attempt(lambda: self._store.client.eval(_DROP_IF, 1, _ENTRY + name, entry))

    async def drop(self, name: bytes) -> None:
        """Forget one entry, if the store answers."""
        await self._store.attempt(lambda: self._store.client.delete(_ENTRY + name))

    @asynccontextmanager
    async def leading(self, name: bytes, patience: float) -> AsyncGenerator[bytes | None]:
        """Be the one process that gets the entry ``name``; or wait for it from the one that is.

        Inside there is either the entry, or None: then it is for this process to get it and put it.

        Args:
            patience: seconds that getting one takes at most. Who leads longer has lost the lead, who has waited as
                long waits no more.
        """
        token = os.urandom(16).hex().encode()
        until = time.monotonic() + patience
        while not await self._leads(name, token, patience):
            entry = await self.get(name)
            if entry is not None or time.monotonic() > until:
                yield entry
                return
            await asyncio.sleep(_LOOK_SECONDS)
        try:
            yield await self.get(name)  # somebody may have been done a moment ago
        finally:
            await self._store.attempt(lambda: self._store.client.eval(_DROP_IF, 1, _LEADER + name, token))

    async def _leads(self, name: bytes, token: bytes, seconds: float) -> bool:
        """Whether this process is to get the entry: the first to ask, or one whose store does not answer."""
        lifetime = int(seconds * 1000)
        told = await self._store.attempt(lambda: self._store.client.set(_LEADER + name, token, nx=True, px=lifetime))
        return told is None or bool(told[0])
