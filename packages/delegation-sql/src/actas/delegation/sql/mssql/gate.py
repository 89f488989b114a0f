"""What a T-SQL statement may do: sqlglot's tree is walked, and what is sent is written anew from the approved tree.

T-SQL needs no ``;`` between statements, so the user's text is never trusted to mean what a parser saw in it. The text
written anew has each name in brackets and no comments, and must come out the same when it is read once more.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from sqlglot import ErrorLevel, exp, parse
from sqlglot.dialects.tsql import TSQL
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from actas.delegation.sql.failures import StatementRefused
from actas.delegation.sql.levels import Level
from actas.delegation.sql.mssql.grammar import (
    DANGEROUS,
    FUNCTION_CLASSES,
    FUNCTION_NAMES,
    READING,
    RESERVED,
    STATEMENTS,
    TYPES,
    WORDS,
    WRITING,
)
from actas.delegation.sql.positions import place

_MOST_TOKENS = 5000
_CACHED_STATEMENTS = 512
_CACHED_LENGTH = 8192
_DEEPEST = 64
_LONGEST_NAME = 128
_NAMED = (exp.Literal, exp.HexString, exp.National)
_QUOTING = frozenset({TokenType.STRING, TokenType.NATIONAL_STRING, TokenType.IDENTIFIER, TokenType.HEX_STRING})
_OPENING = frozenset({TokenType.L_PAREN, TokenType.CASE})
_CLOSING = frozenset({TokenType.R_PAREN, TokenType.END})


@dataclass(frozen=True, slots=True)
class Verdict:
    """A statement that may run."""

    text: str
    """What is sent: written anew from the tree that was approved."""
    needs: Level
    """The lowest level at which it would have been allowed."""


class _Unfit(Exception):
    def __init__(self, construct: str, at: int | None = None, needs: Level | None = None) -> None:
        super().__init__(construct)
        self.construct = construct
        self.at = at
        self.needs = needs


class TsqlGate:
    """Judges statements. ``functions``: further ones that may be called, ``name`` or ``schema.name``.

    It remembers the last few hundred verdicts, each for its text, level and names of parameters.
    """

    def __init__(self, functions: Iterable[str] = ()) -> None:
        self._functions = frozenset(name.casefold() for name in functions)
        self._remembered = lru_cache(_CACHED_STATEMENTS)(self._judge)

    def check(self, statement: str, level: Level, parameters: Iterable[str] = ()) -> Verdict:
        """Judge ``statement``, which may use ``@name`` for each of ``parameters``.

        Raises:
            StatementRefused: says which construct, and where.
        """
        names = frozenset(name.casefold() for name in parameters)
        judge = self._remembered if len(statement) <= _CACHED_LENGTH else self._judge
        return judge(statement, level, names)

    def _judge(self, statement: str, level: Level, names: frozenset[str]) -> Verdict:
        try:
            tree = _only(statement)
            needs = self._walk(tree, names)
            if needs > level:
                raise _Unfit(f"{tree.key.upper()} or what it holds", None, needs)
            text = _written(tree)
            again = _only(text)
            if self._walk(again, names) is not needs or _written(again) != text:
                raise _Unfit("a construct that cannot be written down without doubt")
        except _Unfit as unfit:
            where = place(statement, unfit.at)
            why = f"needs the level {unfit.needs.label}" if unfit.needs else "which no level allows"
            raise StatementRefused(f"Refused: {unfit.construct}{where}, {why}.") from None
        except RecursionError:
            raise StatementRefused("Refused: the statement is nested too deeply.") from None
        return Verdict(text, needs)

    def _walk(self, tree: exp.Expr, parameters: frozenset[str]) -> Level:
        needs = Level.SQL_READ
        if type(tree).__name__ not in STATEMENTS:
            raise _Unfit("what is neither SELECT, INSERT, UPDATE, DELETE nor MERGE", _at(tree))
        for node in tree.walk():
            kind = type(node).__name__
            if kind in WRITING:
                needs = Level.SQL_WRITE
            elif isinstance(node, exp.Func) and not isinstance(node, (exp.And, exp.Or, exp.Case, exp.If, exp.Cast)):
                self._function(node, kind)
            elif kind not in READING:
                raise _Unfit(f"the construct {kind.upper()}", _at(node))
            self._closely(node, parameters)
        return needs

    def _function(self, node: exp.Func, kind: str) -> None:
        if kind in ("Any", "All", "Exists", "Convert", "Collate", "TryCast"):
            return
        if kind not in FUNCTION_CLASSES:
            raise _Unfit(f"the function {kind.upper()}", _at(node))
        if not isinstance(node, exp.Anonymous):
            return
        name = node.name
        path = [part for part in _path(node) if part]
        full = ".".join([*path, name])
        if not name.isascii() or not name.replace("_", "a").isalnum():
            raise _Unfit("a function with such a name", _at(node))
        if full.casefold() not in self._functions and (path or name.upper() not in FUNCTION_NAMES):
            raise _Unfit("a function that is not on the list", _at(node))

    def _closely(self, node: exp.Expr, parameters: frozenset[str]) -> None:
        if isinstance(node, exp.Identifier):
            _name(node)
        elif isinstance(node, exp.Literal):
            if not node.is_string and not _is_number(node.name):
                raise _Unfit("such a number", _at(node))
        elif isinstance(node, exp.Table):
            self._table(node)
        elif isinstance(node, exp.Column):
            if node.args.get("catalog") or (node.args.get("db") and not node.args.get("table")):
                raise _Unfit("a column of another database", _at(node))
        elif isinstance(node, exp.Dot):
            if not isinstance(node.expression, exp.Anonymous) or not isinstance(node.this, exp.Identifier):
                raise _Unfit("a name of several parts, or a method", _at(node))
        elif isinstance(node, exp.Parameter):
            if not isinstance(node.this, (exp.Var, exp.Identifier)) or node.name.casefold() not in parameters:
                raise _Unfit("a variable that params does not have", _at(node))
        elif isinstance(node, exp.DataType):
            kind = node.this
            if not isinstance(kind, exp.DataType.Type) or kind.name not in TYPES:
                raise _Unfit("such a type", _at(node))
        elif isinstance(node, exp.Var):
            if not isinstance(node.parent, exp.Parameter) and node.name.upper() not in WORDS:
                if not (isinstance(node.parent, exp.Collate) and node.name.replace("_", "a").isalnum()):
                    raise _Unfit("such a word", _at(node))
        if isinstance(node, (exp.Select, exp.Insert)) and node.args.get("into"):
            raise _Unfit("SELECT INTO", _at(node))
        _bare_text(node)

    def _table(self, table: exp.Table) -> None:
        if table.args.get("catalog") or isinstance(table.this, exp.Dot):
            raise _Unfit("a table of another database or server", _at(table))
        if isinstance(table.this, exp.Anonymous):
            return  # judged as a function
        if not isinstance(table.this, exp.Identifier):
            raise _Unfit("what is no table", _at(table))
        schema, name = table.db.casefold(), table.name.casefold()
        if schema == "sys" or name.startswith(("sys", "dm_", "xp_", "sp_", "fn_")):
            raise _Unfit("a system table", _at(table))


def _only(statement: str) -> exp.Expr:
    """The only statement's tree."""
    try:
        tokens = TSQL().tokenize(statement)
    except SqlglotError:
        raise _Unfit("what is no T-SQL") from None
    _tokens(tokens)
    try:
        trees = parse(statement, dialect="tsql", error_level=ErrorLevel.IMMEDIATE)
    except ParseError as error:
        raise _Unfit(f"what is no T-SQL{_near(error)}") from None
    except SqlglotError:
        raise _Unfit("what is no T-SQL") from None
    except (ValueError, TypeError, AttributeError, KeyError, IndexError):
        raise _Unfit("what the parser does not understand") from None
    if len(trees) != 1 or trees[0] is None:
        raise _Unfit("more or less than one statement")
    return trees[0]


def _near(error: ParseError) -> str:
    """The place alone: the parser's message repeats what is written there."""
    for told in error.errors[:1]:
        line, column = told.get("line"), told.get("col")
        if isinstance(line, int) and isinstance(column, int):
            return f" near line {line}, column {column}"
    return ""


def _tokens(tokens: list[Token]) -> None:
    depth = 0
    if len(tokens) > _MOST_TOKENS:
        raise _Unfit(f"more than {_MOST_TOKENS} words")
    for index, token in enumerate(tokens):
        if token.token_type in _QUOTING:
            continue
        word = token.text.upper()
        if token.token_type is TokenType.SEMICOLON and index + 1 < len(tokens):
            raise _Unfit("a second statement", token.start)
        if any(part in DANGEROUS for part in word.split()):
            raise _Unfit(next(part for part in word.split() if part in DANGEROUS), token.start)
        depth += (token.token_type in _OPENING) - (token.token_type in _CLOSING)
        if depth > _DEEPEST:
            raise _Unfit(f"more than {_DEEPEST} levels of nesting", token.start)


def _written(tree: exp.Expr) -> str:
    try:
        return tree.sql("tsql", identify=True, comments=False, unsupported_level=ErrorLevel.RAISE)
    except (SqlglotError, ValueError, TypeError, AttributeError, KeyError):
        raise _Unfit("a construct that cannot be written as T-SQL") from None


def _name(node: exp.Identifier) -> None:
    text = str(node.this)
    if not node.args.get("quoted") and text.upper() in RESERVED:
        raise _Unfit(f"{text.upper()}, as a second statement or a name without brackets", _at(node))
    odd = any(not character.isascii() and character.upper() != character for character in text)
    if not text or len(text) > _LONGEST_NAME or not text.isprintable() or odd:
        raise _Unfit("a name of such characters", _at(node))
    if text.startswith(("#", "@")) or node.args.get("temporary") or node.args.get("global_"):
        raise _Unfit("a temporary table", _at(node))


def _bare_text(node: exp.Expr) -> None:
    """Whatever else of the tree is text goes out as it is: it must be a word that is known."""
    if isinstance(node, (exp.Identifier, exp.Anonymous, exp.Var, exp.Parameter, *_NAMED)):
        text = node.this
        if isinstance(text, str) and ("\\\n" in text or "\\\r" in text):  # T-SQL goes on reading in the next line
            raise _Unfit("a line that ends with a backslash; give such text in params", _at(node))
        return
    for value in node.args.values():
        several = cast("list[object]", value) if isinstance(value, list) else [value]
        for each in several:
            if isinstance(each, str) and each and each.upper() not in WORDS:
                raise _Unfit("such a word", _at(node))


def _is_number(text: str) -> bool:
    return text.isascii() and text.replace(".", "", 1).replace("e", "0").replace("-", "").replace("+", "").isdigit()


def _path(node: exp.Expr) -> list[str]:
    dot = node.parent
    if isinstance(dot, exp.Dot) and dot.expression is node:
        return [dot.this.name if isinstance(dot.this, exp.Identifier) else "?"]
    if isinstance(dot, exp.Table):
        return [dot.catalog, dot.db]
    return []


def _at(node: exp.Expr) -> int | None:
    """Where it stands, or the first of what it holds."""
    found = [start for each in node.walk() if isinstance(start := each.meta.get("start"), int)]
    return min(found) if found else None
