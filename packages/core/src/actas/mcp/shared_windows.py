"""Counting in a store that several processes share.

The counting is the library ``limits``'s (its Lua script: one round trip, atomic).
"""

import time
from collections.abc import Sequence
from hashlib import sha256

from actas.core import ConfigurationError
from actas.mcp.rates import Rate
from actas.oauth.shared_store import SharedStore


class SharedWindows:
    """Fixed windows in the shared store.

    Args:
        store: where they are; stays the caller's to close.
        resource: the server whose windows these are. Others may use the same store.

    Raises:
        ConfigurationError: the extra ``shared`` is not installed.
    """

    def __init__(self, store: SharedStore, resource: str) -> None:
        try:
            from limits.aio.storage import RedisStorage
        except ImportError as error:
            raise ConfigurationError(
                'shared.url: a shared store needs more packages: pip install "actas[shared]"'
            ) from error
        self._resource = resource
        self._store = store
        self._storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix="actas",
            connection_pool=store.pool,
        )

    async def hit(self, name: str, caller: Sequence[str], rate: Rate) -> tuple[int, float] | None:
        """Count one hit: how many there are in the window now, and how many seconds it has left at most.

        None where the store does not answer in time, or has not done so a moment ago.
        """
        key = self._key(name, caller, rate)

        async def count() -> tuple[int, float]:
            hits = await self._storage.incr(key, rate.seconds)
            return hits, await self._storage.get_expiry(key) - time.time() if hits > rate.amount else 0.0

        told = await self._store.attempt(count)
        return None if told is None else told[0]

    def _key(self, name: str, caller: Sequence[str], rate: Rate) -> str:
        """No name of a person is in the store, and no name that somebody chose can be another one's key."""
        parts = (self._resource, name, str(rate.amount), str(rate.seconds), *caller)
        digest = sha256(b"".join(b"%d:%s" % (len(part := text.encode()), part) for text in parts))
        return f"limits/{name}/{digest.hexdigest()[:32]}"
