"""What can be changed where that is configured: whole or not at all, and over nothing that was not named for it."""

import base64
import os
import stat
import threading
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from files_gateway import ALICE, BOB, SECRET, Gateway, Ground, Way, gateway

from actas.core import Effect
from actas.delegation.filesystem import kernel
from actas.delegation.filesystem.names import OWN
from actas.delegation.filesystem.settings import ChangeSettings, LimitSettings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def files(ground: Ground, way: Way) -> AsyncGenerator[Gateway]:
    async with gateway(ground, way) as opened:
        yield opened


def left_behind(ground: Ground) -> list[str]:
    return [str(each) for each in ground.base.rglob(f"{OWN.decode()}*")]


async def test_a_file_is_written_whole_in_the_users_own_folder(files: Gateway, ground: Ground) -> None:
    assert await files.call("write", path="papers/new.txt", content="höre") == {
        "path": "papers/new.txt", "size": 5, "replaced": False,
    }  # fmt: skip
    made = ground.alice / "papers" / "new.txt"
    assert made.read_text() == "höre" and stat.S_IMODE(made.stat().st_mode) == 0o600
    await files.call("write", BOB, path="bytes", content=base64.b64encode(b"\0\xff").decode(), encoding="base64")
    assert (ground.bob / "bytes").read_bytes() == b"\0\xff" and not (ground.alice / "bytes").exists()
    assert left_behind(ground) == []


async def test_nothing_is_replaced_that_was_not_named_for_it(files: Gateway, ground: Ground) -> None:
    assert await files.code("write", path="notes.txt", content="mine now") == "filesystem_exists"
    assert (ground.alice / "notes.txt").read_text() == "notes of alice\n"
    (ground.alice / "notes.txt").chmod(0o644)
    before = (ground.alice / "notes.txt").open()
    assert (await files.call("write", path="notes.txt", content="new", replace=True))["replaced"] is True
    assert before.read() == "notes of alice\n", "who had it open reads on in the old file"
    before.close()
    assert (ground.alice / "notes.txt").read_text() == "new"
    assert stat.S_IMODE((ground.alice / "notes.txt").stat().st_mode) == 0o644, "rights stay as they were"


async def test_links_folders_and_devices_are_not_replaced(files: Gateway, ground: Ground) -> None:
    secret = ground.outside / "secret.txt"
    (ground.alice / "link").symlink_to(secret)
    (ground.alice / "dangling").symlink_to(ground.outside / "made-by-the-link")
    os.mkfifo(ground.alice / "pipe")
    for name in ("link", "dangling", "pipe"):
        assert await files.code("write", path=name, content="x") == "filesystem_exists"
        assert await files.code("write", path=name, content="x", replace=True) == "filesystem_not_plain"
        assert await files.code("rename", path="notes.txt", to=name, replace=True) == "filesystem_exists"
    assert await files.code("write", path="papers", content="x", replace=True) == "filesystem_wrong_kind"
    assert await files.code("rename", path="notes.txt", to="papers", replace=True) == "filesystem_exists"
    assert secret.read_text() == SECRET and list(ground.outside.iterdir()) == [secret]


async def test_nothing_is_written_through_a_link_on_the_way(files: Gateway, ground: Ground) -> None:
    (ground.alice / "out").symlink_to(ground.outside)
    (ground.alice / "inside").symlink_to("papers")
    for folder in ("out", "inside"):
        for action, more in [
            ("write", {"content": "x"}), ("make-directory", {}), ("delete", {}), ("rename", {"to": "stolen"}),
        ]:  # fmt: skip
            code = await files.code(action, path=f"{folder}/secret.txt", **more)
            assert code in ("filesystem_not_plain", "filesystem_wrong_kind"), (folder, action)
        assert await files.code("rename", path="notes.txt", to=f"{folder}/x") in (
            "filesystem_not_plain", "filesystem_wrong_kind",
        )  # fmt: skip
    assert [each.name for each in ground.outside.iterdir()] == ["secret.txt"]


async def test_folders_are_made_renamed_and_deleted(files: Gateway, ground: Ground) -> None:
    await files.call("make-directory", path="new")
    assert stat.S_IMODE((ground.alice / "new").stat().st_mode) == 0o700
    assert await files.code("make-directory", path="new") == "filesystem_exists"
    assert await files.code("make-directory", path="a/b") == "filesystem_not_found"
    assert await files.call("rename", path="notes.txt", to="new/kept.txt") == {
        "path": "new/kept.txt",
        "replaced": False,
    }
    assert await files.code("delete", path="new") == "filesystem_not_empty"
    await files.call("rename", path="new", to="newer")
    assert await files.code("rename", path="newer", to="newer/inside") == "delegation_refused"
    await files.call("delete", path="newer/kept.txt")
    await files.call("delete", path="newer")
    assert await files.names() == ["papers"]
    assert await files.code("delete", path="newer") == "filesystem_not_found"
    assert await files.code("rename", path="newer", to="x") == "filesystem_not_found"


async def test_a_rename_replaces_only_where_it_is_said(files: Gateway, ground: Ground) -> None:
    (ground.alice / "other").write_text("other")
    assert await files.code("rename", path="other", to="notes.txt") == "filesystem_exists"
    assert (await files.call("rename", path="other", to="notes.txt", replace=True))["replaced"] is True
    assert (ground.alice / "notes.txt").read_text() == "other" and await files.names() == ["notes.txt", "papers"]


async def test_a_link_is_deleted_and_what_it_leads_to_is_not(files: Gateway, ground: Ground) -> None:
    (ground.alice / "link").symlink_to(ground.outside / "secret.txt")
    (ground.alice / "links").symlink_to(ground.outside)
    await files.call("rename", path="link", to="papers/link")
    await files.call("delete", path="papers/link")
    await files.call("delete", path="links")
    assert (ground.outside / "secret.txt").read_text() == SECRET
    os.mkfifo(ground.alice / "pipe")
    assert await files.code("delete", path="pipe") == "filesystem_not_plain"


async def test_the_folder_itself_stays(files: Gateway) -> None:
    for action, more in [
        ("write", {"content": "x"}), ("make-directory", {}), ("delete", {}), ("rename", {"to": "x"}),
    ]:  # fmt: skip
        assert await files.code(action, path="", **more) == "filesystem_path_refused"
    assert await files.code("rename", path="notes.txt", to="") == "filesystem_path_refused"


async def test_new_names_are_plain_ones(files: Gateway) -> None:
    for name in (r"a\xff", r"a\x0ab"):
        assert await files.code("write", path=name, content="x") == "filesystem_path_refused"
        assert await files.code("make-directory", path=name) == "filesystem_path_refused"
        assert await files.code("rename", path="notes.txt", to=name) == "filesystem_path_refused"


@pytest.mark.parametrize(
    ("content", "encoding"), [("\ud800", "utf-8"), ("no base64!", "base64"), ("QQ", "base64"), ("é", "base64")]
)
async def test_content_that_is_none_is_refused(files: Gateway, ground: Ground, content: str, encoding: str) -> None:
    assert await files.code("write", path="x", content=content, encoding=encoding) == "invalid_parameters"
    assert not (ground.alice / "x").exists()


async def test_a_write_is_no_longer_than_the_limit(ground: Ground, way: Way) -> None:
    async with gateway(ground, way, limits=LimitSettings(write_bytes=10)) as files:
        await files.call("write", path="ten", content="x" * 10)
        assert await files.code("write", path="eleven", content="x" * 11) == "limit_exceeded"


async def test_without_change_there_are_only_tools_that_read(ground: Ground, way: Way) -> None:
    async with gateway(ground, way, change=None) as files:
        assert [each.name for each in files.module.actions] == ["list", "read", "info", "search"]
        assert {each.effect for each in files.module.actions} == {Effect.READ}
        assert await files.code("write", path="x", content="x") == "unknown_action"


async def test_each_change_has_its_effect_and_its_permission(ground: Ground, way: Way) -> None:
    change = ChangeSettings(permission="files:write", permissions={"delete": "files:delete"})
    async with gateway(ground, way, change=change) as files:
        told = {each.name: (each.effect, each.permission) for each in files.module.actions}
        assert told["write"] == (Effect.DESTRUCTIVE, "files:write")
        assert told["make-directory"] == (Effect.WRITE, "files:write")
        assert told["delete"] == (Effect.DESTRUCTIVE, "files:delete")
        assert told["list"] == (Effect.READ, "files:read")
        assert await files.code("delete", path="notes.txt") == "permission_denied"
        reader = replace(ALICE, permissions=frozenset({"files:read"}))
        assert await files.code("write", reader, path="x", content="x") == "permission_denied"
        assert (ground.alice / "notes.txt").exists() and not (ground.alice / "x").exists()
    only = ChangeSettings(permission="files:write", actions=["make-directory"])
    async with gateway(ground, way, change=only) as files:
        assert [each.name for each in files.module.actions][4:] == ["make-directory"]


async def test_a_quota_counts_bytes_entries_and_depth(ground: Ground, way: Way) -> None:
    used = sum(each.stat().st_size for each in ground.alice.rglob("*") if each.is_file())
    change = ChangeSettings(permission="files:write", durable=False, quota_bytes=used + 100, quota_entries=6)
    async with gateway(ground, way, change=change, limits=LimitSettings(depth=3)) as files:
        assert await files.code("write", path="x", content="x" * 101) == "filesystem_quota"
        await files.call("write", path="x", content="x" * 100)
        assert await files.code("write", path="y", content="x") == "filesystem_quota"
        await files.call("write", path="x", content="y" * 100, replace=True)
        await files.call("write", path="x", content="y", replace=True)
        await files.call("make-directory", path="d")
        (ground.alice / "leads-out").symlink_to(ground.outside)
        assert await files.code("make-directory", path="e") == "filesystem_quota", "six entries, and a link is one"
        assert await files.code("write", path="f", content="") == "filesystem_quota"
        (ground.alice / "leads-out").unlink()
        (ground.alice / "x").unlink()
    deep = replace(change, quota_entries=1000)
    (ground.alice / "d" / "d" / "d").mkdir(parents=True)
    async with gateway(ground, way, change=deep, limits=LimitSettings(depth=3)) as files:
        await files.call("write", path="f", content="")
        (ground.alice / "d" / "d" / "d" / "d").mkdir()
        assert await files.code("write", path="g", content="") == "filesystem_quota", "too deep to be counted"
    assert left_behind(ground) == []


async def test_writes_of_many_at_once_do_not_go_beyond_the_quota(ground: Ground, way: Way) -> None:
    import asyncio

    change = ChangeSettings(permission="files:write", durable=False, quota_bytes=10_000)
    limits = LimitSettings(workers=8, workers_per_user=8)
    async with gateway(ground, way, change=change, limits=limits) as files:

        async def one(index: int) -> str:
            try:
                await files.call("write", path=f"f{index}", content="x" * 1000)
            except Exception as error:
                return type(error).__name__
            return ""

        ended = await asyncio.gather(*(one(index) for index in range(24)))
    assert set(ended) == {"", "QuotaExceeded"}
    assert sum(each.stat().st_size for each in ground.alice.rglob("*") if each.is_file()) <= 10_000


@pytest.mark.parametrize("meanwhile", ["rename", "delete", "write"])
async def test_what_becomes_of_a_file_meanwhile_is_no_way_around_the_quota(
    ground: Ground, way: Way, meanwhile: str
) -> None:
    """Both calls are let in while a third holds the folder: the file that is to be replaced is not there any more, or
    is another one, when its turn has come."""
    import asyncio
    import fcntl

    used = sum(each.stat().st_size for each in ground.alice.rglob("*") if each.is_file())
    change = ChangeSettings(permission="files:write", durable=False, quota_bytes=used + 1500)
    async with gateway(ground, way, change=change) as files:
        await files.call("write", path="f", content="x" * 1000)
        parameters = {"rename": {"to": "g"}, "delete": {}, "write": {"content": "", "replace": True}}[meanwhile]
        for first in ("write", meanwhile):
            held = os.open(ground.alice, os.O_RDONLY)
            fcntl.flock(held, fcntl.LOCK_EX)
            large = files.code("write", path="f", content="y" * 2400, replace=True)
            other = files.call(meanwhile, path="f", **parameters)
            both = [large, other] if first == "write" else [other, large]
            waiting = []
            for each in both:
                waiting.append(asyncio.ensure_future(each))
                await asyncio.sleep(0.1)
            os.close(held)
            await asyncio.gather(*waiting, return_exceptions=True)
            assert sum(each.stat().st_size for each in ground.alice.rglob("*") if each.is_file()) <= used + 1500
            for name in ("f", "g"):
                (ground.alice / name).unlink(missing_ok=True)
            await files.call("write", path="f", content="x" * 1000)


async def test_what_killed_processes_left_behind_counts_until_it_is_swept(ground: Ground, way: Way) -> None:
    """Whoever has his writes killed again and again would fill the disk with files that nobody is shown."""
    change = ChangeSettings(permission="files:write", durable=False, quota_bytes=10_000)
    left = ground.alice / "papers" / ".actas-left"
    left.write_bytes(bytes(20_000))
    async with gateway(ground, way, change=change) as files:
        assert await files.code("write", path="x", content="") == "filesystem_quota"
        os.utime(left, (0, 0))
        await files.call("write", path="x", content="")
        assert not left.exists()
        (ground.alice / "papers" / ".actas-folder").mkdir()
        os.utime(ground.alice / "papers" / ".actas-folder", (0, 0))
        await files.call("write", path="y", content="")


async def test_without_renameat2_a_new_name_still_takes_the_place_of_nothing(
    ground: Ground, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that does not know RENAME_NOREPLACE. ``_libc`` is the system's own, less one call."""

    class Older:
        def __getattr__(self, name: str) -> object:
            if name == "renameat2":
                raise AttributeError(name)
            return getattr(real, name)

    real = kernel._libc
    monkeypatch.setattr(kernel, "_libc", Older())
    async with gateway(ground, way) as files:
        await files.call("write", path="new", content="x")
        assert await files.code("write", path="new", content="y") == "filesystem_exists"
        await files.call("rename", path="new", to="newer")
        assert await files.code("rename", path="notes.txt", to="newer") == "filesystem_exists"
        assert await files.code("rename", path="papers", to="elsewhere") == "filesystem_failed"
    assert (ground.alice / "newer").read_text() == "x" and (ground.alice / "newer").stat().st_nlink == 1
    assert left_behind(ground) == []


async def test_two_who_write_the_same_new_name_do_not_both_succeed(files: Gateway, ground: Ground) -> None:
    import asyncio

    for turn in range(20):

        async def one(content: str, name: str = f"new{turn}") -> str:
            try:
                await files.call("write", path=name, content=content)
            except Exception as error:
                return type(error).__name__
            return content

        ended = await asyncio.gather(one("one"), one("two"))
        (winner,) = [each for each in ended if each in ("one", "two")]
        assert set(ended) - {winner} == {"AlreadyExists"}
        assert (ground.alice / f"new{turn}").read_text() == winner


async def test_a_reader_sees_the_old_or_the_new_and_nothing_between(files: Gateway, ground: Ground) -> None:
    contents = {"a" * 60_000, "b" * 60_000}
    (ground.alice / "swapped").write_text("a" * 60_000)
    ended = threading.Event()
    torn: list[str] = []

    def watch() -> None:
        while not ended.is_set():
            seen = (ground.alice / "swapped").read_text()
            if seen not in contents:
                torn.append(seen[:10])

    watcher = threading.Thread(target=watch)
    watcher.start()
    for turn in range(60):
        await files.call("write", path="swapped", content="ab"[turn % 2] * 60_000, replace=True)
        assert await files.text("swapped") in contents
    ended.set()
    watcher.join()
    assert torn == []


async def test_what_a_killed_process_left_behind_is_neither_shown_nor_in_the_way(
    files: Gateway, ground: Ground
) -> None:
    (ground.alice / "old").mkdir()
    stale, fresh = ground.alice / "old" / ".actas-stale", ground.alice / "old" / ".actas-fresh"
    stale.write_text("half of something")
    os.utime(stale, (0, 0))
    assert await files.names("old") == [] and (await files.call("search", name="*actas*"))["found"] == []
    assert await files.code("read", path="old/.actas-stale") == "filesystem_path_refused"
    assert await files.code("read", path="old/.ACTAS-stale") == "filesystem_path_refused"
    fresh.write_text("of a write that is under way")
    assert await files.code("delete", path="old") == "filesystem_not_empty"
    assert not stale.exists() and fresh.exists()
    os.utime(fresh, (0, 0))
    await files.call("delete", path="old")


async def test_what_is_durable_was_given_to_the_disk_before_it_was_told(
    ground: Ground, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd)))
    async with gateway(ground, way, change=ChangeSettings(permission="files:write")) as files:
        await files.call("write", path="papers/new", content="x")
        assert len(synced) == 2 and ".actas-" in synced[0] and synced[1] == str(ground.alice / "papers")
        await files.call("rename", path="papers/new", to="newer")
        await files.call("make-directory", path="d")
        await files.call("delete", path="d")
        assert synced[2:] == [str(each) for each in (ground.alice, ground.alice / "papers", ground.alice, ground.alice)]


async def test_a_quota_that_cannot_be_counted_refuses(
    ground: Ground, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that may not be read might hold anything. As root, the kernel is asked to say so by a hidden parent."""
    from actas.delegation.filesystem import usage
    from actas.delegation.filesystem.roots import Root

    real = Root.opened

    def opened(self: Root, parts: tuple[bytes, ...]) -> object:
        if parts == (b"papers",):
            raise PermissionError(13, "denied")
        return real(self, parts)

    monkeypatch.setattr(Root, "opened", opened)
    change = ChangeSettings(permission="files:write", durable=False, quota_bytes=10_000)
    async with gateway(ground, way, change=change) as files:
        assert await files.code("write", path="x", content="") == "filesystem_access_denied"
    assert usage.Quota and not (ground.alice / "x").exists()


async def test_a_change_waits_for_another_and_no_longer_than_its_time(ground: Ground, way: Way) -> None:
    import fcntl

    change = ChangeSettings(permission="files:write", durable=False, quota_bytes=10_000)
    held = os.open(ground.alice, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    async with gateway(ground, way, change=change) as files:
        files.pipeline.registry._actions["files"]["write"] = replace(files.module.actions[4], timeout=0.3)
        assert await files.code("write", path="x", content="") == "timeout"
        os.close(held)
        await files.call("write", path="x", content="")
