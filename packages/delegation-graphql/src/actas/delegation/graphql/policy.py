"""What a document may do. Everything here happens before anything is sent.

In this order, each step on what the one before has bounded: length, words, nesting; then the tree: one operation,
fragments without cycles, sizes with every fragment counted wherever it is used; then the schema. What is sent is
printed from the tree that was judged, so the service reads no other text than we did.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from graphql import (
    DirectiveNode,
    DocumentNode,
    ExecutableDefinitionNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    Source,
    TokenKind,
    ValuesOfCorrectTypeRule,
    parse,
    print_ast,
    specified_rules,
    validate,
)
from graphql.language.lexer import Lexer

from actas.delegation.graphql.failures import DocumentInvalid, DocumentRefused
from actas.delegation.graphql.settings import LimitSettings

_OPENING = frozenset({TokenKind.BRACE_L, TokenKind.BRACKET_L, TokenKind.PAREN_L})
_CLOSING = frozenset({TokenKind.BRACE_R, TokenKind.BRACKET_R, TokenKind.PAREN_R})
_NESTING = 64
"""Brackets in brackets: more would exhaust the parser's stack."""
_DIRECTIVES = frozenset({"skip", "include"})
"""All others may change what is carried out, or how the answer comes (``@defer``, ``@stream``)."""
_ABOUT_NAMES = [rule for rule in specified_rules if rule is not ValuesOfCorrectTypeRule]
"""The rules whose messages repeat names and no value."""
_MOST_ERRORS = 3
_LONGEST_ERROR = 200


@dataclass(frozen=True, slots=True)
class Judged:
    """A document that may be sent."""

    text: str
    """As it is sent."""
    operation: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]

    @property
    def changes(self) -> bool:
        """Whether it is a mutation."""
        return self.operation.operation is OperationType.MUTATION


@dataclass(frozen=True, slots=True)
class _Measure:
    """How much a selection asks for, fragments included."""

    fields: int = 0
    aliases: int = 0
    top: int = 0
    depth: int = 0


class Policy:
    """Judges documents by one schema and one set of limits.

    Args:
        introspection: whether ``__schema`` and ``__type`` may be asked for.
    """

    def __init__(self, schema: GraphQLSchema, limits: LimitSettings, *, introspection: bool) -> None:
        self._schema = schema
        self._limits = limits
        self._introspection = introspection

    def judge(self, text: str) -> Judged:
        """The document, if it may be sent.

        Raises:
            DocumentInvalid: it cannot be read or does not fit the schema.
            DocumentRefused: it is more, or something else, than is allowed.
        """
        document = self._parsed(text)
        operation, fragments = _parts(document, self._limits.fragments)
        self._check_size(operation, fragments)
        self._check_schema(document)
        return Judged(_printed(document), operation, fragments)

    def _parsed(self, text: str) -> DocumentNode:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise DocumentInvalid("The document has half a character in it.") from None
        if size > self._limits.document_bytes:
            raise DocumentRefused(f"Refused: the document is longer than {self._limits.document_bytes} bytes.")
        try:
            _check_words(text, self._limits.tokens)
            return parse(text, allow_empty_selection_sets=False)
        except GraphQLSyntaxError as error:
            raise DocumentInvalid(f"The document cannot be read: syntax error{_place(error)}.") from None

    def _check_size(self, operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        measures: dict[str, _Measure] = {}
        for definition in (operation, *fragments.values()):
            _check_directives(definition.directives)
            for variable in definition.variable_definitions or ():
                _check_directives(variable.directives)
        for name in _inner_first(fragments):
            measures[name] = self._measured(fragments[name].selection_set, measures)
        whole = self._measured(operation.selection_set, measures)
        counted = {
            "depth": whole.depth,
            # Fragments that nothing uses cost the validation as much as others do.
            "fields": whole.fields + sum(each.fields for each in measures.values()),
            "aliases": whole.aliases,
            "root_fields": whole.top,
        }
        for name, count in counted.items():
            most: int = getattr(self._limits, name)
            if count > most:
                what = name.replace("_", " ")
                raise DocumentRefused(f"Refused: {what} more than {most}. Ask for less, or several times.")

    def _measured(self, selections: SelectionSetNode, fragments: Mapping[str, _Measure]) -> _Measure:
        fields = aliases = top = depth = 0
        for selection in selections.selections:
            _check_directives(selection.directives)
            if isinstance(selection, FieldNode):
                self._check_introspection(selection)
                below = selection.selection_set
                inner = _Measure() if below is None else self._measured(below, fragments)
                part = _Measure(
                    fields=1 + inner.fields,
                    aliases=(selection.alias is not None) + inner.aliases,
                    top=1,
                    depth=1 + inner.depth,
                )
            elif isinstance(selection, FragmentSpreadNode):
                if selection.name.value not in fragments:
                    raise DocumentInvalid("The document does not fit the schema: it uses a fragment that is not there.")
                part = fragments[selection.name.value]
            else:
                part = self._measured(_inline(selection).selection_set, fragments)
            fields, aliases, top = fields + part.fields, aliases + part.aliases, top + part.top
            depth = max(depth, part.depth)
        return _Measure(fields, aliases, top, depth)

    def _check_introspection(self, field: FieldNode) -> None:
        if field.name.value in ("__schema", "__type") and not self._introspection:
            raise DocumentRefused("Refused: the schema cannot be asked for in a document.")

    def _check_schema(self, document: DocumentNode) -> None:
        errors = validate(self._schema, document, _ABOUT_NAMES, max_errors=_MOST_ERRORS)
        if errors:
            told = "; ".join(f"{error.message[:_LONGEST_ERROR]}{_place(error)}" for error in errors[:_MOST_ERRORS])
            raise DocumentInvalid(f"The document does not fit the schema: {told}")
        errors = validate(self._schema, document, [ValuesOfCorrectTypeRule], max_errors=1)
        if errors:
            raise DocumentInvalid(f"The document does not fit the schema: a value{_place(errors[0])} has a wrong type.")


def _check_directives(directives: Iterable[DirectiveNode] | None) -> None:
    if any(directive.name.value not in _DIRECTIVES for directive in directives or ()):
        raise DocumentRefused("Refused: no directives are allowed but @skip and @include.")


def _check_words(text: str, most: int) -> None:
    """Count without building anything. Raises DocumentRefused, or GraphQLSyntaxError where it is no GraphQL."""
    lexer = Lexer(Source(text))
    count = depth = 0
    while (kind := lexer.advance().kind) is not TokenKind.EOF:
        count += 1
        depth += (kind in _OPENING) - (kind in _CLOSING)
        if count > most:
            raise DocumentRefused(f"Refused: the document has more than {most} words and signs.")
        if depth > _NESTING:
            raise DocumentRefused("Refused: the document is nested too deeply.")


def _parts(document: DocumentNode, most: int) -> tuple[OperationDefinitionNode, dict[str, FragmentDefinitionNode]]:
    operations: list[OperationDefinitionNode] = []
    fragments: dict[str, FragmentDefinitionNode] = {}
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            operations.append(definition)
        elif isinstance(definition, FragmentDefinitionNode):
            if definition.name.value in fragments:
                raise DocumentRefused("Refused: two fragments have the same name.")
            fragments[definition.name.value] = definition
        else:
            raise DocumentRefused("Refused: a document holds one operation and its fragments, nothing else.")
    if len(operations) != 1:
        raise DocumentRefused(f"Refused: the document has {len(operations)} operations. Send exactly one.")
    if operations[0].operation is OperationType.SUBSCRIPTION:
        raise DocumentRefused("Refused: subscriptions are not possible here.")
    if len(fragments) > most:
        raise DocumentRefused(f"Refused: the document has more than {most} fragments.")
    return operations[0], fragments


def _inner_first(fragments: Mapping[str, FragmentDefinitionNode]) -> list[str]:
    """The names so that each comes after all that it uses. Raises DocumentRefused for a cycle."""
    uses = {name: _spreads(fragment.selection_set.selections) for name, fragment in fragments.items()}
    ordered: dict[str, None] = {}
    while len(ordered) < len(uses):
        ready = [name for name, used in uses.items() if name not in ordered and used <= ordered.keys()]
        if not ready:
            raise DocumentRefused("Refused: a fragment uses itself, or one that is not there.")
        ordered.update(dict.fromkeys(ready))
    return list(ordered)


def _spreads(selections: Iterable[SelectionNode]) -> set[str]:
    found: set[str] = set()
    waiting: list[SelectionNode] = list(selections)
    while waiting:
        selection = waiting.pop()
        if isinstance(selection, FragmentSpreadNode):
            found.add(selection.name.value)
        elif isinstance(selection, FieldNode | InlineFragmentNode) and selection.selection_set is not None:
            waiting += selection.selection_set.selections
    return found


def _inline(selection: SelectionNode) -> InlineFragmentNode:
    assert isinstance(selection, InlineFragmentNode)  # noqa: S101 -- there is no fourth kind of selection
    return selection


def _printed(document: DocumentNode) -> str:
    """Without comments, and without descriptions, which older services cannot read."""
    definitions = [_undescribed(each) for each in document.definitions if isinstance(each, ExecutableDefinitionNode)]
    return print_ast(replace(document, definitions=tuple(definitions)))


def _undescribed(definition: ExecutableDefinitionNode) -> ExecutableDefinitionNode:
    variables = tuple(replace(each, description=None) for each in definition.variable_definitions or ())
    return replace(definition, description=None, variable_definitions=variables)


def _place(error: GraphQLError) -> str:
    places = error.locations
    return f" (line {places[0].line}, column {places[0].column})" if places else ""
