"""When to exchange, and when not to: one exchange for all who wait, and one ahead of need for what is in use."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from actas.core.errors import ActasError
from actas.core.models import Credential, Session
from actas.oauth.exchange.sealing import Label
from actas.oauth.exchange.shared import SharedEntries
from actas.oauth.exchange.vault import Awaited, Found, Vault

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
        shared: where other processes find them too.
        patience: seconds that an exchange takes at most; so long one process waits for another's.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        vault: Vault,
        purpose: bytes,
        *,
        ttl: float,
        leeway: float,
        shared: SharedEntries | None = None,
        patience: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._vault = vault
        self._purpose = purpose
        self._ttl = ttl
        self._leeway = leeway
        self._shared = shared
        self._patience = patience
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
            return await asyncio.shield(self._flight(labels, session, exchange))
        if found.due and labels[0].name not in self._flights:
            self._vault.metrics.refreshed_ahead += 1
            self._flight(labels, session, exchange, instead_of=found)
        return found.credential

    async def discard(self, session: Session, refused: Credential) -> None:
        """Forget ``refused``, which the downstream did not take; one that came in its place meanwhile stays.

        The two stores are looked at apart: this process may have pushed out what all of them still find, and another
        process may have put something better there.
        """
        labels = self._vault.labels(self._purpose, session)
        found = self._vault.get(labels, self._clock())
        if found is not None and found.credential.token == refused.token:
            self._vault.drop(labels)
        if self._shared is None:
            return
        for label in labels:
            entry = await self._shared.get(label.name)
            there = None if entry is None else self._vault.opened(label, entry, self._clock())
            if entry is not None and there is not None and there.credential.token == refused.token:
                await self._shared.drop_if(label.name, entry)

    async def aclose(self) -> None:
        """Let no exchange outlive the server."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _flight(
        self, labels: Sequence[Label], session: Session, exchange: Exchange, *, instead_of: Found | None = None
    ) -> asyncio.Task[Credential]:
        """The one exchange under way for ``labels``. It goes on when a caller leaves: others may wait for it."""
        name = labels[0].name
        flight = self._flights.get(name)
        if flight is None:
            flight = asyncio.create_task(self._fly(labels, session, exchange, instead_of))
            self._flights[name] = flight
            flight.add_done_callback(_seen)
        return flight

    async def _fly(
        self, labels: Sequence[Label], session: Session, exchange: Exchange, instead_of: Found | None
    ) -> Credential:
        label = labels[0]
        try:
            with self._vault.awaiting(session) as awaited:
                if self._shared is None:
                    return self._keep(label, session, await exchange(), awaited)[0]
                return await self._fly_together(self._shared, labels, session, exchange, instead_of, awaited)
        except ActasError as error:
            if instead_of is not None:
                logger.warning("an exchange ahead of need failed: %s", error.code)
            # The one at hand is good for a while, unless it was refused or revoked meanwhile; keeping it anew sets the
            # next attempt a while ahead.
            if instead_of is not None and any(self._vault.holds(each) for each in labels):
                self._vault.put(label, session, instead_of.credential, self._clock(), instead_of.until)
            raise
        finally:
            del self._flights[label.name]

    async def _fly_together(
        self,
        shared: SharedEntries,
        labels: Sequence[Label],
        session: Session,
        exchange: Exchange,
        instead_of: Found | None,
        awaited: Awaited,
    ) -> Credential:
        """One exchange for all processes: the others find what the first one got, also under a secret before this."""
        label = labels[0]
        async with shared.leading(label.name, self._patience) as entry:
            now = self._clock()
            found = None if entry is None else self._vault.adopt(label, session, entry, now, awaited)
            if found is not None and not (instead_of is not None and found.due):
                return found.credential
            for older in labels[1:] if instead_of is None else ():
                entry = await shared.get(older.name)
                found = None if entry is None else self._vault.adopt(older, session, entry, now, awaited)
                if found is not None:
                    return found.credential
            credential, sealed = self._keep(label, session, await exchange(), awaited)
            if sealed is not None:
                await shared.put(label.name, sealed, self._until(credential, now) - now)
            return credential

    def _keep(
        self, label: Label, session: Session, credential: Credential, awaited: Awaited
    ) -> tuple[Credential, bytes | None]:
        if awaited.revoked:
            return credential, None
        now = self._clock()
        return credential, self._vault.put(label, session, credential, now, self._until(credential, now))

    def _until(self, credential: Credential, now: float) -> float:
        return min(now + self._ttl, credential.expires_at - self._leeway)


def _seen(flight: asyncio.Task[Credential]) -> None:
    """Whoever waited has its error; of one that nobody waited for, asyncio shall not complain."""
    if not flight.cancelled():
        flight.exception()
