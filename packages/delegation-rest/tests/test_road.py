"""The whole road: a signed token, an exchange at a real provider, HTTP, an unmodified client, both wires."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.shared.exceptions import MCPError
from rest_service import AUDIENCE, STACK, Reply, Service
from test_openapi import CRM

from actas.core import ConfigurationError, Outcome
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

pytestmark = pytest.mark.anyio


def configured(provider: IdentityProvider, service: Service, document: Path) -> dict[str, Any]:
    document.write_text(json.dumps(CRM))
    crm = {
        "kind": "rest",
        "base_url": service.base,
        "permission": "crm:use",
        "openapi": {"document": str(document)},
        "requests": {"allow": ["GET /files/**"]},
        "health": {"path": "/health"},
        "identity_headers": {"X-User": "username"},
        "token_exchange": exchange(AUDIENCE),
    }
    return configuration(provider, {"crm": crm}, permissions={"user": ["crm:use"]}, roles={"user": ["staff"]})


@pytest.fixture(params=WIRES)
async def road(
    request: pytest.FixtureRequest, provider: IdentityProvider, service: Service, tmp_path: Path
) -> AsyncGenerator[Road]:
    async with running(configured(provider, service, tmp_path / "crm.json"), provider, request.param) as opened:
        yield opened


async def test_two_users_call_the_same_tool_and_the_service_sees_each_of_them(road: Road, service: Service) -> None:
    for user in ("alice", "bob", "alice"):
        assert (await road.call("crm-get-customer-by-id", user, id=7))["body"]["subject"] == user
    assert [seen.subject for seen in service.seen] == ["alice", "bob", "alice"]
    assert [seen.header("x-user") for seen in service.seen] == ["alice", "bob", "alice"]


async def test_tools_come_from_the_document_with_hints_and_schemas(road: Road) -> None:
    async with road.client() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert {"crm-delegate", "crm-health", "crm-list-customers", "crm-add-customer"} <= set(tools)
    assert tools["crm-list-customers"].annotations and tools["crm-list-customers"].annotations.read_only_hint
    assert tools["crm-delete-customers-by-id"].annotations.destructive_hint  # type: ignore[union-attr]
    assert tools["crm-add-customer"].input_schema["required"] == ["body"]


async def test_a_guest_sees_none_of_them(road: Road, service: Service) -> None:
    async with road.client("guest") as client:
        assert not [tool for tool in (await client.list_tools()).tools if tool.name.startswith("crm-")]
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("crm-list-customers", {})
    assert service.seen == []


async def test_the_minutes_prove_whom_the_service_saw(road: Road) -> None:
    await road.call("crm-delegate", path="/files/a/b")
    (event,) = [event for event in road.minutes.entries(outcome=Outcome.SUCCESS) if event.source == "delegation:crm"]
    assert event.receipt is not None and event.receipt.details == {"token_subject": "alice", "status": "200"}
    assert (event.subject, event.tool, event.action) == ("alice", "crm-delegate", "request")


async def test_a_token_that_the_service_refuses_is_exchanged_anew_once(
    road: Road, service: Service, provider: IdentityProvider
) -> None:
    async with road.client() as client:
        await client.call_tool("crm-health", {})
        first = service.seen[-1].header("authorization") or ""
        service.refused.add(first.removeprefix("Bearer "))
        # Tokens of one second differ by their jti.
        result = await client.call_tool("crm-get-customer-by-id", {"id": 7})
    assert not result.is_error and len(provider.exchanges.asked) == 2
    assert service.seen[-1].header("authorization") != first


async def test_without_an_exchanged_token_nothing_reaches_the_service(
    road: Road, service: Service, provider: IdentityProvider
) -> None:
    provider.exchanges.claims = {"sub": "bob"}
    assert await road.call("crm-get-customer-by-id", id=7) == "exchange_refused"
    provider.exchanges.claims = {"aud": "https://another.example"}
    assert await road.call("crm-get-customer-by-id", id=7) == "exchange_refused"
    assert service.seen == []


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("crm-delegate", {"path": "/files/../admin"}, "http_request_refused"),
        ("crm-delegate", {"path": "//evil.example/x"}, "http_request_refused"),
        ("crm-delegate", {"path": "/files/%252e%252e/admin"}, "http_request_refused"),
        ("crm-delegate", {"path": "/files/a", "headers": {"X-User": "bob"}}, "http_request_refused"),
        ("crm-delegate", {"path": "/files/a", "method": "DELETE"}, "http_request_refused"),
        ("crm-get-customer-by-id", {"id": "../7"}, "invalid_parameters"),
        ("crm-list-customers", {"Authorization": "Bearer stolen"}, "invalid_parameters"),
    ],
)
async def test_an_attack_is_refused_and_in_the_minutes(
    road: Road, service: Service, tool: str, arguments: dict[str, Any], code: str
) -> None:
    assert await road.call(tool, **arguments) == code
    assert service.seen == []
    (event,) = [event for event in road.minutes.entries(outcome=Outcome.REFUSED) if event.tool == tool]
    assert (event.code, event.subject) == (code, "alice")


async def test_a_stack_trace_of_the_service_reaches_nobody_and_no_token_is_in_anything(
    road: Road, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    service.replies["/v1/files/broken"] = Reply({"trace": STACK}, 500)
    token = road.provider.issue("alice")
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "Content-Type": "application/json"}
    call = {"name": "crm-delegate", "arguments": {"path": "/files/broken"}}
    async with httpx2.AsyncClient(trust_env=False) as http:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        answer = await http.post(road.server.url, headers=headers, json=body)
    error = answer.json()["result"]["structuredContent"]["error"]
    assert error["code"] == "rest_service_failed" and "HTTP 500" in error["message"]
    assert error["requestId"] in error["message"] and service.seen[-1].header("x-request-id") == error["requestId"]
    everything = answer.text + caplog.text + "".join(repr(event) for event in road.minutes.entries())
    exchanged = (service.seen[-1].header("authorization") or "").removeprefix("Bearer ")
    assert "hunter2" not in everything and "app.py" not in everything
    for secret in (token, exchanged):
        assert secret.count(".") == 2
        assert secret not in everything and secret.rsplit(".", 1)[1] not in everything


async def test_a_service_that_is_down_takes_nobody_with_it_and_is_used_again_when_it_is_back(
    provider: IdentityProvider, service: Service, tmp_path: Path
) -> None:
    with Service(provider, AUDIENCE) as gone:
        port = int(gone.origin.rpartition(":")[2])
    written = configured(provider, service, tmp_path / "crm.json")
    modules = written["delegation"]["modules"]
    modules["shop"] = {**modules["crm"], "base_url": f"http://127.0.0.1:{port}/v1"}
    async with running(written, provider) as opened:
        assert await opened.call("shop-get-customer-by-id", id=7) == "downstream_unavailable"
        assert (await opened.call("crm-get-customer-by-id", id=7))["status"] == 200
        async with opened.client() as client:
            health = (await client.call_tool("health-check", {})).structured_content or {}
        told = {name: each["healthy"] for name, each in health["modules"].items()}
        assert told == {"crm": True, "shop": False}
        with Service(provider, AUDIENCE, port):
            assert (await opened.call("shop-get-customer-by-id", id=7))["body"]["subject"] == "alice"


async def test_a_module_without_an_exchange_is_no_configuration(
    provider: IdentityProvider, service: Service, tmp_path: Path
) -> None:
    written = configured(provider, service, tmp_path / "crm.json")
    del written["delegation"]["modules"]["crm"]["token_exchange"]
    with pytest.raises(ConfigurationError, match="token_exchange is required"):
        MCPOAuthServer(written)
    written = configured(provider, service, tmp_path / "crm.json")
    written["delegation"]["modules"]["crm"]["openapi"]["include"] = ["nothing-*"]
    with pytest.raises(ConfigurationError, match=r"delegation\.modules\.crm: openapi\.include"):
        MCPOAuthServer(written)


def test_a_schema_that_is_none_stops_the_start_and_names_the_tool(
    provider: IdentityProvider, service: Service, tmp_path: Path
) -> None:
    written = configured(provider, service, tmp_path / "crm.json")
    wrong = {"operationId": "theOne", "summary": "The one", "parameters": [{"name": "a", "in": "query"}]}
    wrong["parameters"][0]["schema"] = {"type": "nonsense"}  # type: ignore[index] -- a list of dicts
    (tmp_path / "crm.json").write_text(json.dumps({"openapi": "3.1.0", "paths": {"/x": {"get": wrong}}}))
    with pytest.raises(
        ConfigurationError, match=r"crm-the-one: the JSON Schema is not valid at \$\.properties\.a\.type"
    ):
        MCPOAuthServer(written)
