"""The delegation module: statement, gate, the user's own connection, one flight, a receipt.

Nothing is connected before somebody calls: there is no account of the module's own to log in with.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from psycopg import Error, pq

from actas.core.errors import (
    ConfigurationError,
    DelegationTimeout,
    DownstreamUnavailable,
    InvalidParameters,
    PermissionDenied,
    UnknownAction,
)
from actas.core.models import Action, DelegationCall, DelegationResult, Health, Receipt, Session
from actas.delegation.sql import catalog
from actas.delegation.sql.actions import ListTables, Query, TableDetails, actions
from actas.delegation.sql.connections import ConnectionPool
from actas.delegation.sql.connector import Connector
from actas.delegation.sql.failures import StatementFailed
from actas.delegation.sql.gate import Gate
from actas.delegation.sql.identities import Identity, identity_of
from actas.delegation.sql.levels import Level, Levels
from actas.delegation.sql.placeholders import bind
from actas.delegation.sql.principals import Principals
from actas.delegation.sql.results import Page
from actas.delegation.sql.servers import Wanted
from actas.delegation.sql.settings import SqlSettings, check
from actas.delegation.sql.signed_claims import ClaimSigner
from actas.delegation.sql.transaction import Answer, Bounds, Statement, run_as

_OLDEST_LIBPQ = 170000
_MOST_TABLES = 500
_LONG_STATEMENT = 8192
"""Characters: judging more than this would keep all other calls waiting."""


class SqlDelegation:
    """One PostgreSQL database in which every call runs as the user who made it.

    Raises:
        ConfigurationError: the settings make no sense, or their files are missing.
    """

    def __init__(self, settings: SqlSettings) -> None:
        check(settings)
        if pq.version() < _OLDEST_LIBPQ:
            raise ConfigurationError("libpq 17 or later is needed: install psycopg[binary]")
        self._limits = settings.limits
        self._actions = actions(settings.levels.sql_read)
        self._levels = Levels(settings.levels)
        self._principals = Principals(settings)
        self._gate = Gate(settings.allowed_functions, settings.allowed_types, settings.allowed_operators)
        self._connector = Connector(settings)
        self._identity = identity_of(settings, self._connector)
        self._pool = ConnectionPool(settings.pool, self._identity.connect)
        self._readers_way = self._way = (self._identity, self._pool)
        if settings.reads == "standby":
            identity = identity_of(settings, Connector(settings, wanted=Wanted.STANDBY))
            self._readers_way = (identity, ConnectionPool(settings.pool, identity.connect))
        self._signer = ClaimSigner(settings.signed_claims) if settings.signed_claims else None

    @property
    def actions(self) -> Sequence[Action]:
        """``query`` (the tool ``delegate``), ``schema`` and ``table-details``."""
        return self._actions

    async def initialize(self) -> None:
        """See whether the database is set up for ``identity``, where there is something to see before somebody calls.

        A server that does not answer stops no start: it shows in :meth:`health_check`, and comes back by itself.

        Raises:
            ConfigurationError: the database is not set up for it; with the statements that do it.
        """
        for identity, _ in self._ways():
            await identity.check()

    def principal(self, session: Session) -> str:
        """The session's login role. See :class:`~.principals.Principals`."""
        return self._principals.of(session)

    async def health_check(self) -> Health:
        """Ask the servers whether they take connections. Logs in as nobody; 4 s at most."""
        there, of = await self._connector.answering()
        if there == of:
            return Health(healthy=True)
        if there:
            return Health(healthy=True, message=f"{there} of the database's {of} servers answer.")
        return Health(healthy=False, message="The database does not answer.")

    async def destroy(self) -> None:
        """Close all connections; what runs is cancelled by its own caller."""
        for identity, pool in self._ways():
            await pool.close()
            await identity.close()

    def _ways(self) -> list[tuple[Identity, ConnectionPool]]:
        return [self._way] if self._readers_way is self._way else [self._way, self._readers_way]

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        """Run the call as ``principal(call.session)``.

        Raises:
            StatementRefused, InvalidParameters: before anything was sent.
            LoginRefused, CredentialRejected, PrincipalUnavailable, PoolExhausted, DownstreamUnavailable: nobody was
                logged in.
            IdentityMismatch: the session was somebody else's; nothing ran.
            DatabaseRefused, StatementFailed, LimitExceeded, DelegationTimeout: the database said no, or was told to
                stop; nothing was changed.
        """
        principal = self.principal(call.session)
        level = self._levels.of(call.session)
        if level is None:
            raise PermissionDenied(detail="the session has none of the levels' permissions")
        parameters = call.parameters
        match parameters:
            case Query():
                if len(parameters.sql) > _LONG_STATEMENT:
                    statement = await asyncio.to_thread(self._judged, parameters, level)
                else:
                    statement = self._judged(parameters, level)
                answer = await self._on_own_connection(principal, call, statement)
                data = _query_data(answer.page, self._limits.bytes)
            case ListTables():
                answer = await self._on_own_connection(principal, call, self._listing(parameters))
                data = _tables_data(answer.page, parameters)
            case TableDetails():
                answer = await self._on_own_connection(principal, call, self._details(parameters, principal))
                data = _details_data(answer.page)
            case _:
                raise UnknownAction
        return DelegationResult(data=data, receipt=self._receipt(answer))

    def _judged(self, query: Query, level: Level) -> Statement:
        # Half a surrogate pair can be counted too; bind() refuses it.
        if len(query.sql.encode(errors="surrogatepass")) > self._limits.statement_bytes:
            raise InvalidParameters(f"sql: longer than {self._limits.statement_bytes} bytes.")
        bound = bind(query.sql, query.params, most_bytes=self._limits.parameter_bytes)
        verdict = self._gate.check(bound.text, level)
        only_reads = verdict.needs is Level.SQL_READ
        return Statement(
            bound.text,
            self._limits.rows,
            bound.values,
            bound.types,
            read_only=level is Level.SQL_READ or (only_reads and not verdict.calls_allowed_functions),
            may_leave_traces=verdict.calls_allowed_functions or not only_reads,
        )

    def _listing(self, parameters: ListTables) -> Statement:
        if not 1 <= parameters.limit <= _MOST_TABLES or not 0 <= parameters.offset < 2**31:
            raise InvalidParameters(f"limit: must be 1 to {_MOST_TABLES}; offset: must not be negative.")
        values = asdict(parameters) | {"limit": parameters.limit + 1}
        return self._own(catalog.LIST_TABLES, values)

    def _details(self, parameters: TableDetails, principal: str) -> Statement:
        path = ["pg_catalog", *self._connector.schemas(principal)]
        return self._own(catalog.TABLE_DETAILS, asdict(parameters) | {"path": path})

    def _own(self, text: str, values: Mapping[str, object]) -> Statement:
        """A statement of ours: it needs no gate, and a READ ONLY transaction all the same."""
        bound = bind(text, values, most_bytes=self._limits.parameter_bytes)
        return Statement(bound.text, _MOST_TABLES + 1, bound.values, bound.types, our_own=True)

    async def _on_own_connection(self, principal: str, call: DelegationCall, statement: Statement) -> Answer:
        seconds = call.remaining(time.monotonic())
        # Who may write sees what was written: a standby is a moment behind.
        may_write = self._levels.of(call.session) is not Level.SQL_READ
        identity, pool = self._way if may_write else self._readers_way
        try:
            # The pipeline has a timeout of its own; this one is for those who call the module without it.
            async with asyncio.timeout(seconds), pool.lend(principal, seconds, call.credential) as link:
                left = min(self._limits.seconds, call.remaining(time.monotonic()))
                bounds = Bounds(self._limits.bytes, left, self._limits.seconds)
                frame = identity.frame(principal, link.connection)
                if self._signer is not None:
                    frame = replace(frame, settings=(*frame.settings, self._signer.command(call.session, principal)))
                return await run_as(link.wire, frame, statement, bounds)
        except TimeoutError:
            raise DelegationTimeout(detail="the deadline passed; the statement was cancelled") from None
        except Error as error:
            raise DownstreamUnavailable(detail=f"the connection was lost: {type(error).__name__}") from None

    def _receipt(self, answer: Answer) -> Receipt:
        details = {"session_user": answer.session_user, "current_user": answer.current_user}
        return Receipt(identity=answer.current_user, method=self._identity.method, details=details)


def _query_data(page: Page, most_bytes: int) -> dict[str, object]:
    data: dict[str, object] = {"command": page.command}
    if page.affected is not None:
        data["affected_rows"] = page.affected
    if page.columns:
        data |= {"columns": page.columns, "rows": page.rows, "row_count": len(page.rows)}
    if page.columns or page.truncated_by:
        data["truncated"] = page.truncated_by is not None
    if page.truncated_by == "rows":
        data["notice"] = f"The result was cut after {len(page.rows)} rows. Ask for less: WHERE, LIMIT, or an aggregate."
    elif page.truncated_by == "bytes":
        data["notice"] = (
            f"The result was cut at {most_bytes} bytes. Ask for fewer rows, or for fewer or shorter columns."
        )
    return data


def _named(page: Page) -> list[dict[str, object]]:
    names = [column["name"] for column in page.columns]
    return [dict(zip(names, row, strict=True)) for row in page.rows]


def _tables_data(page: Page, parameters: ListTables) -> dict[str, object]:
    tables = _named(page)
    more = len(tables) > parameters.limit or page.truncated_by is not None
    shown = tables[: parameters.limit]
    return {"tables": shown, "next_offset": parameters.offset + len(shown) if more else None}


def _details_data(page: Page) -> dict[str, object]:
    found = _named(page)
    if not found:
        raise StatementFailed("There is no such table or view, or you may not use it. List the schema to see yours.")
    details = found[0]
    return {key: [] if value is None and key in _LISTS else value for key, value in details.items()}


_LISTS = frozenset({"columns", "constraints", "indexes"})
