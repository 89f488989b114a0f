"""Each DPoP proof counts once (RFC 9449 section 11.1).

Bounded, and without a moment in which a proof could count twice: what the memory had to forget, or never knew
because it began later, is not taken for new. ``docs/decisions/0026-replay-memory.md`` says why.
"""

from collections.abc import Callable
from enum import Enum, auto
from hashlib import blake2b
from typing import Protocol

MOST_PROOFS = 200_000
"""Proofs remembered by one process, some 30 MB."""

_SHARE = 4
"""One key may take a quarter of the memory."""


class Use(Enum):
    """What is known of a proof."""

    FIRST = auto()
    """It counts, and is remembered from now on."""
    REPEATED = auto()
    """It has been used before."""
    UNKNOWN = auto()
    """It is from a time that is not remembered: it may have been used before."""


class ReplayStore(Protocol):
    """Remembers proofs. One that several processes share makes a proof count once among all of them."""

    async def use(self, key: str, proof_id: str, created: float, until: float) -> Use:
        """Use the proof ``proof_id`` (``jti``) of the key with thumbprint ``key``.

        Args:
            created: when it was made, in seconds since the epoch.
            until: when it stops to be accepted anyway.

        Raises:
            AuthenticationUnavailable: it cannot be asked.
        """
        ...


class MemoryReplayStore:
    """The proofs of one process.

    Full, it forgets the oldest, and from then on nothing as old as those is taken for new. One key's proofs fill a
    quarter of it at most; beyond that, that key's further ones are not taken for new either.

    Args:
        clock: gives seconds since the epoch.
        most: how many are remembered.
    """

    def __init__(self, clock: Callable[[], float], most: int = MOST_PROOFS) -> None:
        self._clock = clock
        self._most = most
        self._keys_of: dict[bytes, str] = {}
        self._per_key: dict[str, int] = {}
        self._seconds: dict[int, list[bytes]] = {}
        self._ends: dict[int, float] = {}
        self._floor = clock()
        self._next_sweep = 0.0

    def __len__(self) -> int:
        return len(self._keys_of)

    async def use(self, key: str, proof_id: str, created: float, until: float) -> Use:
        """As :class:`ReplayStore` says. Never suspends."""
        now = self._clock()
        if now >= self._next_sweep:
            self._sweep(now)
        mark = blake2b(f"{key} {proof_id}".encode(), digest_size=16).digest()
        if mark in self._keys_of:
            return Use.REPEATED
        if created < self._floor or self._per_key.get(key, 0) >= self._most // _SHARE:
            return Use.UNKNOWN
        if len(self._keys_of) >= self._most:
            self._forget_oldest()
            if created < self._floor:
                return Use.UNKNOWN
        self._remember(mark, key, int(created), until)
        return Use.FIRST

    def _remember(self, mark: bytes, key: str, second: int, until: float) -> None:
        self._keys_of[mark] = key
        self._per_key[key] = self._per_key.get(key, 0) + 1
        self._seconds.setdefault(second, []).append(mark)
        self._ends[second] = max(until, self._ends.get(second, 0.0))

    def _sweep(self, now: float) -> None:
        """Drop what would not be accepted any more anyway."""
        self._next_sweep = now + 1
        for second in [second for second, end in self._ends.items() if end <= now]:
            self._drop(second)

    def _forget_oldest(self) -> None:
        second = min(self._seconds)
        self._drop(second)
        self._floor = max(self._floor, second + 1.0)

    def _drop(self, second: int) -> None:
        del self._ends[second]
        for mark in self._seconds.pop(second):
            key = self._keys_of.pop(mark)
            self._per_key[key] -= 1
            if not self._per_key[key]:
                del self._per_key[key]
