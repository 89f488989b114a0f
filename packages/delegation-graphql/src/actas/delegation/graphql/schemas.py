"""The service's schema: from a file, or as the service tells it."""

from itertools import islice
from pathlib import Path
from typing import Any, cast

from graphql import GraphQLError, GraphQLField, GraphQLSchema, assert_valid_schema, build_client_schema, build_schema

from actas.core.errors import ConfigurationError
from actas.http import strict_json

MOST_BYTES = 16 * 1024 * 1024
"""Largest schema that is read."""
MOST_ROOT_FIELDS = 500
"""Fields at the top, of each kind, that are told."""
_DEEPEST_JSON = 100


def from_file(path: str) -> GraphQLSchema:
    """Read SDL, or an introspection result where the name ends in ``.json``.

    Raises:
        ConfigurationError: it cannot be read, or is no valid schema.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"schema_file: cannot be read: {type(error).__name__}") from None
    if len(content) > MOST_BYTES:
        raise ConfigurationError(f"schema_file: larger than {MOST_BYTES} bytes")
    if path.lower().endswith(".json"):
        try:
            return from_introspection(content)
        except ValueError as error:
            raise ConfigurationError(f"schema_file: {error}") from None
    try:
        schema = build_schema(content.decode())
        assert_valid_schema(schema)
    except (GraphQLError, TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"schema_file: this is no valid schema: {str(error)[:500]}") from None
    return schema


def from_introspection(answer: bytes) -> GraphQLSchema:
    """The schema in the answer to an introspection query, with or without its ``data``.

    Raises:
        ValueError: there is none, or no valid one. Repeats nothing of it.
    """
    try:
        found = strict_json.loads(answer, max_depth=_DEEPEST_JSON)
    except ValueError:
        raise ValueError("this is no strict JSON") from None
    if isinstance(found, dict) and isinstance(inner := cast("dict[str, object]", found).get("data"), dict):
        found = cast("dict[str, object]", inner)
    if not isinstance(found, dict) or not isinstance(cast("dict[str, object]", found).get("__schema"), dict):
        raise ValueError("this is no answer to an introspection query")
    try:
        schema = build_client_schema(cast("Any", found))  # Any: the library checks its shape
        assert_valid_schema(schema)
    except (GraphQLError, TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"this is no valid schema ({type(error).__name__})") from None
    return schema


def root_fields(schema: GraphQLSchema) -> dict[str, object]:
    """What can be asked for at the top: for each kind of operation, the fields' types by name and arguments.

    ``truncated`` where there are more than :data:`MOST_ROOT_FIELDS` of a kind.
    """
    roots = {"query": schema.query_type, "mutation": schema.mutation_type}
    told: dict[str, object] = {}
    for kind, root in roots.items():
        if root is not None:
            first = islice(root.fields.items(), MOST_ROOT_FIELDS)
            told[kind] = {_called(name, field): str(field.type) for name, field in first}
            if len(root.fields) > MOST_ROOT_FIELDS:
                told["truncated"] = True
    return told


def _called(name: str, field: GraphQLField) -> str:
    return f"{name}({', '.join(field.args)})" if field.args else name
