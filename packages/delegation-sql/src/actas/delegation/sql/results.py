"""The rows of one statement, gathered within bounds. What becomes of their values: see :mod:`.json_values`."""

import json
from dataclasses import dataclass, field, replace

from psycopg.adapt import Transformer
from psycopg.pq.abc import PGresult

from actas.delegation.sql.json_values import CONTEXT, TYPE_NAMES

_ENCODE = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
_BYTEA_OID = 17


@dataclass(frozen=True, slots=True)
class Column:
    """What the server says about a column of a result."""

    name: str
    oid: int
    """Its type's; a domain's is that of its base type."""
    table: int
    """The OID of the table that it comes from unchanged; 0 where it is computed."""
    number: int
    """Its number in that table."""

    @property
    def type_name(self) -> str | None:
        """PostgreSQL's name of the type; None where it is no type of PostgreSQL's own."""
        return TYPE_NAMES.get(self.oid)


@dataclass(frozen=True, slots=True)
class Page:
    """What one statement gave."""

    columns: list[Column]
    rows: list[list[object]]
    truncated_by: str | None
    """``rows`` or ``bytes`` where it was cut."""
    affected: int | None
    """Rows that the statement changed, as the server counted; None for a query."""
    command: str
    """The server's word for what was done: ``SELECT``, ``INSERT``, ``CREATE TABLE``."""


def fitted(page: Page, most_bytes: int) -> Page:
    """``page``, cut again where its rows have become longer than ``most_bytes``."""
    if _size(page.rows) <= most_bytes:
        return page
    return replace(page, rows=_that_fit(page.rows, most_bytes), truncated_by="bytes")


@dataclass(slots=True)
class RowCollector:
    """Gathers rows while there are at most ``most_rows``, and ``most_bytes`` of JSON."""

    most_rows: int
    most_bytes: int
    skip: int = 0
    """Rows still to be passed over: an earlier page had them."""
    columns: list[Column] = field(default_factory=list[Column])
    rows: list[list[object]] = field(default_factory=list[list[object]])
    truncated_by: str | None = None
    _bytes: int = 0

    def add(self, result: PGresult) -> None:
        """Take the rows of one result: a whole one, or a chunk."""
        if not self.columns:
            self.columns = [_column(result, index) for index in range(result.nfields)]
        first = min(self.skip, result.ntuples)
        self.skip -= first
        if self.truncated_by or first == result.ntuples:
            return
        room = self.most_rows - len(self.rows)
        end = self._worth_decoding(result, first, min(first + room, result.ntuples))
        transformer = Transformer(CONTEXT)
        transformer.set_pgresult(result)
        rows = transformer.load_rows(first, end, _row)
        if result.ntuples > end:
            self.truncated_by = "rows" if end == first + room else "bytes"
        size = _size(rows)
        if self._bytes + size > self.most_bytes:
            self.truncated_by = "bytes"
            rows = _that_fit(rows, self.most_bytes - self._bytes)
        self._bytes += size
        self.rows += rows

    def page(self, status: bytes, *, complete: bool) -> Page:
        """What was gathered. Where the server was stopped, so that it is not ``complete``, it was for its size."""
        command, affected = _command(status)
        truncated_by = self.truncated_by or (None if complete else "bytes")
        return Page(self.columns, self.rows, truncated_by, affected, command)

    def _worth_decoding(self, result: PGresult, first: int, end: int) -> int:
        """Where to stop decoding: at the first row from ``first`` on that is too long as the server sent it."""
        halved = [result.ftype(column) == _BYTEA_OID for column in range(result.nfields)]  # hex, which base64 shortens
        for row in range(first, end):
            lengths = (len(result.get_value(row, column) or b"") >> half for column, half in enumerate(halved))
            if sum(lengths) > self.most_bytes:
                return row
        return end


def _that_fit(rows: list[list[object]], left: int) -> list[list[object]]:
    fitting = 0
    for row in rows:
        left -= _size(row)
        if left < 0:
            break
        fitting += 1
    return rows[:fitting]


def _size(value: list[object] | list[list[object]]) -> int:
    return len(_ENCODE(value).encode())


def _row(values: object) -> list[object]:
    return list(values)  # type: ignore[call-overload,no-any-return]  # psycopg gives a sequence of values


def _column(result: PGresult, index: int) -> Column:
    name = (result.fname(index) or b"?column?").decode()
    return Column(name, result.ftype(index), result.ftable(index), result.ftablecol(index))


_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})
_COUNTED = _CHANGES | {"SELECT", "FETCH"}


def _command(status: bytes) -> tuple[str, int | None]:
    words = status.decode().split()
    if not words:
        return "SELECT", None
    if words[0] not in _COUNTED:
        return status.decode(), None
    command = "SELECT" if words[0] == "FETCH" else words[0]
    return command, int(words[-1]) if command in _CHANGES else None
