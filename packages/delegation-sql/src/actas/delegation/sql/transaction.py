"""One call's transaction: who we are is proved to the server and by the server, then the statement, in one flight.

::

    BEGIN READ ONLY          or BEGIN READ WRITE
    RESET ALL                whatever an earlier call set is gone
    SELECT session_user …    fails, and with it all that follows, unless it is the principal
    the statement
    COMMIT                   a write's waits until its result has been read and found to be small enough

The identity in the receipt is therefore the transaction's own.

The frame is parsed anew each time. What the server keeps parsed stands under a name, and code that runs as the user
can put another statement under it; so a session that holds any statement of SQL's own PREPARE is refused too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from psycopg import Error, pq
from psycopg.pq.abc import PGresult

from actas.core.errors import DelegationError, DownstreamUnavailable, IdentityMismatch, LimitExceeded
from actas.delegation.sql.failures import from_sqlstate, leaves_connection_clean
from actas.delegation.sql.positions import place
from actas.delegation.sql.results import Page, RowCollector
from actas.delegation.sql.wire import Wire

_TEXT_OID = 25
_SLACK_BYTES = 1_000_000
_PLAN_OUTDATED = "0A000"
_NOT_THE_PRINCIPAL = "22012"
_IDENTITY = b"""
SELECT session_user::pg_catalog.text, current_user::pg_catalog.text,
       1 OPERATOR(pg_catalog./) CASE WHEN session_user::pg_catalog.text OPERATOR(pg_catalog.=) $1
           AND current_user::pg_catalog.text OPERATOR(pg_catalog.=) $1
           AND pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) $3
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_prepared_statement() p WHERE p.from_sql) THEN 1 ELSE 0 END,
       pg_catalog.set_config('statement_timeout', $2, true)
"""
_IDENTITY_BEFORE_OUR_OWN = _IDENTITY + b", pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)"
_NOT_AS_ASKED = (
    "the session or its current role is not the principal's, the transaction is not as asked, "
    "or the session holds prepared statements that are not ours"
)
_OUTCOME_UNKNOWN = "The connection was lost at the end of the statement: whether it took effect is unknown. Look first."
_DIAGNOSTICS = {
    "SQLSTATE": pq.DiagnosticField.SQLSTATE,
    "severity": pq.DiagnosticField.SEVERITY_NONLOCALIZED,
    "schema": pq.DiagnosticField.SCHEMA_NAME,
    "table": pq.DiagnosticField.TABLE_NAME,
    "column": pq.DiagnosticField.COLUMN_NAME,
    "type": pq.DiagnosticField.DATATYPE_NAME,
    "constraint": pq.DiagnosticField.CONSTRAINT_NAME,
}
_Ok = pq.ExecStatus


@dataclass(frozen=True, slots=True)
class Statement:
    """What is to run."""

    text: str
    most_rows: int
    values: Sequence[bytes | None] = ()
    types: Sequence[int] = ()
    read_only: bool = True
    """Run it in a READ ONLY transaction. Its result can be cut short; a write's is read to the end."""
    may_leave_traces: bool = False
    """It could change the session itself: clean up behind it."""
    our_own: bool = False
    """We wrote it: names in it are PostgreSQL's own, whatever the user's schemas have."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What any statement may take."""

    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    session_user: str
    current_user: str
    page: Page


class _Failed(Exception):
    def __init__(self, result: PGresult) -> None:
        self.result = result


async def run_as(wire: Wire, principal: str, statement: Statement, bounds: Bounds) -> Answer:
    """Run ``statement`` as ``principal``, whose own login ``wire`` is.

    Afterwards the connection can serve another call where ``wire.idle`` says so.

    Raises:
        IdentityMismatch: the session is somebody else's; the statement did not run.
        DelegationError: the database refused or failed it, with a safe message; nothing was changed.
        psycopg.OperationalError: the connection is gone.
    """
    while True:
        flight = _Flight(wire, statement, bounds)
        try:
            return await flight.send_and_read(principal)
        except IdentityMismatch:
            wire.spoil()
            raise
        except _Failed as failed:
            state = _sqlstate(failed.result)
            # Outside a transaction COMMIT itself failed, for a deferred constraint: nothing cleaned the session.
            if flight.at_statement and leaves_connection_clean(state) and wire.in_transaction:
                await flight.finish(b"ROLLBACK")
            else:
                wire.spoil()
            kept = wire.drop(statement.text.encode(), statement.types)
            if not (kept and wire.idle and state == _PLAN_OUTDATED):
                raise flight.explained(failed.result) from None


class _Flight:
    def __init__(self, wire: Wire, statement: Statement, bounds: Bounds) -> None:
        self._wire, self._statement, self._bounds = wire, statement, bounds
        self._collector = RowCollector(statement.most_rows, bounds.bytes)
        self.at_statement = False

    async def send_and_read(self, principal: str) -> Answer:
        wire, statement = self._wire, self._statement
        wire.send(b"BEGIN READ ONLY" if statement.read_only else b"BEGIN READ WRITE")
        wire.send(b"RESET ALL")
        timeout = str(max(1, int(self._bounds.seconds * 1000))).encode()
        expected = [principal.encode(), timeout, b"on" if statement.read_only else b"off"]
        wire.send(_IDENTITY_BEFORE_OUR_OWN if statement.our_own else _IDENTITY, expected, [_TEXT_OID] * 3)
        wire.send_again(statement.text.encode(), statement.values, statement.types)
        if statement.read_only:
            wire.send(b"COMMIT")
        wire.sync()
        await wire.flush()
        await self._expect(_Ok.COMMAND_OK)
        await self._expect(_Ok.COMMAND_OK)
        session_user, current_user = await self._identity()
        self.at_statement = True
        status, complete = await self._rows()
        if not complete:
            wire.spoil()  # the rest is still on its way
        if not statement.read_only and (not complete or self._collector.truncated_by == "bytes"):
            await self._undo(complete)
        page = self._collector.page(status, complete=complete)
        if complete:
            await self._end()
        return Answer(session_user, current_user, page)

    async def _undo(self, complete: bool) -> NoReturn:
        """A write returned too much: its rows may be cut for their number, but not for their size."""
        if complete:
            await self._expect_sync()
            await self.finish(b"ROLLBACK")
        raise LimitExceeded(
            f"The result is bigger than {self._bounds.bytes} bytes; nothing was changed. Return fewer columns."
        )

    async def _identity(self) -> tuple[str, str]:
        try:
            result = await self._expect(_Ok.TUPLES_OK)
        except _Failed as failed:
            if _sqlstate(failed.result) != _NOT_THE_PRINCIPAL:
                raise
            raise IdentityMismatch(detail=_NOT_AS_ASKED) from None
        session_user, current_user = ((result.get_value(0, index) or b"").decode() for index in (0, 1))
        return session_user, current_user

    async def _rows(self) -> tuple[bytes, bool]:
        """The status at the end, and whether we read to the end.

        A query's rows are left behind once there are enough of them. What came is counted after libpq
        took it: much of one enormous value can be in memory before it is given up.
        """
        wire, most = self._wire, 4 * self._bounds.bytes + _SLACK_BYTES
        if failed := await wire.preparation():
            await self._drain()
            raise _Failed(failed)
        wire.stream()
        status = b""
        while True:
            while wire.busy:
                if wire.received > most:
                    return status, False
                await wire.arrival()
            if wire.received > most:
                return status, False
            result = await wire.result()
            if result is None:
                return status, True
            if result.status not in (_Ok.TUPLES_CHUNK, _Ok.TUPLES_OK, _Ok.COMMAND_OK, _Ok.EMPTY_QUERY):
                await self._drain()
                raise _Failed(result)
            self._collector.add(result)
            if self._collector.truncated_by and self._statement.read_only:
                return status, False
            status = result.command_status or status

    async def _end(self) -> None:
        if not self._statement.read_only:
            await self._expect_sync()
            return await self.finish(b"COMMIT")
        await self._expect(_Ok.COMMAND_OK)
        await self._expect_sync()
        if self._statement.may_leave_traces:
            await self._clean()
        return None

    async def finish(self, command: bytes) -> None:
        """End the transaction with ``command``, and clean the session where the statement could have left traces."""
        wire = self._wire
        wire.send(command)
        wire.sync()
        try:
            await wire.flush()
            result = await self._expect(_Ok.COMMAND_OK)
        except Error as error:
            raise DownstreamUnavailable(_OUTCOME_UNKNOWN, detail=type(error).__name__) from None
        if result.command_status != command:
            raise self._odd(detail=f"{command.decode()} was answered with another command's status")
        await self._expect_sync()
        if self._statement.may_leave_traces:
            await self._clean()

    async def _clean(self) -> None:
        self._wire.send(b"DISCARD ALL")
        self._wire.sync()
        await self._wire.flush()
        await self._expect(_Ok.COMMAND_OK)
        await self._expect_sync()
        self._wire.forget()

    async def _expect(self, status: int) -> PGresult:
        """One command's only result."""
        result = await self._wire.preparation() or await self._wire.result()
        if result is None or result.status != status:
            await self._drain()
            if result is None:
                raise self._odd(detail="a command had no result")
            raise _Failed(result)
        while await self._wire.result() is not None:
            raise self._odd(detail="a command had two results")
        return result

    async def _expect_sync(self) -> None:
        result = await self._wire.preparation() or await self._wire.result()
        if result is None or result.status != _Ok.PIPELINE_SYNC:
            raise self._odd(detail="the flight did not end where it should")

    async def _drain(self) -> None:
        """Skip what follows an error, up to the end of the flight."""
        ends = 0
        while ends < 2:
            result = await self._wire.result()
            ends = ends + 1 if result is None else 0
            if result is not None and result.status == _Ok.PIPELINE_SYNC:
                return self._wire.settle()

    def _odd(self, detail: str) -> DelegationError:
        self._wire.spoil()
        return DelegationError(detail=detail)

    def explained(self, result: PGresult) -> DelegationError:
        """The error, with the place in the statement as the caller wrote it."""
        if not self.at_statement:
            return DownstreamUnavailable(detail=_private(result))
        found = result.error_field(pq.DiagnosticField.STATEMENT_POSITION)
        where = place(self._statement.text, int(found) - 1 if found else None)
        return from_sqlstate(_sqlstate(result), where, _private(result))


def _sqlstate(result: PGresult) -> str | None:
    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    return state.decode() if state else None


def _private(result: PGresult) -> str:
    """What happened, for the audit: names only. The server's text can hold rows, values and the statement."""
    fields = ((name, result.error_field(code)) for name, code in _DIAGNOSTICS.items())
    return ", ".join(f"{name} {value.decode(errors='replace')}" for name, value in fields if value)
