"""The module by itself, for what a pipeline in front of it would never let through."""

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from graphql_gateway import ALICE, Gateway, on_file
from graphql_service import Reply, Service

from actas.core import (
    ConfigurationError,
    DelegationCall,
    DelegationTimeout,
    InvalidParameters,
    PrincipalUnavailable,
    UnknownAction,
)
from actas.delegation.graphql.actions import Document
from actas.delegation.graphql.failures import DocumentInvalid, DocumentRefused
from actas.delegation.graphql.module import GraphqlDelegation
from actas.delegation.graphql.settings import GraphqlSettings
from actas.delegation.graphql.variables import coerced

pytestmark = pytest.mark.anyio


async def a_call(gateway: Gateway, action: str, parameters: object, **fields: Any) -> DelegationCall:
    made = next(each for each in gateway.module.actions if each.name == action)
    call = DelegationCall(
        session=ALICE,
        action=made,
        parameters=parameters,
        deadline=time.monotonic() + 10,
        request_id="r",
        credential=await gateway.source.obtain(ALICE),
    )
    return replace(call, **fields)


async def test_what_is_no_call_of_ours_is_refused_and_nothing_is_sent(gateway: Gateway, service: Service) -> None:
    document = Document(document="{ me { name } }")
    orders = next(each for each in gateway.module.actions if each.name == "my-orders")
    for call, kind in (
        (await a_call(gateway, "query", document, credential=None), PrincipalUnavailable),
        (await a_call(gateway, "my-orders", document), InvalidParameters),
        (await a_call(gateway, "query", {"document": "{ me { name } }"}), UnknownAction),
        (replace(await a_call(gateway, "query", {}), action=replace(orders, name="other")), UnknownAction),
    ):
        with pytest.raises(kind):
            await gateway.module.delegate(call)
    assert service.seen == []


async def test_the_deadline_is_kept_without_a_pipeline_too(gateway: Gateway, service: Service) -> None:
    service.reply = Reply({}, delay=2)
    document = Document(document="{ me { name } }")
    call = await a_call(gateway, "query", document, deadline=time.monotonic() + 0.3)
    with pytest.raises(DelegationTimeout):
        await gateway.module.delegate(call)


async def test_nobody_takes_all_connections(service: Service, tmp_path: Path) -> None:
    from graphql_gateway import BOB, gateway_to

    from actas.delegation.graphql.settings import LimitSettings

    limits = LimitSettings(connections=3, calls_per_user=2, seconds=5)
    async with gateway_to(service, tmp_path, limits=limits) as opened:
        slow = [asyncio.create_task(opened.call("wait", seconds=1.0)) for _ in range(6)]
        await asyncio.sleep(0.3)
        begun = len(service.seen)
        assert (await opened.query("{ me { name } }", BOB))["data"] == {"me": {"name": "bob"}}
        assert not any(task.done() for task in slow)
        await asyncio.gather(*slow)
    assert begun == 2 and len(service.seen) == 7


async def test_where_the_stack_is_almost_full_a_nested_document_is_refused(gateway: Gateway) -> None:
    known = gateway.module._known
    assert known is not None
    text = "{ orders(filter: " + "{anyOf: " * 50 + "{}" + "}" * 50 + ") { id } }"
    tower = known.policy.judge("{ me { " + "... { " * 60 + "name" + " }" * 60 + " } }")
    values = coerced(known.schema, tower.operation, {}, 100)

    def deeper(levels: int, step: Callable[[], object]) -> None:
        if levels:
            deeper(levels - 1, step)
        else:
            step()

    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    left = sys.getrecursionlimit() - depth
    known.policy.judge(text)
    with pytest.raises((DocumentInvalid, DocumentRefused)):
        deeper(left - 120, lambda: known.policy.judge(text))
    with pytest.raises(DocumentRefused, match="nested too deeply"):
        deeper(left - 50, lambda: known.costs.check(tower, values))


def test_a_schema_file_without_operations_serves_free_documents(tmp_path: Path) -> None:
    files = on_file(tmp_path)
    made = GraphqlDelegation(
        GraphqlSettings(url="https://shop.example/graphql", free_documents=True, schema_file=files["schema_file"])
    )
    assert [action.name for action in made.actions] == ["query", "mutate", "schema", "health"]
    with pytest.raises(ConfigurationError):
        GraphqlDelegation(GraphqlSettings(url="https://shop.example/graphql", schema_file=files["schema_file"]))
