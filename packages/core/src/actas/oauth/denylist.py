"""What is refused although its signature is good: single tokens (``jti``), sessions at the provider (``sid``), users
and agents (``sub``); of one issuer or of any."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from actas.core.errors import LimitExceeded
from actas.core.models import Session

MAX_DENIED = 100_000
"""Entries of a list."""

DeniedClaim = Literal["jti", "sid", "sub"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """One entry. ``until`` is in seconds since the epoch.

    ``sub`` is a session's subject, or the token's ``sub``, or that of anybody in its ``act`` chain.
    """

    claim: DeniedClaim
    value: str
    issuer: str | None = None
    """None: of any issuer."""
    until: float = float("inf")


class DenyList:
    """Entries, found by what they refuse.

    Raises:
        LimitExceeded: more than :data:`MAX_DENIED` entries that still count at ``now``.
    """

    def __init__(self, entries: Iterable[Revocation] = (), now: float = 0.0) -> None:
        self._until: dict[tuple[DeniedClaim, str, str | None], float] = {}
        for entry in entries:
            self.add(entry, now)

    def __len__(self) -> int:
        return len(self._until)

    def add(self, entry: Revocation, now: float) -> None:
        """Refuse that, too. Of two entries for the same, the one that ends later counts.

        Raises:
            LimitExceeded: the list is full of entries that still count. Nothing is forgotten in silence.
        """
        key = (entry.claim, entry.value, entry.issuer)
        if key not in self._until and len(self._until) >= MAX_DENIED:
            self._until = {each: end for each, end in self._until.items() if end > now}
            if len(self._until) >= MAX_DENIED:
                raise LimitExceeded(detail="the deny list is full")
        self._until[key] = max(entry.until, self._until.get(key, entry.until))

    def beyond(self, other: "DenyList") -> list[Revocation]:
        """The entries that ``other`` does not have."""
        return [
            Revocation(claim=claim, value=value, issuer=issuer, until=until)
            for (claim, value, issuer), until in self._until.items()
            if (claim, value, issuer) not in other._until
        ]

    def denies(self, session: Session, now: float) -> bool:
        """Whether the token of ``session`` is refused at ``now``."""
        if not self._until:
            return False
        claims, own = session.claims, session.issuer
        named: list[tuple[DeniedClaim, object, str | None]] = [
            ("jti", claims.get("jti"), own),
            ("sid", claims.get("sid"), own),
            ("sub", session.subject, own),
            ("sub", claims.get("sub"), own),
            *(("sub", actor.subject, actor.issuer or own) for actor in session.actors),
        ]
        return any(
            isinstance(value, str) and self._until.get((claim, value, issuer), now) > now
            for claim, value, whose in named
            for issuer in (None, whose)
        )
