"""The one batch of a call: who the user is, his text in a scope of its own, and back.

``REVERT`` needs no permission. What keeps the user's text from using it is the cookie, which lives in a variable of
the outer batch that ``sp_executesql`` cannot see. The user's text never stands in the batch itself, only quoted in it.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actas.core.errors import InvalidParameters
from actas.delegation.sql.mssql.actions import Scalar

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_WHO = "SELECT {mark} AS [mark], USER_NAME() AS [user], SUSER_SNAME() AS [login], ORIGINAL_LOGIN() AS [original]"
_BACK = (
    "SELECT {mark} AS [mark], USER_NAME() AS [user], SUSER_SNAME() AS [login], ORIGINAL_LOGIN() AS [original], "
    "@actas_count AS [count]"
)
_SELF = {"user": "USER_NAME()", "login": "SUSER_SNAME()"}
_BIGGEST = 2**63
_MOST_PARAMETERS = 200


@dataclass(frozen=True, slots=True)
class Bound:
    """A call's parameters, made safe."""

    declared: str
    """``@a bigint, @b nvarchar(max)``; empty where there are none."""
    variables: Sequence[str]
    """Statements of the outer batch that hold the values."""
    given: str
    """``@a = @actas_p0, @b = @actas_p1``."""


def bind(params: Mapping[str, Scalar], *, most_bytes: int) -> Bound:
    """Turn ``params`` into typed variables.

    Raises:
        InvalidParameters: a name or value that T-SQL cannot have, or too much of it.
    """
    if len(params) > _MOST_PARAMETERS or len({name.casefold() for name in params}) != len(params):
        raise InvalidParameters(f"params: at most {_MOST_PARAMETERS}, and names must differ by more than case.")
    declared: list[str] = []
    variables: list[str] = []
    size = 0
    for index, (name, value) in enumerate(params.items()):
        if not _NAME.fullmatch(name):
            raise InvalidParameters("params: a name must have ASCII letters, digits and _ only.")
        kind, literal = _typed(value)
        size += len(literal.encode())
        declared.append(f"@{name} {kind}")
        variables.append(f"DECLARE @actas_p{index} {kind} = {literal};")
    if size > most_bytes:
        raise InvalidParameters(f"params: longer than {most_bytes} bytes.")
    given = ", ".join(f"@{name} = @actas_p{index}" for index, name in enumerate(params))
    return Bound(", ".join(declared), variables, given)


def call_of(procedure: str, params: Mapping[str, Scalar]) -> str:
    """The text that runs ``procedure``, ``schema.name`` of the settings, with :func:`bind`'s parameters."""
    schema, name = procedure.split(".")
    given = ", ".join(f"@{each} = @{each}" for each in params if _NAME.fullmatch(each))
    return f"EXEC [{schema}].[{name}] {given}".rstrip()


def own_batch(principal: str, text: str, bound: Bound, *, mark: str) -> str:
    """All of it in a session of the user's own: nothing is taken, and nothing given back."""
    others = " OR ".join(
        f"{name} IS NULL OR {name} <> {quoted(principal)} COLLATE Latin1_General_BIN2"
        for name in ("SUSER_SNAME()", "ORIGINAL_LOGIN()")
    )
    lines = [
        "SET NOCOUNT, XACT_ABORT ON;",
        "DECLARE @actas_count bigint;",
        *bound.variables,
        f"IF {others} THROW 50000, N'actas: not the user', 1;",
        f"{_WHO.format(mark=quoted(mark))};",
        f"EXEC sys.sp_executesql {_arguments(text, bound)};",
        "SET @actas_count = @@ROWCOUNT;",
        f"{_BACK.format(mark=quoted(mark))};",
    ]
    return "\n".join(lines)


def _arguments(text: str, bound: Bound) -> str:
    return ", ".join([quoted(text), *([quoted(bound.declared), bound.given] if bound.declared else [])])


def batch(principal: str, text: str, bound: Bound, *, impersonate: str, mark: str) -> str:
    """All of it. ``mark`` is a word that nobody can guess: it tells our own results from the user's."""
    who = quoted(principal)
    lines = [
        "SET NOCOUNT, XACT_ABORT ON;",
        "DECLARE @actas_cookie varbinary(8000), @actas_count bigint;",
        *bound.variables,
        f"EXECUTE AS {impersonate.upper()} = {who} WITH COOKIE INTO @actas_cookie;",
        "BEGIN TRY",
        # The cookie is there and the name is right, or nothing of the user's runs.
        f"IF @actas_cookie IS NULL OR {_SELF[impersonate]} IS NULL "
        f"OR {_SELF[impersonate]} <> {who} COLLATE Latin1_General_BIN2 THROW 50000, N'actas: not the user', 1;",
        f"{_WHO.format(mark=quoted(mark))};",
        f"EXEC sys.sp_executesql {_arguments(text, bound)};",
        "SET @actas_count = @@ROWCOUNT;",
        "END TRY",
        "BEGIN CATCH",
        "IF @actas_cookie IS NOT NULL REVERT WITH COOKIE = @actas_cookie;",
        "THROW;",
        "END CATCH;",
        "REVERT WITH COOKIE = @actas_cookie;",
        f"{_BACK.format(mark=quoted(mark))};",
    ]
    return "\n".join(lines)


def quoted(text: str) -> str:
    """A Unicode literal.

    Raises:
        InvalidParameters: a backslash ends a line of it: T-SQL would read on in the next line, and lose both.
    """
    whole = text.replace("'", "''")
    if "\\\n" not in whole and "\\\r" not in whole:
        return f"N'{whole}'"
    raise InvalidParameters("A text has a line that ends with a backslash, which T-SQL would lose.")


def _typed(value: Scalar) -> tuple[str, str]:
    match value:
        case None:
            return "nvarchar(max)", "NULL"
        case bool():
            return "bit", str(int(value))
        case int():
            if not -_BIGGEST <= value < _BIGGEST:
                raise InvalidParameters("params: an integer is beyond 64 bits; send it as a string.")
            return "bigint", str(value)
        case float():
            if not math.isfinite(value):
                raise InvalidParameters("params: SQL Server has no NaN and no infinity.")
            return "float", f"{value:.17e}"
        case str():
            if "\0" in value or not _is_text(value):
                raise InvalidParameters("params: a string has characters that SQL Server cannot store.")
            return "nvarchar(max)", quoted(value)
    raise InvalidParameters("params: a value must be a string, number, boolean or null.")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
