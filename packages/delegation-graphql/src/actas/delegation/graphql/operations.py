"""Operations on file: documents that somebody wrote and checked in; each becomes an action of its own."""

import json
from dataclasses import dataclass
from pathlib import Path

from graphql import GraphQLSchema

from actas.core import naming
from actas.core.errors import ActasError, ConfigurationError
from actas.core.models import Action, Effect, JsonSchema
from actas.delegation.graphql.parameters import json_schema
from actas.delegation.graphql.policy import Judged, Policy
from actas.delegation.graphql.settings import LimitSettings, PermissionSettings

_MOST = 200
_LARGEST_SCHEMA = 50_000
"""Characters of one tool's parameters: a model reads all of it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A document on file, and the action that carries it out."""

    action: Action
    judged: Judged


def read(
    folder: str, schema: GraphQLSchema, policy: Policy, limits: LimitSettings, permissions: PermissionSettings
) -> dict[str, Operation]:
    """The operations of all ``*.graphql`` files in ``folder``, by their actions' names.

    Raises:
        ConfigurationError: with every problem, each with its file.
    """
    try:
        paths = sorted(path for path in Path(folder).iterdir() if path.suffix == ".graphql")
    except OSError as error:
        raise ConfigurationError(f"operations: the folder cannot be read: {type(error).__name__}") from None
    if not 0 < len(paths) <= _MOST:
        raise ConfigurationError(f"operations: 1 to {_MOST} files *.graphql are needed, and there are {len(paths)}")
    found: dict[str, Operation] = {}
    problems: list[str] = []
    for path in paths:
        try:
            made = _made(path, schema, policy, limits, permissions)
        except (ActasError, OSError, ValueError) as error:
            problems.append(f"operations: {path.name}: {error}")
            continue
        if made.action.name in found:
            problems.append(f"operations: {path.name}: another file has an operation of this name")
        found[made.action.name] = made
    if problems:
        raise ConfigurationError(problems)
    return found


def _made(
    path: Path, schema: GraphQLSchema, policy: Policy, limits: LimitSettings, permissions: PermissionSettings
) -> Operation:
    with path.open("rb") as file:
        judged = policy.judge(file.read(limits.document_bytes + 1).decode())
    operation = judged.operation
    if operation.name is None:
        raise ValueError("the operation has no name, and its tool would have none")
    name = naming.hyphenated(naming.words(operation.name.value))
    if not name[:1].isalpha():
        raise ValueError("the operation's name must begin with a letter")
    parameters = json_schema(schema, operation)
    if len(json.dumps(parameters)) > _LARGEST_SCHEMA:
        raise ValueError(f"its variables take more than {_LARGEST_SCHEMA} characters to describe; use simpler types")
    kind = "mutation" if judged.changes else "query"
    written = operation.description.value if operation.description else ""
    action = Action(
        name=name,
        description=written or f"The {kind} {operation.name.value} of the service, as yourself.",
        parameters=JsonSchema(parameters),
        permission=permissions.write if judged.changes else permissions.read,
        effect=Effect.DESTRUCTIVE if judged.changes else Effect.READ,
    )
    return Operation(action, judged)
