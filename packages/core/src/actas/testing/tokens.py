"""Tokens that nobody should accept, and sessions without a token. For tests."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from actas.core.models import Actor, Session

ALGORITHMS = ("RS256", "PS256", "ES256", "Ed25519")
"""What :func:`generate_key` makes keys for."""

SigningKey = RSAKey | ECKey | OKPKey | OctKey

_REGISTRY = JWSRegistry(algorithms=list(JWSRegistry.algorithms))


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """A signing key and the algorithm it is for."""

    key_id: str
    algorithm: str
    key: SigningKey = field(repr=False)

    def public(self) -> dict[str, object]:
        """As it stands in the JWK Set."""
        return {**self.key.as_dict(private=False), "kid": self.key_id, "alg": self.algorithm, "use": "sig"}


def generate_key(algorithm: str) -> SigningKey:
    """A new private key for ``algorithm``, one of :data:`ALGORITHMS`."""
    if algorithm in ("RS256", "PS256"):
        return RSAKey.generate_key(2048)
    if algorithm == "ES256":
        return ECKey.generate_key("P-256")
    if algorithm == "Ed25519":
        return OKPKey.generate_key("Ed25519")
    raise ValueError(f"no keys are made for {algorithm}, only for {', '.join(ALGORITHMS)}")


def encode_segment(content: bytes | Mapping[str, object]) -> bytes:
    """Base64url without padding; a mapping becomes JSON first, its members in order."""
    text = content if isinstance(content, bytes) else json.dumps(dict(content), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def sign(
    header: bytes | Mapping[str, object], claims: bytes | Mapping[str, object], *, algorithm: str, key: SigningKey
) -> str:
    """A JWS with a good signature over anything: bytes go in as they are, duplicates and all.

    ``algorithm`` says how to sign; the header may claim something else.
    """
    signing_input = encode_segment(header) + b"." + encode_segment(claims)
    signature = _REGISTRY.get_alg(algorithm).sign(signing_input, key)
    return (signing_input + b"." + encode_segment(signature)).decode()


def unsigned(claims: Mapping[str, object], *, algorithm: str = "none", token_type: str = "at+jwt") -> str:  # noqa: S107 -- a kind of token, no password
    """An unsecured JWS (RFC 7515 appendix A.5): ``alg`` is ``none``, the signature empty."""
    header = encode_segment({"alg": algorithm, "typ": token_type})
    return f"{header.decode()}.{encode_segment(claims).decode()}."


def hmac_with_public_key(claims: Mapping[str, object], public_key: RSAKey, *, key_id: str) -> str:
    """HS256 with the PEM of an RSA public key as the secret: the confusion of RFC 8725 section 2.1."""
    pem = public_key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "at+jwt", "kid": key_id}
    signing_input = encode_segment(header) + b"." + encode_segment(claims)
    signature = hmac.new(pem, signing_input, hashlib.sha256).digest()
    return (signing_input + b"." + encode_segment(signature)).decode()


def tampered(token: str) -> str:
    """``token`` with one bit of its signature changed."""
    head, _, signature = token.rpartition(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))
    raw[len(raw) // 2] ^= 1
    return f"{head}.{encode_segment(bytes(raw)).decode()}"


def with_claims(token: str, **changed: object) -> str:
    """``token`` with other claims and its old signature."""
    header, claims, signature = token.split(".")
    content = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    return f"{header}.{encode_segment({**content, **changed}).decode()}.{signature}"


def with_duplicate(claims: Mapping[str, object], name: str, value: object) -> bytes:
    """``claims`` as JSON, with ``name`` once more at the end."""
    text = json.dumps(dict(claims), separators=(",", ":"))
    return f"{text[:-1]},{json.dumps(name)}:{json.dumps(value)}}}".encode()


def nested(depth: int) -> list[object]:
    """Empty lists in lists, ``depth`` of them."""
    value: list[object] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def many_claims(count: int) -> dict[str, object]:
    """So many claims, with short names."""
    return {f"c{number}": number for number in range(count)}


def make_session(
    username: str = "alice",
    *,
    permissions: Iterable[str] = (),
    scopes: Iterable[str] = (),
    role: str = "user",
    actors: Iterable[str] = (),
    legacy_username: str | None = None,
    claims: Mapping[str, object] | None = None,
    expires_in: float = 3600.0,
    rejected: bool = False,
) -> Session:
    """A session as it would come from a token; ``expires_in`` in seconds."""
    return Session(
        issuer="https://idp.example",
        subject=f"id-of-{username}",
        username=username,
        provider="example",
        legacy_username=legacy_username,
        role="unassigned" if rejected else role,
        permissions=frozenset() if rejected else frozenset(permissions),
        scopes=frozenset(scopes),
        actors=tuple(Actor(subject=actor) for actor in actors),
        claims=dict(claims or {}),
        expires_at=time.time() + expires_in,
        rejected=rejected,
        rejection_reason="none of the token's roles is mapped" if rejected else None,
    )
