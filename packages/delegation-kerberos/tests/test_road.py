"""The whole road: a signed token, HTTP, an unmodified client, a real KDC, and a web service that sees the user."""

import json
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
from kerberos_stage import DATABASE, GATEWAY, TARGETS, WEB
from kerberos_web import WebService
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult

from actas.core import MemorySink
from actas.core.events import Outcome
from actas.mcp import MCPOAuthServer
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.kdc import KerberosRealm
from actas.testing.road import MCP, WIRES, Road, configuration, running

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    users = {name: DemoUser(roles=["staff"]) for name in ("alice", "bob", "vip", "gone", "nobody")}
    with IdentityProvider(users=users | {"guest": DemoUser()}, audience=MCP) as opened:
        yield opened


@pytest.fixture
def service(realm: KerberosRealm) -> Iterator[WebService]:
    with WebService(realm.keytab(WEB)) as opened:
        yield opened


def configured(provider: IdentityProvider, realm: KerberosRealm, service: WebService) -> dict[str, Any]:
    corp = {
        "kind": "kerberos",
        "principal": realm.principal(GATEWAY),
        "keytab": str(realm.keytab(GATEWAY)),
        "targets": TARGETS,
        "http": {
            "intranet": {
                "base_url": service.base,
                "description": "The company's reports.",
                "allow": ["GET /reports/{id}"],
            }
        },
    }
    written = configuration(
        provider,
        {"kerberos": corp},
        permissions={"user": ["kerberos:delegate", "kerberos:http"]},
        roles={"user": ["staff"]},
    )
    written["auth"]["trusted_idps"][0]["claim_mappings"] = {"legacy_username": "preferred_username"}
    return written


@pytest.fixture(params=WIRES)
async def road(
    request: pytest.FixtureRequest, provider: IdentityProvider, realm: KerberosRealm, service: WebService
) -> AsyncGenerator[Road]:
    async with running(configured(provider, realm, service), provider, request.param) as opened:
        yield opened


async def called(road: Road, user: str, tool: str, /, **arguments: object) -> CallToolResult:
    async with road.client(user) as client:
        return await client.call_tool(tool, arguments)


async def test_two_users_call_the_same_tool_and_the_service_sees_each_of_them(road: Road, service: WebService) -> None:
    for user in ("alice", "bob", "alice"):
        result = await called(road, user, "kerberos-http-intranet", path="/reports/7")
        assert not result.is_error
        assert result.structured_content == {
            "status": 200,
            "body": {"user": f"{user}@EXAMPLE.COM", "path": "/reports/7"},
        }
        assert (result.meta or {})["actas/receipt"]["identity"] == f"{user}@EXAMPLE.COM"
    assert [seen.user for seen in service.seen] == ["alice@EXAMPLE.COM", "bob@EXAMPLE.COM", "alice@EXAMPLE.COM"]
    events = road.minutes.entries(outcome=Outcome.SUCCESS)
    receipts = [event.receipt for event in events if event.source == "delegation:kerberos"]
    assert [receipt.identity for receipt in receipts if receipt] == [seen.user for seen in service.seen]


async def test_the_reference_tool_is_there_with_its_parameters(road: Road) -> None:
    asked = await called(road, "alice", "kerberos-delegate", action="s4u2proxy", targetSPN=DATABASE)
    assert asked.structured_content is not None
    assert asked.structured_content["target"] == f"{DATABASE}@EXAMPLE.COM"
    assert (await called(road, "alice", "kerberos-delegate", action="s4u2self")).structured_content["principal"] == (  # type: ignore[index]
        "alice@EXAMPLE.COM"
    )


@pytest.mark.parametrize(
    ("user", "tool", "arguments", "code"),
    [
        ("vip", "kerberos-s4u2proxy", {"target": WEB}, "kerberos_user_not_delegable"),
        ("gone", "kerberos-http-intranet", {"path": "/reports/7"}, "kerberos_user_disabled"),
        ("nobody", "kerberos-s4u2self", {}, "kerberos_user_unknown"),
        ("alice", "kerberos-s4u2proxy", {"target": "HTTP/secret.example.com"}, "kerberos_target_refused"),
        ("alice", "kerberos-s4u2proxy", {"target": "krbtgt/EXAMPLE.COM"}, "kerberos_target_refused"),
        ("alice", "kerberos-http-intranet", {"path": "/../admin"}, "http_request_refused"),
        ("alice", "kerberos-delegate", {"action": "s4u2proxy"}, "invalid_parameters"),
        ("alice", "kerberos-delegate", {"action": "s4u2self", "targetSPN": WEB}, "invalid_parameters"),
        ("alice", "kerberos-s4u2self", {"user": "bob"}, "invalid_parameters"),
    ],
)
async def test_a_refusal_has_its_code_and_is_in_the_minutes(
    road: Road, user: str, tool: str, arguments: dict[str, object], code: str
) -> None:
    result = await called(road, user, tool, **arguments)
    assert result.is_error and result.structured_content is not None
    assert result.structured_content["error"]["code"] == code
    assert road.minutes.entries()[-1].code == code


async def test_a_guest_sees_none_of_it(road: Road, service: WebService) -> None:
    async with road.client("guest") as client:
        assert not [tool for tool in (await client.list_tools()).tools if tool.name.startswith("kerberos-")]
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("kerberos-http-intranet", {"path": "/reports/7"})
    assert service.seen == []


async def test_a_target_that_a_new_configuration_leaves_out_is_out(
    provider: IdentityProvider, realm: KerberosRealm, service: WebService, tmp_path: Path
) -> None:
    written = configured(provider, realm, service)
    file = tmp_path / "actas.json"
    file.write_text(json.dumps(written))
    minutes = MemorySink()
    server = MCPOAuthServer(str(file), audit_sink=minutes)
    await server.start()
    try:
        road = Road(server, provider, minutes, "auto")
        assert not (await called(road, "alice", "kerberos-s4u2proxy", target=DATABASE)).is_error
        written["delegation"]["modules"]["kerberos"]["targets"] = [WEB]
        file.write_text(json.dumps(written))
        await server.reload()
        refused = await called(road, "alice", "kerberos-s4u2proxy", target=DATABASE)
        assert refused.structured_content is not None
        assert refused.structured_content["error"]["code"] == "kerberos_target_refused"
        assert not (await called(road, "alice", "kerberos-s4u2proxy", target=WEB)).is_error
    finally:
        await server.stop()
