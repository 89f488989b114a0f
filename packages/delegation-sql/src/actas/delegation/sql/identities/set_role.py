"""Log in as a service role and ``SET LOCAL ROLE`` to the user: for databases that were made for that, as by PostgREST.

The weakest way: whoever's SQL runs could switch back. So no connection is used unless every belt of :mod:`.belts` is
on, and each belongs to one user all the same.
"""

from psycopg import AsyncConnection

from actas.core.errors import ConfigurationError, DownstreamUnavailable
from actas.delegation.sql.connector import Connector
from actas.delegation.sql.evidence import NOTHING, Evidence
from actas.delegation.sql.failures import LoginRefused
from actas.delegation.sql.frames import Frame, taken_role
from actas.delegation.sql.identities.belts import BELTS, EVERYBODY, LOOK_NOWHERE_ELSE
from actas.delegation.sql.identities.service import Service
from actas.delegation.sql.settings import SqlSettings

_OPEN = (
    "The database is not closed against changing roles, so you were not let in. "
    "Ask its administrator to look at the audit."
)


class SetRole:
    """By a service role that is granted the users' roles and nothing else."""

    def __init__(self, settings: SqlSettings, connector: Connector) -> None:
        self._service = Service(settings, connector)
        self._connector = connector
        self.method = "set-role"

    async def check(self) -> None:
        """See whether all belts are on, for everybody. A server that is down is asked again at each login."""
        try:
            connection = await self._service.open()
            missing = await self._missing(connection, EVERYBODY)
        except DownstreamUnavailable:
            return
        except LoginRefused as refused:
            raise ConfigurationError(f"service.role: the database does not let it in: {refused.detail}") from None
        connection.pgconn.finish()
        if missing:
            raise ConfigurationError([f"identity = set_role is not safe here; {line}" for line in missing])

    async def connect(self, user: str, evidence: Evidence = NOTHING) -> AsyncConnection:
        """Log in as the service role, where all belts are on for ``user``."""
        connection = await self._service.open()
        if missing := await self._missing(connection, user):
            connection.pgconn.finish()
            raise LoginRefused(_OPEN, detail="; ".join(missing))
        return await self._connector.unplanted(connection, user)

    def frame(self, user: str, connection: AsyncConnection) -> Frame:
        """The session is the service's; the transaction's role is the user's."""
        return taken_role(user, connection.info.user)

    async def close(self) -> None:
        """Nothing is kept."""

    async def _missing(self, connection: AsyncConnection, user: str) -> list[str]:
        rows = await self._connector.ask(connection, BELTS, {"user": user}, first=LOOK_NOWHERE_ELSE)
        return [f"{why}: {statement}" for why, statement in rows]
