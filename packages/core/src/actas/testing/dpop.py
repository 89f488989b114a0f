"""DPoP clients: a key, and proofs that one has it, good ones and others (RFC 9449). For tests."""

import base64
import json
import time
import uuid
from collections.abc import Mapping
from hashlib import sha256

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from actas.testing.tokens import SigningKey, generate_key, sign


class ProofKey:
    """A client's key.

    Args:
        algorithm: one of :data:`actas.testing.tokens.ALGORITHMS`.
        key: instead of a new one.
    """

    def __init__(self, algorithm: str = "ES256", key: SigningKey | None = None) -> None:
        self.algorithm = algorithm
        self.key = key or generate_key(algorithm)

    @property
    def public(self) -> dict[str, object]:
        """The public JWK, its members in the order of RFC 7638."""
        members = dict(self.key.as_dict(private=False))
        return {name: members[name] for name in sorted(members) if name != "kid"}

    @property
    def thumbprint(self) -> str:
        """RFC 7638, SHA-256: what ``cnf.jkt`` says of a token that is bound to this key."""
        text = json.dumps(self.public, separators=(",", ":")).encode()
        return _encoded(sha256(text).digest())

    @property
    def confirmation(self) -> dict[str, object]:
        """The claims that bind a token to this key."""
        return {"cnf": {"jkt": self.thumbprint}}

    def proof(
        self,
        token: str,
        url: str,
        method: str = "POST",
        *,
        nonce: str | None = None,
        claims: Mapping[str, object] | bytes | None = None,
        header: Mapping[str, object] | bytes | None = None,
        key: SigningKey | None = None,
    ) -> str:
        """A proof for one request with ``token``, ordinary in everything that the arguments don't change.

        ``claims`` and ``header`` come on top, None takes one out; as bytes they are the whole of it. ``key`` signs
        instead of this one.
        """
        usual: dict[str, object] = {
            "jti": uuid.uuid4().hex,
            "htm": method,
            "htu": url,
            "iat": int(time.time()),
            "ath": _encoded(sha256(token.encode()).digest()),
        }
        if nonce is not None:
            usual["nonce"] = nonce
        head: dict[str, object] = {"typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.public}
        return sign(
            header if isinstance(header, bytes) else _changed(head, header),
            claims if isinstance(claims, bytes) else _changed(usual, claims),
            algorithm=self.algorithm,
            key=key or self.key,
        )

    def headers(self, token: str, url: str, method: str = "POST", *, nonce: str | None = None) -> dict[str, str]:
        """The headers of one request with ``token``."""
        return {"authorization": f"DPoP {token}", "dpop": self.proof(token, url, method, nonce=nonce)}


def proved(proof: str, method: str, token: str | None = None) -> dict[str, object]:
    """The claims of a proof, and ``jkt``, the thumbprint of its key: as a server that receives it sees them.

    Raises:
        ValueError: its form, its signature, its method or its token's hash is wrong.
    """
    try:
        header = json.loads(_decoded(proof.split(".")[0]))
        key = KeySet.import_key_set({"keys": [header["jwk"]]}).keys[0]
        registry = JWSRegistry(algorithms=[header["alg"]])
        registry.max_header_length = 4096  # an RSA key is in it
        claims = dict(jwt.decode(proof, key, registry=registry).claims)
    except (JoseError, KeyError, TypeError) as error:
        raise ValueError("this is no proof") from error
    hashed = None if token is None else _encoded(sha256(token.encode()).digest())
    if header.get("typ") != "dpop+jwt" or key.is_private or not claims.get("jti") or not claims.get("iat"):
        raise ValueError("this is no proof")
    if claims.get("htm") != method or claims.get("ath") != hashed:
        raise ValueError("this proof is for another request")
    return {**claims, "jkt": key.thumbprint()}


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _changed(usual: Mapping[str, object], changes: Mapping[str, object] | None) -> dict[str, object]:
    return {name: value for name, value in {**usual, **(changes or {})}.items() if value is not None}
