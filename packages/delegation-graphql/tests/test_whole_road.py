"""The whole road: a signed token, an exchange at a real provider, HTTP, an unmodified client, both wires."""

import json
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from graphql_documents import REFUSED
from graphql_gateway import on_file
from graphql_schema import STACK
from graphql_service import AUDIENCE, Reply, Service
from mcp.shared.exceptions import MCPError

from actas.core import ConfigurationError, MemorySink, Outcome
from actas.mcp import MCPOAuthServer
from actas.testing.idp import IdentityProvider
from actas.testing.road import (
    WIRES,
    Road,
    configuration,
    exchange,
    exchanging,  # noqa: F401 -- a fixture that is used by being here
    running,
)
from actas.testing.tokens import generate_key

pytestmark = pytest.mark.anyio


def configured(provider: IdentityProvider, service: Service, folder: Path) -> dict[str, Any]:
    shop = {
        "kind": "graphql",
        "url": service.url,
        "free_documents": True,
        **on_file(folder),
        "token_exchange": exchange(AUDIENCE),
    }
    permissions = {"user": ["graphql:read", "graphql:write"], "guest": ["graphql:read"]}
    return configuration(
        provider, {"shop": shop}, permissions=permissions, roles={"user": ["staff"], "guest": ["reader"]}
    )


@pytest.fixture(params=WIRES)
async def road(
    request: pytest.FixtureRequest, provider: IdentityProvider, service: Service, tmp_path: Path
) -> AsyncGenerator[Road]:
    async with running(configured(provider, service, tmp_path), provider, request.param) as opened:
        yield opened


async def test_a_tool_call_reaches_the_service_as_the_user_who_called(road: Road, service: Service) -> None:
    for user, items in (("alice", ["laptop", "lamp"]), ("bob", ["desk"])):
        answer = await road.call("shop-my-orders", user)
        assert [order["item"] for order in answer["data"]["orders"]] == items
        assert await road.call("shop-delegate", user, document="{ me { name } }") == {"data": {"me": {"name": user}}}
    assert (await road.call("shop-place-order", "bob", item="pen"))["data"]["addOrder"]["id"] == "4"
    assert (await road.call("shop-mutate", document="mutation { deleteOrders }"))["data"] == {"deleteOrders": 2}
    assert await road.call("shop-health", "bob") == {"data": {"__typename": "Query"}}
    assert "orders(first, filter)" in (await road.call("shop-schema"))["query"]
    assert [row.owner for row in service.shop.rows] == ["bob", "bob"]
    assert all(seen.header("x-request-id") for seen in service.seen)


async def test_the_kind_of_operation_decides_who_may(road: Road) -> None:
    reader = road.provider.issue("guest", claims={"roles": ["reader"]})
    async with road.client(token=reader) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {name for name in tools if name.startswith("shop-")} == {
            "shop-delegate", "shop-schema", "shop-my-orders", "shop-wait", "shop-health",
        }  # fmt: skip
        assert all(
            tool.annotations and tool.annotations.read_only_hint
            for name, tool in tools.items()
            if name.startswith("shop-")
        )
        for document in ("mutation { deleteOrders }", "query A { me { name } } mutation B { deleteOrders }"):
            result = await client.call_tool("shop-delegate", {"document": document})
            assert result.is_error and (result.structured_content or {})["error"]["code"] == "graphql_document_refused"
        with pytest.raises(MCPError):
            await client.call_tool("shop-mutate", {"document": "mutation { deleteOrders }"})
        with pytest.raises(MCPError):
            await client.call_tool("shop-place-order", {"item": "x"})


async def test_a_hidden_mutation_and_its_like_are_refused_by_policy_and_nothing_is_sent(
    road: Road, service: Service
) -> None:
    documents = [
        *(document for document in REFUSED.values() if "\ud800" not in document),
        "mutation { deleteOrders }",
        "{ " + " ".join(f"a{n}: ledger" for n in range(1_000)) + " }",
        "mutation { " + " ".join(f"a{n}: deleteOrders" for n in range(1_000)) + " }",
    ]
    async with road.client() as client:
        for tool in ("shop-delegate", "shop-mutate"):
            for document in documents:
                if tool == "shop-mutate" and document == "mutation { deleteOrders }":
                    continue
                result = await client.call_tool(tool, {"document": document})
                assert result.is_error and result.structured_content is not None, document[:80]
                assert result.structured_content["error"]["code"] == "graphql_document_refused", document[:80]
    assert service.seen == [] and len(service.shop.rows) == 3
    events = road.minutes.entries(source="delegation:shop")
    assert events and {event.outcome for event in events} == {Outcome.REFUSED}


async def test_a_stack_trace_of_the_service_reaches_nobody_and_no_token_is_in_anything(
    road: Road, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "actas")
    told: list[object] = [
        await road.call("shop-delegate", document="{ broken }"),
        await road.call("shop-delegate", document="{ orders { margin } }"),
        await road.call("shop-mutate", document="mutation { fail }"),
    ]
    service.reply = Reply({"errors": [{"message": STACK}]}, 500)
    told.append(await road.call("shop-delegate", document="{ me { name } }"))
    tokens = {(seen.header("authorization") or "").partition(" ")[2] for seen in service.seen}
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("actas")]
    everything = f"{told}{road.minutes.entries()}{ours}"
    assert len(tokens) == 4 and not any(token[-40:] in everything for token in tokens)
    assert "hunter2" not in everything and "Traceback" not in str(told)


async def test_a_service_that_wants_proofs_is_given_them(
    provider: IdentityProvider, service: Service, tmp_path: Path
) -> None:
    written = configured(provider, service, tmp_path)
    key = generate_key("ES256").as_dict(private=True)
    written["delegation"]["modules"]["shop"]["token_exchange"]["dpop_key"] = json.dumps(key)
    service.nonce = "first"
    async with running(written, provider) as opened:
        assert (await opened.call("shop-place-order", item="pen"))["data"]["addOrder"]["id"] == "4"
    assert [seen.subject for seen in service.seen] == [None, "alice"] and len(service.shop.rows) == 4
    stolen = {"authorization": f"Bearer {(service.seen[-1].header('authorization') or '').partition(' ')[2]}"}
    async with httpx2.AsyncClient(trust_env=False) as thief:
        answer = await thief.post(service.url, headers=stolen, json={"query": "{ me { name } }"})
    assert answer.status_code == 401


async def test_without_token_exchange_the_server_does_not_start(
    provider: IdentityProvider, service: Service, tmp_path: Path
) -> None:
    written = configured(provider, service, tmp_path)
    del written["delegation"]["modules"]["shop"]["token_exchange"]
    with pytest.raises(ConfigurationError, match="token_exchange"):
        await MCPOAuthServer(written, audit_sink=MemorySink()).start()


async def test_whom_the_provider_gives_no_token_the_service_never_sees(road: Road, service: Service) -> None:
    road.provider.exchanges.error = (400, "invalid_grant")
    assert isinstance(await road.call("shop-delegate", document="{ me { name } }"), str)
    assert isinstance(await road.call("shop-health"), str)
    road.provider.exchanges.error = None
    road.provider.exchanges.claims = {"sub": "bob"}
    assert isinstance(await road.call("shop-delegate", document="{ me { name } }"), str)
    assert service.seen == []


async def test_a_service_that_is_down_stops_no_start_and_its_tools_say_so(
    provider: IdentityProvider, service: Service, tmp_path: Path
) -> None:
    written = configured(provider, service, tmp_path)
    module = written["delegation"]["modules"]["shop"]
    module["url"] = "http://127.0.0.1:1/graphql"
    async with running(written, provider) as opened:
        assert await opened.call("shop-my-orders") == "downstream_unavailable"
        assert "orders(first, filter)" in (await opened.call("shop-schema"))["query"], "its file has it"
    for setting in ("schema_file", "operations"):
        del module[setting]
    async with running(written, provider) as opened:
        assert await opened.call("shop-delegate", document="{ me { name } }") == "downstream_unavailable"
