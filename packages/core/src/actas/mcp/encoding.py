"""JSON as bytes, of integers of any size."""

from typing import cast

import orjson

_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
"""Beyond these, orjson refuses an integer."""


def encode(value: object) -> bytes:
    """``value`` as JSON. NaN and the infinities, which JSON does not have, become null.

    Raises:
        ValueError: something in it is not JSON, or it is nested more than 254 levels deep.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        pass
    try:
        return orjson.dumps(_with_big_integers(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None


def _with_big_integers(value: object) -> object:
    match value:
        case int() if not _SMALLEST <= value <= _LARGEST:
            return orjson.Fragment(str(value))
        case dict():
            return {key: _with_big_integers(item) for key, item in cast("dict[object, object]", value).items()}
        case list() | tuple():
            return [_with_big_integers(item) for item in cast("list[object]", value)]
        case _:
            return value
