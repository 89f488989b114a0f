"""The whole road: a signed token, HTTP, an unmodified client, a real KDC, and a file server that knows its users."""

from collections.abc import AsyncGenerator, Iterator

import pytest
from kerberos_stage import GATEWAY
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult

from actas.core.events import Outcome
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.kdc import KerberosRealm
from actas.testing.road import MCP, WIRES, Road, configuration, running
from actas.testing.samba import SambaServer

pytestmark = pytest.mark.anyio

TOOLS = {
    "kerberos-list-directory": {"path", "includeHidden", "limit", "offset"},
    "kerberos-read-file": {"path", "encoding", "maxBytes", "offset"},
    "kerberos-file-info": {"path"},
}


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    users = {name: DemoUser(roles=["staff"]) for name in ("alice", "bob", "vip")}
    with IdentityProvider(users=users | {"guest": DemoUser()}, audience=MCP) as opened:
        yield opened


@pytest.fixture(params=WIRES)
async def road(
    request: pytest.FixtureRequest, provider: IdentityProvider, realm: KerberosRealm, samba: SambaServer
) -> AsyncGenerator[Road]:
    realm.allow(GATEWAY, samba.service)
    module = {
        "kind": "kerberos",
        "principal": realm.principal(GATEWAY),
        "keytab": str(realm.keytab(GATEWAY)),
        "targets": [samba.service],
        "smb": {"allow": [{"server": "localhost", "share": "files", "port": samba.port}]},
    }
    written = configuration(
        provider, {"kerberos": module}, permissions={"user": ["kerberos:files"]}, roles={"user": ["staff"]}
    )
    written["auth"]["trusted_idps"][0]["claim_mappings"] = {"legacy_username": "preferred_username"}
    async with running(written, provider, request.param) as opened:
        yield opened


async def called(road: Road, user: str, tool: str, /, **arguments: object) -> CallToolResult:
    async with road.client(user) as client:
        return await client.call_tool(tool, arguments)


async def test_two_users_read_a_file_each_and_neither_the_others(road: Road, samba: SambaServer) -> None:
    for user in ("alice", "bob"):
        samba.write(f"road/{user}.txt", f"of {user}".encode(), owner=user)
    for user, other in (("alice", "bob"), ("bob", "alice"), ("alice", "bob")):
        result = await called(road, user, "kerberos-read-file", path=f"//localhost/files/road/{user}.txt")
        assert result.structured_content is not None
        assert result.structured_content["contents"] == f"of {user}"
        receipt = (result.meta or {})["actas/receipt"]
        assert receipt["identity"] == receipt["details"]["kerberos"] == f"{user}@EXAMPLE.COM"
        assert receipt["details"]["account"] == f"EXAMPLE\\{user}"
        refused = await called(road, user, "kerberos-read-file", path=f"//localhost/files/road/{other}.txt")
        assert refused.is_error and refused.structured_content is not None
        assert refused.structured_content["error"]["code"] == "kerberos_file_refused"
    events = road.minutes.entries(outcome=Outcome.SUCCESS)
    seen = [event.receipt.identity for event in events if event.source == "delegation:kerberos" and event.receipt]
    assert seen == ["alice@EXAMPLE.COM", "bob@EXAMPLE.COM", "alice@EXAMPLE.COM"]


async def test_the_tools_have_their_names_and_parameters_and_only_read(road: Road) -> None:
    async with road.client("alice") as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools if tool.name.startswith("kerberos-")}
    assert {name: set(tool.input_schema["properties"]) for name, tool in tools.items()} == TOOLS
    assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in tools.values())


@pytest.mark.parametrize(
    ("user", "path", "code"),
    [
        ("alice", "//localhost/files/../../../etc/hostname", "kerberos_path_refused"),
        ("alice", "//elsewhere.example.com/files/x", "kerberos_path_refused"),
        ("alice", "//localhost/files/nothing", "kerberos_file_not_found"),
        ("vip", "//localhost/files/nothing", "kerberos_user_not_delegable"),
    ],
)
async def test_a_refusal_has_its_code_and_is_in_the_minutes(road: Road, user: str, path: str, code: str) -> None:
    result = await called(road, user, "kerberos-read-file", path=path)
    assert result.is_error and result.structured_content is not None
    assert result.structured_content["error"]["code"] == code
    assert road.minutes.entries()[-1].code == code
    assert path not in str(road.minutes.entries()[-1])


async def test_a_guest_sees_none_of_it(road: Road) -> None:
    async with road.client("guest") as client:
        assert not [tool for tool in (await client.list_tools()).tools if tool.name.startswith("kerberos-")]
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("kerberos-read-file", {"path": "//localhost/files/x"})
