"""Exchanged tokens, kept so that nobody reads them but the caller they were made for.

What lies in the store for one entry::

    refresh_at expires_at has_actors tags   ciphertext of [expires_at, subject, token_type, token]
    └────────── in clear, authenticated ┘

The tags are short digests of ``jti``, ``sid`` and ``sub``: enough to find what a revocation is about, not to read it.
"""

import hashlib
import os
import struct
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import orjson

from actas.core.models import Credential, Session
from actas.core.secret import Secret
from actas.oauth.denylist import Revocation
from actas.oauth.exchange.sealing import Label, Sealer, seal, unseal
from actas.oauth.exchange.store import OWNER_BYTES, MemoryStore

REFRESH_AFTER = 0.8
"""The part of an entry's time after which it is exchanged anew ahead of need, if it is still in use."""

_TAGGED: Final = ("jti", "sid", "sub")
_TAG_BYTES: Final = 8
_HEAD: Final = struct.Struct(f">dd?{_TAG_BYTES * len(_TAGGED)}s")


@dataclass(slots=True)
class Metrics:
    """What has happened since the start."""

    hits: int = 0
    misses: int = 0
    refreshed_ahead: int = 0
    unreadable: int = 0
    """Entries that did not open: another secret's, or changed by somebody."""
    purged: int = 0
    evicted: int = 0


@dataclass(slots=True)
class Found:
    """An entry that was opened. ``due`` says that it should be exchanged anew before long."""

    credential: Credential
    until: float
    """Seconds since the epoch."""
    due: bool


class Awaited:
    """An exchange under way, so that a revocation that comes before its answer is not forgotten."""

    __slots__ = ("head", "owner", "revoked")

    def __init__(self, session: Session) -> None:
        self.owner = owner_of(session.issuer, session.subject)
        self.head = _HEAD.pack(0.0, 0.0, bool(session.actors), _tags(session))
        self.revoked = False


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
        self._issuers: set[str] = set()
        self._awaited: set[Awaited] = set()
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

    @contextmanager
    def awaiting(self, session: Session) -> Generator[Awaited]:
        """While something for ``session`` is on its way: ``revoked`` says whether it must not be kept any more."""
        self._issuers.add(session.issuer)
        awaited = Awaited(session)
        self._awaited.add(awaited)
        try:
            yield awaited
        finally:
            self._awaited.discard(awaited)

    def holds(self, label: Label) -> bool:
        """Whether there is an entry under ``label``, good or not."""
        return self._store.has(label.name)

    def opened(self, label: Label, entry: bytes, now: float) -> Found | None:
        """What another process has made, where it opens and is still good. It is not kept."""
        return self._open(label, entry, now) if len(entry) > _HEAD.size else None

    def adopt(self, label: Label, session: Session, entry: bytes, now: float, awaited: Awaited) -> Found | None:
        """Keep an entry that another process has made, where it opens, is still good, and was not revoked."""
        found = self.opened(label, entry, now)
        if found is not None and not awaited.revoked:
            self._put(label.name, session, entry)
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
        clear = _HEAD.pack(refresh_at, until, bool(session.actors), _tags(session))
        plain = orjson.dumps(
            [credential.expires_at, credential.subject, credential.token_type, credential.token.reveal()]
        )
        entry = clear + seal(label, plain, clear)
        self._put(label.name, session, entry)
        return entry

    def _put(self, name: bytes, session: Session, entry: bytes) -> None:
        self._issuers.add(session.issuer)
        self.metrics.evicted += self._store.put(name, owner_of(session.issuer, session.subject), entry)

    def drop(self, labels: Sequence[Label]) -> None:
        """Forget the entry under ``labels``."""
        for label in labels:
            self._store.drop(label.name)

    def forget(self, revoked: Iterable[Revocation]) -> list[bytes]:
        """Forget what belongs to tokens, sessions and users that were revoked or signed out, of whatever issuer.

        An agent is not found by his name: where anybody's ``sub`` is revoked, what agents obtained is forgotten too.

        Returns:
            The names of what was forgotten.
        """
        entries = list(revoked)
        tags = {_tag(each.claim, each.value) for each in entries}
        subjects = [each.value for each in entries if each.claim == "sub"]
        owners = {owner_of(issuer, subject) for issuer in self._issuers for subject in subjects}

        def is_about(owner: bytes, entry: bytes) -> bool:
            _, _, has_actors, own = _HEAD.unpack(entry[: _HEAD.size])
            tagged = (own[at : at + _TAG_BYTES] for at in range(0, len(own), _TAG_BYTES))
            return owner in owners or (has_actors and bool(subjects)) or not tags.isdisjoint(tagged)

        for awaited in self._awaited:
            awaited.revoked = awaited.revoked or is_about(awaited.owner, awaited.head)
        names = self._store.drop_where(is_about)
        self.metrics.purged += len(names)
        return names

    def clear(self) -> None:
        """Forget everything."""
        self._store.clear()


def owner_of(issuer: str, subject: str) -> bytes:
    """A user as the store knows him."""
    return hashlib.sha256(f"{len(issuer)}:{issuer}{subject}".encode(errors="surrogatepass")).digest()[:OWNER_BYTES]


def _tags(session: Session) -> bytes:
    return b"".join(_tag(claim, session.claims.get(claim)) for claim in _TAGGED)


def _tag(claim: str, value: object) -> bytes:
    if not isinstance(value, str) or not value:
        return bytes(_TAG_BYTES)
    return hashlib.sha256(f"{claim}:{value}".encode(errors="surrogatepass")).digest()[:_TAG_BYTES]
