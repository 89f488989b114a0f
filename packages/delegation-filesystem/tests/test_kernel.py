"""What is asked of the kernel, where it has less to offer, and where things move away under one's hands."""

import ctypes
import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from files_gateway import ALICE, Ground, Way

from actas.core import DelegationCall, NoParameters, UnknownAction
from actas.delegation.filesystem import kernel
from actas.delegation.filesystem.actions import Rename, SearchFiles, WriteFile
from actas.delegation.filesystem.bases import Base
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.failures import NoFolder, NotFound, PathRefused, StorageFailed, from_os
from actas.delegation.filesystem.module import FilesystemDelegation
from actas.delegation.filesystem.names import parts
from actas.delegation.filesystem.operations import Rules, carry_out
from actas.delegation.filesystem.roots import Root, kind
from actas.delegation.filesystem.settings import ChangeSettings, LimitSettings
from actas.testing.fixtures import needed_in_ci
from actas.testing.missing import ServerMissing

pytestmark = pytest.mark.anyio

RULES = Rules(LimitSettings(), ChangeSettings(permission="x", durable=False), hard_links=False)

IN_A_PROCESS = """
import asyncio, ctypes, errno, os, struct, sys
sys.path.insert(0, {tests!r})
from files_gateway import *
from actas.delegation.filesystem import kernel, ways
ground = Ground.__new__(Ground)
ground.base = Path({base!r})
module = Gateway(ground.settings())
libc = ctypes.CDLL(None, use_errno=True)
{work}
"""


def in_a_process(ground: Ground, work: str) -> list[str]:
    script = IN_A_PROCESS.format(tests=str(Path(__file__).parent), base=str(ground.base), work=work)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("number", ["ENOSYS", "EPERM"])
def test_where_a_filter_refuses_openat2_it_is_gone_step_by_step(ground: Ground, number: str) -> None:
    """A real filter (seccomp), as containers have."""
    work = f"""
kernel.has_openat2.cache_clear()
answer = 0x50000 | errno.{number}
code = struct.pack("HBBI" * 4, 0x20, 0, 0, 0, 0x15, 0, 1, 437, 0x06, 0, 0, answer, 0x06, 0, 0, 0x7FFF0000)
buffer = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
print(ways.best().name)
async def main():
    files = Gateway(ground.settings())
    print((await files.call("read", path="notes.txt"))["content"].strip(), await files.code("read", path="../x"))
asyncio.run(main())
"""
    assert in_a_process(ground, work) == ["stepwise", "notes of alice filesystem_path_refused"]


def test_without_proc_nothing_is_started_and_the_reason_is_told(ground: Ground) -> None:
    with needed_in_ci():
        if os.geteuid() != 0:
            raise ServerMissing("another root directory takes root: run the tests as root")
    work = """
from actas.delegation.filesystem.settings import FilesystemSettings
os.chroot(ground.base)
async def main():
    for identity in ("service", "os_user"):
        settings = FilesystemSettings(root="/files/{user}", permission="x", identity=identity)
        try:
            await FilesystemDelegation(settings).initialize()
        except Exception as error:
            print(type(error).__name__, error.message)
asyncio.run(main())
"""
    told = "ConfigurationError /proc is not mounted: files cannot be opened safely without it"
    assert in_a_process(ground, work) == [told, told]


def test_a_call_that_was_interrupted_is_made_again_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    real, said = kernel._syscall, [errno.EINTR, errno.EAGAIN]

    def interrupted(*arguments: object) -> int:
        if said:
            ctypes.set_errno(said.pop())
            return -1
        made: int = real(*arguments)
        return made

    monkeypatch.setattr(kernel, "_syscall", interrupted)
    at = os.open("/", kernel.PATH)
    os.close(kernel.openat2(at, b"proc", one_mount=False))
    said += [errno.EAGAIN] * 100
    with pytest.raises(BlockingIOError):
        kernel.openat2(at, b"proc", one_mount=False)
    os.close(at)


@pytest.mark.parametrize(
    "asked", [WriteFile(path="papers/new", content="x"), Rename(path="notes.txt", to="papers/new")]
)
def test_a_folder_that_is_moved_away_meanwhile_gets_nothing_new(
    ground: Ground, way: Way, asked: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Root.still_here

    def moved(self: Root, fd: int, parts: tuple[bytes, ...]) -> bool:
        (ground.alice / "papers").rename(ground.outside / "papers")
        return real(self, fd, parts)

    monkeypatch.setattr(Root, "still_here", moved)
    action = "write" if isinstance(asked, WriteFile) else "rename"
    with pytest.raises(NotFound):
        carry_out(RULES.operation(action, asked), Base(str(ground.base)), (b"alice",), RULES, way, budget())
    assert os.listdir(ground.outside / "papers") == ["plan.md"], "neither the file nor a temporary one"


def budget() -> Budget:
    return Budget(time.monotonic() + 30)


def test_a_base_is_opened_anew_when_it_is_another_one(
    ground: Ground, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actas.delegation.filesystem import bases

    base = Base(str(ground.base))
    Root(base, (b"alice",), way, budget()).close()
    ground.base.rename(ground.base.with_name("old"))
    with pytest.raises(StorageFailed):
        Root(base, (b"alice",), way, budget()).look(())
    (ground.base / "alice").mkdir(parents=True)
    (ground.base / "alice" / "notes.txt").touch()
    os.close(Root(base, (b"alice",), way, budget()).look((b"notes.txt",))[0])
    held = base.held()
    assert base.held() is held
    monkeypatch.setattr(bases, "_SECONDS", -1.0)
    base.held(anew=True)
    assert base.held() is not base.held()
    base.close()


def test_a_folder_is_a_folder(ground: Ground, way: Way) -> None:
    (ground.base / "file").touch()
    (ground.base / "link").symlink_to("alice")
    base = Base(str(ground.base))
    for name in (b"file", b"link", b"nothing"):
        for below in ((), (b"x",)):
            root = Root(base, (name,), way, budget())
            with pytest.raises(NoFolder):
                root.look(below)


def test_an_error_of_the_kernels_becomes_ours_by_its_number() -> None:
    assert from_os(OSError(errno.EIO, "private")).code == "filesystem_failed"
    assert from_os(OSError(99999, "private")).detail == "errno 99999"
    assert from_os(OSError("no number")).code == "filesystem_failed"
    assert from_os(OSError(errno.ENAMETOOLONG, "private")).code == "delegation_refused"
    assert all("private" not in f"{from_os(OSError(each, 'private'))!r}" for each in errno.errorcode)
    assert kind(0) == "thing of another kind"


def test_a_path_of_many_bytes_in_few_characters_is_too_long() -> None:
    with pytest.raises(PathRefused, match="too long"):
        parts("/".join(["€" * 80] * 30), deepest=50)


async def test_a_proc_that_is_not_there_is_told_before_anything_is_done(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actas.core import ConfigurationError

    def missing(what: str, process: int) -> int:
        raise FileNotFoundError(errno.ENOENT, what)

    monkeypatch.setattr(kernel, "_own", missing)
    for identity in ("service", "os_user"):
        module = FilesystemDelegation(ground.settings(identity=identity))
        with pytest.raises(ConfigurationError, match="/proc is not mounted"):
            await module.initialize()
        await module.destroy()


async def test_parameters_of_another_action_are_none(ground: Ground) -> None:
    module = FilesystemDelegation(ground.settings())
    call = DelegationCall(
        session=ALICE,
        action=module.actions[0],
        parameters=NoParameters(),
        deadline=time.monotonic() + 5,
        request_id="r",
    )
    with pytest.raises(UnknownAction):
        await module.delegate(call)
    with pytest.raises(UnknownAction):
        RULES.operation("list", NoParameters())
    with pytest.raises(UnknownAction):
        RULES.operation("nothing", WriteFile(path="x", content="x"))
    with pytest.raises(UnknownAction):
        Rules(LimitSettings(), None, hard_links=False).operation("write", WriteFile(path="x", content="x"))
    with pytest.raises(Exception, match="half a character"):
        RULES.operation("search", SearchFiles(content="\ud800"))


async def test_a_file_that_cannot_be_looked_at_is_passed_over_and_nothing_stays_open(
    ground: Ground, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actas.delegation.filesystem import roots

    root = Root(Base(str(ground.base)), (b"alice",), way, budget())
    root.look(())
    before = len(os.listdir("/proc/self/fd"))

    def failing(fd: int) -> bytes:
        raise OSError(errno.EIO, "disk")

    monkeypatch.setattr(roots, "path_of", failing)
    with pytest.raises(OSError, match="disk"):
        root.look((b"notes.txt",))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_process_that_was_forked_looks_at_what_it_has_open_itself(ground: Ground) -> None:
    """Under the same number, the other process has something else open."""
    work = """
from actas.delegation.filesystem.bases import Base
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.roots import Root
def look():
    root = Root(Base(str(ground.base)), (b"alice",), ways.best(), Budget(float("inf")))
    fd, _ = root.file((b"notes.txt",))
    return os.read(fd, 100).decode().strip()
print(look(), flush=True)
os.open("/dev/null", os.O_RDONLY)
if os.fork() == 0:
    print(look(), flush=True)
    os._exit(0)
print(os.wait()[1])
"""
    assert in_a_process(ground, work) == ["notes of alice", "notes of alice", "0"]


def test_a_base_that_was_closed_keeps_nothing_open(ground: Ground) -> None:
    """A thread may just have begun when the module is destroyed."""
    base = Base(str(ground.base))
    base.close()
    held = base.held()
    fd = held.fd
    assert os.path.isdir(f"/proc/self/fd/{fd}")
    del held
    assert not os.path.exists(f"/proc/self/fd/{fd}")
