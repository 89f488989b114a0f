"""The whole road: a signed token, HTTP, an unmodified client, both wires, a folder; and what is in the minutes."""

import json
import logging
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Any

import pytest
from files_gateway import SECRET, Ground
from mcp.shared.exceptions import MCPError
from os_ground import Homes

from actas.core import Outcome
from actas.core.audit import to_json
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.road import MCP, WIRES, Road, configuration, running

pytestmark = pytest.mark.anyio


def configured(provider: IdentityProvider, files: dict[str, Any]) -> dict[str, Any]:
    module = {"kind": "filesystem", "permission": "files:read", **files}
    made = configuration(
        provider,
        {"files": module},
        permissions={"user": ["files:read", "files:write"]},
        roles={"user": ["staff"]},
    )
    made["auth"]["trusted_idps"][0]["claim_mappings"] = {"legacy_username": "preferred_username"}
    return made


@pytest.fixture(params=WIRES)
async def road(request: pytest.FixtureRequest, provider: IdentityProvider, ground: Ground) -> AsyncGenerator[Road]:
    files = {"root": f"{ground.base}/{{user}}", "change": {"permission": "files:write", "quota_bytes": 100_000}}
    async with running(configured(provider, files), provider, request.param) as opened:
        yield opened


async def test_two_users_call_the_same_tool_and_each_gets_their_own(road: Road, ground: Ground) -> None:
    for user in ("alice", "bob", "alice"):
        assert (await road.call("files-read", user, path="notes.txt"))["content"] == f"notes of {user}\n"
    await road.call("files-write", "bob", path="new.txt", content="of bob")
    assert (ground.bob / "new.txt").read_text() == "of bob" and not (ground.alice / "new.txt").exists()


async def test_tools_have_hints_and_descriptions(road: Road) -> None:
    async with road.client() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools if tool.name.startswith("files-")}
    assert set(tools) == {
        "files-list", "files-read", "files-info", "files-search",
        "files-write", "files-make-directory", "files-rename", "files-delete",
    }  # fmt: skip
    assert all(tools[f"files-{name}"].annotations.read_only_hint for name in ("list", "read", "info", "search"))
    assert tools["files-delete"].annotations.destructive_hint
    assert tools["files-make-directory"].annotations.destructive_hint is False
    assert "begin at" in tools["files-read"].input_schema["properties"]["offset"]["description"]


async def test_a_guest_sees_none_of_them(road: Road) -> None:
    async with road.client("guest") as client:
        assert not [tool for tool in (await client.list_tools()).tools if tool.name.startswith("files-")]
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("files-read", {"path": "notes.txt"})


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("../bob/notes.txt", "filesystem_path_refused"),
        ("/etc/passwd", "filesystem_path_refused"),
        ("//srv/share/../../../etc/hostname", "filesystem_path_refused"),
        ("notes.txt\0", "filesystem_path_refused"),
        ("out/secret.txt", None),
        ("secret-link", "filesystem_not_plain"),
        ("pipe", "filesystem_not_plain"),
        ("nothing", "filesystem_not_found"),
    ],
)
async def test_what_is_refused_is_told_audited_and_gives_nothing_away(
    road: Road, ground: Ground, path: str, code: str | None
) -> None:
    import os

    (ground.alice / "out").symlink_to(ground.outside)
    (ground.alice / "secret-link").symlink_to(ground.outside / "secret.txt")
    os.mkfifo(ground.alice / "pipe")
    given = await road.call("files-read", path=path)
    assert given == code or (code is None and given in ("filesystem_not_plain", "filesystem_wrong_kind"))
    (event,) = [event for event in road.minutes.entries() if event.source == "delegation:files"]
    assert (event.outcome, event.code, event.subject) == (Outcome.REFUSED, given, "alice")
    assert str(ground.base) not in to_json(event) and path.strip("\0") not in to_json(event)


async def test_no_token_path_or_content_is_in_any_log_and_no_token_in_the_minutes(
    road: Road, ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("mcp").setLevel(logging.WARNING)  # the client's own, which tells what it sends
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    token = road.provider.issue("alice")
    (ground.alice / "private.txt").write_text(SECRET)
    async with road.client(token=token) as client:
        for tool, arguments in [
            ("files-read", {"path": "private.txt"}), ("files-read", {"path": "../private.txt"}),
            ("files-search", {"content": SECRET}), ("files-write", {"path": "private.txt", "content": SECRET}),
        ]:  # fmt: skip
            await client.call_tool(tool, arguments)
    ours = [repr(vars(each)) for each in caplog.records if each.name.startswith("actas")]
    told = "\n".join([*ours, *map(to_json, road.minutes.entries())])
    for private in (token, token.rpartition(".")[2], SECRET, "private.txt"):
        assert private not in told


async def test_the_minutes_prove_in_which_folder_it_was_done(road: Road) -> None:
    await road.call("files-list")
    (event,) = [event for event in road.minutes.entries(outcome=Outcome.SUCCESS) if event.source == "delegation:files"]
    assert event.receipt is not None
    assert (event.receipt.identity, event.receipt.method) == ("alice", "service:folder")
    assert json.loads(to_json(event))["receipt"]["details"] == dict(event.receipt.details)


async def test_a_dead_disk_is_unhealthy_and_the_rest_goes_on(road: Road, ground: Ground) -> None:
    away = ground.base.rename(ground.base.with_name("away"))
    assert await road.call("files-list") == "filesystem_failed"
    async with road.client() as client:
        health = (await client.call_tool("health-check", {})).structured_content
        assert health is not None and health["healthy"] is False
        assert (await client.call_tool("user-info", {})).structured_content is not None
    away.rename(ground.base)
    assert (await road.call("files-list"))["entries"], "it comes back by itself"


@pytest.mark.parametrize("wire", WIRES)
async def test_as_the_operating_systems_user_over_http(homes: Homes, wire: Any) -> None:
    names = [homes.alice.pw_name, homes.bob.pw_name]
    homes.write(homes.alice, "bobs", SECRET, 0o600, homes.bob)
    with IdentityProvider(users={name: DemoUser(roles=["staff"]) for name in names}, audience=MCP) as provider:
        files = {
            "root": f"{homes.base}/{{user}}",
            "identity": "os_user",
            "change": {"permission": "files:write"},
        }
        async with running(configured(provider, files), provider, wire) as road:
            for name in names:
                assert (await road.call("files-read", name, path="notes.txt"))["content"] == f"notes of {name}\n"
            await road.call("files-write", names[0], path="new", content="x")
            assert await road.call("files-read", names[0], path="bobs") == "filesystem_access_denied"
            receipts = [
                asdict(event.receipt) for event in road.minutes.entries(outcome=Outcome.SUCCESS) if event.receipt
            ]
    assert (homes.home(homes.alice) / "new").stat().st_uid == homes.alice.pw_uid
    assert [(each["identity"], each["method"]) for each in receipts] == [
        (names[0], "os_user:setuid"), (names[1], "os_user:setuid"), (names[0], "os_user:setuid"),
    ]  # fmt: skip


async def test_a_module_whose_folders_are_away_at_the_start_stops_no_server(
    provider: IdentityProvider, ground: Ground
) -> None:
    files = {"root": f"{ground.base}/later/{{user}}"}
    async with running(configured(provider, files), provider) as road:
        async with road.client() as client:
            health = (await client.call_tool("health-check", {})).structured_content
        assert health is not None and health["modules"]["files"]["healthy"] is False
