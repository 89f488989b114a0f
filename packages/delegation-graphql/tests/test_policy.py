"""What a document may do: everything here is refused, or counted, before anything is sent."""

import re
from typing import Any

import pytest
from graphql import OperationType, build_schema, parse
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
CHANGE = 'addOrder(item: "x") { id }'


def nested(levels: int, inside: str = "name") -> str:
    """``me`` and ``orders`` in each other, that many levels deep."""
    text = inside
    for level in range(levels):
        text = f"{'buyer' if level % 2 == 0 else 'orders'} {{ {text} }}"
    return text


def chain(length: int, spreads: int) -> str:
    """Fragments each of which uses the next one ``spreads`` times."""
    parts = ["{ me { ...F0 } }"]
    parts += [
        f"fragment F{n} on User {{ {f'...F{n + 1} ' * spreads if n < length - 1 else 'name'} }}" for n in range(length)
    ]
    return " ".join(parts)


REFUSED = {
    "several operations": f"query A {{ me {{ name }} }} mutation B {{ {CHANGE} }}",
    "the same name twice": f"query A {{ me {{ name }} }} mutation A {{ {CHANGE} }}",
    "two without names": "{ me { name } } { me { name } }",
    "two queries": "query A { me { name } } query B { me { name } }",
    "a subscription": "subscription { ticks }",
    "a subscription beside": "query A { me { name } } subscription B { ticks }",
    "nothing but a fragment": "fragment A on User { name }",
    "a thousand aliases": "{ " + " ".join(f"a{n}: me {{ name }}" for n in range(200)) + " }",
    "aliases inside": "{ me { " + " ".join(f"a{n}: name" for n in range(31)) + " } }",
    "aliases in fragments": "{ me { ...A } } fragment A on User { " + " ".join(f"a{n}: name" for n in range(31)) + " }",
    "many mutations": "mutation { " + " ".join(f"m{n}: {CHANGE}" for n in range(11)) + " }",
    "the same mutation often": "mutation { " + CHANGE * 11 + " }",
    "mutations in a fragment": "mutation { ...A ...A } fragment A on Mutation { " + "deleteOrders " * 6 + "}",
    "mutations in inline fragments": "mutation { " + "... on Mutation { deleteOrders } " * 11 + "}",
    "mutations that are skipped": "mutation { " + "deleteOrders @skip(if: true) " * 11 + "}",
    "mutations not included": "mutation ($n: Boolean!) { " + "deleteOrders @include(if: $n) " * 11 + "}",
    "too deep": "{ me { " + f"orders {{ {nested(12)} }}" + " } }",
    "too deep by fragments": "{ me { ...A } } fragment A on User { orders { buyer { ...B } } } "
    "fragment B on User { orders { buyer { ...C } } } fragment C on User { orders { buyer { ...D } } } "
    "fragment D on User { orders { buyer { ...E } } } fragment E on User { orders { buyer { orders { id } } } }",
    "far too deep": "{ me " * 2_000,
    "brackets": "{ order(id: " + "[" * 3_000,
    "a tower": "{ orders(filter: " + "{anyOf: " * 70 + "1" + "}" * 70 + ") { id } }",
    "fragments that multiply": chain(12, 6),
    "fragments that multiply without end": chain(19, 9),
    "too many fields": "{ me { " + "name " * 301 + "} }",
    "too many fragments": chain(21, 1),
    "a cycle": "{ me { ...A } } fragment A on User { orders { buyer { ...B } } } fragment B on User { ...A }",
    "a fragment in itself": "{ me { ...A } } fragment A on User { name ...A }",
    "a cycle that nothing uses": "{ me { name } } fragment A on User { ...B } fragment B on User { ...A }",
    "two fragments of a name": "{ me { ...A } } fragment A on User { name } fragment A on User { orders { id } }",
    "@defer": "{ me { ... @defer { name } } }",
    "@stream": "{ orders @stream(initialCount: 1) { id } }",
    "@defer on a spread": "{ me { ...A @defer } } fragment A on User { name }",
    "@live": "query @live { me { name } }",
    "@client": "{ me @client { name } }",
    "@include and another": "{ me @include(if: true) @cached { name } }",
    "a directive on a variable": "query ($a: Int = 1 @x) { orders(first: $a) { id } }",
    "a directive on a fragment": "{ me { ...A } } fragment A on User @x { name }",
    "__schema": "{ __schema { types { name } } }",
    "__type": '{ __type(name: "User") { fields { name } } }',
    "__schema under another name": "{ me: __schema { types { name } } }",
    "__schema in a fragment": "{ ...A } fragment A on Query { __schema { types { name } } }",
    "__schema inline": "{ ... on Query { ... { __schema { types { name } } } } }",
    "__schema that is skipped": "{ me { name } __schema @skip(if: true) { types { name } } }",
    "a type definition": "{ me { name } } type User { name: String }",
    "an extension": "{ me { name } } extend type Query { x: Int }",
    "a schema definition": "schema { query: Mutation } { me { name } }",
    "a directive definition": "directive @x on FIELD { me { name } }",
    "long": "{ me { name } } #" + "x" * 20_000,
    "long in another alphabet": "{ me { name } } #" + "ä" * 9_000,
    "many words": "{ me { name } " + "," * 10 + "a " * 2_001 + "}",
}
INVALID = {
    "nothing": "",
    "blanks": " \n\t",
    "a comment": "# { me { name } }",
    "a word": "query",
    "no selection": "{ me }",
    "an empty selection": "{ me { } }",
    "a selection on a leaf": "{ me { name { x } } }",
    "no such field": "{ password }",
    "no such argument": "{ orders(where: 1) { id } }",
    "an argument is missing": "{ order { id } }",
    "a mutation's field in a query": f"{{ {CHANGE} }}",
    "a fragment on Mutation in a query": f"{{ ...A }} fragment A on Mutation {{ {CHANGE} }}",
    "an inline fragment on Mutation in a query": f"{{ ... on Mutation {{ {CHANGE} }} }}",
    "a fragment on Mutation below": f"{{ me {{ ... on Mutation {{ {CHANGE} }} }} }}",
    "a fragment on Subscription in a query": "{ ... on Subscription { ticks } }",
    "a fragment that is not there": "{ me { ...A } }",
    "a fragment on nothing known": "{ me { ... on Nobody { name } } }",
    "a fragment that nothing uses": f"{{ me {{ name }} }} fragment A on Mutation {{ {CHANGE} }}",
    "a variable that is not declared": "{ order(id: $id) { id } }",
    "a variable that nothing uses": "query ($a: Int) { me { name } }",
    "a variable of an output type": "query ($a: User) { orders(filter: $a) { id } }",
    "a variable in the wrong place": "query ($a: Boolean) { orders(first: $a) { id } }",
    "a variable twice": "query ($a: Int, $a: Int) { orders(first: $a) { id } }",
    "fields that conflict": '{ order(id: "1") { id } order(id: "2") { id } }',
    "aliases that conflict": "{ me { a: name a: orders { id } } }",
    "the same directive twice": "{ me @skip(if: false) @skip(if: false) { name } }",
    "@skip without a condition": "{ me @skip { name } }",
    "@skip on the operation": "query @skip(if: true) { me { name } }",
    "@include on the mutation": f"mutation @include(if: false) {{ {CHANGE} }}",
    "an int that is huge": "{ orders(first: 99999999999999999999) { id } }",
    "an int that is endless": "{ orders(first: " + "9" * 5_000 + ") { id } }",
    "an int in text": '{ orders(first: "5") { id } }',
    "a float": "{ orders(first: 1e3) { id } }",
    "an int and letters": "{ orders(first: 1a) { id } }",
    "an int with a zero before": "{ orders(first: 007) { id } }",
    "an enum that is none": "{ orders(filter: {state: STOLEN}) { id } }",
    "a member that is none": '{ orders(filter: {owner: "bob"}) { id } }',
    "a member twice": '{ orders(filter: {item: "a", item: "b"}) { id } }',
    "a name in escapes": "{ \\u006de { name } }",
    "an escape in a keyword": f"mut\\u0061tion {{ {CHANGE} }}",
    "full-width letters": "{ \uff4d\uff45 { name } }",
    "a quote that stays open": '{ order(id: "1) { id } }',
    "a block that stays open": '{ order(id: """1) { id } }',
    "half a character": "{ me { name } } #\ud800",
    "half a character in an escape": '{ order(id: "\\uD800") { id } }',
    "an escape beyond Unicode": '{ order(id: "\\u{110000}") { id } }',
    "NUL": "{ me { name } }\x00",
    "another start": "\ufeff\ufeff\x1b{ me { name } }",
    "a batch": '[{"query": "{ me { name } }"}]',
    "a request": '{"query": "{ me { name } }", "operationName": "A"}',
    "a keyword of something else": "query A { me { name } } UNION SELECT",
    "an unterminated block comment": "/* { me { name } }",
}
ALLOWED = {
    "a query": "{ me { name } }",
    "with a name": "query A { me { name } }",
    "@skip and @include": "query ($a: Boolean!) { me @skip(if: $a) { name @include(if: true) } }",
    "a mutation in a block string": '{ order(id: """} mutation { deleteOrders } {""") { id } }',
    "a mutation in a string": '{ order(id: "} mutation { deleteOrders } query A {") { id } }',
    "a mutation in a comment": "{ me { name } } # } mutation { deleteOrders }",
    "a mutation in escapes": '{ order(id: "\\u007d mutation \\u{7B} deleteOrders }") { id } }',
    "a field by another name": "{ deleteOrders: me { mutation: name } }",
    "an operation by another name": "query mutation { me { name } }",
    "a fragment by another name": "{ ...mutation } fragment mutation on Query { me { name } }",
    "__typename": "{ __typename me { __typename } }",
    "a start with a mark": "\ufeff{ me { name } }",
    "another alphabet": '{ order(id: "ä\\u00e4\\n😀") { id } }',
}


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
@given(st.one_of(st.text(max_size=300), st.text(alphabet='{}()[]$!:@".#\\n queryfagmto_', max_size=300)))
def test_any_text_is_judged_or_refused_by_one_of_two_codes(text: str) -> None:
    try:
        POLICY.judge(text)
    except (DocumentRefused, DocumentInvalid):
        pass
