"""What PostgreSQL sends, as JSON: exact where JSON can be, text where it cannot.

Numbers that JSON's readers would round (``numeric``, ``money``) are strings, as are NaN and infinities.
Dates and times are ISO 8601, intervals ISO 8601 durations, ``bytea`` is base64, arrays are lists,
``json`` is itself. Every other type is PostgreSQL's own text.
"""

import base64
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from psycopg import AsyncConnection, adapters, postgres
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader, Transformer
from psycopg.pq.abc import PGresult

_LONGEST_NUMBER = 300
_ENCODE = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
_EXACT_DIGITS = 16
_BYTEA_OID = 17
_DEEPEST_JSON = 100


class _Text(Loader):
    def load(self, data: Buffer) -> object:
        return bytes(data).decode()


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
            value: object = json.loads(text, parse_float=_json_float, parse_int=_json_int)
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


def _json_int(text: str) -> int | str:
    return text if len(text) > _LONGEST_NUMBER else int(text)


def _json_float(text: str) -> float | str:
    if len(text) > _LONGEST_NUMBER:
        return text
    value = float(text)
    return value if math.isfinite(value) and (len(text) <= _EXACT_DIGITS or repr(value) == text) else text


_LOADERS: dict[str, type[Loader]] = {
    "timestamp": _Instant,
    "timestamptz": _Instant,
    "timetz": _Time,
    "float4": _Float,
    "float8": _Float,
    "bytea": _Bytes,
    "json": _Json,
    "jsonb": _Json,
}
_PYTHON_LOADERS = frozenset({"bool", "int2", "int4", "int8", "oid"})


class _Context:
    """What psycopg's transformer wants to know: our loaders, no connection."""

    def __init__(self) -> None:
        self.adapters = AdaptersMap(adapters)
        self.connection: AsyncConnection | None = None
        for info in postgres.types:
            if info.name not in _PYTHON_LOADERS:
                self.adapters.register_loader(info.oid, _LOADERS.get(info.name, _Text))


_CONTEXT = _Context()


@dataclass(frozen=True, slots=True)
class Page:
    """What one statement gave."""

    columns: list[dict[str, str]]
    rows: list[list[object]]
    truncated_by: str | None
    """``rows`` or ``bytes`` where it was cut."""
    affected: int | None
    """Rows that the statement changed, as the server counted; None for a query."""
    command: str
    """The server's word for what was done: ``SELECT``, ``INSERT``, ``CREATE TABLE``."""


@dataclass(slots=True)
class RowCollector:
    """Gathers rows while there are at most ``most_rows``, and ``most_bytes`` of JSON."""

    most_rows: int
    most_bytes: int
    columns: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    rows: list[list[object]] = field(default_factory=list[list[object]])
    truncated_by: str | None = None
    _bytes: int = 0

    def add(self, result: PGresult) -> None:
        """Take the rows of one result: a whole one, or a chunk."""
        if not self.columns:
            self.columns = [_column(result, index) for index in range(result.nfields)]
        if self.truncated_by or not result.ntuples:
            return
        room = self.most_rows - len(self.rows)
        count = self._worth_decoding(result, min(room, result.ntuples))
        transformer = Transformer(_CONTEXT)
        transformer.set_pgresult(result)
        rows = transformer.load_rows(0, count, _row)
        if result.ntuples > count:
            self.truncated_by = "rows" if count == room else "bytes"
        size = _size(rows)
        if self._bytes + size > self.most_bytes:
            self.truncated_by = "bytes"
            rows = self._that_fit(rows)
        self._bytes += size
        self.rows += rows

    def page(self, status: bytes, *, complete: bool) -> Page:
        """What was gathered. Where the server was stopped, so that it is not ``complete``, it was for its size."""
        command, affected = _command(status)
        truncated_by = self.truncated_by or (None if complete else "bytes")
        return Page(self.columns, self.rows, truncated_by, affected, command)

    def _worth_decoding(self, result: PGresult, most: int) -> int:
        """How many rows to decode: none from the first one on that is too long as the server sent it."""
        halved = [result.ftype(column) == _BYTEA_OID for column in range(result.nfields)]  # hex, which base64 shortens
        for row in range(most):
            lengths = (len(result.get_value(row, column) or b"") >> half for column, half in enumerate(halved))
            if sum(lengths) > self.most_bytes:
                return row
        return most

    def _that_fit(self, rows: list[list[object]]) -> list[list[object]]:
        left, fitting = self.most_bytes - self._bytes, 0
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


def _column(result: PGresult, index: int) -> dict[str, str]:
    oid = result.ftype(index)
    kind = _TYPE_NAMES.get(oid) or f"oid {oid}"
    return {"name": (result.fname(index) or b"?column?").decode(), "type": kind}


_TYPE_NAMES = {info.oid: info.name for info in postgres.types} | {
    info.array_oid: f"{info.name}[]" for info in postgres.types if info.array_oid
}


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
