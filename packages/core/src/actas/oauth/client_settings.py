"""Who this server is to an identity provider that it asks something."""

from dataclasses import dataclass
from typing import Literal

from actas.core.secret import Secret

ClientMethod = Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """This server as a client of the provider (RFC 6749 section 2.3): how it proves itself when it asks."""

    id: str
    """The client id that the provider gave to this server."""
    secret: Secret | None = None
    """The client secret. Either this, `private_key` or `certificate`."""
    private_key: Secret | None = None
    """A private key, PEM or JWK: RSA of at least 2048 bits, P-256, P-384, P-521 or Ed25519. The provider has its public
    half."""
    key_id: str | None = None
    """The `kid` by which the provider knows the public half of `private_key`."""
    certificate: str | None = None
    """Path of a PEM file: the certificate by which the provider knows this server (RFC 8705), self-signed or not."""
    certificate_key: str | None = None
    """Path of the PEM file with the certificate's private key, without a passphrase. None: it is in the same file."""
    method: ClientMethod | None = None
    """How it is proved. None: `client_secret_basic` with a secret, `private_key_jwt` (RFC 7523) with a private key,
    `tls_client_auth` with a certificate."""
    audience: str | None = None
    """What `aud` says in the assertion that `private_key` signs. None: the provider's issuer, as it should be; some
    providers demand the URL of their endpoint."""

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("id must be the client id that the provider gave to this server")
        given = [self.secret, self.private_key, self.certificate]
        if sum(each is not None for each in given) != 1:
            raise ValueError("one of secret, private_key and certificate is needed, and not two")
        if self.method not in (None, *self._methods):
            raise ValueError(f"method does not fit: it must be {' or '.join(self._methods)}")
        if self.certificate is None and self.certificate_key is not None:
            raise ValueError("certificate_key is for a certificate")
        if self.private_key is None and (self.key_id is not None or self.audience is not None):
            raise ValueError("key_id and audience are for an assertion that private_key signs")

    @property
    def method_in_use(self) -> ClientMethod:
        """``method``, or what follows from the credential."""
        return self.method or self._methods[0]

    @property
    def _methods(self) -> tuple[ClientMethod, ...]:
        """What fits the credential, the usual one first."""
        if self.private_key is not None:
            return ("private_key_jwt",)
        if self.certificate is not None:
            return ("tls_client_auth",)
        return ("client_secret_basic", "client_secret_post")
