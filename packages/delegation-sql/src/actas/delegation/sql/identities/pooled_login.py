"""Log in as the user through a pooler, such as pgbouncer in transaction mode, which does as the ident map lets it.

The session belongs to the pooler. So what others set when they log in is set in each transaction here, nothing is kept
prepared, and cleaning up between transactions is the pooler's (``server_reset_query_always``). What its session
carries from before can still not lie about who it is.
"""

from dataclasses import replace

from psycopg import AsyncConnection

from actas.delegation.sql.connector import Connector, local_settings
from actas.delegation.sql.evidence import NOTHING, Evidence
from actas.delegation.sql.frames import Frame, own_login
from actas.delegation.sql.settings import SqlSettings


class PooledLogin:
    """By the pooler's client certificate or account; the gateway proves itself to the pooler."""

    def __init__(self, settings: SqlSettings) -> None:
        self._connector = Connector(settings, session=False)
        self._local = local_settings(settings)
        self.method = "login:pooled"

    async def check(self) -> None:
        """There is no account of the gateway's own to look with."""

    async def connect(self, user: str, evidence: Evidence = NOTHING) -> AsyncConnection:
        """Have a connection to the pooler under ``user``'s name."""
        return await self._connector.unplanted(await self._connector.open(user), user)

    def frame(self, user: str, connection: AsyncConnection) -> Frame:
        """The session is the user's own, but for this transaction only."""
        return replace(own_login(user), settings=self._local, session_is_shared=True)

    async def close(self) -> None:
        """Nothing is kept."""
