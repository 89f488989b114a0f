"""Exchanged tokens, kept so that nobody reads them but the caller they were made for.

What lies in the store for one entry::

    refresh_at expires_at session_tag token_tag   ciphertext of [expires_at, subject, token_type, token]
    └───────────── in clear, authenticated ─────┘

The tags are short digests of ``sid`` and ``jti``: enough to find what a revocation is about, not to read it.
"""

import hashlib
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from actas.core.models import Credential, Session
from actas.core.secret import Secret
from actas.oauth.exchange.sealing import Label, Sealer, seal, unseal
from actas.oauth.exchange.store import OWNER_BYTES, MemoryStore

REFRESH_AFTER = 0.8
"""The part of an entry's time after which it is exchanged anew ahead of need, if it is still in use."""

_HEAD = struct.Struct(">dd8s8s")
_TAG_BYTES = 8
_NO_TAG = bytes(_TAG_BYTES)


@dataclass(slots=True)
class Metrics:
    """What has happened since the start."""

    hits: int = 0
    misses: int = 0
    refreshed_ahead: int = 0
    unreadable: int = 0
    """Entries that did not open: another secret's, or changed by somebody."""
    purged: int = 0


@dataclass(slots=True)
class Found:
    """An entry that was opened. ``due`` says that it should be exchanged anew before long."""

    credential: Credential
    until: float
    """Seconds since the epoch."""
    due: bool


class Vault:
    """The cache of one process.

    Args:
        secrets: the server's, the newest first; random where None, and then of this process alone.
        most: entries in all.
        most_each: entries of one user.
    """

    def __init__(self, secrets: Sequence[bytes] | None = None, *, most: int = 1000, most_each: int = 10) -> None:
        self._sealer = Sealer(secrets or [os.urandom(32)])
        self._store = MemoryStore(most, most_each)
        self.metrics = Metrics()

    def __len__(self) -> int:
        return len(self._store)

    @property
    def sessions(self) -> int:
        """How many users have entries."""
        return self._store.owners

    def labels(self, purpose: bytes, session: Session) -> tuple[Label, ...]:
        """What opens the entry that ``session`` may have for ``purpose``. Raises ValueError for one without a token."""
        if session.token is None:
            raise ValueError("a session without a token has nothing to exchange")
        issuer, subject = session.issuer, session.subject
        identity = f"{len(issuer)}:{len(subject)}:{issuer}{subject}:".encode()
        return self._sealer.labels(purpose, identity, session.token.reveal().encode())

    def adopt(self, label: Label, session: Session, entry: bytes, now: float) -> Found | None:
        """Keep an entry that another process has made, where it opens and is still good."""
        found = self._open(label, entry, now) if len(entry) > _HEAD.size else None
        if found is not None:
            self._store.put(label.name, owner_of(session.issuer, session.subject), entry)
        return found

    def get(self, labels: Sequence[Label], now: float) -> Found | None:
        """The entry under one of ``labels``, where there is one that is still good at ``now``."""
        for label in labels:
            entry = self._store.get(label.name)
            if entry is None:
                continue
            found = self._open(label, entry, now)
            if found is not None:
                self.metrics.hits += 1
                return found
            self._store.drop(label.name)
        self.metrics.misses += 1
        return None

    def _open(self, label: Label, entry: bytes, now: float) -> Found | None:
        clear = entry[: _HEAD.size]
        refresh_at, expires_at, *_ = _HEAD.unpack(clear)
        if not now < expires_at:
            return None
        plain = unseal(label, entry[_HEAD.size :], clear)
        if plain is None:
            self.metrics.unreadable += 1
            return None
        token_expires_at, subject, token_type, token = orjson.loads(plain)
        credential = Credential(
            token=Secret(token), token_type=token_type, subject=subject, expires_at=token_expires_at
        )
        return Found(credential, expires_at, due=now >= refresh_at)

    def put(self, label: Label, session: Session, credential: Credential, now: float, until: float) -> bytes | None:
        """Keep ``credential`` until then at most (seconds since the epoch, as ``now``).

        Returns:
            The entry as it is kept, sealed; None where it would be gone before anybody could ask for it.
        """
        if not now < until:
            return None
        refresh_at = now + (until - now) * REFRESH_AFTER
        clear = _HEAD.pack(refresh_at, until, _tag(session.claims.get("sid")), _tag(session.claims.get("jti")))
        plain = orjson.dumps(
            [credential.expires_at, credential.subject, credential.token_type, credential.token.reveal()]
        )
        owner = owner_of(session.issuer, session.subject)
        entry = clear + seal(label, plain, clear)
        self._store.put(label.name, owner, entry)
        return entry

    def drop(self, labels: Sequence[Label]) -> None:
        """Forget the entry under ``labels``."""
        for label in labels:
            self._store.drop(label.name)

    def purge(
        self, *, issuer: str | None = None, subject: str | None = None, sid: str | None = None, jti: str | None = None
    ) -> None:
        """Forget what belongs to a user, a session (``sid``) or a caller's token (``jti``): signed out, or revoked."""
        if issuer is not None and subject is not None:
            self.metrics.purged += self._store.purge(owner_of(issuer, subject))
        for place, value in ((0, sid), (1, jti)):
            if value:
                self.metrics.purged += self._purge_tagged(place, _tag(value))

    def _purge_tagged(self, place: int, tag: bytes) -> int:
        start = _HEAD.size - (2 - place) * _TAG_BYTES
        return self._store.purge_where(lambda entry: entry[start : start + _TAG_BYTES] == tag)

    def clear(self) -> None:
        """Forget everything."""
        self._store.clear()


def owner_of(issuer: str, subject: str) -> bytes:
    """A user as the store knows him."""
    return hashlib.sha256(orjson.dumps([issuer, subject])).digest()[:OWNER_BYTES]


def _tag(value: object) -> bytes:
    return hashlib.sha256(value.encode()).digest()[:_TAG_BYTES] if isinstance(value, str) and value else _NO_TAG
