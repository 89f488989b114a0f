"""Values as text, and the query: each parameter encoded, none that would change who calls or what with."""

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, cast
from urllib.parse import quote

from actas.core.errors import InvalidParameters
from actas.http.errors import RequestRefused

Style = Literal["repeated", "comma", "space", "pipe", "deep", "json"]
"""How lists and objects become text (OpenAPI: ``form`` exploded or not, ``spaceDelimited``, ``pipeDelimited``,
``deepObject``, ``content``)."""

_JOINED_BY = {"comma": ",", "space": " ", "pipe": "|"}
_NEVER = frozenset({"access_token", "_method", "x_http_method_override", "x_http_method", "x_method_override"})
"""A token in the query counts like one in ``Authorization`` (RFC 6750 section 2.3), and some frameworks take another
method from there."""
_SEPARATOR = re.compile(r"[-. _]")
_LONGEST_QUERY = 8000
"""Characters. What goes on is refused by most servers."""
_LARGEST_INTEGER = 2**64

Pair = tuple[str, str]


def never_a_parameter(name: str) -> bool:
    """Whether a query parameter called ``name`` must not be sent, whoever says so.

    Also where it is one to some server only: PHP takes ``access.token`` and ``access_token[]`` for ``access_token``.
    """
    plain = unicodedata.normalize("NFKC", name).partition("[")[0].strip().lower()
    return _SEPARATOR.sub("_", plain) in _NEVER


def text(value: object) -> str:
    """A scalar as it stands in a URL. Raises InvalidParameters where it is none."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() if abs(value) < _LARGEST_INTEGER:
            return str(value)
        case float() if math.isfinite(value):
            return json.dumps(value)
        case _:
            raise InvalidParameters("A list, an object, null or an endless number stands where one value is needed.")


def as_json(value: object) -> str:
    """``value`` as JSON. Raises InvalidParameters where it is none."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise InvalidParameters("A value is not JSON.", detail="a value is not JSON") from None


def joined(values: Iterable[object], separator: str) -> str:
    """Scalars with ``separator`` between them. Raises InvalidParameters where one of them would be two."""
    items = [text(value) for value in values]
    if any(separator in item for item in items):
        raise InvalidParameters(f"A value of a list has {separator!r} in it, which separates them there.")
    return separator.join(items)


def pairs(name: str, value: object, style: Style) -> Iterator[Pair]:
    """One parameter's part of the query; nothing for null.

    Raises:
        InvalidParameters: the value is nested deeper than ``style`` can say.
    """
    if style == "json":
        yield name, as_json(value)
    elif isinstance(value, dict):
        if style != "deep":
            raise InvalidParameters("An object stands where the service takes a value or a list.")
        for key, item in cast("Mapping[str, object]", value).items():
            yield f"{name}[{key}]", text(item)
    elif isinstance(value, list):
        if style in _JOINED_BY:
            yield name, joined(cast("list[object]", value), _JOINED_BY[style])
        else:
            yield from ((name, text(item)) for item in cast("list[object]", value))
    elif value is not None:
        yield name, text(value)


def encoded(given: Iterable[Pair]) -> str:
    """The query, without its ``?``; empty where there is nothing in it.

    Raises:
        RequestRefused: a name that must not be there, a control character, or too long.
    """
    parts: list[str] = []
    for name, value in given:
        if not name or never_a_parameter(name):
            raise RequestRefused("A query parameter has a name that is not allowed.", detail="a reserved query name")
        parts.append(f"{_quoted(name)}={_quoted(value)}")
    query = "&".join(parts)
    if len(query) > _LONGEST_QUERY:
        raise RequestRefused("The query is too long. Ask for less at once.", detail="the query is too long")
    return query


def _quoted(part: str) -> str:
    if any(each < " " or each == "\x7f" or "\ud800" <= each <= "\udfff" for each in part):
        raise RequestRefused("A query value has a control character in it.", detail="a control character in the query")
    return quote(part, safe="")
