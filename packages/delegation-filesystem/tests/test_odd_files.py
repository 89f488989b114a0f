"""What lies in folders besides files: devices, pipes, sockets, mounts, second names, nothing at all, and too much."""

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from files_gateway import ALICE, SECRET, Gateway, Ground, Way, gateway

from actas.delegation.filesystem.bases import Base
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.reading import part
from actas.delegation.filesystem.roots import Root
from actas.delegation.filesystem.settings import ChangeSettings, LimitSettings
from actas.testing.fixtures import needed_in_ci
from actas.testing.missing import ServerMissing

pytestmark = pytest.mark.anyio


@pytest.fixture
async def files(ground: Ground, way: Way) -> AsyncGenerator[Gateway]:
    async with gateway(ground, way) as opened:
        yield opened


@contextmanager
def mounted(at: Path, *options: str) -> Iterator[None]:
    """A file system of its own, or what ``options`` say, mounted at ``at``. Takes root."""
    with needed_in_ci():
        if os.geteuid() != 0:
            raise ServerMissing("file systems can be mounted by root alone: run the tests as root")
    subprocess.run(["mount", *(options or ["-t", "tmpfs", "-o", "size=64k", "none"]), str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


async def test_devices_pipes_and_sockets_are_told_and_never_opened(files: Gateway, ground: Ground) -> None:
    os.mkfifo(ground.alice / "pipe")
    server = socket.socket(socket.AF_UNIX)
    here = os.open(ground.alice, os.O_RDONLY)
    server.bind(f"/proc/self/fd/{here}/sock")  # the path of a socket must be short
    os.close(here)
    names = {"pipe": "FIFO", "sock": "socket"}
    if os.geteuid() == 0:
        os.mknod(ground.alice / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(ground.alice / "disk", 0o666 | stat.S_IFBLK, os.makedev(7, 99))
        names |= {"null": "device", "disk": "device"}
    for name, kind in names.items():
        assert await files.code("read", path=name) == "filesystem_not_plain"
        assert await files.code("list", path=name) == "filesystem_not_plain"
        assert (await files.call("info", path=name))["type"] == kind
    assert (await files.call("search", content="x"))["skipped"] == 0
    server.close()


async def test_who_waits_at_a_pipe_is_not_woken(files: Gateway, ground: Ground) -> None:
    """Even to open it for reading would let a writer go on."""
    os.mkfifo(ground.alice / "pipe")
    woken = threading.Event()

    def writer() -> None:
        os.close(os.open(ground.alice / "pipe", os.O_WRONLY))
        woken.set()

    waiting = threading.Thread(target=writer)
    waiting.start()
    for action, more in [("read", {"path": "pipe"}), ("info", {"path": "pipe"}), ("search", {"content": "x"})]:
        if action == "read":
            await files.code(action, **more)
        else:
            await files.call(action, **more)
    assert not woken.wait(0.2)
    os.close(os.open(ground.alice / "pipe", os.O_RDONLY))
    waiting.join()


async def test_a_file_with_a_second_name_is_refused_unless_that_is_configured(ground: Ground, way: Way) -> None:
    os.link(ground.outside / "secret.txt", ground.alice / "mine.txt")
    async with gateway(ground, way) as files:
        assert await files.code("read", path="mine.txt") == "filesystem_not_plain"
        assert await files.code("write", path="mine.txt", content="x", replace=True) == "filesystem_not_plain"
        found = await files.call("search", content=SECRET[:6])
        assert (found["found"], found["skipped"]) == ([], 1)
        assert (await files.call("info", path="mine.txt"))["names"] == 2
    async with gateway(ground, way, hard_links=True) as files:
        assert await files.text("mine.txt") == SECRET
        await files.call("write", path="mine.txt", content="x", replace=True)
    assert (ground.outside / "secret.txt").read_text() == SECRET, "a name was replaced, not what it named"


def test_a_second_name_that_is_given_up_between_two_looks_does_not_help(ground: Ground, way: Way) -> None:
    """Named while it is linked, counted when it no longer is: the kernel then says that this name is gone."""
    mine = ground.alice / "mine.txt"
    root = Root(Base(str(ground.base)), (b"alice",), way, Budget(float("inf")))

    class Sly:
        name = "sly"

        def to(self, at: int, parts: tuple[bytes, ...], *, one_mount: bool = True) -> int:
            os.link(ground.outside / "secret.txt", mine)
            try:
                return way.to(at, parts, one_mount=one_mount)
            finally:
                mine.unlink()

    root._way = Sly()
    with pytest.raises(Exception, match="no such file"):
        root.file((b"mine.txt",))
    root.close()


async def test_what_is_mounted_in_a_folder_is_another_file_system(ground: Ground, way: Way) -> None:
    (ground.alice / "mnt").mkdir()
    (ground.alice / "bind").mkdir()
    with mounted(ground.alice / "mnt"), mounted(ground.alice / "bind", "--bind", str(ground.outside)):
        (ground.alice / "mnt" / "x").write_text(SECRET)
        quota = ChangeSettings(permission="files:write", durable=False, quota_bytes=10_000)
        async with gateway(ground, way, change=quota) as files:
            for folder, name in [("mnt", "x"), ("bind", "secret.txt")]:
                assert await files.code("list", path=folder) == "filesystem_not_plain"
                assert await files.code("read", path=f"{folder}/{name}") == "filesystem_not_plain"
                assert await files.code("write", path=f"{folder}/new", content="x") == "filesystem_not_plain"
                assert await files.code("rename", path="notes.txt", to=f"{folder}/new") == "filesystem_not_plain"
            found = await files.call("search", content=SECRET[:6])
            assert (found["found"], found["skipped"]) == ([], 2)
            assert await files.names() == ["bind", "mnt", "notes.txt", "papers"]
            await files.call("write", path="new", content="x")


async def test_the_users_folder_may_be_a_file_system_of_its_own(ground: Ground, way: Way) -> None:
    with mounted(ground.alice):
        (ground.alice / "x").write_text("on its own disk")
        async with gateway(ground, way) as files:
            assert await files.text("x") == "on its own disk"


@pytest.mark.parametrize("durable", [True, False])
async def test_a_full_disk_is_told_and_leaves_nothing_behind(ground: Ground, way: Way, durable: bool) -> None:
    with mounted(ground.alice):
        (ground.alice / "kept").write_text("kept")
        async with gateway(ground, way, change=ChangeSettings(permission="files:write", durable=durable)) as files:
            assert await files.code("write", path="big", content="x" * 200_000) == "filesystem_full"
            assert await files.code("write", path="kept", content="x" * 200_000, replace=True) == "filesystem_full"
            assert await files.text("kept") == "kept"
            await files.call("write", path="small", content="there is room again")
        assert sorted(os.listdir(ground.alice)) == ["kept", "small"]


async def test_a_file_system_that_may_only_be_read_says_so(ground: Ground, way: Way) -> None:
    with mounted(ground.alice, "-t", "tmpfs", "-o", "ro", "none"):
        async with gateway(ground, way) as files:
            assert await files.code("write", path="x", content="x") == "filesystem_access_denied"
            assert await files.code("make-directory", path="x") == "filesystem_access_denied"


async def test_a_sparse_terabyte_is_read_in_parts(files: Gateway, ground: Ground) -> None:
    with (ground.alice / "huge").open("wb") as sparse:
        sparse.truncate(10**12)
    read = await files.call("read", path="huge", offset=10**12 - 3)
    assert (read["size"], read["length"], read["next_offset"]) == (10**12, 3, None)
    assert (await files.call("read", path="huge", length=10))["next_offset"] == 10


@pytest.fixture(scope="module")
def crowded() -> Iterator[Ground]:
    """A folder with 100,000 entries; in memory, where there is such a place."""
    folder = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    ground = Ground(Path(folder))
    (ground.alice / "many").mkdir()
    at = os.open(ground.alice / "many", os.O_RDONLY)
    for index in range(100_000):
        os.close(os.open(f"{index:06}", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)
    yield ground
    shutil.rmtree(folder)


async def test_a_folder_of_a_hundred_thousand_is_listed_a_page_at_a_time(crowded: Ground, way: Way) -> None:
    async with gateway(crowded, way) as files:
        page = await files.call("list", path="many", limit=1000, after="049999")
        assert [page["entries"][0]["name"], page["next"]] == ["050000", "050999"] and page["truncated"] is None
    async with gateway(crowded, way, limits=LimitSettings(entries=5000)) as files:
        assert (await files.call("list", path="many"))["truncated"] == "entries"
        assert (await files.call("search", path="many", name="099999"))["truncated"] == "entries"


async def test_a_file_that_vanishes_grows_or_shrinks_while_it_is_read(ground: Ground, way: Way) -> None:
    (ground.alice / "f").write_bytes(b"x" * 10_000_000)
    root = Root(Base(str(ground.base)), (b"alice",), way, Budget(float("inf")))
    fd, _ = root.file((b"f",))
    (ground.alice / "f").unlink()
    assert part(fd, 0, 10_000_000, 10_000_000, root.budget) == b"x" * 10_000_000, "what was opened stays"
    os.close(fd)
    root.close()

    class Meddling(Budget):
        """Does something to the file between two pieces."""

        def __init__(self, meddle: object) -> None:
            super().__init__(float("inf"))
            self.meddle = meddle

        def check(self) -> None:
            self.meddle()  # type: ignore[operator]

    for size, expected in [(4_500_000, 4_500_000), (12_000_000, 12_000_000), (20_000_000, 15_000_000)]:
        (ground.alice / "f").write_bytes(b"x" * 10_000_000)
        fd = os.open(ground.alice / "f", os.O_RDONLY)
        budget = Meddling(lambda size=size: os.truncate(ground.alice / "f", size))
        assert len(part(fd, 0, 15_000_000, 10_000_000, budget)) == expected
        os.close(fd)


async def test_a_file_that_is_replaced_all_the_time_by_a_good_writer_is_there_all_the_time(
    files: Gateway, ground: Ground
) -> None:
    ended = threading.Event()

    def replace() -> None:
        while not ended.is_set():
            (ground.alice / ".new").write_text("notes")
            (ground.alice / ".new").rename(ground.alice / "notes.txt")

    replacing = threading.Thread(target=replace)
    (ground.alice / "notes.txt").write_text("notes")
    replacing.start()
    try:
        for _ in range(300):
            assert await files.text("notes.txt") == "notes"
    finally:
        ended.set()
        replacing.join()


async def test_a_list_of_what_vanishes_meanwhile_has_the_names_alone(ground: Ground) -> None:
    from actas.delegation.filesystem.listing import _entry

    folder = os.open(ground.alice, os.O_RDONLY)
    assert _entry(folder, b"gone") == {"name": "gone", "type": None, "size": None, "modified": None}
    os.close(folder)


async def test_a_base_that_is_away_is_a_downstream_that_is_away(ground: Ground, way: Way) -> None:
    from actas.core import DownstreamUnavailable

    async with gateway(ground, way) as files:
        assert (await files.module.health_check()).healthy
        ground.base.rename(ground.base.parent / "elsewhere")
        assert not (await files.module.health_check()).healthy
        assert await files.code("read", path="notes.txt") == "filesystem_failed"
        again = Gateway(ground.settings(), way)
        with pytest.raises(DownstreamUnavailable):
            await again.module.initialize()
        await again.module.destroy()
        (ground.base.parent / "elsewhere").rename(ground.base)
        assert await files.text("notes.txt") == "notes of alice\n", "it comes back by itself"


async def test_the_operators_own_part_of_the_path_may_have_links(ground: Ground, way: Way) -> None:
    (ground.base.parent / "srv").symlink_to(ground.base)
    async with gateway(ground, way, root=f"{ground.base.parent}/srv/{{user}}") as files:
        assert await files.text("notes.txt") == "notes of alice\n"


def test_time_is_looked_at(ground: Ground, way: Way) -> None:
    from actas.core import DelegationTimeout

    with pytest.raises(DelegationTimeout):
        Root(Base(str(ground.base)), (b"alice",), way, Budget(time.monotonic() - 1)).look(())
    assert ALICE.legacy_username == "alice"


LEASE = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
held = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
sys.stdin.read()
"""


async def test_who_holds_a_lease_on_a_file_keeps_no_worker_waiting(ground: Ground, way: Way) -> None:
    """The kernel would make an ordinary open wait for its holder, 45 s."""
    arguments = [sys.executable, "-c", LEASE, str(ground.alice / "notes.txt")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:  # noqa: ASYNC220
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        async with gateway(ground, way) as files:
            assert await files.code("read", path="notes.txt") == "filesystem_busy"
            assert (await files.call("info", path="notes.txt"))["size"] == 15
            assert (await files.call("search", content="notes"))["skipped"] == 1
        holder.communicate()
