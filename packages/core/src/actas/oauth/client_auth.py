"""How this server proves to a provider which client it is: client secrets (RFC 6749 section 2.3.1), a signed
assertion (RFC 7523).

A proof is what goes into one request: headers, and fields of its form. A certificate (RFC 8705) proves itself by the
connection, and the form says ``client_id`` alone.
"""

import contextlib
import json
import os
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote_plus

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from actas.core.errors import ConfigurationError
from actas.core.secret import Secret
from actas.http import HttpClient, TlsIdentity
from actas.oauth.client_settings import ClientCredentials

ASSERTION_SECONDS = 60
"""How long an assertion is good for."""

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LEAST_RSA_BITS = 2048
_ALGORITHMS = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "Ed25519"}

PrivateKey = RSAKey | ECKey | OKPKey


@dataclass(frozen=True, slots=True)
class ClientProof:
    """What one request carries to show which client makes it. Secret as a whole: it never prints itself."""

    fields: Mapping[str, str] = field(repr=False)
    """For the form."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


class Client:
    """One client at one provider.

    Args:
        credentials: as configured.
        issuer: the provider's, the ``aud`` of assertions unless the credentials name another.
        clock: seconds since the epoch.

    Raises:
        ConfigurationError: the private key is none that can be used. Says nothing of the key.
    """

    def __init__(self, credentials: ClientCredentials, issuer: str, clock: Callable[[], float]) -> None:
        self.id = credentials.id
        self._method = credentials.method_in_use
        self._secret = credentials.secret
        key = credentials.private_key
        self._key = None if key is None else private_key(key, "private_key")
        self._key_id = credentials.key_id
        self._audience = credentials.audience or issuer
        self._clock = clock

    def prove(self) -> ClientProof:
        """A proof for one request; an assertion is for one alone (``jti``)."""
        if self._key is not None:
            return ClientProof(
                {
                    "client_id": self.id,
                    "client_assertion_type": _ASSERTION_TYPE,
                    "client_assertion": self._assertion(self._key),
                }
            )
        if self._method == "tls_client_auth":
            return ClientProof({"client_id": self.id})
        secret = self._secret.reveal() if self._secret is not None else ""
        if self._method == "client_secret_post":
            return ClientProof({"client_id": self.id, "client_secret": secret})
        # Form-encoded first: a colon in the id, or a letter beyond ASCII, would be read as something else.
        pair = f"{quote_plus(self.id)}:{quote_plus(secret)}"
        return ClientProof({}, {"authorization": f"Basic {b64encode(pair.encode('ascii')).decode('ascii')}"})

    def _assertion(self, key: PrivateKey) -> str:
        now = int(self._clock())
        header = {"alg": algorithm_of(key), "typ": "JWT"} | ({"kid": self._key_id} if self._key_id else {})
        claims: dict[str, object] = {
            "iss": self.id,
            "sub": self.id,
            "aud": self._audience,
            "jti": os.urandom(16).hex(),
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
        }
        return jwt.encode(header, claims, key, algorithms=[header["alg"]])


def connected(credentials: ClientCredentials, http: HttpClient) -> HttpClient:
    """The client to ask with: ``http``, or one beside it that presents the certificate of ``credentials``.

    Raises:
        ConfigurationError: the certificate cannot be read.
    """
    if credentials.certificate is None:
        return http
    return http.presenting(TlsIdentity(credentials.certificate, credentials.certificate_key))


def private_key(secret: Secret, name: str) -> PrivateKey:
    """The key that the setting ``name`` holds, PEM or JWK.

    Raises:
        ConfigurationError: it is none that can be used. Says nothing of it.
    """
    key = _imported(secret.reveal())
    if key is None or not key.is_private:
        raise ConfigurationError(f"{name} is no private key in PEM or JWK form, or has a passphrase")
    if isinstance(key, RSAKey):
        if key.raw_value.key_size < _LEAST_RSA_BITS:
            raise ConfigurationError(f"{name} is too short: RSA needs {_LEAST_RSA_BITS} bits")
    elif key.curve_name not in _ALGORITHMS:
        raise ConfigurationError(f"{name} is on another curve than {', '.join(_ALGORITHMS)}")
    return key


def _imported(text: str) -> PrivateKey | None:
    for kind in (RSAKey, ECKey, OKPKey):
        with contextlib.suppress(JoseError, ValueError, TypeError, KeyError):
            return kind.import_key(json.loads(text) if text.lstrip().startswith("{") else text)
    return None


def algorithm_of(key: PrivateKey) -> str:
    """What ``key`` signs with."""
    return "RS256" if isinstance(key, RSAKey) else _ALGORITHMS[key.curve_name]
