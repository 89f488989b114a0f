"""Tokens that are worth something to us alone: a key of ours, and proofs that we have it (RFC 9449)."""

import base64
import os
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from urllib.parse import urlsplit, urlunsplit

from joserfc import jwt

from actas.core.secret import Secret
from actas.oauth.client_auth import algorithm_of, private_key

_MOST_SERVERS = 100
"""Servers whose nonces are remembered."""


class KeyProver:
    """Makes proofs with one private key, for the token endpoint and for the downstream.

    Args:
        key: the private key, PEM or JWK.
        clock: seconds since the epoch.

    Raises:
        ConfigurationError: the key is none that can be used. Says nothing of it.
    """

    def __init__(self, key: Secret, clock: Callable[[], float]) -> None:
        self._key = private_key(key, "dpop_key")
        members = self._key.as_dict(private=False)
        self._public = {name: members[name] for name in members if name in ("crv", "e", "kty", "n", "x", "y")}
        self._algorithm = algorithm_of(self._key)
        self._clock = clock
        self._nonces: OrderedDict[str, str] = OrderedDict()
        self.thumbprint = self._key.thumbprint()
        """RFC 7638, SHA-256: what ``cnf.jkt`` of a token must be that is bound to this key."""

    def prove(self, method: str, url: str, token: Secret | None = None) -> str:
        """A proof for one request, with ``token`` or, at a token endpoint, without one (RFC 9449 section 4.2)."""
        scheme, host, path, *_ = urlsplit(url)
        claims: dict[str, object] = {
            "jti": os.urandom(16).hex(),
            "htm": method,
            "htu": urlunsplit((scheme, host, path, "", "")),
            "iat": int(self._clock()),
        }
        if token is not None:
            digest = sha256(token.reveal().encode("ascii")).digest()
            claims["ath"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
        if (nonce := self._nonces.get(_server(url))) is not None:
            claims["nonce"] = nonce
        header = {"typ": "dpop+jwt", "alg": self._algorithm, "jwk": self._public}
        return jwt.encode(header, claims, self._key, algorithms=[self._algorithm])

    def heed(self, url: str, nonce: str) -> None:
        """Use ``nonce`` from now on at the server of ``url``, in place of the one before."""
        server = _server(url)
        self._nonces.pop(server, None)
        if len(self._nonces) >= _MOST_SERVERS:
            self._nonces.popitem(last=False)
        self._nonces[server] = nonce


def _server(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
