"""Files on a real Samba server, read as users who never typed a password."""

import base64
import os

import pytest
from kerberos_stage import settings_for
from smb_stage import ALICE, BOB, ShareSettings, Stage, other_server, staged

from actas.core import ActasError
from actas.core.errors import DownstreamUnavailable, InvalidParameters
from actas.delegation.kerberos.module import KerberosDelegation
from actas.delegation.kerberos.smb_failures import FileNotFound, FileRefused, FileUnsuitable, PathRefused
from actas.testing.kdc import KerberosRealm
from actas.testing.samba import SambaServer

pytestmark = pytest.mark.anyio


async def test_alice_reads_her_file(stage: Stage) -> None:
    stage.server.write("home/alice.txt", b"of alice\n", owner="alice")
    data = await stage.data(ALICE, "read-file", "home/alice.txt")
    assert data["contents"] == "of alice\n"
    assert data["path"] == "//localhost/files/home/alice.txt"
    assert (data["size"], data["truncated"], data["next_offset"]) == (9, False, None)


async def test_the_servers_own_permissions_deny_bobs_file(stage: Stage) -> None:
    stage.server.write("home/bob.txt", b"of bob\n", owner="bob")
    with pytest.raises(FileRefused):
        await stage.call(ALICE, "read-file", path="//localhost/files/home/bob.txt")
    assert (await stage.data(BOB, "read-file", "home/bob.txt"))["contents"] == "of bob\n"


async def test_the_receipt_has_the_servers_own_word_on_who_it_was(stage: Stage) -> None:
    result = await stage.call(BOB, "list-directory")
    assert result.receipt.identity == "bob@EXAMPLE.COM"
    assert result.receipt.details["account"] == "EXAMPLE\\bob"


async def test_what_is_not_there_is_not_found(stage: Stage) -> None:
    with pytest.raises(FileNotFound):
        await stage.call(ALICE, "file-info", path="//localhost/files/nothing.txt")


async def test_a_folder_is_listed_with_what_is_hidden_only_where_asked_for(stage: Stage) -> None:
    for name in ("a.txt", "b.txt", ".hidden"):
        stage.server.write(f"listed/{name}", b"12345", owner="alice", mode=0o644)
    data = await stage.data(BOB, "list-directory", "listed")
    assert sorted(item["name"] for item in data["items"]) == ["a.txt", "b.txt"]
    assert {item["size"] for item in data["items"]} == {5}
    data = await stage.data(BOB, "list-directory", "listed", includeHidden=True)
    assert sorted(item["name"] for item in data["items"]) == [".hidden", "a.txt", "b.txt"]


async def test_facts_of_a_file_say_what_the_user_may_do_with_it(stage: Stage) -> None:
    stage.server.write("facts.txt", b"12345", owner="alice", mode=0o644)
    hers, his = [await stage.data(each, "file-info", "facts.txt") for each in (ALICE, BOB)]
    assert (hers["type"], hers["size"], hers["name"]) == ("file", 5, "facts.txt")
    assert (hers["permissions"]["read"], hers["permissions"]["write"]) == (True, True)
    assert (his["permissions"]["read"], his["permissions"]["write"]) == (True, False)


async def test_a_big_file_is_cut_and_can_be_read_on(stage: Stage) -> None:
    whole = bytes(range(256)) * 8192  # 2 MiB
    stage.server.write("big.bin", whole, owner="alice")
    read, offset, rounds = b"", 0, 0
    while offset is not None:
        data = await stage.data(ALICE, "read-file", "big.bin", encoding="base64", maxBytes=900_001, offset=offset)
        read += base64.b64decode(data["contents"])
        assert data["truncated"] == (data["next_offset"] is not None)
        offset, rounds = data["next_offset"], rounds + 1
    assert (read, rounds) == (whole, 3)


async def test_without_being_asked_for_more_a_call_returns_a_mebibyte_at_most(stage: Stage) -> None:
    stage.server.write("big.txt", b"x" * (2 << 20), owner="alice")
    data = await stage.data(ALICE, "read-file", "big.txt")
    assert (len(data["contents"]), data["next_offset"]) == (1 << 20, 1 << 20)


async def test_more_than_the_operator_allows_is_refused_before_anything_is_sent(stage: Stage) -> None:
    for action, wrong in [
        ("read-file", {"maxBytes": 10_485_761}),
        ("read-file", {"maxBytes": 0}),
        ("read-file", {"offset": -1}),
        ("read-file", {"offset": 2**63}),
        ("list-directory", {"limit": 1001}),
        ("list-directory", {"limit": 0}),
        ("list-directory", {"offset": 100_001}),
    ]:
        with pytest.raises(InvalidParameters):
            await stage.call(ALICE, action, **wrong)
    assert not stage.pool._idle


async def test_text_is_cut_between_characters(stage: Stage) -> None:
    text = "aä€😀" * 3
    stage.server.write("utf8.txt", text.encode(), owner="alice")
    for most in range(4, 31):
        read, offset = "", 0
        while offset is not None:
            data = await stage.data(ALICE, "read-file", "utf8.txt", maxBytes=most, offset=offset)
            read += data["contents"]
            offset = data["next_offset"]
        assert read == text
    with pytest.raises(InvalidParameters, match="at least 4"):
        await stage.data(ALICE, "read-file", "utf8.txt", maxBytes=1, offset=1)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("base64", "/wBh"), ("hex", "ff0061"), ("binary", "\xff\0a"), ("utf8", None), ("ascii", None)],
)
async def test_bytes_are_shown_as_asked_for_or_said_to_be_no_text(
    stage: Stage, encoding: str, shown: str | None
) -> None:
    stage.server.write("bytes", b"\xff\0a", owner="alice")
    if shown is None:
        with pytest.raises(FileUnsuitable, match="base64"):
            await stage.data(ALICE, "read-file", "bytes", encoding=encoding)
    else:
        assert (await stage.data(ALICE, "read-file", "bytes", encoding=encoding))["contents"] == shown


@pytest.mark.parametrize("tail", [b"\xc3", b"\xf0\x9f\x98"])
async def test_half_a_character_at_the_end_of_a_file_is_no_text(stage: Stage, tail: bytes) -> None:
    stage.server.write("half.txt", b"abc" + tail, owner="alice")
    with pytest.raises(FileUnsuitable):
        await stage.data(ALICE, "read-file", "half.txt")


async def test_an_empty_file_and_what_is_behind_the_end_are_empty(stage: Stage) -> None:
    stage.server.write("empty", b"", owner="alice")
    stage.server.write("short", b"abc", owner="alice")
    for path, offset in (("empty", 0), ("empty", 9), ("short", 3), ("short", 2**62)):
        data = await stage.data(ALICE, "read-file", path, offset=offset)
        assert (data["contents"], data["truncated"], data["next_offset"]) == ("", False, None)


async def test_a_large_folder_comes_in_pages(stage: Stage) -> None:
    names = [f"n{number:04}-{'x' * 60}" for number in range(1500)]
    stage.server.write("many/first", b"", owner="alice", mode=0o644)
    for name in names:
        (stage.server.share() / "many" / name).touch()
    seen: list[str] = []
    offset = 0
    while offset is not None:
        data = await stage.data(BOB, "list-directory", "many", limit=400, offset=offset)
        seen += [item["name"] for item in data["items"]]
        assert data["item_count"] == len(data["items"]) <= 400
        offset = data["next_offset"]
    assert sorted(seen) == ["first", *names]


async def test_a_folder_is_not_read_and_a_file_is_not_listed(stage: Stage) -> None:
    stage.server.write("kind/file", b"", owner="alice", mode=0o644)
    with pytest.raises(FileUnsuitable, match="List it"):
        await stage.data(ALICE, "read-file", "kind")
    with pytest.raises(FileUnsuitable, match="Read it"):
        await stage.data(ALICE, "list-directory", "kind/file")
    assert (await stage.data(ALICE, "file-info", "kind"))["type"] == "directory"
    assert (await stage.data(ALICE, "file-info"))["name"] == "files"


async def test_a_folder_that_bob_may_not_enter_is_not_listed_for_him(stage: Stage) -> None:
    folder = stage.server.write("private/file", b"of alice", owner="alice", mode=0o644).parent
    os.chown(folder, stage.server._accounts["alice"], 0)
    folder.chmod(0o700)
    assert (await stage.data(ALICE, "list-directory", "private"))["item_count"] == 1
    for action, path in [("list-directory", "private"), ("read-file", "private/file"), ("file-info", "private/file")]:
        with pytest.raises(FileRefused):
            await stage.data(BOB, action, path)


async def test_links_of_the_servers_lead_nowhere_outside_of_the_share(stage: Stage) -> None:
    share = stage.server.share()
    for name, target in {"etc": "/etc", "hostname": "/etc/hostname", "up": "..", "smb.conf": "../smb.conf"}.items():
        (share / name).symlink_to(target)
    for path in ("hostname", "etc/hostname", "up/smb.conf", "smb.conf"):
        with pytest.raises(ActasError) as caught:
            await stage.data(ALICE, "read-file", path)
        assert isinstance(caught.value, FileNotFound | FileRefused)
    for path in ("etc", "up"):
        with pytest.raises(ActasError):
            await stage.data(ALICE, "list-directory", path)


async def test_a_pipe_in_a_folder_holds_nobody_up(stage: Stage) -> None:
    os.mkfifo(stage.server.share() / "fifo", 0o666)
    assert (await stage.data(ALICE, "read-file", "fifo", seconds=5))["contents"] == ""


async def test_a_share_of_referrals_is_not_followed(realm: KerberosRealm) -> None:
    async with other_server(realm, "host msdfs = yes", shares={"spread": "msdfs root = yes"}) as server:
        (server.share("spread") / "there").symlink_to("msdfs:other.example.com\\data")
        allow = [ShareSettings(server="localhost", share="spread", port=server.port)]
        async with staged(realm, server, allow=allow) as stage:
            for action, path in [("list-directory", ""), ("list-directory", "there"), ("file-info", "there")]:
                with pytest.raises(FileUnsuitable, match="not followed"):
                    await stage.call(ALICE, action, path=f"//localhost/spread/{path}")


async def test_a_share_that_the_server_does_not_have_is_not_found(realm: KerberosRealm, samba: SambaServer) -> None:
    allow = [ShareSettings(server="localhost", share="nothing", port=samba.port)]
    async with staged(realm, samba, allow=allow) as stage:
        with pytest.raises(FileNotFound, match="no such share"):
            await stage.call(ALICE, "list-directory", path="//localhost/nothing")


async def test_a_folder_of_a_share_is_all_there_is(realm: KerberosRealm, samba: SambaServer) -> None:
    samba.write("Part/inside.txt", b"inside", owner="alice")
    samba.write("outside.txt", b"outside", owner="alice")
    allow = [ShareSettings(server="localhost", share="files", folder="Part", port=samba.port)]
    async with staged(realm, samba, allow=allow) as stage:
        assert (await stage.data(ALICE, "read-file", "part/inside.txt"))["contents"] == "inside"
        for path in ("outside.txt", "", "Part/../outside.txt", "Part\\..\\outside.txt"):
            with pytest.raises(PathRefused):
                await stage.data(ALICE, "read-file", path)


async def test_the_servers_own_disk_is_no_share(stage: Stage) -> None:
    """What the system that this one is compared with did read."""
    for path in ("//localhost/files/../../../etc/hostname", "/etc/hostname", "//srv/share/../../../etc/hostname"):
        with pytest.raises(PathRefused):
            await stage.call(ALICE, "read-file", path=path)


async def test_where_the_server_cannot_say_who_it_was_only_the_ticket_can(realm: KerberosRealm) -> None:
    async with other_server(realm, "rpc start on demand helpers = no") as server:
        async with staged(realm, server) as asking:
            with pytest.raises(DownstreamUnavailable):
                await asking.call(ALICE, "list-directory")
        async with staged(realm, server, identity="ticket") as believing:
            result = await believing.call(ALICE, "list-directory")
            assert result.receipt.identity == "alice@EXAMPLE.COM"
            assert "account" not in result.receipt.details


async def test_the_tools_say_which_shares_there_are_and_ask_for_their_permission(stage: Stage) -> None:
    files = [each for each in stage.module.actions if each.permission == "kerberos:files"]
    assert [each.name for each in files] == ["list-directory", "read-file", "file-info"]
    assert all("//localhost/files." in each.description for each in files)


def test_no_share_no_tools(realm: KerberosRealm) -> None:
    module = KerberosDelegation(settings_for(realm))
    assert "read-file" not in [each.name for each in module.actions]


async def test_a_server_may_be_written_in_capitals(realm: KerberosRealm, samba: SambaServer) -> None:
    samba.write("capitals.txt", b"of alice", owner="alice")
    allow = [ShareSettings(server="LocalHost", share="FILES", port=samba.port)]
    async with staged(realm, samba, allow=allow) as stage:
        assert (await stage.data(ALICE, "read-file", "capitals.txt"))["contents"] == "of alice"
