"""What the module can do, and with which parameters. The fields' docstrings are what a model reads."""

from dataclasses import dataclass, field

from actas.core.models import Action, Effect
from actas.delegation.sql.actions import ListTables
from actas.delegation.sql.mssql.settings import MssqlSettings

Scalar = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class TsqlQuery:
    """Parameters of ``query``."""

    sql: str
    """One T-SQL statement: SELECT, INSERT, UPDATE, DELETE or MERGE. Never paste values into it: write @name, without
    quotes, for each value and give it in params. Put names that are T-SQL's words in [brackets]."""
    params: dict[str, Scalar] = field(default_factory=dict[str, Scalar])
    """The variables' values by name, without the @: a string, number, boolean or null."""


@dataclass(frozen=True, kw_only=True)
class Procedure:
    """Parameters of ``procedure``."""

    name: str
    """The stored procedure, as schema.name."""
    params: dict[str, Scalar] = field(default_factory=dict[str, Scalar])
    """Its parameters by name, without the @: a string, number, boolean or null."""


@dataclass(frozen=True, kw_only=True)
class TableDetails:
    """Parameters of ``table-details``."""

    table: str
    """The table's or view's name, without its schema."""
    schema: str | None = None
    """Its schema; without it, your own default schema."""
    offset: int = 0
    """How many columns to skip: next_offset of the page before."""


def actions(settings: MssqlSettings) -> tuple[Action, ...]:
    """``query``, ``schema``, ``table-details``, and ``procedure`` where the settings name any."""
    query = Action(
        name="query",
        tool="delegate",
        description=(
            "Run one T-SQL statement in the SQL Server database as yourself: you get the rows that you may see. "
            "What it may do depends on your permissions; reading is always allowed."
        ),
        parameters=TsqlQuery,
        permission=settings.levels.sql_read,
        effect=Effect.DESTRUCTIVE,
    )
    procedure = Action(
        name="procedure",
        description="Run a stored procedure of the SQL Server database as yourself.",
        parameters=Procedure,
        permission=settings.levels.sql_write,
        effect=Effect.DESTRUCTIVE,
    )
    schema = Action(
        name="schema",
        description="List the tables and views that you may use in the SQL Server database.",
        parameters=ListTables,
        permission=settings.levels.sql_read,
    )
    details = Action(
        name="table-details",
        description="Columns, primary key, foreign keys and comments of one table or view that you may use.",
        parameters=TableDetails,
        permission=settings.levels.sql_read,
    )
    every = (query, schema, details)
    return (*every, procedure) if settings.procedures else every
