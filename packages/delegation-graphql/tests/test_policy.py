"""What a document may do: everything here is refused, or counted, before anything is sent."""

import json
import re
from typing import Any

import pytest
from graphql import OperationType, build_schema, parse
from graphql_documents import ALLOWED, CHANGE, INVALID, REFUSED, chain, nested
from graphql_schema import SDL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actas.core import ActasError
from actas.delegation.graphql.failures import DocumentInvalid, DocumentRefused
from actas.delegation.graphql.policy import Policy
from actas.delegation.graphql.settings import LimitSettings

SCHEMA = build_schema(SDL)
LIMITS = LimitSettings()
POLICY = Policy(SCHEMA, LIMITS, introspection=False)
OPEN = Policy(SCHEMA, LIMITS, introspection=True)


@pytest.mark.parametrize("document", REFUSED.values(), ids=REFUSED)
def test_a_document_beyond_the_rules_is_refused(document: str) -> None:
    with pytest.raises(DocumentRefused):
        POLICY.judge(document)


@pytest.mark.parametrize("document", INVALID.values(), ids=INVALID)
def test_a_document_that_does_not_fit_is_told_so_and_no_value_is_repeated(document: str) -> None:
    with pytest.raises(DocumentInvalid) as caught:
        POLICY.judge(document)
    assert len(caught.value.message) < 1000 and "99999" not in caught.value.message
    assert caught.value.__cause__ is None and "STOLEN" not in caught.value.message


@pytest.mark.parametrize("document", ALLOWED.values(), ids=ALLOWED)
def test_what_only_looks_like_more_is_a_query(document: str) -> None:
    judged = POLICY.judge(document)
    assert not judged.changes
    assert [each.operation for each in parse(judged.text).definitions if hasattr(each, "operation")] == [
        OperationType.QUERY
    ]


def test_a_mutation_is_one_however_it_is_dressed() -> None:
    for document in (
        f"mutation {{ {CHANGE} }}",
        f"mutation query {{ query: {CHANGE} }}",
        f"mutation {{ ...A }} fragment A on Mutation {{ {CHANGE} }}",
        f"mutation {{ ... @include(if: false) {{ {CHANGE} }} }}",
        "mutation { __typename }",
        f"# query {{\rmutation {{ {CHANGE} }}",
    ):
        assert POLICY.judge(document).changes


def test_what_is_sent_has_no_comment_and_no_description() -> None:
    judged = POLICY.judge('"""secret"""\nquery A("secret" $a: Int) { # secret\n orders(first: $a) { id } }')
    assert judged.text == "query A($a: Int) {\n  orders(first: $a) {\n    id\n  }\n}"


def test_the_schema_may_be_asked_for_where_the_operator_says_so() -> None:
    OPEN.judge("{ __schema { types { name } } }")
    OPEN.judge('{ __type(name: "User") { fields { name } } }')
    with pytest.raises(ActasError):
        OPEN.judge("{ __schema { types { fields { type { ofType " + "{ ofType " * 12 + "{ name }" + "} " * 16 + "}")


def test_each_limit_is_one_to_the_word() -> None:
    POLICY.judge("{ me { " + "name " * 299 + "} }")
    POLICY.judge("{ me { " + " ".join(f"a{n}: name" for n in range(30)) + " } }")
    POLICY.judge("mutation { " + "deleteOrders " * 10 + "}")
    POLICY.judge("{ me { " + f"orders {{ {nested(9)} }}" + " } }")
    POLICY.judge(chain(20, 1))


def test_names_of_a_mutation_and_a_query_that_are_one_type_make_no_schema(tmp_path: Any) -> None:
    from actas.core import ConfigurationError
    from actas.delegation.graphql.schemas import from_file

    (tmp_path / "one.graphql").write_text("schema { query: Q mutation: Q } type Q { x: Int }")
    with pytest.raises(ConfigurationError):
        from_file(str(tmp_path / "one.graphql"))


FIELDS = {
    "Query": {"me": "User", "orders": "Order", "__typename": "", "page(first: 2)": "Connection", "ledger": ""},
    "Mutation": {"deleteOrders": "", 'addOrder(item: "x")': "Order"},
    "User": {"name": "", "orders": "Order", "orders(first: 3)": "Order"},
    "Order": {"id": "", "buyer": "User", "item": "", "notes": ""},
    "Connection": {"total": "", "nodes": "Order"},
}


@st.composite
def selections(draw: st.DrawFn, kind: str, levels: int = 5) -> str:
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        choice = draw(st.integers(0, 9))
        if choice == 0 and levels:
            parts.append(f"... on {kind} {{ {draw(selections(kind, levels - 1))} }}")
        elif choice == 1:
            parts.append(f"...F{draw(st.integers(0, 3))}{kind}")
        else:
            usable = [name for name, inner in FIELDS[kind].items() if levels or not inner]
            name = draw(st.sampled_from(usable or ["__typename"]))
            inner = FIELDS[kind].get(name)
            alias = f"a{draw(st.integers(0, 99))}: " if draw(st.booleans()) else ""
            rest = draw(st.sampled_from(["", "", "@skip(if: false)", "@include(if: true)", "@defer"]))
            parts.append(f"{alias}{name} {rest} " + (f"{{ {draw(selections(inner, levels - 1))} }}" if inner else ""))
    return " ".join(parts)


@st.composite
def documents(draw: st.DrawFn) -> str:
    parts = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 1, 2]))):
        operation = draw(st.sampled_from(["query", "query", "mutation"]))
        parts.append(f"{operation} {{ {draw(selections(operation.capitalize()))} }}")
    used = set(re.findall(r"\.\.\.(F\d)(Query|Mutation|User|Order|Connection)", " ".join(parts)))
    for _ in range(3):
        for name, kind in sorted(used):
            if not any(part.startswith(f"fragment {name}{kind} ") for part in parts):
                parts.append(f"fragment {name}{kind} on {kind} {{ {draw(selections(kind, 2))} }}")
        used = set(re.findall(r"\.\.\.(F\d)(Query|Mutation|User|Order|Connection)", " ".join(parts)))
    return "\n".join(parts)


SMALL = LimitSettings(depth=4, fields=20, aliases=4, root_fields=3, fragments=3, tokens=300, document_bytes=4_000)


def unrolled(document: Any) -> list[tuple[int, Any]]:
    """Each field with its depth, as somebody would find them who executes the document."""
    from graphql import FieldNode, FragmentDefinitionNode, FragmentSpreadNode

    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
    found: list[tuple[int, Any]] = []

    def walk(selection_set: Any, depth: int) -> None:
        for selection in selection_set.selections if selection_set else ():
            if isinstance(selection, FieldNode):
                found.append((depth, selection))
                walk(selection.selection_set, depth + 1)
            elif isinstance(selection, FragmentSpreadNode):
                walk(fragments[selection.name.value].selection_set, depth)
            else:
                walk(selection.selection_set, depth)

    for each in document.definitions:
        if not isinstance(each, FragmentDefinitionNode):
            walk(each.selection_set, 1)
    return found


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(documents())
def test_what_is_accepted_is_within_every_limit_when_it_is_carried_out(text: str) -> None:
    try:
        judged = Policy(SCHEMA, SMALL, introspection=False).judge(text)
    except (DocumentRefused, DocumentInvalid):
        return
    sent = parse(judged.text)
    fields = unrolled(sent)
    assert len(fields) <= SMALL.fields and max(depth for depth, _ in fields) <= SMALL.depth
    assert sum(field.alias is not None for _, field in fields) <= SMALL.aliases
    assert sum(depth == 1 for depth, _ in fields) <= SMALL.root_fields
    assert "@defer" not in judged.text and judged.changes == judged.text.startswith("mutation")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60), st.booleans())
def test_a_text_in_a_document_is_sent_as_it_was_judged(text: str, in_a_block: bool) -> None:
    written = '"""' + text.replace('"""', '\\"""') + '"""' if in_a_block else json.dumps(text)
    document = f"{{ order(id: {written}) {{ id }} }}"
    try:
        judged = POLICY.judge(document)
    except (DocumentRefused, DocumentInvalid):
        return
    here, there = (unrolled(parse(each))[0][1].arguments[0].value.value for each in (document, judged.text))
    assert here == there and (in_a_block or here == text)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=300), st.text(alphabet='{}()[]$!:@".#\\n queryfagmto_', max_size=300)))
def test_any_text_is_judged_or_refused_by_one_of_two_codes(text: str) -> None:
    try:
        POLICY.judge(text)
    except (DocumentRefused, DocumentInvalid):
        pass
