"""Counting in a Valkey or Redis server that several processes share, and going on where it does not answer.

The counting is the library ``limits``'s (its Lua script: one round trip, atomic); here are only the bounds: of time,
of connections, and of how often a server that is down is asked again.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, cast

from actas.core import ConfigurationError
from actas.mcp.rates import Rate
from actas.mcp.settings import SharedSettings

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 0.25
"""Seconds in which the store must have answered, connecting included."""
PAUSE_SECONDS = 5.0
"""Seconds for which a store that did not answer is not asked again."""
_MOST_CONNECTIONS = 32


class SharedWindows:
    """Fixed windows in the shared store.

    Args:
        settings: where it is; ``url`` must be set.
        resource: the server whose windows these are. Others may use the same store.

    Raises:
        ConfigurationError: the extra ``shared`` is not installed.
    """

    def __init__(self, settings: SharedSettings, resource: str) -> None:
        try:
            from limits.aio.storage import RedisStorage
            from redis.asyncio import BlockingConnectionPool
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError as error:
            raise ConfigurationError(
                'shared.url: a shared store needs more packages: pip install "actas[shared]"'
            ) from error
        self._resource = resource
        self._pool = cast("Any", BlockingConnectionPool).from_url(  # Any: its type says nothing about its arguments
            settings.revealed_url(),
            max_connections=_MOST_CONNECTIONS,
            timeout=ANSWER_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
            **settings.tls_options(),
        )
        self._storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix="actas",
            connection_pool=self._pool,
        )
        self._silent_until = 0.0
        self._answers = True

    async def hit(self, name: str, caller: Sequence[str], rate: Rate) -> tuple[int, float] | None:
        """Count one hit: how many there are in the window now, and how many seconds it has left at most.

        None where the store does not answer in time, or has not done so a moment ago.
        """
        now = time.monotonic()
        if now < self._silent_until:
            return None
        if not self._answers:
            self._silent_until = now + PAUSE_SECONDS  # one of many calls tries; the others go on without
        key = self._key(name, caller, rate)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                count = await self._storage.incr(key, rate.seconds)
                left = await self._storage.get_expiry(key) - time.time() if count > rate.amount else 0.0
        except Exception as error:  # whatever a foreign library over a network raises, callers are served
            self._failed(error)
            return None
        if not self._answers:
            self._answers, self._silent_until = True, 0.0
            logger.warning("limits: the shared store answers again")
        return count, left

    async def aclose(self) -> None:
        """Close the connections. May be called twice."""
        await self._pool.aclose()

    def _failed(self, error: Exception) -> None:
        self._silent_until = time.monotonic() + PAUSE_SECONDS
        if self._answers:
            self._answers = False
            logger.warning(
                "limits: the shared store does not answer (%s): this process counts for itself until it does",
                type(error).__name__,  # its text may have the URL, with a password
            )

    def _key(self, name: str, caller: Sequence[str], rate: Rate) -> str:
        """No name of a person is in the store, and no name that somebody chose can be another one's key."""
        parts = (self._resource, name, str(rate.amount), str(rate.seconds), *caller)
        digest = sha256(b"".join(b"%d:%s" % (len(part := text.encode()), part) for text in parts))
        return f"limits/{name}/{digest.hexdigest()[:32]}"
