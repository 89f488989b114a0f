"""JSON without the gaps that parsers disagree about (RFC 8259 section 4, RFC 7493)."""

import json
import math
from collections.abc import Iterable
from typing import NoReturn, cast

_LARGEST_INTEGER = 2**64


def loads(text: bytes, *, max_depth: int) -> object:
    """Parse UTF-8 JSON; time and memory grow with ``len(text)`` alone, so bound that first.

    Raises:
        ValueError: not JSON, not UTF-8, a name that occurs twice in one object, NaN or infinity, an
            integer beyond 64 bits, a lone surrogate, or arrays and objects nested deeper than ``max_depth``.
    """
    try:
        value: object = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_bounded,
        )
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not within_depth(value, max_depth):
        raise ValueError("nested too deep")
    if b"\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate, which only an escape can write, fails here
    return value


def separators(text: bytes) -> int:
    """How many values ``text`` has at most, about: to bound them before :func:`loads` makes objects, a hundred times as
    large, of them. Commas and brackets within its strings count too."""
    return sum(map(text.count, (b",", b"[", b"{")))


def within_depth(value: object, limit: int) -> bool:
    """Whether no list or dict in ``value`` is nested deeper than ``limit``; ``[]`` has depth 1, a scalar 0."""
    level: list[object] = [value]
    for _ in range(limit + 1):
        level = [parent for parent in level if isinstance(parent, dict | list)]
        if not level:
            return True
        level = [child for parent in level for child in _children(parent)]
    return False


def _children(value: object) -> Iterable[object]:
    return cast(dict[object, object], value).values() if isinstance(value, dict) else cast(list[object], value)


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return result


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _bounded(text: str) -> int:
    if len(text) > 20 or abs(value := int(text)) >= _LARGEST_INTEGER:
        raise ValueError("a number is too large")
    return value
