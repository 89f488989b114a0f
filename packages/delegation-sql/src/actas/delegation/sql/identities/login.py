"""Log in as the user, whom the server's ident map lets the gateway become: the default, and the one to prefer."""

from psycopg import AsyncConnection

from actas.delegation.sql.connector import Connector
from actas.delegation.sql.evidence import NOTHING, Evidence
from actas.delegation.sql.frames import Frame, own_login
from actas.delegation.sql.settings import SqlSettings


class Login:
    """By the gateway's operating-system account (``peer``), or its client certificate (``cert``)."""

    def __init__(self, settings: SqlSettings, connector: Connector) -> None:
        self._connector = connector
        self.method = "login:peer" if settings.unix_socket else "login:certificate"

    async def check(self) -> None:
        """There is no account of the gateway's own to look with."""

    async def connect(self, user: str, evidence: Evidence = NOTHING) -> AsyncConnection:
        """Log in as ``user``. No password is sent, ever."""
        return await self._connector.unplanted(await self._connector.open(user), user)

    def frame(self, user: str, connection: AsyncConnection) -> Frame:
        """The session is the user's own."""
        return own_login(user)

    async def close(self) -> None:
        """Nothing is kept."""
