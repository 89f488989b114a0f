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
from decimal import Decimal, InvalidOperation

from psycopg import AsyncConnection, abc, adapters, postgres, pq
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader, Transformer

_LONGEST_NUMBER = 300
_EXACT_LENGTH = 16
"""Characters of a number with a point and no exponent: at most 15 digits, which a double holds."""
_LARGEST_EXACT = 2**53 - 1
_TEXT_ARRAY_OID = 1009
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


CONTEXT = _Context()
"""Makes psycopg's ``Transformer`` load JSON."""

TYPE_NAMES = {info.oid: info.name for info in postgres.types} | {
    info.array_oid: f"{info.name}[]" for info in postgres.types if info.array_oid
}
"""PostgreSQL's own types by OID."""
_ARRAYS = {info.oid: info.array_oid for info in postgres.types if info.array_oid}


def array_of(base: int) -> int:
    """The OID of an array type that reads arrays of ``base``, or of what is text to us."""
    return _ARRAYS.get(base, _TEXT_ARRAY_OID)


def read_as_array(rows: list[list[object]], column: int, array: int) -> None:
    """Make lists of one column's texts, in place, as if they were arrays of the type ``array``."""
    load = Transformer(CONTEXT).get_loader(array, pq.Format.TEXT).load
    for row in rows:
        value = row[column]
        if isinstance(value, str):
            row[column] = load(value.encode())
