"""A provider's signing keys: read carefully, cached, refreshed, never fetched faster than a stranger should make us.

The rules: fetched again after ``keys_refresh_interval``; once more for a key that is not known, at most
every ``keys_refresh_cooldown``; one fetch at a time, for which all others wait; when the provider is out
of reach, the last good keys for at most ``keys_max_age``, and attempts with growing pauses.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

import anyio
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from actas.core.errors import ActasError, AuthenticationError, AuthenticationUnavailable
from actas.oauth.jwt import decode_base64url
from actas.oauth.reasons import Reason
from actas.oauth.settings import TrustedIssuer, canonical_algorithm

MAX_KEYS = 100
"""Keys in a set; a provider that publishes more is refused."""

PublicKey = RSAKey | ECKey | OKPKey

_RSA_BITS = range(2048, 8193)
_MAX_EXPONENT = 2**32
_MAX_MEMBER_LENGTH = 4096
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MEMBERS: dict[str, tuple[type[PublicKey], tuple[str, ...]]] = {
    "RSA": (RSAKey, ("kty", "n", "e")),
    "EC": (ECKey, ("kty", "crv", "x", "y")),
    "OKP": (OKPKey, ("kty", "crv", "x")),
}

_log = logging.getLogger(__name__)


class PublicKeySet:
    """The usable keys of one JWK Set (RFC 7517), found by ``kid`` and ``alg`` together."""

    def __init__(self, document: Mapping[str, object]) -> None:
        """Keys that are for another purpose, of an unknown kind, weak, or private are left out.

        Raises:
            ValueError: not a JWK Set, or more than :data:`MAX_KEYS`.
        """
        entries = document.get("keys")
        if not isinstance(entries, list) or len(cast(list[object], entries)) > MAX_KEYS:
            raise ValueError("not a JWK Set, or too many keys in it")
        self._by_id: dict[tuple[str, str], PublicKey] = {}
        self._by_algorithm: dict[str, list[PublicKey]] = {}
        self.identities: set[tuple[str | None, str]] = set()
        for entry in cast(list[object], entries):
            if isinstance(entry, dict):
                self._add(cast(dict[str, object], entry))

    def __len__(self) -> int:
        return len(self.identities)

    def find(self, key_id: str | None, algorithm: str) -> PublicKey | None:
        """The one key for that ``kid`` and ``alg``; without a ``kid`` there must be only one that fits ``alg``."""
        if key_id is not None:
            return self._by_id.get((key_id, algorithm))
        candidates = self._by_algorithm.get(algorithm, ())
        return candidates[0] if len(candidates) == 1 else None

    def _add(self, entry: dict[str, object]) -> None:
        key = import_public(entry)
        algorithms = fitting_algorithms(entry, key) if key else frozenset[str]()
        key_id = entry.get("kid")
        if key is None or not algorithms or not isinstance(key_id, str | None):
            return
        self.identities.add((key_id, key.thumbprint()))
        for algorithm in algorithms:
            self._by_algorithm.setdefault(algorithm, []).append(key)
            if key_id is not None:
                self._by_id.setdefault((key_id, algorithm), key)


def import_public(entry: dict[str, object]) -> PublicKey | None:
    """The key in a JWK (RFC 7517); None where it is of an unknown kind, weak, malformed, or not public alone."""
    kind = entry.get("kty")
    if not isinstance(kind, str) or kind not in _MEMBERS or not _PRIVATE_MEMBERS.isdisjoint(entry):
        return None
    key_type, names = _MEMBERS[kind]
    members = {name: value for name in names if isinstance(value := entry.get(name), str)}
    if len(members) != len(names) or any(len(value) > _MAX_MEMBER_LENGTH for value in members.values()):
        return None
    try:
        if kind == "RSA" and not _is_strong(members["n"], members["e"]):
            return None
        return key_type.import_key(dict[str, str | list[str]](members))
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _is_strong(modulus: str, exponent: str) -> bool:
    n, e = (int.from_bytes(decode_base64url(member.encode())) for member in (modulus, exponent))
    return n.bit_length() in _RSA_BITS and 2 < e < _MAX_EXPONENT


def fitting_algorithms(entry: dict[str, object], key: PublicKey) -> frozenset[str]:
    """The signature algorithms that ``key`` may be used with, as its kind and its JWK say."""
    if entry.get("use", "sig") != "sig":
        return frozenset()
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return frozenset()
    fitting = _RSA_ALGORITHMS
    if isinstance(key, ECKey):
        fitting = frozenset({_CURVES.get(key.curve_name, "")} - {""})
    elif isinstance(key, OKPKey):
        fitting = frozenset({"Ed25519"} & {key.curve_name})
    stated = entry.get("alg")
    if stated is None:
        return fitting
    return fitting & {canonical_algorithm(stated)} if isinstance(stated, str) else frozenset()


class KeySource:
    """The keys of one provider as they are now."""

    def __init__(
        self,
        issuer: TrustedIssuer,
        fetch: Callable[[], Awaitable[Mapping[str, object]]],
        clock: Callable[[], float],
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._interval = issuer.keys_refresh_interval
        self._cooldown = issuer.keys_refresh_cooldown
        self._max_age = issuer.keys_max_age
        self._lock = anyio.Lock()
        self._keys: PublicKeySet | None = None
        self._fetched_at = 0.0
        self._attempts = 0
        self._failures = 0
        self._retry_at = float("-inf")
        self._forced_at = float("-inf")
        self.epoch = 0
        """Grows whenever a key leaves: what was verified before may have been signed with that one."""

    @property
    def count(self) -> int:
        """How many usable keys there are."""
        return len(self._keys) if self._keys is not None and self._usable(self._clock()) else 0

    def peek(self, key_id: str | None, algorithm: str) -> PublicKey | None:
        """The key, where it is known and the keys are fresh. Does no I/O."""
        if self._keys is None or not 0 <= self._clock() - self._fetched_at < self._interval:
            return None
        return self._keys.find(key_id, algorithm)

    async def obtain(self, key_id: str | None, algorithm: str) -> PublicKey:
        """The key, fetched where need be.

        Raises:
            AuthenticationError: ``unknown_key``.
            AuthenticationUnavailable: ``keys_unavailable``.
        """
        seen = self._attempts
        await self.refresh()
        key = self._find(key_id, algorithm)
        if key is None:
            await self._refresh_once_since(seen)
            key = self._find(key_id, algorithm)
        if key is None:
            raise AuthenticationError(Reason.UNKNOWN_KEY)
        return key

    async def refresh(self) -> bool:
        """Fetch the keys where they are due. Returns whether they are fresh now; never raises.

        One caller waits for a slow provider; meanwhile the others go on with the keys at hand.
        """
        now = self._clock()
        if self._due(now) and not (self._lock.locked() and self._usable(now)):
            async with self._lock:
                if self._due(self._clock()):
                    await self._attempt()
        return self._failures == 0

    def adopt(self, other: "KeySource") -> None:
        """Begin with the keys of ``other``, as old as they are there. It must be the same provider's."""
        self._keys, self._fetched_at = other._keys, other._fetched_at

    async def check(self) -> None:
        """Fetch the keys now, whatever is cached.

        Raises:
            ActasError, ValueError, TimeoutError: why that is not possible.
        """
        async with self._lock:
            self._accept(PublicKeySet(await self._fetch()))

    async def _refresh_once_since(self, seen: int) -> None:
        async with self._lock:
            now = self._clock()
            pausing = self._failures and now < self._retry_at
            if self._attempts == seen and not pausing and not 0 <= now - self._forced_at < self._cooldown:
                self._forced_at = now
                await self._attempt()

    async def _attempt(self) -> None:
        self._attempts += 1
        try:
            with anyio.CancelScope(shield=True):  # whoever hangs up must not use up the one fetch that all may share
                self._accept(PublicKeySet(await self._fetch()))
        except (ActasError, ValueError, OSError) as error:
            self._failures += 1
            pause = min(self._cooldown, 2.0 ** min(self._failures, 12))
            self._retry_at = self._clock() + pause
            _log.warning("signing keys cannot be fetched: %s", type(error).__name__)

    def _accept(self, keys: PublicKeySet) -> None:
        if self._keys is not None and not self._keys.identities <= keys.identities:
            self.epoch += 1
        self._keys = keys
        self._fetched_at = self._clock()
        self._failures = 0

    def _find(self, key_id: str | None, algorithm: str) -> PublicKey | None:
        if self._keys is None or not self._usable(self._clock()):
            raise AuthenticationUnavailable(Reason.KEYS_UNAVAILABLE)
        return self._keys.find(key_id, algorithm)

    def _due(self, now: float) -> bool:
        if self._failures and 0 < self._retry_at - now <= self._cooldown:
            return False
        return self._failures > 0 or self._keys is None or not 0 <= now - self._fetched_at < self._interval

    def _usable(self, now: float) -> bool:
        return self._keys is not None and now - self._fetched_at < self._max_age
