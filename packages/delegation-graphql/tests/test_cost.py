"""What an answer can cost: each field as often as the lists around it are long."""

import pytest
from graphql import build_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from actas.core import InvalidParameters
from actas.delegation.graphql.cost import Costs
from actas.delegation.graphql.failures import DocumentRefused
from actas.delegation.graphql.policy import Policy
from actas.delegation.graphql.settings import LimitSettings
from actas.delegation.graphql.variables import coerced

SCHEMA = build_schema("""
    type Query { things(first: Int! = 10, last: Int, limit: Int, by: By): [Thing!]! rows(first: Int): [[Thing]]
                 page(first: Int): Page any: Any count(first: Int): Int }
    type Mutation { add(things: [By!]!): [Thing!]! }
    type Thing { name: String things(first: Int): [Thing!]! any: Any }
    type Page { edges: [Edge] total: Int other: [Thing] }
    type Edge { node: Thing }
    type Other { name: String rows: [Other] }
    union Any = Thing | Other
    input By { first: Int name: String also: By several: [By!] }
""")
LIMITS = LimitSettings(cost=1_000, list_size=50, assumed_list_size=10)


def cost(document: str, limits: LimitSettings = LIMITS, **variables: object) -> int:
    judged = Policy(SCHEMA, limits, introspection=True).judge(document)
    values = coerced(SCHEMA, judged.operation, variables, 10_000)
    return Costs(SCHEMA, limits, ["first", "last", "limit"]).check(judged, values)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("{ things(first: 5) { name } }", 6),
        ("{ things(first: 0) { name } }", 2),
        ("{ things { name } }", 11),
        ("{ things(first: 2) { things(first: 3) { name } } }", 1 + 2 * (1 + 3)),
        ("{ things(first: 2, last: 7) { name } }", 8),
        ("{ things(by: {first: 20}) { name } }", 21),
        ("{ things(by: {also: {several: [{first: 3}, {first: 30}]}}) { name } }", 31),
        ("{ rows { name } }", 101),
        ("{ rows(first: 5) { name } }", 51),
        ("{ page(first: 20) { total edges { node { name } } } }", 1 + 20 * (1 + 1 + 2)),
        ("{ page { total edges { node { name } } } }", 1 + 1 + 1 + 10 * 2),
        ("{ count(first: 50) }", 1),
        ("{ a: things(first: 5) { name } b: things(first: 5) { name } }", 12),
        ("{ ...F ...F } fragment F on Query { things(first: 5) { ...T } } fragment T on Thing { name }", 12),
        ("{ things(first: 5) { ... { name } ... on Thing { name } } }", 11),
        ("{ any { ... on Thing { name } ... on Other { rows { name } } __typename } }", 1 + 1 + 11 + 1),
        ("{ things(first: 5) @skip(if: true) { name } }", 6),
        ("mutation { add(things: [{first: 3}]) { name } }", 4),
        ("{ __schema { types { name } } }", 1 + 1 + 10),
    ],
)
def test_each_field_counts_as_often_as_the_lists_around_it_are_long(document: str, expected: int) -> None:
    assert cost(document) == expected


def test_variables_and_their_defaults_say_how_long_a_list_is() -> None:
    document = "query ($n: Int! = 7, $by: By) { things(first: $n, by: $by) { name } }"
    assert cost(document) == 8
    assert cost(document, n=20) == 21
    assert cost(document, n=1, by={"several": [{"also": {"first": 40}}]}) == 41


@pytest.mark.parametrize("size", [-1, 51, 2**31 - 1, -(2**31)])
def test_a_list_that_is_too_long_is_refused_wherever_its_length_stands(size: int) -> None:
    for document in (
        f"{{ things(first: {size}) {{ name }} }}",
        f"{{ things(by: {{also: {{first: {size}}}}}) {{ name }} }}",
        f"query ($n: Int! = {size}) {{ things(first: $n) {{ name }} }}",
        f"{{ count(first: {size}) }}",
        f"mutation {{ add(things: [{{several: [{{first: {size}}}]}}]) {{ name }} }}",
    ):
        with pytest.raises(DocumentRefused, match="0 to 50"):
            cost(document)
    for variables in ({"n": size}, {"n": 1, "by": {"first": size}}):
        with pytest.raises(DocumentRefused, match="0 to 50"):
            cost("query ($n: Int!, $by: By) { things(first: $n, by: $by) { name } }", **variables)


def test_lists_in_lists_are_refused_by_what_they_come_to() -> None:
    with pytest.raises(DocumentRefused, match="more than 1000 fields"):
        cost("{ things(first: 50) { things(first: 50) { name } } }")
    with pytest.raises(DocumentRefused, match="more than 1000 fields"):
        cost("{ things { things { things { name } } } }")
    with pytest.raises(DocumentRefused, match="more than 1000 fields"):
        cost("query ($n: Int) { things { things(first: $n) { things(first: $n) { name } } } }", n=50)


def test_null_for_a_variable_that_fits_for_its_default_alone_is_a_plain_error() -> None:
    document = "query ($n: Int = 5) { things(first: $n) { name } }"
    assert cost(document) == 6
    with pytest.raises(InvalidParameters, match="things"):
        cost(document, n=None)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.booleans())
def test_whatever_is_accepted_costs_no_more_than_the_limit(sizes: list[int], in_fragments: bool) -> None:
    document, fragments = "name", ""
    for number, size in enumerate(sizes):
        if in_fragments:
            fragments += f" fragment F{number} on Thing {{ {document} }}"
            document = f"...F{number}"
        document = f"things(first: {size}) {{ {document} }}"
    answers = 1
    for size in sizes:
        answers = 1 + size * answers  # as many fields as the service would really answer
    try:
        assert answers - 1 <= cost(f"{{ {document} }}{fragments}") <= LIMITS.cost
    except DocumentRefused:
        assert sum(sizes) > 6
