"""Names of actions, made of what others call their operations."""

import re

LONGEST = 63
"""Characters of an action's name: a module's prefix has room before it."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def words(identifier: str) -> list[str]:
    """``getOrders2`` and ``GET_ORDERS_2`` as ``get``, ``orders``, ``2``."""
    return [word.lower() for word in _WORD.findall(identifier)]


def hyphenated(parts: list[str]) -> str:
    """``parts`` as one name, cut where it would be too long."""
    return "-".join(parts)[:LONGEST].rstrip("-")
