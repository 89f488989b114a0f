"""The ways in which PostgreSQL learns who the user is: one setting, one file each, all with the same receipt."""

from typing import Protocol

from psycopg import AsyncConnection

from actas.delegation.sql.connector import Connector
from actas.delegation.sql.evidence import NOTHING, Evidence
from actas.delegation.sql.frames import Frame
from actas.delegation.sql.settings import SqlSettings


class Identity(Protocol):
    """One way. Connections that it opens belong to one user each, whatever role they logged in as."""

    method: str
    """How the identity was had, for the receipt."""

    async def check(self) -> None:
        """See whether the server is set up as this way needs it; nothing where there is nothing to see.

        Raises:
            ConfigurationError: it is not. Each problem has the statement that ends it.
        """
        ...

    async def connect(self, user: str, evidence: Evidence = NOTHING) -> AsyncConnection:
        """A connection for ``user``, by what ``evidence`` has where that is the way.

        Raises:
            CredentialRejected: the server does not take the credential, or the ticket.
            IdentityMismatch: it saw somebody else.
            LoginRefused: the server answers, and does not let the user in; or others may create in its search path.
            DownstreamUnavailable: it does not answer, or has no room.
        """
        ...

    def frame(self, user: str, connection: AsyncConnection) -> Frame:
        """What makes a transaction on that connection ``user``'s, and proves it."""
        ...

    async def close(self) -> None:
        """Release what it keeps. May be called twice."""
        ...


def identity_of(settings: SqlSettings, connector: Connector) -> Identity:
    """The way that the settings name."""
    from actas.delegation.sql.identities.ephemeral_role import EphemeralRole
    from actas.delegation.sql.identities.kerberos import Kerberos
    from actas.delegation.sql.identities.login import Login
    from actas.delegation.sql.identities.oauth import OAuth
    from actas.delegation.sql.identities.pooled_login import PooledLogin
    from actas.delegation.sql.identities.set_role import SetRole
    from actas.delegation.sql.identities.user_certificate import UserCertificate

    match settings.identity:
        case "login":
            return Login(settings, connector)
        case "user_certificate":
            return UserCertificate(settings, connector)
        case "pooled_login":
            return PooledLogin(settings)
        case "set_role":
            return SetRole(settings, connector)
        case "ephemeral_role":
            return EphemeralRole(settings, connector)
        case "oauth":
            return OAuth(settings, connector)
        case "kerberos":
            return Kerberos(settings, connector)
