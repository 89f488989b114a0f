"""Tokens that were found good, for a short while.

Only good tokens are kept; at most so many; never beyond their own end or their time to live; and none that
was verified before a signing key left. The token itself is not kept, only its SHA-256.
"""

from dataclasses import dataclass
from hashlib import sha256

from actas.core.models import Session
from actas.oauth.jwks import KeySource


@dataclass(frozen=True, slots=True)
class _Entry:
    session: Session
    stored_at: float
    expires_at: float
    source: KeySource
    epoch: int


class TokenCache:
    """First in, first out: since entries live about equally long, the oldest is the next to end anyway."""

    def __init__(self, *, size: int) -> None:
        self._size = size
        self._entries: dict[bytes, _Entry] = {}

    def get(self, token: bytes, now: float) -> Session | None:
        """The session of ``token``, where it is still good at ``now``."""
        key = sha256(token).digest()
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.stored_at <= now < entry.expires_at and entry.epoch == entry.source.epoch:
            return entry.session
        del self._entries[key]
        return None

    def put(self, token: bytes, session: Session, source: KeySource, epoch: int, now: float, ttl: float) -> None:
        """Keep ``session`` for ``ttl`` seconds. ``epoch`` is the source's as it was when the key was taken from it."""
        if self._size <= 0 or ttl <= 0:
            return
        key = sha256(token).digest()
        self._entries.pop(key, None)
        if len(self._entries) >= self._size:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = _Entry(session, now, min(session.expires_at, now + ttl), source, epoch)
