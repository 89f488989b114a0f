"""Named parameters: ``%(name)s`` in the statement, values in a dict, always bound by the server, never pasted in.

Any other ``%`` is itself. Inside quotes and comments everything is itself. A placeholder becomes
``$1`` and so on, padded to its own length, so that positions in errors stay true. Values travel as
text: numbers and booleans with their type, strings and null with none, so that the server takes the
type from where they are used. A list becomes an array, as for ``= ANY(%(ids)s)``.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from actas.core.errors import InvalidParameters
from actas.delegation.sql.positions import place

_INFERRED, _BOOL, _INT4, _INT8, _NUMERIC, _FLOAT8 = 0, 16, 23, 20, 1700, 701
_TOKEN = re.compile(
    r"""
      [eE]'(?:[^'\\]|\\.|'')*+(?:'|\\?\Z)  # a string with escapes; an unfinished one reaches to the end
    | '(?:[^']|'')*+(?:'|\Z)
    | "(?:[^"]|"")*+(?:"|\Z)
    | (?<![\w$])(?P<dollars>\$(?:[^\W\d]\w*)?\$)
    | --[^\n]*
    | (?P<comment>/\*)
    | %\((?P<name>[A-Za-z_][A-Za-z0-9_]{0,62})\)s
    | (?<![\w$])(?P<number>\$\d+)
    | [\w$]+                                # so that the e of name'…' starts no string
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_MOST_PARAMETERS = 1000
_REMEMBERED_LENGTH = 8192


@dataclass(frozen=True, slots=True)
class Bound:
    """A statement with ``$1``… and what to send for each: text or None, and the type's OID or 0."""

    text: str
    values: list[bytes | None]
    types: list[int]


def bind(statement: str, parameters: Mapping[str, object], *, most_bytes: int) -> Bound:
    """Replace the placeholders of ``statement`` and encode ``parameters``, at most ``most_bytes`` long.

    Raises:
        InvalidParameters: one is missing, unused, of a wrong type, too long or not text that PostgreSQL can hold.
    """
    check_text("sql", statement)
    text, names = (_remembered if len(statement) <= _REMEMBERED_LENGTH else _numbered)(statement)
    missing, unused = [name for name in names if name not in parameters], sorted(parameters.keys() - set(names))
    if missing:
        raise InvalidParameters(f"params: no value for the placeholder %({missing[0]})s.")
    if unused:
        raise InvalidParameters(
            f"params: {len(unused)} not used in sql. Write %(name)s for each, without quotes around it."
        )
    encoded = [_encoded(name, parameters[name]) for name in names]
    if sum(len(value or b"") for value, _ in encoded) > most_bytes:
        raise InvalidParameters(f"params: longer than {most_bytes} bytes together.")
    return Bound(text, [value for value, _ in encoded], [kind for _, kind in encoded])


def check_text(where: str, text: str) -> None:
    """See whether ``text`` can be sent at all.

    Raises:
        InvalidParameters: it has a NUL or half of a surrogate pair.
    """
    if "\0" in text:
        raise InvalidParameters(f"{where}: has a NUL character, which PostgreSQL cannot hold.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidParameters(f"{where}: has half of a surrogate pair, which is not text.") from None


def _numbered(statement: str) -> tuple[str, tuple[str, ...]]:
    parts: list[str] = []
    numbers: dict[str, int] = {}
    done = position = 0
    while found := _TOKEN.search(statement, position):
        position = found.end()
        if found["comment"]:
            position = _end_of_comment(statement, position)
        elif dollars := found["dollars"]:
            end = statement.find(dollars, position)
            position = len(statement) if end < 0 else end + len(dollars)
        elif found["number"]:
            where = place(statement, found.start())
            raise InvalidParameters(
                f"sql: write placeholders as %(name)s, not as $1{where}, and give the values in params."
            )
        elif name := found["name"]:
            number = numbers.setdefault(name, len(numbers) + 1)
            parts += statement[done : found.start()], f"${number}".ljust(len(found[0]))
            done = position
    if len(numbers) > _MOST_PARAMETERS:
        raise InvalidParameters(f"sql: more than {_MOST_PARAMETERS} placeholders. Send a list and use = ANY(…).")
    return "".join([*parts, statement[done:]]), tuple(numbers)


_remembered = lru_cache(maxsize=512)(_numbered)


def _end_of_comment(statement: str, position: int) -> int:
    """PostgreSQL's comments nest. An unfinished one reaches to the end."""
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(statement, position)
        if edge is None:
            return len(statement)
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return position


def _encoded(name: str, value: object) -> tuple[bytes | None, int]:
    match value:
        case None:
            return None, _INFERRED
        case bool():
            return (b"t" if value else b"f"), _BOOL
        case int():
            return _digits(name, value).encode(), _integer_type(value)
        case float():
            return repr(value).encode() if math.isfinite(value) else str(value).encode(), _FLOAT8
        case str():
            check_text(f"params.{name}", value)
            return value.encode(), _INFERRED
        case list():
            return _array(name, value).encode(), _INFERRED  # pyright: ignore[reportUnknownArgumentType] -- JSON
        case _:
            raise InvalidParameters(
                f"params.{name}: must be a string, number, boolean, null, or a list of these; send JSON as a string."
            )


def _integer_type(value: int) -> int:
    if -(2**31) <= value < 2**31:
        return _INT4
    return _INT8 if -(2**63) <= value < 2**63 else _NUMERIC


def _digits(name: str, value: int) -> str:
    if value.bit_length() > 4096:
        raise InvalidParameters(f"params.{name}: the number has too many digits.")
    return str(value)


def _array(name: str, items: list[object]) -> str:
    """An array literal: ``{"a","b",NULL}``."""
    return "{" + ",".join(_element(name, item) for item in items) + "}"


def _element(name: str, item: object) -> str:
    encoded, _ = _encoded(name, item)
    if encoded is None:
        return "NULL"
    if isinstance(item, list):
        return encoded.decode()
    escaped = encoded.decode().replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
