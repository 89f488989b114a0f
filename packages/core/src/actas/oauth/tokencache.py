"""Tokens that were found good, for a short while, and the deny list that overrules them.

Only good tokens are kept; at most so many; never beyond their own end or ``ttl``; and none that was
verified before a signing key left. The token itself is not kept, only its SHA-256.
"""

from dataclasses import dataclass
from hashlib import sha256

from actas.core.errors import LimitExceeded
from actas.core.models import Session
from actas.oauth.jwks import KeySource

_MAX_DENIED = 100_000


@dataclass(frozen=True, slots=True)
class _Entry:
    session: Session
    stored_at: float
    expires_at: float
    source: KeySource
    epoch: int


class TokenCache:
    """First in, first out: since all entries live equally long, the oldest is the next to end anyway."""

    def __init__(self, *, size: int, ttl: float) -> None:
        self._size = size
        self._ttl = ttl
        self._entries: dict[bytes, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

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

    def put(self, token: bytes, session: Session, source: KeySource, epoch: int, now: float) -> None:
        """Keep ``session``. ``epoch`` is the source's as it was when the key was taken from it."""
        if self._size <= 0:
            return
        key = sha256(token).digest()
        self._entries.pop(key, None)
        if len(self._entries) >= self._size:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = _Entry(session, now, min(session.expires_at, now + self._ttl), source, epoch)


class DenyList:
    """Tokens refused although their signature is good: by ``jti``, by subject, by ``sid``. Of this process alone."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], float] = {}

    def add(self, claim: str, value: str, until: float, now: float) -> None:
        """Refuse tokens whose ``claim`` is ``value`` until then (seconds since the epoch); ``sub`` is the
        session's subject.

        Raises:
            LimitExceeded: the list is full of entries that still count. Nothing is forgotten in silence.
        """
        if len(self._until) >= _MAX_DENIED:
            self._until = {key: end for key, end in self._until.items() if end > now}
        if len(self._until) >= _MAX_DENIED:
            raise LimitExceeded(detail="the deny list is full")
        self._until[claim, value] = until

    def denies(self, session: Session, now: float) -> bool:
        """Whether the token of ``session`` is refused at ``now``."""
        if not self._until:
            return False
        values = (("jti", session.claims.get("jti")), ("sub", session.subject), ("sid", session.claims.get("sid")))
        return any(isinstance(value, str) and self._until.get((claim, value), now) > now for claim, value in values)
