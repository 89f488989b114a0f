"""What PostgreSQL sends, as JSON: exact where JSON can be, text where it cannot.

A number is one where every reader that counts in IEEE 754 doubles gets the same one (RFC 8259 section 6, RFC 7493
section 2.2); else it is a string of its digits. ``numeric`` and ``money`` always are, as are NaN and infinities.
Dates and times are ISO 8601, intervals ISO 8601 durations, ``bytea`` is base64, arrays are lists,
``json`` is itself. Every other type is PostgreSQL's own text. Whatever comes as a string, ``bytea`` apart, can be sent
back as a parameter of the same type.
"""

import base64
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation

from psycopg import AsyncConnection, abc, adapters, postgres, pq
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader, Transformer
from psycopg.pq.abc import PGresult

_LONGEST_NUMBER = 300
_ENCODE = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
_EXACT_LENGTH = 16
"""Characters of a number with a point and no exponent: at most 15 digits, which a double holds."""
_LARGEST_EXACT = 2**53 - 1
_TEXT_ARRAY_OID = 1009
_BYTEA_OID = 17
_DEEPEST_JSON = 100


class _Text(Loader):
    def load(self, data: Buffer) -> object:
        return bytes(data).decode()


class _Integer(Loader):
    def load(self, data: Buffer) -> object:
        return _exact(int(bytes(data)))


class _Instant(Loader):
    """``2026-01-31 12:00:00+00`` as ``2026-01-31T12:00:00+00:00``; ``infinity`` and years BC as they are."""

    def load(self, data: Buffer) -> object:
        text = bytes(data).decode()
        if text.endswith(("BC", "infinity")):
            return text
        return _whole_offset(text.replace(" ", "T", 1))


class _Time(Loader):
    def load(self, data: Buffer) -> object:
        return _whole_offset(bytes(data).decode())


def _whole_offset(text: str) -> str:
    return f"{text}:00" if text[-3] in "+-" else text


class _Float(Loader):
    def load(self, data: Buffer) -> object:
        value = float(bytes(data))
        return value if math.isfinite(value) else bytes(data).decode()


class _Bytes(Loader):
    def load(self, data: Buffer) -> object:
        return base64.b64encode(bytes.fromhex(bytes(data)[2:].decode())).decode()


class _Json(Loader):
    """The value itself, or its text where Python or JSON's readers could not hold it."""

    def load(self, data: Buffer) -> object:
        text = bytes(data).decode()
        try:
            value: object = json.loads(
                text, parse_float=_json_float, parse_int=_json_int, object_pairs_hook=_without_twins
            )
            if "\\u" in text:
                json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError):
            return text
        return text if _too_deep(value) else value


def _too_deep(value: object) -> bool:
    level: list[object] = [value]
    for _ in range(_DEEPEST_JSON):
        level = [below for item in level for below in _below(item)]
        if not level:
            return False
    return True


def _below(item: object) -> Iterable[object]:
    if isinstance(item, dict):
        return item.values()  # pyright: ignore[reportUnknownVariableType] -- JSON
    return item if isinstance(item, list) else ()  # pyright: ignore[reportUnknownVariableType] -- JSON


def _exact(number: int) -> int | str:
    return number if -_LARGEST_EXACT <= number <= _LARGEST_EXACT else str(number)


def _json_int(text: str) -> int | str | float:
    if len(text) > _EXACT_LENGTH + 1:
        return text
    return -0.0 if text == "-0" else _exact(int(text))


def _json_float(text: str) -> float | str:
    if len(text) > _LONGEST_NUMBER:
        return text
    value = float(text)
    if len(text) <= _EXACT_LENGTH and "e" not in text and "E" not in text:
        return value
    return value if _same(text, value) else text


def _same(text: str, value: float) -> bool:
    try:
        return math.isfinite(value) and Decimal(text) == Decimal(repr(value))
    except InvalidOperation:  # an exponent beyond all numbers
        return False


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice, and both values count")
    return found


_LOADERS: dict[str, type[Loader]] = {
    "int8": _Integer,
    "timestamp": _Instant,
    "timestamptz": _Instant,
    "timetz": _Time,
    "float4": _Float,
    "float8": _Float,
    "bytea": _Bytes,
    "json": _Json,
    "jsonb": _Json,
}
_PYTHON_LOADERS = frozenset({"bool", "int2", "int4", "oid"})


def _counted_from_one(array: type[abc.Loader]) -> type[Loader]:
    """A loader of arrays; of one whose indexes do not begin at 1 it makes its text, which says where they begin."""

    class Counted(Loader):
        def __init__(self, oid: int, context: abc.AdaptContext | None = None) -> None:
            super().__init__(oid, context)
            self._array = array(oid, context)  # not its subclass: the compiled ones call no method of ours

        def load(self, data: Buffer) -> object:
            text = bytes(data)
            return text.decode() if text.startswith(b"[") else self._array.load(text)

    return Counted


class _Context:
    """What psycopg's transformer wants to know: our loaders, no connection."""

    def __init__(self) -> None:
        self.adapters = AdaptersMap(adapters)
        self.connection: AsyncConnection | None = None
        for info in postgres.types:
            if info.name not in _PYTHON_LOADERS:
                self.adapters.register_loader(info.oid, _LOADERS.get(info.name, _Text))
            array = self.adapters.get_loader(info.array_oid, pq.Format.TEXT) if info.array_oid else None
            if array is not None:
                self.adapters.register_loader(info.array_oid, _counted_from_one(array))


_CONTEXT = _Context()


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
        return _TYPE_NAMES.get(self.oid)


def array_of(base: int) -> int:
    """The OID of an array type that reads arrays of ``base``, or of what is text to us."""
    return _ARRAYS.get(base, _TEXT_ARRAY_OID)


def read_as_array(rows: list[list[object]], column: int, array: int) -> None:
    """Make lists of one column's texts, in place, as if they were arrays of the type ``array``."""
    load = Transformer(_CONTEXT).get_loader(array, pq.Format.TEXT).load
    for row in rows:
        value = row[column]
        if isinstance(value, str):
            row[column] = load(value.encode())


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
        transformer = Transformer(_CONTEXT)
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


_TYPE_NAMES = {info.oid: info.name for info in postgres.types} | {
    info.array_oid: f"{info.name}[]" for info in postgres.types if info.array_oid
}
_ARRAYS = {info.oid: info.array_oid for info in postgres.types if info.array_oid}


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
