"""When to exchange, and when not to: one exchange for all who wait, and one ahead of need for what is in use."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from actas.core.errors import ActasError
from actas.core.models import Credential, Session
from actas.oauth.exchange.sealing import Label
from actas.oauth.exchange.vault import Found, Vault

logger = logging.getLogger(__name__)

Exchange = Callable[[], Awaitable[Credential]]
"""Gets a new credential from the provider, verified."""


class CredentialCache:
    """Credentials for one purpose.

    Args:
        vault: where they are kept; may serve several purposes.
        purpose: a digest of all that a credential depends on besides the caller.
        ttl: seconds that one is kept at most.
        leeway: seconds before its own end after which one is not used any more.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        vault: Vault,
        purpose: bytes,
        *,
        ttl: float,
        leeway: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._vault = vault
        self._purpose = purpose
        self._ttl = ttl
        self._leeway = leeway
        self._clock = clock
        self._flights: dict[bytes, asyncio.Task[Credential]] = {}

    async def obtain(self, session: Session, exchange: Exchange) -> Credential:
        """The credential of ``session``: kept, being fetched for somebody else with the same token, or new.

        Raises:
            ActasError: as ``exchange``. Nothing is kept of a failure.
        """
        labels = self._vault.labels(self._purpose, session)
        found = self._vault.get(labels, self._clock())
        if found is None:
            return await asyncio.shield(self._flight(labels[0], session, exchange))
        if found.due and labels[0].name not in self._flights:
            self._vault.metrics.refreshed_ahead += 1
            self._flight(labels[0], session, exchange, instead_of=found)
        return found.credential

    def discard(self, session: Session, refused: Credential) -> None:
        """Forget ``refused``, which the downstream did not take; one that came in its place meanwhile stays."""
        labels = self._vault.labels(self._purpose, session)
        found = self._vault.get(labels, self._clock())
        if found is not None and found.credential.token == refused.token:
            self._vault.drop(labels)

    async def aclose(self) -> None:
        """Let no exchange outlive the server."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _flight(
        self, label: Label, session: Session, exchange: Exchange, *, instead_of: Found | None = None
    ) -> asyncio.Task[Credential]:
        """The one exchange under way for ``label``. It goes on when a caller leaves: others may wait for it."""
        flight = self._flights.get(label.name)
        if flight is None:
            flight = asyncio.create_task(self._fly(label, session, exchange, instead_of))
            self._flights[label.name] = flight
            flight.add_done_callback(_seen)
        return flight

    async def _fly(self, label: Label, session: Session, exchange: Exchange, instead_of: Found | None) -> Credential:
        try:
            credential = await exchange()
            self._keep(label, session, credential)
            return credential
        except ActasError as error:
            if instead_of is not None:
                # The one at hand is good for a while; keeping it anew sets the next attempt a while ahead.
                logger.warning("an exchange ahead of need failed: %s", error.code)
                self._vault.put(label, session, instead_of.credential, self._clock(), instead_of.until)
            raise
        finally:
            del self._flights[label.name]

    def _keep(self, label: Label, session: Session, credential: Credential) -> None:
        now = self._clock()
        until = min(now + self._ttl, credential.expires_at - self._leeway)
        self._vault.put(label, session, credential, now, until)


def _seen(flight: asyncio.Task[Credential]) -> None:
    """Whoever waited has its error; of one that nobody waited for, asyncio shall not complain."""
    if not flight.cancelled():
        flight.exception()
