"""Whom a T-SQL session acts as: ``EXECUTE AS``, cookies, ``REVERT`` and scopes, as SQL Server documents them.

It reads the little T-SQL that a gateway's batch is made of, with a lexer of its own, and executes no query: what comes
as a statement of the user's is judged (see :data:`DANGEROUS`) and answered with one row that says who asked.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from actas.testing.tds_tokens import Cell

_TOKEN = re.compile(
    r"\s+|--[^\n]*|(?P<string>N?'(?:[^']|'')*')|(?P<name>\[(?:[^\]]|\]\])*\]|\"(?:[^\"]|\"\")*\")"
    r"|(?P<variable>@@?[\w#$@]+)|(?P<number>0x[0-9A-Fa-f]*|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)|(?P<word>[\w#$]+)|(?P<sign><>|.)",
    re.DOTALL,
)
DANGEROUS = frozenset(
    """
    ALTER BACKUP BULK CHECKPOINT COMMIT CREATE DBCC DECLARE DENY DROP EXEC EXECUTE GRANT INTO KILL OPENDATASOURCE
    OPENQUERY OPENROWSET RECONFIGURE RESTORE REVERT REVOKE ROLLBACK SETUSER SHUTDOWN TRUNCATE USE WAITFOR
    """.split()
)
"""Words that, outside of brackets, strings and comments, would do something in a user's statement. ``INTO`` counts
unless it follows INSERT or MERGE."""
WRITES = frozenset({"DELETE", "INSERT", "MERGE", "UPDATE"})


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of T-SQL: its kind (string, name, variable, number, word, sign) and text."""

    kind: str
    text: str


def lex(text: str) -> list[Token]:
    """The tokens, without blanks and comments; comments nest, as in T-SQL."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        if text.startswith("/*", at):
            at = _after_comment(text, at)
            continue
        found = _TOKEN.match(text, at)
        if found is None or not found.group():
            break
        if found.lastgroup:
            tokens.append(Token(found.lastgroup, found.group()))
        at = found.end()
    return tokens


def _after_comment(text: str, at: int) -> int:
    depth = 0
    while at < len(text):
        if text.startswith("/*", at):
            depth, at = depth + 1, at + 2
        elif text.startswith("*/", at):
            depth, at = depth - 1, at + 2
            if not depth:
                return at
        else:
            at += 1
    return at


class SqlError(Exception):
    """An error of the server's."""

    def __init__(self, number: int, text: str, severity: int = 16) -> None:
        super().__init__(text)
        self.number = number
        self.severity = severity


@dataclass(frozen=True, slots=True)
class ResultSet:
    """What a statement answers: rows, or without columns a count."""

    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()
    count: int = 0
    seconds: float = 0.0
    """How long it takes; an attention stops it."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One statement that reached the peer as a user's."""

    user: str
    original: str
    text: str
    values: dict[str, object]
    effects: tuple[str, ...]
    """What it would have done besides reading: words of :data:`DANGEROUS` and :data:`WRITES`."""


Answers = Callable[[Ran], ResultSet]


def echo(ran: Ran) -> ResultSet:
    """One row: who asked, and what."""
    writes = [word for word in ran.effects if word in WRITES]
    return ResultSet(count=1) if writes else ResultSet(["who", "text"], [[ran.user, ran.text]], 1)


@dataclass(slots=True)
class TdsSession:
    """One connection's identity."""

    login: str
    users: frozenset[str]
    answers: Answers = echo
    ran: list[Ran] = field(default_factory=list[Ran])
    stack: list[tuple[str, bytes | None, bool]] = field(default_factory=list[tuple[str, bytes | None, bool]])
    """Each impersonation: whom, its cookie, and whether it can never be reverted."""
    rowcount: int = 0
    xact_abort: bool = False

    @property
    def user(self) -> str:
        """Whom it acts as."""
        return self.stack[-1][0] if self.stack else self.login

    def execute_as(self, name: str, *, cookie: bool, no_revert: bool = False) -> bytes | None:
        """Returns the cookie."""
        if name not in self.users:
            raise SqlError(15517, f"Cannot execute as the database principal {name}.")
        made = secrets.token_bytes(20) if cookie else None
        self.stack.append((name, made, no_revert))
        return made

    def revert(self, cookie: object = None) -> None:
        """Needs no permission; what was taken with a cookie needs that one. With nothing to revert it does nothing."""
        if not self.stack:
            return
        _, made, no_revert = self.stack[-1]
        if no_revert or made != cookie:
            raise SqlError(15590, "Can only use the 'Revert' statement with the cookie of its 'Execute As'.")
        self.stack.pop()

    def statement(self, text: str, values: dict[str, object]) -> ResultSet:
        """A text in a scope of its own: what it takes on ends with it, and it sees no variable but its own."""
        depth = len(self.stack)
        tokens = lex(text)
        words = [token.text.upper() if token.kind == "word" else "" for token in tokens]
        effects = [
            word
            for index, word in enumerate(words)
            if word in WRITES | DANGEROUS and not (word == "INTO" and words[index - 1] in ("INSERT", "MERGE"))
        ]
        effects += [token.text for token in tokens if token.text == ";"]
        effects += [word for index, word in enumerate(words[:-1]) if _called(word) and tokens[index + 1].text == "("]
        known = {name.casefold() for name in values}
        for token in tokens:
            if token.kind == "variable" and token.text.casefold() not in known:
                raise SqlError(137, f"Must declare the scalar variable {token.text}.", 15)
        ran = Ran(self.user, self.login, text, values, tuple(effects))
        self.ran.append(ran)
        try:
            if "REVERT" in words:
                self.revert()
            return self.answers(ran)
        finally:
            del self.stack[depth:]


def _called(word: str) -> bool:
    return word.lower().startswith(("xp_", "sp_", "fn_"))
