"""Proofs of possession: does the caller have the key that his token is bound to? (RFC 9449)

A proof is looked at only after its token was found good and names the key: a stranger makes us check nothing.
How old a proof is, its nonce says, which we made ourselves; without one, its ``iat``.
"""

import base64
import time
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import cast

from joserfc.jws import JWSRegistry

from actas.core.errors import ConfigurationError, InvalidProof, NonceRequired
from actas.oauth.jwks import PublicKey, fitting_algorithms, import_public
from actas.oauth.jwt import decode_base64url, decode_object
from actas.oauth.nonces import NONCE_SECONDS, RENEW_SECONDS, Nonces
from actas.oauth.reasons import Reason
from actas.oauth.replay import ReplayStore, Use
from actas.oauth.settings import canonical_algorithm, canonical_type
from actas.oauth.target import normal

PROOF_ALGORITHMS = ("ES256", "ES384", "Ed25519", "EdDSA", "PS256", "RS256")
"""What proofs may be signed with; told to clients in challenges and metadata."""

MAX_PROOF_BYTES = 8192
"""The longest proof; one with an RSA key of 8192 bits has some 5000."""

MAX_ID_LENGTH = 256
"""Characters of ``jti``."""

PAST_SECONDS = 60.0
FUTURE_SECONDS = 5.0
"""By how much ``iat`` may differ from our clock, in a proof without a nonce."""

_KEYS_REMEMBERED = 4096
_TYPE = "dpop+jwt"

_REGISTRY = JWSRegistry(algorithms=[canonical_algorithm(name) for name in PROOF_ALGORITHMS])
_ALGORITHMS = {name: _REGISTRY.get_alg(canonical_algorithm(name)) for name in PROOF_ALGORITHMS}


@dataclass(frozen=True, slots=True)
class _ProofKey:
    algorithm: str
    key: PublicKey
    thumbprint: str


@dataclass(frozen=True, slots=True)
class _Proof:
    """A proof taken apart. Nothing in it is true before its signature was checked."""

    encoded_header: bytes
    key: _ProofKey
    claims: dict[str, object]
    signing_input: bytes
    signature: bytes


class ProofVerifier:
    """Checks proofs for requests to one resource.

    Args:
        resource: its URL, as clients know it. Never taken from a request.
        store: which proofs were used already.
        nonces: made and checked here.
        require_nonce: whether a proof must have one.
        clock: gives seconds since the epoch.

    Raises:
        ConfigurationError: ``resource`` is no URL that a proof could name.
    """

    def __init__(
        self,
        resource: str,
        *,
        store: ReplayStore,
        nonces: Nonces,
        require_nonce: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        target = normal(resource)
        if target is None:
            raise ConfigurationError(f"{resource} is no URL that a DPoP proof could name")
        self._target = target
        self._store = store
        self._nonces = nonces
        self._require_nonce = require_nonce
        self._clock = clock
        self._keys: dict[bytes, _ProofKey] = {}

    async def verify(self, proofs: Sequence[bytes], *, thumbprint: str, token: bytes, method: str) -> str | None:
        """Check the one proof in ``proofs``, the values of all ``DPoP`` headers, in the order of RFC 9449 section 4.3.

        Args:
            thumbprint: of the key that ``token`` is bound to (RFC 7638).
            token: the access token.
            method: the request's.

        Returns:
            A new nonce for the client, where its own is about to run out.

        Raises:
            InvalidProof: ``reason`` is one of :class:`actas.oauth.reasons.Reason`.
            NonceRequired: with a nonce that would do.
        """
        proof = self._read(proofs)
        if proof.key.thumbprint != thumbprint:
            raise InvalidProof(Reason.WRONG_PROOF_KEY)
        claims = proof.claims
        proof_id = _text(claims, "jti", MAX_ID_LENGTH)
        self._check_request(claims, token, method)
        issued = _issued_at(claims)
        nonce = _text(claims, "nonce", MAX_ID_LENGTH) if "nonce" in claims else None
        if not _ALGORITHMS[proof.key.algorithm].verify(proof.signing_input, proof.signature, proof.key.key):
            raise InvalidProof(Reason.BAD_PROOF_SIGNATURE)
        self._remember(proof)
        created, until, fresh = self._dated(issued, nonce)
        use = await self._store.use(thumbprint, proof_id, created, until)
        if use is Use.FIRST:
            return fresh
        if use is Use.REPEATED:
            raise InvalidProof(Reason.REPLAYED_PROOF)
        raise self._nonce_required(Reason.STALE_PROOF)

    def _read(self, proofs: Sequence[bytes]) -> _Proof:
        if not proofs:
            raise InvalidProof(Reason.NO_PROOF)
        if len(proofs) > 1:
            raise InvalidProof(Reason.MALFORMED_PROOF, detail="several DPoP headers")
        (encoded,) = proofs
        if len(encoded) > MAX_PROOF_BYTES:
            raise InvalidProof(Reason.MALFORMED_PROOF, detail="too large")
        signing_input, _, encoded_signature = encoded.rpartition(b".")
        encoded_header, _, encoded_claims = signing_input.partition(b".")
        try:
            key = self._keys.get(encoded_header) or _read_key(encoded_header)
            claims = decode_object(decode_base64url(encoded_claims))
            signature = decode_base64url(encoded_signature)
        except (ValueError, Base64Error, OverflowError):
            raise InvalidProof(Reason.MALFORMED_PROOF, detail="not a JWT") from None
        return _Proof(encoded_header, key, claims, signing_input, signature)

    def _remember(self, proof: _Proof) -> None:
        """A client's proofs all have the same header. Call for genuine ones only: a stranger must not fill this."""
        if proof.encoded_header not in self._keys:
            if len(self._keys) >= _KEYS_REMEMBERED:
                del self._keys[next(iter(self._keys))]
            self._keys[proof.encoded_header] = proof.key

    def _check_request(self, claims: dict[str, object], token: bytes, method: str) -> None:
        if claims.get("htm") != method:
            raise InvalidProof(Reason.WRONG_PROOF_METHOD)
        url = claims.get("htu")
        if not isinstance(url, str) or normal(url) != self._target:
            raise InvalidProof(Reason.WRONG_PROOF_URL)
        if claims.get("ath") != base64.urlsafe_b64encode(sha256(token).digest()).rstrip(b"=").decode():
            raise InvalidProof(Reason.WRONG_PROOF_TOKEN)

    def _dated(self, issued: float, nonce: str | None) -> tuple[float, float, str | None]:
        """When the proof was made, when it stops to be accepted, and a new nonce where the client needs one."""
        now = self._clock()
        if nonce is not None:
            made = self._nonces.made_at(nonce)
            if made is None:
                raise self._nonce_required(Reason.WRONG_NONCE)
            return made, made + NONCE_SECONDS, self._nonces.make() if now - made > RENEW_SECONDS else None
        if self._require_nonce:
            raise self._nonce_required(Reason.NO_NONCE)
        if not -FUTURE_SECONDS <= now - issued < PAST_SECONDS:
            raise self._nonce_required(Reason.STALE_PROOF)
        return issued, issued + PAST_SECONDS, None

    def _nonce_required(self, reason: Reason) -> NonceRequired:
        return NonceRequired(reason, self._nonces.make())


def _read_key(encoded: bytes) -> _ProofKey:
    """The header's key, where all of the header is as it must be (RFC 9449 section 4.2)."""
    header = decode_object(decode_base64url(encoded))
    algorithm, typ, jwk = header.get("alg"), header.get("typ"), header.get("jwk")
    if not isinstance(typ, str) or canonical_type(typ) != _TYPE:
        raise InvalidProof(Reason.MALFORMED_PROOF, detail="typ is not dpop+jwt")
    if "crit" in header:
        raise InvalidProof(Reason.MALFORMED_PROOF, detail="crit demands an extension")
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        raise InvalidProof(Reason.MALFORMED_PROOF, detail="alg is not one of those that are offered")
    if not isinstance(jwk, dict):
        raise InvalidProof(Reason.MALFORMED_PROOF, detail="no jwk")
    entry = cast(dict[str, object], jwk)
    key = import_public(entry)
    if key is None or canonical_algorithm(algorithm) not in fitting_algorithms(entry, key):
        raise InvalidProof(Reason.MALFORMED_PROOF, detail="jwk is weak, private, or does not fit alg")
    return _ProofKey(algorithm, key, key.thumbprint())


def _text(claims: dict[str, object], name: str, longest: int) -> str:
    value = claims.get(name)
    if isinstance(value, str) and 0 < len(value) <= longest and value.isascii() and value.isprintable():
        return value
    raise InvalidProof(Reason.MALFORMED_PROOF, detail=f"{name} must be a short text")


def _issued_at(claims: dict[str, object]) -> float:
    value = claims.get("iat")
    if type(value) is int or type(value) is float:
        return value
    raise InvalidProof(Reason.MALFORMED_PROOF, detail="iat must be a number")
