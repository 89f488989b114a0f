"""One call's transaction: who we are is proved to the server and by the server, then the statement, in one flight.

::

    BEGIN READ ONLY               or BEGIN READ WRITE
    RESET ALL                     whatever an earlier call set is gone
    SET LOCAL SESSION …           fails, and with it all that follows, where the session is not the principal's
    SHOW session_authorization    and SHOW role: the server's word for who we are, see :mod:`.frames`
    the statement
    COMMIT                        a write's waits until its result has been read and found to be small enough

The identity in the receipt is therefore the transaction's own. Nothing before the statement needs the planner, names a
function or is kept on the server, where code that runs as the user could put something else in its place.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from psycopg import Error, pq
from psycopg.pq.abc import PGresult

from actas.core.errors import DelegationError, DownstreamUnavailable, IdentityMismatch, LimitExceeded
from actas.delegation.sql.failures import from_sqlstate, leaves_connection_clean
from actas.delegation.sql.frames import NO_ROLE, Frame
from actas.delegation.sql.positions import place
from actas.delegation.sql.results import Page, RowCollector
from actas.delegation.sql.wire import Wire

_SLACK_BYTES = 1_000_000
_PLAN_OUTDATED = frozenset({"0A000", "26000", "42P05"})
"""What a kept statement fails with, before anything ran, where the tables changed or somebody took it away."""
_NOT_THE_PRINCIPAL = frozenset({"22023", "42501", "42704"})
_STOPPING = "57P"
"""The server is stopping: what it was about to do at that moment, it may have done."""
_NEAR_SECONDS = 1.0
_OUR_PATH = b"SET LOCAL search_path = pg_catalog, pg_temp"
_NOT_AS_ASKED = "the session is not the principal's"
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
    skip_rows: int = 0
    """Rows to pass over: an earlier page had them."""
    our_own: bool = False
    """We wrote it: names in it are PostgreSQL's own, whatever the user's schemas have."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What any statement may take."""

    bytes: int
    seconds: float
    session_seconds: float = math.inf
    """The session's own ``statement_timeout``: a bound that is near it needs no command of its own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    session_user: str
    current_user: str
    seen: Mapping[str, str]
    """What it saw besides when the session began."""
    page: Page


class _Failed(Exception):
    def __init__(self, result: PGresult) -> None:
        self.result = result


async def run_as(wire: Wire, frame: Frame, statement: Statement, bounds: Bounds) -> Answer:
    """Run ``statement`` as ``frame.principal``.

    Afterwards the connection can serve another call of the same user where ``wire.idle`` says so.

    Raises:
        IdentityMismatch: the session is somebody else's; the statement did not run, or was undone.
        DelegationError: the database refused or failed it, with a safe message; nothing was changed.
        psycopg.OperationalError: the connection is gone.
    """
    while True:
        flight = _Flight(wire, frame, statement, bounds)
        try:
            return await flight.send_and_read()
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
            kept = wire.drop()
            if not (kept and wire.idle and state in _PLAN_OUTDATED):
                raise flight.explained(failed.result) from None


class _Flight:
    def __init__(self, wire: Wire, frame: Frame, statement: Statement, bounds: Bounds) -> None:
        self._wire, self._frame, self._statement, self._bounds = wire, frame, statement, bounds
        self._collector = RowCollector(statement.most_rows, bounds.bytes, statement.skip_rows)
        self.at_statement = False

    async def send_and_read(self) -> Answer:
        wire, statement = self._wire, self._statement
        settings = self._settings()
        wire.send(b"BEGIN READ ONLY" if statement.read_only else b"BEGIN READ WRITE")
        wire.send(b"RESET ALL")
        wire.send(self._frame.become)
        wire.send(b"SHOW session_authorization")
        wire.send(b"SHOW role")
        for setting in settings:
            wire.send(setting)
        send = wire.send if self._frame.session_is_shared else wire.send_again
        send(statement.text.encode(), statement.values, statement.types)
        if statement.read_only:
            wire.send(b"COMMIT")
        wire.sync()
        await wire.flush()
        await self._expect(_Ok.COMMAND_OK)
        await self._expect(_Ok.COMMAND_OK)
        session_user, current_user = await self._identity()
        for _ in settings:
            await self._expect(_Ok.COMMAND_OK)
        self.at_statement = True
        status, complete = await self._rows()
        if not complete:
            wire.spoil()  # the rest is still on its way
        if not statement.read_only and (not complete or self._collector.truncated_by == "bytes"):
            await self._undo(complete)
        page = self._collector.page(status, complete=complete)
        if complete:
            await self._end()
        return Answer(session_user, current_user, self._frame.seen, page)

    def _settings(self) -> list[bytes]:
        """For this transaction alone."""
        settings = list(self._frame.settings)
        if self._bounds.seconds < self._bounds.session_seconds - _NEAR_SECONDS:
            settings.append(b"SET LOCAL statement_timeout = %d" % max(1, int(self._bounds.seconds * 1000)))
        if self._statement.our_own:
            settings.append(_OUR_PATH)
        return settings

    async def _identity(self) -> tuple[str, str]:
        """Session user and current user, as the server names them."""
        try:
            await self._expect(_Ok.COMMAND_OK)
        except _Failed as failed:
            if _sqlstate(failed.result) not in _NOT_THE_PRINCIPAL:
                raise
            raise IdentityMismatch(detail=_NOT_AS_ASKED) from None
        session_user, role = await self._shown(), await self._shown()
        if session_user != self._frame.session_user or role != self._frame.role:
            raise IdentityMismatch(detail=_NOT_AS_ASKED)
        return session_user, session_user if role == NO_ROLE else role

    async def _shown(self) -> str:
        result = await self._expect(_Ok.TUPLES_OK)
        return (result.get_value(0, 0) or b"").decode()

    async def _undo(self, complete: bool) -> NoReturn:
        """A write returned too much: its rows may be cut for their number, but not for their size."""
        if complete:
            await self._expect_sync()
            await self.finish(b"ROLLBACK")
        raise LimitExceeded(
            f"The result is bigger than {self._bounds.bytes} bytes; nothing was changed. Return fewer columns."
        )

    async def _rows(self) -> tuple[bytes, bool]:
        """The status at the end, and whether we read to the end.

        A query's rows are left behind once there are enough of them. What came is counted after libpq
        took it: much of one enormous value can be in memory before it is given up.
        """
        wire, most = self._wire, 4 * self._bounds.bytes + _SLACK_BYTES
        if failed := await wire.steps():
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
        if self._statement.may_leave_traces and not self._frame.session_is_shared:
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
        except _Failed as failed:
            if (_sqlstate(failed.result) or "").startswith(_STOPPING):
                raise DownstreamUnavailable(_OUTCOME_UNKNOWN, detail=_private(failed.result)) from None
            raise
        if result.command_status != command:
            raise self._odd(detail=f"{command.decode()} was answered with another command's status")
        await self._expect_sync()
        if self._statement.may_leave_traces and not self._frame.session_is_shared:
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
        result = await self._wire.result()
        if result is None or result.status != status:
            await self._drain()
            if result is None:
                raise self._odd(detail="a command had no result")
            raise _Failed(result)
        while await self._wire.result() is not None:
            raise self._odd(detail="a command had two results")
        return result

    async def _expect_sync(self) -> None:
        result = await self._wire.result()
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
        found = None if self._statement.our_own else result.error_field(pq.DiagnosticField.STATEMENT_POSITION)
        where = place(self._statement.text, int(found) - 1 if found else None)
        return from_sqlstate(_sqlstate(result), where, _private(result))


def _sqlstate(result: PGresult) -> str | None:
    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    return state.decode() if state else None


def _private(result: PGresult) -> str:
    """What happened, for the audit: names only. The server's text can hold rows, values and the statement."""
    fields = ((name, result.error_field(code)) for name, code in _DIAGNOSTICS.items())
    return ", ".join(f"{name} {value.decode(errors='replace')}" for name, value in fields if value)
