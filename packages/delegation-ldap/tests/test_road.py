"""The whole road: a signed token, HTTP, an unmodified client, both wires, and slapd, which says whom it saw."""

from collections.abc import AsyncGenerator, Generator
from typing import Any

import httpx2
import pytest
from ldap_directory import NAME, SEED, dn
from mcp.shared.exceptions import MCPError

from actas.core.events import Outcome
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.road import MCP, WIRES, Road, configuration, running
from actas.testing.slapd import Slapd
from actas.testing.slapd_lines import GATEWAY, SUFFIX

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def provider() -> Generator[IdentityProvider]:
    users = {"alice": DemoUser(roles=["staff"]), "bob": DemoUser(roles=["staff"]), "guest": DemoUser()}
    users["ghost"] = DemoUser(roles=["staff"])
    users["odd, dc=x"] = DemoUser(roles=["staff"])
    with IdentityProvider(users=users, audience=MCP) as opened:
        yield opened


def configured(provider: IdentityProvider, directory: Slapd) -> dict[str, Any]:
    staff = {
        "kind": "ldap",
        "urls": [directory.ldaps_url],
        "identity": "proxied_authorization",
        "authzid": NAME,
        "bases": [SUFFIX],
        "attributes": ["uid", "cn", "mobile", "homePhone"],
        "service": {"dn": GATEWAY, "password": "gateway-password"},
        "probe": "probe",
        "groups": {"base": f"ou=groups,{SUFFIX}"},
        "ca_file": str(directory.authority.certificate),
        "writable": ["mobile"],
    }
    written = configuration(
        provider, {"staff": staff}, permissions={"user": ["ldap:read", "ldap:write"]}, roles={"user": ["staff"]}
    )
    written["auth"]["trusted_idps"][0]["claim_mappings"] = {"legacy_username": "sub"}
    return written


@pytest.fixture(params=WIRES)
async def road(request: pytest.FixtureRequest, provider: IdentityProvider, directory: Slapd) -> AsyncGenerator[Road]:
    async with running(configured(provider, directory), provider, request.param) as opened:
        yield opened


async def call(road: Road, tool: str, user: str = "alice", **arguments: object) -> Any:
    async with road.client(user) as client:
        result = await client.call_tool(tool, arguments)
    content = result.structured_content
    assert content is not None
    if result.is_error:
        return content["error"]["code"]
    assert (result.meta or {})["actas/receipt"]["identity"] == f"dn:{dn(user)}"
    return content


async def test_two_users_call_the_same_tool_and_each_sees_what_is_his(road: Road) -> None:
    for user in ("alice", "bob", "alice"):
        found = await call(road, "staff-search", user, filter={"attribute": "homePhone", "present": True})
        assert [entry["attributes"]["homePhone"] for entry in found["entries"]] == [[f"secret-{user}"]]
        assert await call(road, "staff-whoami", user) == {"seen_as": f"dn:{dn(user)}"}


async def test_tools_have_hints_and_schemas(road: Road) -> None:
    async with road.client() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert {"staff-search", "staff-read", "staff-compare", "staff-groups", "staff-whoami", "staff-modify"} <= set(tools)
    assert tools["staff-search"].annotations and tools["staff-search"].annotations.read_only_hint
    assert tools["staff-modify"].annotations and tools["staff-modify"].annotations.destructive_hint
    schema = tools["staff-search"].input_schema
    assert schema["required"] == ["filter"] and schema["properties"]["scope"]["enum"] == [
        "subtree",
        "one_level",
        "base",
    ]
    assert all(each["description"] for each in schema["properties"].values())


async def test_a_guest_sees_none_of_them(road: Road) -> None:
    async with road.client("guest") as client:
        assert not [tool for tool in (await client.list_tools()).tools if tool.name.startswith("staff-")]
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("staff-whoami", {})


async def test_who_has_no_entry_or_no_safe_name_is_refused_and_in_the_minutes(road: Road) -> None:
    assert await call(road, "staff-whoami", "ghost") == "ldap_assumption_refused"
    assert await call(road, "staff-whoami", "odd, dc=x") == "principal_unavailable"
    codes = [event.code for event in road.minutes.entries(outcome=Outcome.REFUSED)]
    assert codes == ["ldap_assumption_refused", "principal_unavailable"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"filter": "(uid=*"}, "invalid_parameters"),
        ({"filter": "(userPassword=*)"}, "invalid_parameters"),
        ({"filter": "(uid=a)", "base": "cn=config"}, "ldap_access_refused"),
        ({"filter": "(uid=a)", "authzid": f"dn:{dn('bob')}"}, "invalid_parameters"),
        ({"filter": {"attribute": "uid", "equals": "a", "as": "bob"}}, "invalid_parameters"),
        ({"filter": "(uid=a)", "attributes": ["userPassword"]}, "invalid_parameters"),
        ({"filter": "(uid=a)", "scope": "everything"}, "invalid_parameters"),
        ({"filter": "(uid=a)", "limit": 10**9}, "invalid_parameters"),
        ({"filter": 7}, "invalid_parameters"),
    ],
)
async def test_an_attack_is_refused_and_in_the_minutes(road: Road, arguments: dict[str, Any], code: str) -> None:
    assert await call(road, "staff-search", **arguments) == code
    (event,) = road.minutes.entries(outcome=Outcome.REFUSED)
    assert (event.code, event.subject, event.tool) == (code, "alice", "staff-search")


async def test_the_minutes_prove_whom_the_directory_saw(road: Road) -> None:
    await call(road, "staff-modify", changes=[{"operation": "replace", "attribute": "mobile", "values": ["of-alice"]}])
    (event,) = [each for each in road.minutes.entries(outcome=Outcome.SUCCESS) if each.tool == "staff-modify"]
    assert event.receipt is not None
    assert (event.receipt.identity, event.receipt.method) == (f"dn:{dn('alice')}", "proxied_authorization")


async def test_a_directory_that_is_down_takes_nobody_with_it_and_comes_back_by_itself(
    provider: IdentityProvider, directory: Slapd, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with Slapd(SEED) as other:
        written = configured(provider, directory)
        modules = written["delegation"]["modules"]
        modules["shop"] = {
            **modules["staff"], "urls": [other.ldaps_url], "ca_file": str(other.authority.certificate)
        }  # fmt: skip
        other.kill()
        async with running(written, provider) as opened:
            assert await call(opened, "shop-whoami") == "downstream_unavailable"
            assert await call(opened, "staff-whoami") == {"seen_as": f"dn:{dn('alice')}"}
            async with opened.client() as client:
                health = (await client.call_tool("health-check", {})).structured_content or {}
            assert {name: each["healthy"] for name, each in health["modules"].items()} == {"staff": True, "shop": False}
            other.start()
            for _ in range(100):
                if await call(opened, "shop-whoami") == {"seen_as": f"dn:{dn('alice')}"}:
                    break
            else:
                pytest.fail("it did not come back")
            everything = caplog.text + "".join(repr(event) for event in opened.minutes.entries())
    assert "gateway-password" not in everything


async def test_no_token_and_no_password_is_in_anything(road: Road, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    token = road.provider.issue("alice")
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "Content-Type": "application/json"}
    body = {"name": "staff-read", "arguments": {"entry": dn("nobody")}}
    async with httpx2.AsyncClient(trust_env=False) as http:
        sent = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": body}
        answer = await http.post(road.server.url, headers=headers, json=sent)
    everything = answer.text + caplog.text + "".join(repr(event) for event in road.minutes.entries())
    assert "ldap_no_such_entry" in everything
    assert "gateway-password" not in everything and token.rsplit(".", 1)[1] not in everything
