"""How many fields an answer can have: each counted as often as the lists around it are long."""

from collections.abc import Iterable, Mapping
from typing import cast

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLError,
    GraphQLField,
    GraphQLSchema,
    InlineFragmentNode,
    SelectionSetNode,
    is_composite_type,
)
from graphql.execution.values import VariableValues, get_argument_values

from actas.core.errors import InvalidParameters
from actas.delegation.graphql import kinds
from actas.delegation.graphql.failures import DocumentRefused
from actas.delegation.graphql.policy import Judged
from actas.delegation.graphql.settings import LimitSettings

_LONGEST_NAME = 64


class Costs:
    """Estimates what documents cost, from above.

    Args:
        size_arguments: the arguments that say how long a list will be.
    """

    def __init__(self, schema: GraphQLSchema, limits: LimitSettings, size_arguments: Iterable[str]) -> None:
        self._schema = schema
        self._limits = limits
        self._names = frozenset(size_arguments)

    def check(self, judged: Judged, variables: VariableValues) -> int:
        """The cost of ``judged``, which fits the schema, with ``variables``.

        Raises:
            DocumentRefused: it is too much, or one list is.
        """
        root = self._schema.get_root_type(judged.operation.operation)
        estimate = _Estimate(self._schema, self._limits, self._names, judged.fragments, variables)
        try:
            cost = estimate.of(judged.operation.selection_set, cast("GraphQLCompositeType", root))
        except RecursionError:
            raise DocumentRefused("Refused: the document is nested too deeply.") from None
        if cost > self._limits.cost:
            raise DocumentRefused(
                f"Refused: the answer could have more than {self._limits.cost} fields. Ask for shorter lists, or less."
            )
        return cost


class _Estimate:
    def __init__(
        self,
        schema: GraphQLSchema,
        limits: LimitSettings,
        names: frozenset[str],
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: VariableValues,
    ) -> None:
        self._schema = schema
        self._limits = limits
        self._names = names
        self._fragments = fragments
        self._variables = variables

    def of(self, selections: SelectionSetNode, kind: GraphQLCompositeType, *, sized: bool = False) -> int:
        """``sized``: the field around it has said how long the list in it is, as Relay's connections do."""
        cost = 0
        for selection in selections.selections:
            if isinstance(selection, FieldNode):
                cost += self._of_field(selection, kind, sized=sized)
            elif isinstance(selection, FragmentSpreadNode):
                fragment = self._fragments[selection.name.value]
                cost += self.of(fragment.selection_set, self._named(fragment.type_condition.name.value), sized=sized)
            else:
                inline = cast("InlineFragmentNode", selection)  # there is no fourth kind
                condition = inline.type_condition
                inner = kind if condition is None else self._named(condition.name.value)
                cost += self.of(inline.selection_set, inner, sized=sized)
        return cost

    def _of_field(self, node: FieldNode, parent: GraphQLCompositeType, *, sized: bool) -> int:
        field = cast("GraphQLField", self._schema.get_field(parent, node.name.value))  # it was validated
        asked = self._asked_for(self._arguments(field, node))
        kind, lists = _unwrapped(cast("object", field.type))  # pyright: ignore[reportUnknownMemberType] -- open
        if node.selection_set is None or not is_composite_type(kind):
            return 1
        if lists and (asked is not None or sized):
            length = (1 if asked is None else asked) * self._assumed(lists - 1)
        else:
            length = self._assumed(lists) if asked is None else asked
        inner = self.of(node.selection_set, kind, sized=asked is not None and not lists)
        return 1 + max(1, length) * inner

    def _assumed(self, lists: int) -> int:
        """How many are in so many lists, one in the other, that say nothing of their length."""
        return int(self._limits.assumed_list_size**lists)

    def _arguments(self, field: GraphQLField, node: FieldNode) -> Mapping[str, object]:
        try:
            return get_argument_values(field, node, self._variables)
        except GraphQLError:
            # What values alone tell: null for a variable that fits for its default alone.
            raise InvalidParameters(f"variables: null, where {node.name.value[:_LONGEST_NAME]} takes none.") from None

    def _asked_for(self, values: Mapping[str, object]) -> int | None:
        """The longest list that arguments ask for; None where they do not say."""
        longest: int | None = None
        waiting: list[object] = [values]
        while waiting:
            part = waiting.pop()
            if isinstance(part, list):
                waiting += cast("list[object]", part)
            elif isinstance(part, dict):
                for name, value in cast("dict[str, object]", part).items():
                    if name in self._names and value is not None:
                        longest = max(longest or 0, self._size(value))
                    else:
                        waiting.append(value)
        return longest

    def _size(self, value: object) -> int:
        if type(value) is not int or not 0 <= value <= self._limits.list_size:
            raise DocumentRefused(f"Refused: a list can be asked for with 0 to {self._limits.list_size} items.")
        return value

    def _named(self, name: str) -> GraphQLCompositeType:
        return cast("GraphQLCompositeType", self._schema.type_map[name])


def _unwrapped(kind: object) -> tuple[object, int]:
    """The type without what is around it, and how many lists there are."""
    lists = 0
    while (inner := kinds.in_not_null(kind) or kinds.in_list(kind)) is not None:
        lists += kinds.in_list(kind) is not None
        kind = inner
    return kind, lists
