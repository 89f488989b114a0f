"""The delegation module: statement, gate, one batch as the user on a connection that is only his, a receipt."""

import asyncio
import secrets
import time
from collections.abc import Sequence

from actas.core.errors import (
    ActasError,
    DelegationTimeout,
    DownstreamUnavailable,
    IdentityMismatch,
    InvalidParameters,
    PermissionDenied,
    UnknownAction,
)
from actas.core.models import Action, DelegationCall, DelegationResult, Health, Receipt, Session
from actas.delegation.sql.actions import ListTables
from actas.delegation.sql.failures import StatementFailed
from actas.delegation.sql.levels import Level
from actas.delegation.sql.mssql import catalog
from actas.delegation.sql.mssql.actions import Procedure, Scalar, TableDetails, TsqlQuery, actions
from actas.delegation.sql.mssql.batch import bind, call_of
from actas.delegation.sql.mssql.connections import Connections
from actas.delegation.sql.mssql.driver import Answer, Batch, Connection, Driver
from actas.delegation.sql.mssql.gate import TsqlGate
from actas.delegation.sql.mssql.identities import identity_of
from actas.delegation.sql.mssql.principals import MssqlPrincipals
from actas.delegation.sql.mssql.settings import MssqlSettings, check
from actas.delegation.sql.mssql.verifying import check_verification

_PROBE_SECONDS = 3.0
_MOST_TABLES = 500
_MOST_COLUMNS = 200


class MssqlDelegation:
    """One SQL Server database in which every call runs as the user who made it.

    Raises:
        ConfigurationError: the settings make no sense, or the authority's file cannot be read.
    """

    def __init__(self, settings: MssqlSettings) -> None:
        check(settings)
        self._settings = settings
        self._actions = actions(settings)
        self._principals = MssqlPrincipals(settings)
        self._gate = TsqlGate(settings.allowed_functions)
        self._procedures = {name.casefold(): name for name in settings.procedures}
        self._driver = Driver(settings)
        self._identity = identity_of(settings, self._driver)
        self._pool = Connections[Connection](settings.pool)

    @property
    def actions(self) -> Sequence[Action]:
        """``query`` (the tool ``delegate``), ``schema``, ``table-details``, and ``procedure`` where there are any."""
        return self._actions

    async def initialize(self) -> None:
        """See that certificates are verified, then that the service can log in, where there is one.

        Raises:
            ConfigurationError: FreeTDS does not verify.
            DownstreamUnavailable: the server does not answer, cannot be verified or does not let the service in.
        """
        await asyncio.to_thread(check_verification, self._settings)
        service = self._settings.service
        if service is not None:
            await asyncio.to_thread(lambda: self._driver.open(service).close())
        elif not (await self.health_check()).healthy:
            raise DownstreamUnavailable(detail="the server does not answer")

    def principal(self, session: Session) -> str:
        """The session's name in the database. See :class:`~.principals.MssqlPrincipals`."""
        return self._principals.of(session)

    async def health_check(self) -> Health:
        """See whether the server takes connections. Logs in as nobody; 3 s at most."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                _, writer = await asyncio.open_connection(self._settings.host, self._settings.port)
            writer.close()
        except (OSError, TimeoutError):
            return Health(healthy=False, message="The database does not answer.")
        return Health(healthy=True)

    async def destroy(self) -> None:
        """Close all connections; what runs is given up."""
        await self._pool.close()

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        """Run the call as ``principal(call.session)``.

        Raises:
            StatementRefused, InvalidParameters: before anything was sent.
            LoginRefused, PrincipalUnavailable, PoolExhausted, DownstreamUnavailable: nothing ran.
            IdentityMismatch: the session was somebody else's.
            DatabaseRefused, StatementFailed, DelegationTimeout: the database said no, or was told to stop.
        """
        principal = self.principal(call.session)
        level = self._level(call.session)
        parameters = call.parameters
        match parameters:
            case TsqlQuery():
                text, reads = await self._judged(parameters, level)
                values = parameters.params
            case Procedure():
                text, values, reads = self._routine(parameters, level), parameters.params, False
            case ListTables() | TableDetails():
                text, values, reads = *_asked(parameters), True
            case _:
                raise UnknownAction
        answer = await self._run(call, principal, text, values, reads)
        match parameters:
            case ListTables():
                data = _page(answer, "tables", parameters.offset, parameters.limit)
            case TableDetails():
                data = _page(answer, "columns", parameters.offset, _MOST_COLUMNS)
                if not answer.rows and not parameters.offset:
                    raise StatementFailed(
                        "There is no such table or view, or you may not use it. List the schema to see yours."
                    )
            case _:
                data = _data(answer, self._settings.limits.bytes)
        return DelegationResult(data=data, receipt=self._receipt(answer))

    def _level(self, session: Session) -> Level:
        levels = self._settings.levels
        if not session.rejected:
            if levels.sql_write in session.permissions:
                return Level.SQL_WRITE
            if levels.sql_read in session.permissions:
                return Level.SQL_READ
        raise PermissionDenied(detail="the session has none of the levels' permissions")

    async def _judged(self, query: TsqlQuery, level: Level) -> tuple[str, bool]:
        most = self._settings.limits.statement_bytes
        try:
            length = len(query.sql.encode())
        except UnicodeEncodeError:
            raise InvalidParameters("sql: has half a surrogate pair.") from None
        if length > most or "\0" in query.sql:
            raise InvalidParameters(f"sql: longer than {most} bytes, or with a NUL.")
        verdict = await asyncio.to_thread(self._gate.check, query.sql, level, tuple(query.params))
        return verdict.text, verdict.needs is Level.SQL_READ

    def _routine(self, parameters: Procedure, level: Level) -> str:
        name = self._procedures.get(parameters.name.casefold())
        if name is None or level < Level.SQL_WRITE:
            raise InvalidParameters("name: there is no such procedure for you here.")
        return call_of(name, parameters.params)

    async def _run(
        self, call: DelegationCall, principal: str, text: str, params: dict[str, Scalar], reads: bool
    ) -> Answer:
        settings, identity, left = self._settings, self._identity, call.remaining(time.monotonic())
        bound = bind(params, most_bytes=settings.limits.parameter_bytes)
        mark = secrets.token_hex(16)
        whole = Batch(identity.batch(principal, text, bound, mark), mark, identity.login(principal), reads)
        try:
            async with asyncio.timeout(min(left, settings.limits.seconds + settings.pool.wait_seconds)):
                answer = await self._pool.run(
                    identity.owner(principal, call.session),
                    lambda connection, given_up: self._driver.run(connection, whole, given_up),
                    left,
                    identity.opening(call),
                )
        except TimeoutError:
            raise DelegationTimeout(detail="the deadline passed") from None
        except ActasError:
            raise
        except Exception as error:
            raise DownstreamUnavailable(detail=f"the driver failed: {type(error).__name__}") from None
        if identity.seen(answer) != principal:
            raise IdentityMismatch(detail="the batch ran as somebody else")
        return answer

    def _receipt(self, answer: Answer) -> Receipt:
        details = {"user_name": answer.user, "suser_sname": answer.login, "original_login": answer.original}
        if answer.ticket_of is not None:
            details["kerberos"] = answer.ticket_of
        return Receipt(identity=self._identity.seen(answer), method=self._identity.method, details=details)


def _asked(parameters: ListTables | TableDetails) -> tuple[str, dict[str, Scalar]]:
    """The statement about the catalogue, and its values. Raises InvalidParameters."""
    limit = parameters.limit if isinstance(parameters, ListTables) else _MOST_COLUMNS
    if not 1 <= limit <= _MOST_TABLES or not 0 <= parameters.offset < 2**31:
        raise InvalidParameters(f"limit must be 1 to {_MOST_TABLES}, and offset 0 or more.")
    values: dict[str, Scalar] = {"schema": parameters.schema, "offset": parameters.offset, "limit": limit + 1}
    if isinstance(parameters, ListTables):
        return catalog.TABLES.strip(), {**values, "name": parameters.name}
    return catalog.COLUMNS.strip(), {**values, "table": parameters.table}


def _page(answer: Answer, what: str, offset: int, limit: int) -> dict[str, object]:
    """One page: one row more was asked for than is shown."""
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    more = len(rows) > limit or answer.truncated_by is not None
    shown = rows[:limit]
    return {what: shown, "next_offset": offset + len(shown) if more else None}


def _data(answer: Answer, most_bytes: int) -> dict[str, object]:
    data: dict[str, object] = {}
    if answer.affected is not None:
        data["affected_rows"] = answer.affected
    if answer.has_result:
        data |= {
            "columns": answer.columns,
            "rows": answer.rows,
            "row_count": len(answer.rows),
            "truncated": answer.truncated_by is not None,
        }
    if answer.truncated_by == "rows":
        data["notice"] = f"The result was cut after {len(answer.rows)} rows. Ask for less: WHERE, TOP, or an aggregate."
    elif answer.truncated_by == "bytes":
        data["notice"] = f"The result was cut at {most_bytes} bytes. Ask for fewer rows, or for shorter columns."
    elif answer.more_results:
        data["notice"] = "The procedure gave several results; this is the first."
    return data
