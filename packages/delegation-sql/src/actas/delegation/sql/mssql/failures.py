"""What SQL Server's and FreeTDS's errors mean, by number, made safe to show."""

from actas.core.errors import DelegationError, DelegationTimeout, DownstreamUnavailable, IdentityMismatch
from actas.delegation.sql.failures import DatabaseRefused, LoginRefused, StatementFailed

_NOT_THE_USER = 50000
_TIMED_OUT = 20003
_MESSAGES: dict[int, tuple[type[DelegationError], str]] = {
    102: (StatementFailed, "syntax error"),
    156: (StatementFailed, "syntax error"),
    201: (StatementFailed, "the procedure needs another parameter"),
    207: (StatementFailed, "there is no such column"),
    208: (StatementFailed, "there is no such table or view, or it is in another schema"),
    209: (StatementFailed, "a column name is ambiguous; qualify it"),
    229: (DatabaseRefused, "permission denied by the database; you have no right to this"),
    230: (DatabaseRefused, "permission denied by the database; you have no right to this column"),
    242: (StatementFailed, "a date or time is out of range"),
    245: (StatementFailed, "a value cannot be read as the type it is used as"),
    515: (StatementFailed, "a column that must have a value would be NULL"),
    547: (StatementFailed, "a constraint would be violated"),
    916: (DatabaseRefused, "another database cannot be reached from here"),
    1205: (StatementFailed, "it collided with another transaction; try again"),
    1222: (StatementFailed, "a row or table is locked by somebody else; try again"),
    2601: (StatementFailed, "a row with the same key exists already"),
    2627: (StatementFailed, "a row with the same key exists already"),
    2812: (StatementFailed, "there is no such procedure, or you may not use it"),
    8114: (StatementFailed, "a value cannot be read as the type it is used as"),
    8115: (StatementFailed, "a number is out of range"),
    8134: (StatementFailed, "division by zero"),
    8144: (StatementFailed, "the procedure has no such parameter"),
    8145: (StatementFailed, "the procedure has no such parameter"),
    15404: (LoginRefused, ""),
    15406: (LoginRefused, ""),
    15517: (LoginRefused, ""),
    _TIMED_OUT: (DelegationTimeout, "it took too long and was cancelled; ask for less"),
}
_CLIENT = range(20000, 21000)
"""FreeTDS's own numbers: the connection, not the statement."""


def from_driver(error: Exception) -> DelegationError:
    """The error for what pymssql raised. Only ``detail`` has the server's words."""
    number, words = numbered(error)
    if number in _CLIENT and f"message {_TIMED_OUT}" in words:
        number = _TIMED_OUT  # FreeTDS says so first, and then that the connection is dead
    detail = f"SQL Server error {number}: {words}"
    if number == _NOT_THE_USER and "actas: not the user" in words:
        return IdentityMismatch(detail=detail)
    if number in _MESSAGES:
        kind, said = _MESSAGES[number]
        if kind is LoginRefused:
            return LoginRefused(detail=detail)
        return kind(f"The database refused or failed the statement (error {number}): {said}.", detail=detail)
    if number in _CLIENT or not number:
        return DownstreamUnavailable(detail=detail)
    return StatementFailed(f"The database refused or failed the statement (error {number}).", detail=detail)


def numbered(error: Exception) -> tuple[int, str]:
    """The number, 0 where there is none, and the words."""
    flat: list[object] = []
    for value in error.args:
        flat += value if isinstance(value, tuple) else [value]
    number = next((value for value in flat if isinstance(value, int)), 0)
    words = " ".join(
        value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        for value in flat
        if not isinstance(value, int)
    )
    return number, words
