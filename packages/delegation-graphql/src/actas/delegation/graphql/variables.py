"""The values that go with a document: always beside it, never in it, and each as its type wants it."""

import json
from collections.abc import Mapping

from graphql import GraphQLSchema, OperationDefinitionNode, VariableDefinitionNode, print_ast
from graphql.execution import get_variable_values
from graphql.execution.values import VariableValues

from actas.core.errors import InvalidParameters

_MOST_ERRORS = 5
_LONGEST_NAME = 64


def coerced(
    schema: GraphQLSchema, operation: OperationDefinitionNode, given: Mapping[str, object], most_bytes: int
) -> VariableValues:
    """``given`` as the operation's types and defaults have it.

    Raises:
        InvalidParameters: one is missing, unknown, too long or of another type. Names variables, never values.
    """
    definitions = operation.variable_definitions or ()
    if not given.keys() <= {definition.variable.name.value for definition in definitions}:
        raise InvalidParameters("variables: there is one that the document does not declare.")
    try:
        size = len(json.dumps(given, ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError):
        raise InvalidParameters("variables: a value is not JSON.") from None
    if size > most_bytes:
        raise InvalidParameters(f"variables: longer than {most_bytes} bytes.")
    values = get_variable_values(schema, definitions, dict(given), max_errors=_MOST_ERRORS)
    if isinstance(values, list):
        nodes = [node for error in values for node in error.nodes or ()]
        told = dict.fromkeys(_told(node) for node in nodes if isinstance(node, VariableDefinitionNode))
        raise InvalidParameters("; ".join(told) or "variables: they do not fit.", detail="variables do not fit")
    return values


def _told(node: VariableDefinitionNode) -> str:
    name, kind = node.variable.name.value[:_LONGEST_NAME], print_ast(node.type)[:_LONGEST_NAME]
    return f"variables.{name}: must be a {kind}"
