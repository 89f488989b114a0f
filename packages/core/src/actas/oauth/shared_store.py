"""A Valkey or Redis server that several processes share, and going on without it where it does not answer.

Here are only the bounds: of time, of connections, and of how often a server that is down is asked again. What is
done with it is its users' business; none of them may depend on it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

from actas.core.errors import ConfigurationError

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 0.25
"""Seconds in which the store must have answered, connecting included."""
PAUSE_SECONDS = 5.0
"""Seconds for which a store that did not answer is not asked again."""
_MOST_CONNECTIONS = 32

T = TypeVar("T")


class SharedStore:
    """The connections to one store.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with its password.
        tls: what the client is told about certificates.

    Raises:
        ConfigurationError: the extra ``shared`` is not installed.
    """

    def __init__(self, url: str, tls: Mapping[str, str]) -> None:
        try:
            from redis.asyncio import BlockingConnectionPool, Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError as error:
            raise ConfigurationError(
                'shared.url: a shared store needs more packages: pip install "actas[shared]"'
            ) from error
        self.pool = cast("Any", BlockingConnectionPool).from_url(  # Any: its type says nothing about its arguments
            url,
            max_connections=_MOST_CONNECTIONS,
            timeout=ANSWER_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
            **tls,
        )
        self.client: Any = Redis(connection_pool=self.pool)  # Any: its methods are half typed
        self._silent_until = 0.0
        self._answers = True

    async def attempt(self, work: Callable[[], Awaitable[T]]) -> tuple[T] | None:
        """What ``work`` gives, in a tuple; None where the store does not answer in time, or did not a moment ago."""
        now = time.monotonic()
        if now < self._silent_until:
            return None
        if not self._answers:
            self._silent_until = now + PAUSE_SECONDS  # one of many tries; the others go on without
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                given = await work()
        except Exception as error:  # whatever a foreign library over a network raises, callers are served
            self._failed(error)
            return None
        if not self._answers:
            self._answers, self._silent_until = True, 0.0
            logger.warning("the shared store answers again")
        return (given,)

    def _failed(self, error: Exception) -> None:
        self._silent_until = time.monotonic() + PAUSE_SECONDS
        if self._answers:
            self._answers = False
            logger.warning(
                "the shared store does not answer (%s): this process goes on by itself until it does",
                type(error).__name__,  # its text may have the URL, with a password
            )

    async def aclose(self) -> None:
        """Close the connections. May be called twice."""
        await self.pool.aclose()
