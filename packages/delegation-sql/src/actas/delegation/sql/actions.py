"""What the module can do, and with which parameters. The fields' docstrings are what a model reads."""

from dataclasses import dataclass, field

from actas.core.models import Action, Effect

Scalar = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Query:
    """Parameters of ``query``."""

    sql: str
    """One PostgreSQL statement. Never paste values into it: write %(name)s, without quotes, for each value and give
    it in params. Any other % is itself."""
    params: dict[str, Scalar | list[Scalar]] = field(default_factory=dict[str, Scalar | list[Scalar]])
    """The placeholders' values by name: a string, number, boolean or null; a list becomes an array, as for
    = ANY(%(ids)s); send JSON as a string."""
    cursor: str | None = None
    """To go on where a result was cut: the cursor of that answer, with the same sql and params."""


@dataclass(frozen=True, kw_only=True)
class ListTables:
    """Parameters of ``schema``."""

    schema: str | None = None
    """Only schemas with this name; % stands for any characters."""
    name: str | None = None
    """Only tables and views with this name; % stands for any characters."""
    limit: int = 100
    """How many to return, 1 to 500."""
    offset: int = 0
    """How many to skip: next_offset of the page before."""


@dataclass(frozen=True, kw_only=True)
class TableDetails:
    """Parameters of ``table-details``."""

    table: str
    """The table's or view's name, without its schema."""
    schema: str | None = None
    """Its schema; without it, the schemas of the search path."""
    offset: int = 0
    """How many columns to skip: next_offset of the page before."""


def actions(permission: str) -> tuple[Action, ...]:
    """The three actions; whoever lacks ``permission`` does not see them."""
    return (
        Action(
            name="query",
            tool="delegate",
            description=(
                "Run one SQL statement in the database as yourself: you get the rows that you may see. "
                "What it may do depends on your permissions; reading is always allowed."
            ),
            parameters=Query,
            permission=permission,
            effect=Effect.DESTRUCTIVE,
        ),
        Action(
            name="schema",
            description="List the tables and views that you may use in the database, with estimates of their rows.",
            parameters=ListTables,
            permission=permission,
        ),
        Action(
            name="table-details",
            description=(
                "Columns, keys, foreign keys in both directions, indexes and comments of one table or view that you "
                "may use."
            ),
            parameters=TableDetails,
            permission=permission,
        ),
    )
