"""A JSON Schema of an operation's variables: what a model reads, and what its parameters are checked with."""

from collections.abc import Mapping
from typing import cast

from graphql import (
    ArgumentNode,
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
    TypeInfo,
    TypeInfoVisitor,
    VariableNode,
    Visitor,
    is_required_input_field,
    visit,
)
from graphql.utilities import value_from_ast_untyped

from actas.delegation.graphql import kinds

_SCALARS: Mapping[str, Mapping[str, object]] = {
    "Int": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "Float": {"type": "number"},
    "String": {"type": "string"},
    "Boolean": {"type": "boolean"},
    "ID": {"type": "string"},
}

Schema = dict[str, object]


def json_schema(schema: GraphQLSchema, operation: OperationDefinitionNode) -> Schema:
    """An object with a property for each variable; required where it has no default and may not be null."""
    types = _Types()
    arguments = _arguments(schema, operation)
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for definition in operation.variable_definitions or ():
        name = definition.variable.name.value
        kind = kinds.written(schema, definition.type)
        written = definition.description.value if definition.description else arguments.get(name)
        properties[name] = described(types.of(kind), written)
        if definition.default_value is not None:
            properties[name]["default"] = value_from_ast_untyped(definition.default_value)
        elif kinds.in_not_null(kind) is not None:
            required.append(name)
    made: Schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    definitions = types.definitions()
    return made | {"$defs": definitions} if definitions else made


def described(schema: Schema, text: str | None) -> Schema:
    """``schema`` with a description, where there is one."""
    return {"description": text, **schema} if text else dict(schema)


class _Types:
    """GraphQL's input types as JSON Schema; input objects become definitions, as they may hold each other."""

    def __init__(self) -> None:
        self._definitions: dict[str, Schema] = {}
        self._waiting: list[GraphQLInputObjectType] = []

    def definitions(self) -> dict[str, Schema]:
        """The input objects that all types so far refer to."""
        while self._waiting:
            kind = self._waiting.pop()
            self._definitions[kind.name] = self._object(kind)
        return self._definitions

    def of(self, kind: object) -> Schema:
        """``kind``, an input type; without NonNull around it, also null."""
        inner = kinds.in_not_null(kind)
        return self._not_null(inner) if inner is not None else {"anyOf": [self._not_null(kind), {"type": "null"}]}

    def _not_null(self, kind: object) -> Schema:
        item = kinds.in_list(kind)
        if item is not None:
            return {"type": "array", "items": self.of(item)}
        match kind:
            case GraphQLEnumType():
                return described({"type": "string", "enum": list(kind.values)}, kind.description)
            case GraphQLInputObjectType():
                if kind.name not in self._definitions:
                    self._definitions[kind.name] = {}
                    self._waiting.append(kind)
                return {"$ref": f"#/$defs/{kind.name}"}
            case GraphQLScalarType(name=name) if name in _SCALARS:
                return dict(_SCALARS[name])
            case _:
                return described({}, cast("GraphQLScalarType", kind).description)

    def _object(self, kind: GraphQLInputObjectType) -> Schema:
        properties: dict[str, Schema] = {}
        required: list[str] = []
        for name, field in kind.fields.items():
            properties[name] = described(self.of(field.type), field.description)
            if is_required_input_field(field):
                required.append(name)
        made: Schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
        one = {"minProperties": 1, "maxProperties": 1} if kind.is_one_of else {}
        return described(made | one, kind.description)


def _arguments(schema: GraphQLSchema, operation: OperationDefinitionNode) -> dict[str, str]:
    """What the schema says of the arguments that variables stand for, by the variables' names."""
    info = TypeInfo(schema)
    found: dict[str, str] = {}

    class Finder(Visitor):
        def enter_argument(self, node: ArgumentNode, *_: object) -> None:
            declared = info.get_argument()
            if isinstance(node.value, VariableNode) and isinstance(declared, GraphQLArgument) and declared.description:
                found.setdefault(node.value.name.value, declared.description)

    visit(operation, TypeInfoVisitor(info, Finder()))
    return found
