"""Where in a statement a node of its tree stands, and what the node is called. Asked when one is refused."""

import re
from collections.abc import Iterator
from typing import Any

from pglast.parser import scan  # pyright: ignore[reportMissingTypeStubs,reportUnknownVariableType] -- compiled

Node = dict[str, Any]  # Any: the parser's JSON

_CALLED = {
    "VariableSet": "SET or RESET",
    "VariableShow": "SHOW",
    "Transaction": "transaction control",
    "LockingClause": "a row lock (FOR UPDATE or FOR SHARE)",
    "IntoClause": "SELECT INTO",
    "Discard": "DISCARD",
    "DeclareCursor": "DECLARE CURSOR",
    "ClosePortal": "CLOSE",
    "Vacuum": "VACUUM or ANALYZE",
    "CreateRole": "CREATE ROLE",
    "AlterRole": "ALTER ROLE",
    "CreateFunction": "CREATE FUNCTION",
    "CreateTrig": "CREATE TRIGGER",
}
"""Where the parser's own name would tell an author of SQL too little."""

_KEYWORDS = {
    "LockingClause": "FOR",
    "IntoClause": "INTO",
    "InsertStmt": "INSERT",
    "UpdateStmt": "UPDATE",
    "DeleteStmt": "DELETE_P",
    "MergeStmt": "MERGE",
}
"""Nodes that have no place of their own, and the scanner's name of the word that they begin with."""
_LOCKS = frozenset({"UPDATE", "SHARE", "NO", "KEY"})
_LONGEST_SCANNED = 65_536


def words(kind: str) -> str:
    """``ViewStmt`` as ``VIEW``: the parser's own names are known words, never the caller's text."""
    bare = kind.removesuffix("Stmt")
    return _CALLED.get(bare) or re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", bare).upper()


def character_of(statement: str, root: Node, kind: str, node: Node) -> int:
    """The 0-based index of the character at which ``node`` begins, or the innermost known one around it.

    ``root`` is the parser's for the whole statement.
    """
    start = _characters(statement, root.get("stmt_location", 0))
    ((_, tree),) = root["stmt"].items()
    if node is tree:
        return start
    own = node.get("location", -1)
    if own >= 0:
        return _characters(statement, own)
    inside = min(_locations(node), default=-1)
    near = _characters(statement, inside) if inside >= 0 else None
    keyword = _KEYWORDS.get(kind)
    if keyword and (found := _keyword(statement, keyword, near)) is not None:
        return found
    if near is not None:
        return near
    around = _around(tree, node)
    return start if around is None else _characters(statement, around)


def _characters(statement: str, byte: int) -> int:
    return len(statement.encode()[:byte].decode(errors="ignore"))


def _below(node: Node) -> Iterator[Node]:
    for value in node.values():
        items: list[Any] = value if value.__class__ is list else [value]  # Any: the parser's JSON
        yield from (item for item in items if isinstance(item, dict))


def _locations(node: Node) -> Iterator[int]:
    stack = [node]
    while stack:
        one = stack.pop()
        if one.get("location", -1) >= 0:
            yield one["location"]
        stack.extend(_below(one))


def _around(tree: Node, node: Node) -> int | None:
    """The location of the innermost node above ``node`` that has one."""
    stack: list[tuple[Node, int | None]] = [(tree, None)]
    while True:  # it is in the tree
        one, around = stack.pop()
        if one is node:
            return around
        own = one.get("location", -1)
        stack.extend((below, own if own >= 0 else around) for below in _below(one))


def _keyword(statement: str, name: str, before: int | None) -> int | None:
    """Where the last word ``name`` before ``before`` begins; of a lock that names no table, the first one."""
    if len(statement) > _LONGEST_SCANNED:
        return None
    tokens: list[Any] = scan(statement)  # Any: the scanner's named tuples
    found: list[int] = [
        token.start
        for token, after in zip(tokens, [*tokens[1:], None], strict=True)
        if token.name == name and (name != "FOR" or (after is not None and after.name in _LOCKS))
    ]
    if before is None:
        return found[0] if found else None
    return max((place for place in found if place < before), default=None)
