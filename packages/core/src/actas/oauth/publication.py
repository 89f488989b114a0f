"""A provider's metadata, passed on: for clients that look for it at the resource server, as MCP once told them to."""

import logging
import time
from collections.abc import Callable

import anyio
import orjson

from actas.core.errors import ActasError
from actas.http import HttpClient
from actas.oauth.metadata import fetch_metadata
from actas.oauth.settings import TrustedIssuer

_FRESH_SECONDS = 300.0
"""Seconds for which a document is passed on without asking again."""
_PAUSE_SECONDS = 30.0
"""Seconds between two attempts while the provider gives none: strangers make us ask no faster."""

_log = logging.getLogger(__name__)


class PassedOn:
    """The metadata document (RFC 8414) of one provider, as it says it of itself.

    It is about the provider and no other, or it is not passed on. While the provider is out of reach, the last good
    one is, for ``keys_max_age``.
    """

    def __init__(self, http: HttpClient, issuer: TrustedIssuer, clock: Callable[[], float] = time.time) -> None:
        self._http = http
        self._issuer = issuer
        self._clock = clock
        self._lock = anyio.Lock()
        self._last: bytes | None = None
        self._fetched_at = 0.0
        self._ask_again_at = float("-inf")

    async def document(self) -> bytes | None:
        """The document, or None where there is none. Never raises.

        One caller waits for the provider, for all others there is the last good one meanwhile.
        """
        if self._clock() >= self._ask_again_at and not (self._lock.locked() and self._usable() is not None):
            async with self._lock:
                if self._clock() >= self._ask_again_at:
                    with anyio.CancelScope(shield=True):  # whoever hangs up must not use up the one attempt
                        await self._ask()
        return self._usable()

    async def _ask(self) -> None:
        pause = _PAUSE_SECONDS
        try:
            document = orjson.dumps(await fetch_metadata(self._http, self._issuer))
        except (ActasError, OSError, TypeError, ValueError) as error:
            _log.warning("the metadata of %s cannot be passed on: %s", self._issuer.name, type(error).__name__)
        else:
            self._last, self._fetched_at = document, self._clock()
            pause = _FRESH_SECONDS
        self._ask_again_at = self._clock() + pause

    def _usable(self) -> bytes | None:
        return self._last if self._clock() - self._fetched_at < self._issuer.keys_max_age else None
