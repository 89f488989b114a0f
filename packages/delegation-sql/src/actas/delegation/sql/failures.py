"""What can go wrong here: this plug-in's own errors, and the database's, made safe to show."""

from actas.core.errors import (
    DelegationError,
    DelegationRefused,
    DelegationTimeout,
    DownstreamUnavailable,
    LimitExceeded,
    PrincipalUnavailable,
)


class StatementRefused(DelegationRefused):
    """The gate refused the statement. The message says which construct and where, and repeats no data."""

    code = "sql_statement_refused"
    default_message = "The statement is not allowed here."


class LoginRefused(PrincipalUnavailable):
    """The database answers but does not let the user in."""

    code = "sql_login_refused"
    default_message = "The database does not let you in under your own name. Ask its administrator for a role."


class DatabaseRefused(DelegationRefused):
    """The database refused the statement by its own rules. Trying again changes nothing."""

    code = "sql_database_refused"


class StatementFailed(DelegationError):
    """The statement is allowed but failed: change it and try again."""

    code = "sql_statement_failed"


class PoolExhausted(LimitExceeded):
    """All connections are in use."""

    code = "sql_busy"
    default_message = "Too many statements are running. Try again in a moment."


_MESSAGES: dict[str, tuple[type[DelegationError], str]] = {
    "42501": (DatabaseRefused, "permission denied by the database; you have no right to this"),
    "42P01": (StatementFailed, "there is no such table or view, or it is in another schema; list the schema"),
    "42703": (StatementFailed, "there is no such column; ask for the table's details"),
    "42883": (StatementFailed, "no such function or operator takes these types; add casts"),
    "42601": (StatementFailed, "syntax error"),
    "42702": (StatementFailed, "a column name is ambiguous; qualify it"),
    "42803": (StatementFailed, "a column must be in GROUP BY or in an aggregate"),
    "42804": (StatementFailed, "the types do not match; add a cast"),
    "42P18": (StatementFailed, "the type of a parameter is unknown; add a cast, as in %(name)s::text"),
    "42725": (StatementFailed, "a function or operator is ambiguous; add casts"),
    "42710": (StatementFailed, "it exists already"),
    "42P07": (StatementFailed, "it exists already"),
    "3F000": (StatementFailed, "there is no such schema"),
    "42704": (StatementFailed, "there is no such type, index or other object"),
    "42P08": (StatementFailed, "a parameter is used as two types; add casts"),
    "42P10": (StatementFailed, "ORDER BY, DISTINCT or ON CONFLICT names what is not there to be named"),
    "21000": (StatementFailed, "a subquery gave several rows where one is needed; add LIMIT 1 or an aggregate"),
    "22001": (StatementFailed, "a text is too long for its column"),
    "22P02": (StatementFailed, "a value cannot be read as the type it is used as"),
    "22003": (StatementFailed, "a number is out of range"),
    "22007": (StatementFailed, "a date or time cannot be read"),
    "22008": (StatementFailed, "a date or time is out of range"),
    "22012": (StatementFailed, "division by zero"),
    "22021": (StatementFailed, "a text has characters that the database cannot store"),
    "23502": (StatementFailed, "a column that must have a value would be NULL"),
    "23503": (StatementFailed, "a foreign key would be violated"),
    "23505": (StatementFailed, "a row with the same key exists already"),
    "23514": (StatementFailed, "a check constraint would be violated"),
    "23P01": (StatementFailed, "a row that excludes this one exists already"),
    "25006": (DatabaseRefused, "the transaction is read-only; you may only read"),
    "2BP01": (StatementFailed, "other objects depend on it"),
    "40001": (StatementFailed, "it collided with another transaction; try again"),
    "40P01": (StatementFailed, "it collided with another transaction; try again"),
    "44000": (DatabaseRefused, "a view or policy does not allow this row"),
    "53100": (StatementFailed, "the database has no space left"),
    "53200": (StatementFailed, "the database ran out of memory; ask for less"),
    "54001": (StatementFailed, "the statement is too complex"),
    "55P03": (StatementFailed, "a row or table is locked by somebody else; try again"),
    "57014": (DelegationTimeout, "it took too long and was cancelled; ask for less"),
}
_CLASSES: dict[str, tuple[type[DelegationError], str]] = {
    "08": (DownstreamUnavailable, "the connection to the database was lost; try again"),
    "0A": (StatementFailed, "this database does not support it"),
    "22": (StatementFailed, "a value does not fit"),
    "23": (StatementFailed, "a constraint would be violated"),
    "42": (StatementFailed, "the statement does not fit the database"),
    "P0": (StatementFailed, "a function or trigger of the database refused it"),
    "53": (StatementFailed, "the database has no resources left; try again later"),
    "54": (StatementFailed, "the statement is beyond a limit of the database"),
    "57": (DownstreamUnavailable, "the database is stopping or restarting; try again later"),
}
_OTHER = (StatementFailed, "the database reports an error")

_CLEAN_CLASSES = frozenset({"0A", "21", "22", "23", "25", "2B", "3F", "40", "42", "44", "54", "55"})


def from_sqlstate(sqlstate: str | None, place: str, private: str) -> DelegationError:
    """The error for ``sqlstate``. ``place``: see :mod:`.positions`; ``private`` goes into the audit."""
    state = sqlstate or ""
    kind, said = _MESSAGES.get(state) or _CLASSES.get(state[:2]) or _OTHER
    message = f"The database refused or failed the statement{place} (SQLSTATE {state or 'unknown'}): {said}."
    return kind(message, detail=private)


def leaves_connection_clean(sqlstate: str | None) -> bool:
    """Whether a connection can be used again after this error and a rollback: only after the statement's own faults."""
    return sqlstate is not None and (sqlstate[:2] in _CLEAN_CLASSES or sqlstate == "57014")
