"""Files on a real Samba server, read as users who never typed a password."""

import pytest
from smb_stage import ALICE, BOB, Stage

from actas.delegation.kerberos.smb_failures import FileNotFound, FileRefused

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
    data = await stage.data(BOB, "list-directory", "listed", include_hidden=True)
    assert sorted(item["name"] for item in data["items"]) == [".hidden", "a.txt", "b.txt"]


async def test_facts_of_a_file_say_what_the_user_may_do_with_it(stage: Stage) -> None:
    stage.server.write("facts.txt", b"12345", owner="alice", mode=0o644)
    hers, his = [await stage.data(each, "file-info", "facts.txt") for each in (ALICE, BOB)]
    assert (hers["type"], hers["size"], hers["name"]) == ("file", 5, "facts.txt")
    assert (hers["permissions"]["read"], hers["permissions"]["write"]) == (True, True)
    assert (his["permissions"]["read"], his["permissions"]["write"]) == (True, False)
