"""The login of the gateway's own role, where a way needs one."""

from psycopg import AsyncConnection

from actas.core.errors import ConfigurationError
from actas.delegation.sql.connector import Connector, password_proof
from actas.delegation.sql.settings import SqlSettings


class Service:
    """Logs in as ``service.role``."""

    def __init__(self, settings: SqlSettings, connector: Connector) -> None:
        if settings.service is None:
            raise ConfigurationError(f"service: missing; identity = {settings.identity} needs it")
        self.role = settings.service.role
        self._proof = settings.service.password and password_proof(settings.service.password.reveal())
        self._connector = connector

    async def open(self) -> AsyncConnection:
        """A connection as the service role.

        Raises:
            LoginRefused, DownstreamUnavailable: see :meth:`.Connector.open`.
        """
        return await self._connector.open(self.role, self._proof)
