"""What a caller can do with documents of its own. The fields' docstrings are what a model reads."""

from dataclasses import dataclass, field

from actas.core.models import Action, Effect, NoParameters
from actas.delegation.graphql.settings import PermissionSettings

QUERY, MUTATE, SCHEMA, HEALTH = "query", "mutate", "schema", "health"
TAKEN = frozenset({QUERY, MUTATE, SCHEMA, HEALTH, "delegate"})
"""What no operation on file may be called."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """Parameters of ``query`` and ``mutate``."""

    document: str
    """One GraphQL operation, with the fragments that it uses. Never paste values into it: declare a variable for each
    and give its value in variables."""
    variables: dict[str, object] = field(default_factory=dict[str, object])
    """The variables' values, by name without $."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """Parameters of ``schema``."""

    type: str | None = None
    """The name of a type, to see its fields; without it, what can be asked for at the top."""


def free(permissions: PermissionSettings) -> tuple[Action, ...]:
    """The three actions for documents of the caller's own."""
    return (
        Action(
            name=QUERY,
            description="Run one GraphQL query as yourself: you get what you may see.",
            parameters=Document,
            permission=permissions.read,
            tool="delegate",
        ),
        Action(
            name=MUTATE,
            description="Run one GraphQL mutation as yourself: it may change what you may change.",
            parameters=Document,
            permission=permissions.write,
            effect=Effect.DESTRUCTIVE,
        ),
        Action(
            name=SCHEMA,
            description="Look up what the GraphQL service has: its queries and mutations, or the fields of one type.",
            parameters=Look,
            permission=permissions.read,
        ),
    )


def health(permissions: PermissionSettings) -> Action:
    """The action that every module has."""
    return Action(
        name=HEALTH,
        description="See whether the GraphQL service answers you.",
        parameters=NoParameters,
        permission=permissions.read,
    )
