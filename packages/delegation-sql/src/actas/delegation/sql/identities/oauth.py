"""Log in as the user with a token for the database (PostgreSQL 18, OAUTHBEARER): the one that was exchanged for the
caller's.

The server has it judged by a validator of its own, and so trusts the issuer. The gateway could not log in as anybody
whose token it does not have.
"""

from psycopg import AsyncConnection

from actas.core.errors import ConfigurationError, CredentialRejected, PrincipalUnavailable
from actas.delegation.sql.bearer_tokens import bearer_tokens
from actas.delegation.sql.connector import Connector
from actas.delegation.sql.evidence import NOTHING, Evidence
from actas.delegation.sql.failures import LoginRefused
from actas.delegation.sql.frames import Frame, own_login
from actas.delegation.sql.settings import SqlSettings

_DISCOVERY = "/.well-known/openid-configuration"
"""Said in advance, it saves libpq the connection that would ask the server for it."""


class OAuth:
    """By the token in ``call.credential``."""

    def __init__(self, settings: SqlSettings, connector: Connector) -> None:
        if settings.oauth_issuer is None:
            raise ConfigurationError("oauth_issuer: missing; identity = oauth needs it")
        self._issuer = settings.oauth_issuer.rstrip("/") + _DISCOVERY
        self._connector = connector
        self._tokens = bearer_tokens()
        self.method = "login:oauth"

    async def check(self) -> None:
        """There is no account of the gateway's own to look with."""

    async def connect(self, user: str, evidence: Evidence = NOTHING) -> AsyncConnection:
        """Log in as ``user`` with the credential.

        Raises:
            CredentialRejected: the server answers, and does not take the token for ``user``.
        """
        credential = evidence.credential
        if credential is None:
            raise PrincipalUnavailable(detail="identity = oauth needs token_exchange, which this module does not have")
        if credential.token_type.casefold() != "bearer":
            raise PrincipalUnavailable(detail="PostgreSQL takes bearer tokens only: leave token_exchange.dpop_key out")
        with self._tokens.lent(credential.token.reveal()) as name:
            proof = {"require_auth": "oauth", "oauth_issuer": self._issuer, "oauth_client_id": name}
            try:
                connection = await self._connector.open(user, proof)
            except LoginRefused as refused:
                raise CredentialRejected(detail=refused.detail) from None
        return await self._connector.unplanted(connection, user)

    def frame(self, user: str, connection: AsyncConnection) -> Frame:
        """The session is the user's own."""
        return own_login(user)

    async def close(self) -> None:
        """Nothing is kept."""
