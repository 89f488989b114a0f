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
from actas.delegation.sql.answers import details_data, notice, query_data, tables_data
from actas.delegation.sql.column_facts import ColumnFacts
from actas.delegation.sql.connections import ConnectionPool
from actas.delegation.sql.connector import Connector
from actas.delegation.sql.cursors import MOST_ROWS, Cursors
from actas.delegation.sql.evidence import evidence_of
from actas.delegation.sql.gate import Gate, Verdict
from actas.delegation.sql.identities import Identity, identity_of
from actas.delegation.sql.levels import Level, Levels
from actas.delegation.sql.placeholders import bind
from actas.delegation.sql.principals import Principals
from actas.delegation.sql.results import Page
from actas.delegation.sql.servers import Wanted
from actas.delegation.sql.settings import SqlSettings
from actas.delegation.sql.settings_check import check
from actas.delegation.sql.signed_claims import ClaimSigner
from actas.delegation.sql.transaction import Answer, Bounds, Statement, run_as

_OLDEST_LIBPQ = 170000
_CATALOG_BYTES = 2_000_000
"""Bytes of an answer about tables. ``catalog`` cuts texts and lists, so that the longest stays below it."""
_LONG_STATEMENT = 8192
"""Characters: judging more than this would keep all other calls waiting."""


class SqlDelegation:
    """One PostgreSQL database in which every call runs as the user who made it.

    Raises:
        ConfigurationError: the settings make no sense, or their files are missing.
    """

    def __init__(self, settings: SqlSettings, name: str = "sql") -> None:
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
        self._cursors = Cursors(settings.cursor_key, (name, str(settings.host), str(settings.port), settings.database))
        self._facts = ColumnFacts()
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
                answer, data = await self._query(principal, call, parameters, level)
            case ListTables():
                answer = await self._on_own_connection(principal, call, self._listing(parameters))
                data = tables_data(answer.page, parameters)
            case TableDetails():
                answer = await self._on_own_connection(principal, call, self._details(parameters, principal))
                data = details_data(answer.page, parameters)
            case _:
                raise UnknownAction
        return DelegationResult(data=data, receipt=self._receipt(answer))

    async def _query(
        self, principal: str, call: DelegationCall, query: Query, level: Level
    ) -> tuple[Answer, dict[str, object]]:
        if len(query.sql) > _LONG_STATEMENT:
            statement, verdict = await asyncio.to_thread(self._judged, query, level)
        else:
            statement, verdict = self._judged(query, level)
        passed = self._cursors.rows(call.session, principal, query)
        answer = await self._on_own_connection(principal, call, replace(statement, skip_rows=passed))
        if verdict.needs >= Level.SQL_ADMIN:
            self._facts.forget()

        async def ask(wanted: dict[str, list[int]]) -> Page:
            return (await self._on_own_connection(principal, call, self._own(catalog.COLUMN_FACTS, wanted))).page

        # What was cut has cost its connection: another one only for names of types.
        reads = not statement.may_leave_traces
        nullable = reads and not verdict.may_bring_nulls and answer.page.truncated_by is None
        left = call.remaining(time.monotonic())
        page, columns = await self._facts.described(
            answer.page, ask, nullable=nullable, most_bytes=self._limits.bytes, seconds=left
        )
        total = passed + len(page.rows)
        goes_on = reads and page.truncated_by is not None and 0 < len(page.rows) and total <= MOST_ROWS
        cursor = self._cursors.after(total, call.session, principal, query) if goes_on else None
        said = notice(page, self._limits.bytes, goes_on=goes_on, ordered=verdict.ordered)
        return answer, query_data(page, columns, said, cursor)

    def _judged(self, query: Query, level: Level) -> tuple[Statement, Verdict]:
        # Half a surrogate pair can be counted too; bind() refuses it.
        if len(query.sql.encode(errors="surrogatepass")) > self._limits.statement_bytes:
            raise InvalidParameters(f"sql: longer than {self._limits.statement_bytes} bytes.")
        bound = bind(query.sql, query.params, most_bytes=self._limits.parameter_bytes)
        verdict = self._gate.check(bound.text, level)
        only_reads = verdict.needs is Level.SQL_READ
        statement = Statement(
            bound.text,
            self._limits.rows,
            bound.values,
            bound.types,
            read_only=level is Level.SQL_READ or (only_reads and not verdict.calls_allowed_functions),
            may_leave_traces=verdict.calls_allowed_functions or not only_reads,
        )
        return statement, verdict

    def _listing(self, parameters: ListTables) -> Statement:
        if not 1 <= parameters.limit <= catalog.MOST_TABLES or not 0 <= parameters.offset < 2**31:
            raise InvalidParameters(f"limit: must be 1 to {catalog.MOST_TABLES}; offset: must not be negative.")
        values = asdict(parameters) | {"limit": parameters.limit + 1}
        return self._own(catalog.LIST_TABLES, values)

    def _details(self, parameters: TableDetails, principal: str) -> Statement:
        if not 0 <= parameters.offset < 2**31:
            raise InvalidParameters("offset: must not be negative.")
        path = ["pg_catalog", *self._connector.schemas(principal)]
        return self._own(catalog.TABLE_DETAILS, asdict(parameters) | {"path": path})

    def _own(self, text: str, values: Mapping[str, object]) -> Statement:
        """A statement of ours: it needs no gate, and a READ ONLY transaction all the same."""
        bound = bind(text, values, most_bytes=self._limits.parameter_bytes)
        return Statement(bound.text, catalog.MOST_ROWS, bound.values, bound.types, our_own=True)

    async def _on_own_connection(self, principal: str, call: DelegationCall, statement: Statement) -> Answer:
        seconds = call.remaining(time.monotonic())
        # Who may write sees what was written: a standby is a moment behind.
        may_write = self._levels.of(call.session) is not Level.SQL_READ
        identity, pool = self._way if may_write else self._readers_way
        try:
            # The pipeline has a timeout of its own; this one is for those who call the module without it.
            async with asyncio.timeout(seconds), pool.lend(principal, seconds, evidence_of(call)) as link:
                left = min(self._limits.seconds, call.remaining(time.monotonic()))
                most = _CATALOG_BYTES if statement.our_own else self._limits.bytes
                bounds = Bounds(most, left, self._limits.seconds)
                frame = identity.frame(principal, link.connection)
                if self._signer is not None:
                    frame = replace(frame, settings=(*frame.settings, self._signer.command(call.session, principal)))
                return await run_as(link.wire, frame, statement, bounds)
        except TimeoutError:
            raise DelegationTimeout(detail="the deadline passed; the statement was cancelled") from None
        except Error as error:
            raise DownstreamUnavailable(detail=f"the connection was lost: {type(error).__name__}") from None

    def _receipt(self, answer: Answer) -> Receipt:
        details = {"session_user": answer.session_user, "current_user": answer.current_user, **answer.seen}
        return Receipt(identity=answer.current_user, method=self._identity.method, details=details)
