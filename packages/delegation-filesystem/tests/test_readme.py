"""The README's configurations, in a real server, over HTTP."""

import re
import tomllib
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from files_gateway import Ground
from os_ground import Homes

from actas.core.errors import ActasError
from actas.delegation.filesystem import failures
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.road import MCP, Road, running

pytestmark = pytest.mark.anyio

README = (Path(__file__).parents[1] / "README.md").read_text()
READ, GROUPS, HOMES = re.findall(r"^```toml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
GRANTED = ["files:read", "files:write", "team:read", "team:write"]


def road(block: str, provider: IdentityProvider, here: dict[str, str]) -> AbstractAsyncContextManager[Road]:
    for theirs, ours in here.items():
        assert theirs in block
        block = block.replace(theirs, ours)
    idp = {
        "name": "idp",
        "issuer": provider.issuer,
        "audience": MCP,
        "role_mappings": {"user": ["staff"]},
        "claim_mappings": {"legacy_username": "preferred_username"},
    }
    written: dict[str, Any] = {
        "mcp": {"port": 0, "resource": MCP},
        "auth": {"trusted_idps": [idp], "permissions": {"user": GRANTED}},
        **tomllib.loads(block),
    }
    return running(written, provider)


async def tools(opened: Road, user: str = "alice") -> set[str]:
    async with opened.client(user) as client:
        return {tool.name for tool in (await client.list_tools()).tools} - {"user-info", "health-check"}


async def test_four_lines_of_configuration_let_each_user_read(provider: IdentityProvider, ground: Ground) -> None:
    async with road(READ, provider, {"/srv/files": str(ground.base)}) as opened:
        assert await tools(opened) == {"files-list", "files-read", "files-info", "files-search"}
        for user in ("alice", "bob"):
            assert (await opened.call("files-read", user, path="notes.txt"))["content"] == f"notes of {user}\n"


async def test_a_group_writes_in_its_folder_within_bounds(ground: Ground) -> None:
    (ground.base / "support").mkdir()
    users = {
        "alice": DemoUser(roles=["staff"], claims={"groups": ["support", "else"]}),
        "bob": DemoUser(roles=["staff"], claims={"groups": ["else"]}),
    }
    with IdentityProvider(users=users, audience=MCP) as provider:
        async with road(GROUPS, provider, {"/srv/groups": str(ground.base)}) as opened:
            named = {f"team-{each}" for each in ("list", "read", "info", "search", "write", "make-directory", "rename")}
            assert await tools(opened) == named, "nobody has team:delete"
            async with opened.client() as client:
                result = await client.call_tool("team-write", {"path": "a.txt", "content": "x"})
            assert (result.meta or {})["actas/receipt"]["identity"] == "support"
            assert await opened.call("team-list", "bob") == "principal_unavailable"
    made = ground.base / "support" / "a.txt"
    assert made.read_text() == "x" and made.stat().st_mode & 0o777 == 0o660


async def test_homes_are_read_and_written_by_their_users(homes: Homes) -> None:
    names = [homes.alice.pw_name, homes.bob.pw_name]
    with IdentityProvider(users={name: DemoUser(roles=["staff"]) for name in names}, audience=MCP) as provider:
        async with road(HOMES, provider, {"/home": str(homes.base)}) as opened:
            await opened.call("home-write", names[0], path="mine", content="x")
            assert (await opened.call("home-read", names[1], path="notes.txt"))["content"] == f"notes of {names[1]}\n"
    assert (homes.home(homes.alice) / "mine").stat().st_uid == homes.alice.pw_uid


def test_every_code_of_the_package_is_in_the_table() -> None:
    codes = {
        each.code
        for each in vars(failures).values()
        if isinstance(each, type) and issubclass(each, ActasError) and each.__module__ == failures.__name__
    }
    assert {code for code in codes if f"| `{code}` |" not in README} == set()
