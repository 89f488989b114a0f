"""graphql-core's wrapping types with types that a checker can follow: the library leaves their parameters open."""

from typing import Any, cast

from graphql import (
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    TypeNode,
    type_from_ast,  # pyright: ignore[reportUnknownVariableType] -- an overload for each class of nodes
)


def in_not_null(kind: object) -> object | None:
    """What must not be null, where ``kind`` says so; None else."""
    return cast("Any", kind).of_type if isinstance(kind, GraphQLNonNull) else None  # Any: the parameter is open


def in_list(kind: object) -> object | None:
    """What the list has, where ``kind`` is one; None else."""
    return cast("Any", kind).of_type if isinstance(kind, GraphQLList) else None  # Any: the parameter is open


def written(schema: GraphQLSchema, node: TypeNode) -> object:
    """The type that ``node`` names, which the schema has."""
    return cast("Any", type_from_ast)(schema, node)  # Any: an overload for each class of nodes
