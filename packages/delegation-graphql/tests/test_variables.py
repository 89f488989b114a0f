"""Variables: always beside the document, and each as its type wants it."""

from typing import Any

import pytest
from graphql_gateway import Gateway
from graphql_service import Service

from actas.core import InvalidParameters

pytestmark = pytest.mark.anyio

DOCUMENT = 'query ($n: Int!, $f: Filter, $id: ID = "1") { orders(first: $n, filter: $f) { id } order(id: $id) { id } }'


def deep(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {"item": "x"}
    for _ in range(levels):
        made = {"anyOf": [made]}
    return made


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"n": None},
        {"n": "5"},
        {"n": 5.5},
        {"n": True},
        {"n": 2**31},
        {"n": -(2**31) - 1},
        {"n": 10**400},
        {"n": 10**5000},
        {"n": [5]},
        {"n": {"value": 5}},
        {"n": 5, "extra": 1},
        {"n": 5, "N": 1},
        {"n": 5, "operationName": "x"},
        {"n": 5, "f": "item"},
        {"n": 5, "f": {"owner": "bob"}},
        {"n": 5, "f": {"item": 7}},
        {"n": 5, "f": {"state": "STOLEN"}},
        {"n": 5, "f": {"state": 1}},
        {"n": 5, "f": {"anyOf": [None]}},
        {"n": 5, "f": deep(2000)},
        {"n": 5, "id": True},
        {"n": 5, "id": ["1"]},
        {"n": 5, "f": {"item": "x" * 70_000}},
        {"n": 5, "f": {"item": "\ud800"}},
        {"n": 5, "f": {"item": float("nan")}},
        {"n": float("inf")},
    ],
    ids=lambda value: "-".join(value) or "none",
)
async def test_what_does_not_fit_is_refused_and_no_value_is_repeated(
    gateway: Gateway, service: Service, variables: dict[str, object]
) -> None:
    with pytest.raises(InvalidParameters) as caught:
        await gateway.query(DOCUMENT, **variables)
    assert service.seen == []
    assert not any(word in caught.value.message for word in ("STOLEN", "bob", "xxxx", "5.5", "00000"))


@pytest.mark.parametrize(
    "hostile", ['"} mutation { deleteOrders } {', "$n", "\\u0022", '"""', "\n}", "{me{name}}", "\x00"]
)
async def test_a_value_stays_a_value(gateway: Gateway, service: Service, hostile: str) -> None:
    answer = await gateway.mutate("mutation ($i: String!) { addOrder(item: $i) { item } }", i=hostile)
    assert answer["data"]["addOrder"]["item"] == hostile
    assert service.shop.rows[-1].item == hostile and len(service.shop.rows) == 4
    assert service.seen[-1].sent["query"] == "mutation ($i: String!) {\n  addOrder(item: $i) {\n    item\n  }\n}"


@pytest.mark.parametrize(
    "parameters",
    [
        {"document": "{ me { name } }", "operationName": "A"},
        {"document": "{ me { name } }", "operation_name": "A"},
        {"document": "{ me { name } }", "extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}},
        {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}},
        {"id": "my-orders"},
        {"document": ["{ me { name } }", "mutation { deleteOrders }"]},
        {"document": {"query": "mutation { deleteOrders }"}},
        {"document": None},
        {"query": "mutation { deleteOrders }"},
        {"document": "{ me { name } }", "query": "mutation { deleteOrders }"},
        {"document": "{ me { name } }", "variables": [{}, {}]},
        {"document": "{ me { name } }", "variables": "{}"},
        {"document": "{ me { name } }", "headers": {"authorization": "Bearer x"}},
        {"document": "{ me { name } }", "url": "https://evil.example"},
        {"document": "{ me { name } }", "token": "x"},
        {"document": "{ me { name } }", "subject": "bob"},
    ],
    ids=str,
)
async def test_nothing_but_a_document_and_variables_can_be_given(
    gateway: Gateway, service: Service, parameters: dict[str, object]
) -> None:
    for action in ("query", "mutate"):
        with pytest.raises(InvalidParameters):
            await gateway.call(action, **parameters)
    assert service.seen == []


@pytest.mark.parametrize(
    "parameters",
    [
        {"first": "5"},
        {"first": 10**30},
        {"first": 5, "document": "mutation { deleteOrders }"},
        {"query": "mutation { deleteOrders }"},
        {"filter": {"owner": "bob"}},
        {"filter": {"state": "open"}},
        {"filter": {"anyOf": [{"owner": "bob"}]}},
        {"sha256Hash": "0" * 64},
    ],
    ids=str,
)
async def test_an_operation_on_file_takes_its_variables_and_nothing_else(
    gateway: Gateway, service: Service, parameters: dict[str, object]
) -> None:
    with pytest.raises(InvalidParameters):
        await gateway.call("my-orders", **parameters)
    assert service.seen == []


async def test_an_operation_on_file_is_held_to_list_sizes_too(gateway: Gateway, service: Service) -> None:
    from actas.delegation.graphql.failures import DocumentRefused

    for parameters in ({"first": 101}, {"first": -1}, {"filter": {"first": 1000}}):
        with pytest.raises(DocumentRefused):
            await gateway.call("my-orders", **parameters)
    assert service.seen == []
