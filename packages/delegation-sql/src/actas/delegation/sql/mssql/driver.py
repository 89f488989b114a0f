"""pymssql, held to what is needed of it: one verified connection, one batch, its results within bounds."""

import base64
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from json import dumps
from typing import Any, Protocol, cast
from uuid import UUID

import pymssql

from actas.core.errors import DownstreamUnavailable, IdentityMismatch
from actas.delegation.sql.mssql.failures import from_driver, numbered
from actas.delegation.sql.mssql.settings import MssqlServiceSettings, MssqlSettings
from actas.delegation.sql.mssql.tls import section
from actas.delegation.sql.mssql.waiting import until

_EXACT = 2**53


class Cursor(Protocol):
    """What is used of pymssql's."""

    description: Sequence[Sequence[Any]] | None  # Any: PEP 249

    def execute(self, operation: str) -> None: ...
    def fetchone(self) -> Sequence[object] | None: ...
    def nextset(self) -> object: ...


class Connection(Protocol):
    """What is used of pymssql's."""

    def cursor(self) -> Cursor: ...
    def close(self) -> None: ...


class OwnConnection:
    """A connection that a ticket opened."""

    def __init__(self, connection: Connection, principal: str, good_until: float) -> None:
        self._connection = connection
        self.principal = principal
        """Whose ticket it was."""
        self.good_until = good_until
        """When it ends, on :func:`time.monotonic`'s clock."""

    def cursor(self) -> Cursor:
        """pymssql's."""
        return self._connection.cursor()

    def close(self) -> None:
        """Close it."""
        self._connection.close()


_connect = cast("Callable[..., Connection]", pymssql.connect)


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of :mod:`.batch`, and what must come of it."""

    text: str
    mark: str
    """Tells its own results from the user's."""
    login: str
    """Whose the session must be when it has ended."""
    reads: bool
    """Its result can be cut short; a write's is read to the end."""


@dataclass(slots=True)
class Answer:
    """What one batch gave."""

    user: str
    login: str
    original: str
    ticket_of: str | None = None
    """The principal whose ticket opened the connection, where one did."""
    columns: list[str] = field(default_factory=list[str])
    rows: list[list[object]] = field(default_factory=list[list[object]])
    has_result: bool = False
    affected: int | None = None
    truncated_by: str | None = None
    more_results: bool = False
    spent: bool = False
    """The connection must not be used again."""


class Driver:
    """Opens connections as the service, and runs batches on them. All of it blocks: it is for threads."""

    def __init__(self, settings: MssqlSettings) -> None:
        self._settings = settings
        self._server = section(settings.host, settings.port, settings.ca_file)

    def open(self, service: MssqlServiceSettings) -> Connection:
        """Log in as ``service``, over verified TLS.

        Raises:
            DownstreamUnavailable: no server, no certificate that the authority signed for this host, or no login.
        """
        try:
            return self.log_in(self._server, service.login, service.password.reveal())
        except pymssql.Error as error:
            number, words = numbered(error)
            raise DownstreamUnavailable(detail=f"SQL Server, logging in: {number}: {words}") from None

    def log_in(self, server: str, user: str | None = None, password: str | None = None) -> Connection:
        """Log in to ``server``, a section of FreeTDS's configuration; without a name, by a ticket.

        Raises:
            pymssql.Error: whatever went wrong.
        """
        return _connect(
            server=server,
            port=str(self._settings.port),  # its default would win over the section's
            user=user,
            password=password,
            database=self._settings.database,
            login_timeout=math.ceil(self._settings.pool.connect_seconds),
            timeout=math.ceil(self._settings.limits.seconds),
            appname="actas",
            autocommit=True,
            conn_properties="",
        )

    def run(self, connection: Connection, batch: Batch, given_up: threading.Event) -> Answer:
        """Run ``batch``, until somebody says that it is given up. After any error the connection must be closed.

        Raises:
            IdentityMismatch: the session was not the user's, or not that of ``batch.login`` afterwards.
            DelegationError: see :mod:`.failures`.
        """
        try:
            cursor = connection.cursor()
            with until(given_up, self._settings.limits.seconds):
                cursor.execute(batch.text)
            answer = self._read(cursor, batch)
        except pymssql.Error as error:
            raise from_driver(error) from None
        answer.ticket_of = connection.principal if isinstance(connection, OwnConnection) else None
        return answer

    def _read(self, cursor: Cursor, batch: Batch) -> Answer:
        answer: Answer | None = None
        while True:
            if cursor.description is not None:
                first = cursor.fetchone()
                if first is not None and first[0] == batch.mark:
                    user, login, original = (str(value) for value in first[1:4])
                    if answer is not None:
                        if {login.casefold(), original.casefold()} != {batch.login.casefold()}:
                            raise IdentityMismatch(detail="the session did not come back to whose it is")
                        answer.affected = int(str(first[4])) if first[4] is not None and not answer.has_result else None
                        return answer
                    answer = Answer(user, login, original)
                elif answer is None:
                    raise IdentityMismatch(detail="a result came before the identity")
                elif answer.has_result:
                    answer.more_results = True
                    while first is not None:
                        first = cursor.fetchone()
                else:
                    self._take(answer, cursor, first, reads=batch.reads)
                    if answer.spent:
                        return answer
            if not cursor.nextset():
                raise IdentityMismatch(detail="the batch ended without the way back")

    def _take(self, answer: Answer, cursor: Cursor, row: Sequence[object] | None, *, reads: bool) -> None:
        limits = self._settings.limits
        answer.has_result = True
        answer.columns = [str(column[0]) for column in cursor.description or ()]
        size = 0
        while row is not None:
            if answer.truncated_by is None:
                values = [plain(value) for value in row]
                size += len(dumps(values, ensure_ascii=False).encode())
                if len(answer.rows) >= limits.rows:
                    answer.truncated_by = "rows"
                elif size > limits.bytes:
                    answer.truncated_by = "bytes"
                else:
                    answer.rows.append(values)
            if answer.truncated_by and reads:
                answer.spent = True  # closing the connection is the cheapest way to stop the server
                return
            row = cursor.fetchone()  # what writes is read to its end: stopped, it would be undone


def plain(value: object) -> object:
    """``value`` as JSON without loss: exact numbers and what JSON cannot say are text, binary is base64."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if -_EXACT <= value <= _EXACT else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case Decimal() | UUID():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            return str(value)
