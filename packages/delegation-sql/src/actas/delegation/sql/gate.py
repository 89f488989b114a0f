"""What a statement may do, decided on PostgreSQL's own parse tree: every node is walked, and a node, field, function,
operator or type that :mod:`.grammar` and :mod:`.allowlists` do not list is refused.

The database decides by itself what the user may see; the gate keeps a model from doing what no tool
call should do, whatever the user's rights: switch roles, change settings, call functions with
effects outside the transaction.
"""

import contextlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pglast.parser import ParseError, parse_sql_json  # pyright: ignore[reportMissingTypeStubs] -- compiled

from actas.delegation.sql import allowlists
from actas.delegation.sql.failures import StatementRefused
from actas.delegation.sql.grammar import (
    ALTERABLE,
    ALTERATIONS,
    COMMENTABLE,
    DROPPABLE,
    GRAMMAR,
    LEAVES,
    NODES,
    OPTIONS,
    RENAMEABLE,
    STATEMENTS,
)
from actas.delegation.sql.levels import Level
from actas.delegation.sql.positions import place
from actas.delegation.sql.whereabouts import Node, character_of, words

_CACHED_STATEMENTS = 512
_CACHED_LENGTH = 8192
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_.]{0,62}")
_PLAIN_OPERATOR = re.compile(r"[~!@#^&|`?+\-*/%<>=]{1,32}")
_SYMBOLS = re.compile(r"[~!@#^&|`?+\-*/%<>=]{129}")
"""PostgreSQL's lexer takes quadratic time for these in a row, comments without blanks between them included."""
_LONGEST_TRIMMED_SET = 32
_COLUMN_LIKE_FUNCTION = re.compile(r"pg_|lo_|dblink|set_config$|query_to_xml|ts_rewrite$|ts_stat$")
_SYSTEM_SCHEMAS = ("pg_", "information_schema")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A statement that may run."""

    needs: Level
    """The lowest level at which it would have been allowed."""
    calls_allowed_functions: bool
    """Whether it calls functions that the settings allow: these may write."""
    ordered: bool = False
    """Whether its rows come in an order that it asks for, or can have no other."""
    may_bring_nulls: bool = False
    """Whether a column of a table can be NULL in its result though it cannot be in the table: an outer join."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    message: str


class Gate:
    """Judges statements; remembers the last few hundred verdicts, each for its text and level."""

    def __init__(self, functions: Iterable[str] = (), types: Iterable[str] = (), operators: Iterable[str] = ()) -> None:
        self._names = _Names(frozenset(functions), frozenset(types), frozenset(operators))
        self._remembered: OrderedDict[tuple[str, Level], Verdict | _Refusal] = OrderedDict()

    def check(self, statement: str, level: Level) -> Verdict:
        """Judge ``statement``, which has neither NUL nor lone surrogates.

        Raises:
            StatementRefused: says which construct, and where.
        """
        key = (statement, level)
        # Taken out and put back at the end: a thread that judges a long statement can be here at the same time.
        judged = self._remembered.pop(key, None) or _judge(statement, level, self._names)
        if len(statement) <= _CACHED_LENGTH:
            self._remembered[key] = judged
            if len(self._remembered) > _CACHED_STATEMENTS:
                with contextlib.suppress(KeyError):  # the other one has made room already
                    self._remembered.popitem(last=False)
        if isinstance(judged, _Refusal):
            raise StatementRefused(judged.message)
        return judged


@dataclass(frozen=True, slots=True)
class _Names:
    functions: frozenset[str]
    types: frozenset[str]
    operators: frozenset[str]


class _Unfit(Exception):
    def __init__(self, construct: str, needs: Level | None = None) -> None:
        self.construct = construct
        self.needs = needs


def _judge(statement: str, level: Level, names: _Names) -> Verdict | _Refusal:
    if found := _SYMBOLS.search(statement):
        return _Refusal(
            f"Refused: more than 128 of ~!@#^&|`?+-*/%<>= in a row{place(statement, found.start())}, "
            "which no level allows, not even in a string or comment. Give such text in params."
        )
    try:
        tree: Node = json.loads(parse_sql_json(statement))
    except ParseError as error:
        found = re.search(r"at index (\d+)", str(error))
        where = place(statement, int(found[1]) if found else len(statement.rstrip()))
        return _Refusal(f"Not valid PostgreSQL: syntax error{where}.")
    except RecursionError:
        return _Refusal("The statement is nested too deeply.")
    statements = tree.get("stmts", [])
    if len(statements) != 1:
        return _Refusal(f"Send exactly one statement: there are {len(statements)}{_second(statement, statements)}.")
    ((kind, root),) = statements[0]["stmt"].items()
    walk = _Walk(level, names, kind, root)
    try:
        if kind not in STATEMENTS:
            raise _Unfit(words(kind))
        walk.through()
    except _Unfit as unfit:
        where = place(statement, character_of(statement, statements[0], walk.kind, walk.node))
        needs = "No level allows it." if unfit.needs is None else f"It needs the level {unfit.needs.label}."
        return _Refusal(f"Refused: {unfit.construct}{where} is not allowed at your level, {level.label}. {needs}")
    return Verdict(
        walk.needs, walk.calls_allowed_functions, "sortClause" in root or kind == "ExplainStmt", walk.may_bring_nulls
    )


def _second(statement: str, statements: list[Node]) -> str:
    if not statements:
        return ""
    second = statements[1]
    ((kind, root),) = second["stmt"].items()
    return f", the second{place(statement, character_of(statement, second, kind, root))}"


class _Walk:
    """One walk over one statement, with an explicit stack: depth cannot exhaust ours."""

    def __init__(self, level: Level, names: _Names, kind: str, root: Node) -> None:
        self._level = level
        self._names = names
        self.needs = Level.SQL_READ
        self.kind: str = kind
        self.node: Node = root
        self.calls_allowed_functions = False
        self.may_bring_nulls = False

    def through(self) -> None:
        """Raises _Unfit; ``node`` is then the one."""
        stack: list[tuple[str, Any]] = [(self.kind, self.node)]  # Any: a node, or nodes
        while stack:
            kind, node = stack.pop()
            if kind == NODES:
                items: list[Node] = node if node.__class__ is list else [node]
                for item in items:
                    stack.extend(item.items())
                continue
            if kind in LEAVES:
                continue
            self.kind, self.node = kind, node
            rule = GRAMMAR.get(kind)
            if rule is None:
                raise _Unfit(words(kind))
            level, fields = rule
            if level > self._level:
                raise _Unfit(words(kind), level)
            if level > self.needs:
                self.needs = level
            check = _CHECKS.get(kind)
            if check is not None:
                check(self, node)
            for name, value in node.items():
                if name not in fields:
                    raise _Unfit(f"{words(kind)} with {words(name)}")
                below = fields[name]
                if below is not None:
                    stack.append((below, value))

    def _require(self, level: Level, construct: str) -> None:
        if level > self._level:
            raise _Unfit(construct, level)
        if level > self.needs:
            self.needs = level

    def function(self, node: Node) -> None:
        name = _dotted(node["funcname"])
        bare = name.removeprefix("pg_catalog.")
        if bare in allowlists.TRIM_FUNCTIONS and not _trims_few_characters(node):
            raise _Unfit(f"{bare} of anything but blanks, or up to {_LONGEST_TRIMMED_SET} characters written out,")
        if bare in allowlists.READ_FUNCTIONS:
            return
        if name in self._names.functions:
            self.calls_allowed_functions = True
        elif bare in allowlists.WRITE_FUNCTIONS:
            self._require(Level.SQL_WRITE, f"the function {bare}")
        else:
            raise _Unfit(f"the function {name}" if _PLAIN_NAME.fullmatch(name) else "a function")

    def operator(self, node: Node) -> None:
        for parts in (node.get("name"), node.get("operName"), node.get("useOp")):
            if parts is None:
                continue
            if len(parts) != 1:
                raise _Unfit("a schema-qualified operator")
            symbol = _dotted(parts).replace(" ", "_")
            if symbol not in allowlists.OPERATORS and symbol not in self._names.operators:
                raise _Unfit(f"the operator {symbol}" if _PLAIN_OPERATOR.fullmatch(symbol) else "an operator")

    def type_name(self, node: Node) -> None:
        name = _dotted(node.get("names", ()))
        bare = name.removeprefix("pg_catalog.")
        if bare in allowlists.TYPES or name in self._names.types:
            return
        if bare in allowlists.SERIAL_TYPES:
            return self._require(Level.SQL_ADMIN, f"the type {bare}")
        raise _Unfit(f"the type {name}" if _PLAIN_NAME.fullmatch(name) else "a type")

    def column(self, node: Node) -> None:
        names: list[Node] = node["fields"][1:] if "fields" in node else node.get("indirection", [])
        for item in names:
            if _COLUMN_LIKE_FUNCTION.match(item.get("String", {}).get("sval", "")):
                raise _Unfit("a function written as a column")

    def relation(self, node: Node) -> None:
        schema = node.get("schemaname", "")
        if node.get("relpersistence", "p") != "p" or schema.startswith("pg_temp"):
            raise _Unfit("a temporary or unlogged table")
        if node["relname"] == "pg_settings":
            raise _Unfit("the view pg_settings")  # updating it is set_config()

    def target(self, node: Node) -> None:
        relation = node["relation"]
        if relation["relname"].startswith("pg_") or relation.get("schemaname", "").startswith(_SYSTEM_SCHEMAS):
            raise _Unfit("writing to a system catalogue")

    def sample(self, node: Node) -> None:
        if _dotted(node["method"]) not in {"bernoulli", "system"}:
            raise _Unfit("a sampling method")

    def operator_class(self, node: Node) -> None:
        if len(node.get("opclass", ())) > 1:
            raise _Unfit("a schema-qualified operator class")

    def option(self, node: Node) -> None:
        name = node["defname"]
        called = f"the option {name}" if _PLAIN_NAME.fullmatch(name) else "an option"
        level = OPTIONS.get(name)
        if level is None or "defnamespace" in node:
            raise _Unfit(called)
        self._require(level, called)

    def join(self, node: Node) -> None:
        self.may_bring_nulls |= node.get("jointype") != "JOIN_INNER"

    def grouping(self, node: Node) -> None:
        self.may_bring_nulls = True

    def alteration(self, node: Node) -> None:
        subtype = node.get("subtype", "")
        called = f"ALTER TABLE … {words(subtype.removeprefix('AT_'))}"
        level = ALTERATIONS.get(subtype)
        if level is None:
            raise _Unfit(called)
        self._require(level, called)

    def object_kind(self, node: Node) -> None:
        for field, allowed in _OBJECT_KINDS.items():
            if field in node and node[field] not in allowed:
                raise _Unfit(f"{words(self.kind)} of {words(str(node[field]).removeprefix('OBJECT_'))}")


_OBJECT_KINDS = {"removeType": DROPPABLE, "renameType": RENAMEABLE, "objtype": COMMENTABLE | ALTERABLE}
_CHECKS: dict[str, Callable[[_Walk, Node], None]] = {
    "FuncCall": _Walk.function,
    "A_Expr": _Walk.operator,
    "SubLink": _Walk.operator,
    "SortBy": _Walk.operator,
    "TypeName": _Walk.type_name,
    "ColumnRef": _Walk.column,
    "A_Indirection": _Walk.column,
    "RangeVar": _Walk.relation,
    "RangeTableSample": _Walk.sample,
    "IndexElem": _Walk.operator_class,
    "PartitionElem": _Walk.operator_class,
    "DefElem": _Walk.option,
    "JoinExpr": _Walk.join,
    "GroupingSet": _Walk.grouping,
    "AlterTableCmd": _Walk.alteration,
    **dict.fromkeys(("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"), _Walk.target),
    **dict.fromkeys(("DropStmt", "RenameStmt", "CommentStmt", "AlterTableStmt"), _Walk.object_kind),
}


def _trims_few_characters(node: Node) -> bool:
    characters: list[Node] = node.get("args", [])[1:]
    written = [item.get("A_Const", {}).get("sval", {}).get("sval") for item in characters]
    return all(text is not None and len(text) <= _LONGEST_TRIMMED_SET for text in written)


def _dotted(parts: Iterable[Node]) -> str:
    return ".".join(part["String"]["sval"] for part in parts)
