"""Who this server is to an identity provider that it asks something."""

from dataclasses import dataclass
from typing import Literal

from actas.core.secret import Secret

ClientMethod = Literal["client_secret_basic", "client_secret_post", "private_key_jwt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """This server as a client of the provider (RFC 6749 section 2.3): how it proves itself when it asks."""

    id: str
    """The client id that the provider gave to this server."""
    secret: Secret | None = None
    """The client secret. Either this or `private_key`."""
    private_key: Secret | None = None
    """A private key, PEM or JWK: RSA of at least 2048 bits, P-256, P-384, P-521 or Ed25519. The provider has its public
    half."""
    key_id: str | None = None
    """The `kid` by which the provider knows the public half of `private_key`."""
    method: ClientMethod | None = None
    """How it is proved. None: `client_secret_basic` with a secret, `private_key_jwt` (RFC 7523) with a private key."""
    audience: str | None = None
    """What `aud` says in the assertion that `private_key` signs. None: the provider's issuer, as it should be; some
    providers demand the URL of their endpoint."""

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("id must be the client id that the provider gave to this server")
        if (self.secret is None) == (self.private_key is None):
            raise ValueError("either secret or private_key is needed, and not both")
        if (self.method_in_use == "private_key_jwt") != (self.private_key is not None):
            raise ValueError("method does not fit: client_secret_… takes a secret, private_key_jwt a private_key")
        if self.private_key is None and (self.key_id is not None or self.audience is not None):
            raise ValueError("key_id and audience are for an assertion that private_key signs")

    @property
    def method_in_use(self) -> ClientMethod:
        """``method``, or what follows from the credential."""
        return self.method or ("private_key_jwt" if self.private_key is not None else "client_secret_basic")
