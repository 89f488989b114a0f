"""As the operating system's user: the kernel's own checks decide, and its own word is the receipt."""

import asyncio
import errno
import grp
import os
import pwd
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from files_gateway import ALICE, Gateway, away, parameters_for
from hanging import hanging
from os_ground import Homes, homes_of, session_of

from actas.core import ConfigurationError, DelegationTimeout, Session
from actas.delegation.filesystem import helpers as helpers_module
from actas.delegation.filesystem import os_users as os_users_module
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.frames import packed, received, taking
from actas.delegation.filesystem.helpers import Helpers
from actas.delegation.filesystem.module import FilesystemDelegation
from actas.delegation.filesystem.os_users import UNABLE
from actas.delegation.filesystem.os_users import OsUsers as Mode
from actas.delegation.filesystem.processes import Helper
from actas.delegation.filesystem.settings import ChangeSettings, FilesystemSettings, LimitSettings, OsUserSettings
from actas.testing.conformance import ModuleConformance, ModuleKit
from actas.testing.os_users import OsUsers

pytestmark = pytest.mark.anyio


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def said_of(pid: int) -> str:
    """What the kernel says of a process."""
    return Path(f"/proc/{pid}/status").read_text()


def processes(files: Gateway) -> list[Helper]:
    """Those that wait for work."""
    mode = files.module._hands
    assert isinstance(mode, Mode)
    return mode._helpers._idle


class TestAsTheOsUser(ModuleConformance):
    @pytest.fixture
    def kit(self, homes: Homes) -> ModuleKit:
        for user in (homes.alice, homes.bob):
            homes.write(user, "a.md", "plan")
            homes.write(user, "bobs-own", "the kernel gives this to bob alone", 0o600, homes.bob)
            with homes.write(user, "huge", "").open("wb") as sparse:
                sparse.truncate(10**12)
        change = ChangeSettings(permission="files:write", actions=["write"], durable=False)
        limits = LimitSettings(search_bytes=10**12, search_seconds=60, workers=8, workers_per_user=4)
        settings = homes.settings(change=change, limits=limits)
        nowhere = replace(settings, root=f"{homes.base}/nothing/{{user}}")
        return ModuleKit(
            make=lambda: FilesystemDelegation(settings),
            make_dead=lambda: FilesystemDelegation(nowhere),
            outage=lambda: away(homes.base),
            denied=("read", {"path": "bobs-own"}),
            alice=session_of(homes.alice),
            bob=session_of(homes.bob),
            parameters={name: parameters_for(name) for name in ["list", "read", "info", "search", "write"]},
            slow=("search", {"content": "what is nowhere"}),
            settings=FilesystemSettings,
            plugin="actas.delegation.filesystem.plugin",
        )


async def test_the_kernel_denies_alice_what_is_bobs(homes: Homes) -> None:
    alice, bob = session_of(homes.alice), session_of(homes.bob)
    homes.write(homes.alice, "bobs-own", "secret of bob", 0o600, homes.bob)
    homes.write(homes.alice, "bobs-gift", "gift of bob", 0o644, homes.bob)
    locked = homes.home(homes.alice) / "locked"
    locked.mkdir(mode=0o700)
    os.chown(locked, homes.bob.pw_uid, homes.bob.pw_gid)
    async with homes.gateway() as files:
        assert await files.code("read", alice, path="bobs-own") == "filesystem_access_denied"
        assert await files.text("bobs-gift", alice) == "gift of bob"
        assert await files.code("list", alice, path="locked") == "filesystem_access_denied"
        assert await files.code("write", alice, path="locked/x", content="x") == "filesystem_access_denied"
        found = await files.call("search", alice, content="secret")
        assert (found["found"], found["skipped"]) == ([], 2)
        homes.write(homes.bob, "bobs-own", "secret of bob", 0o600)
        assert await files.text("bobs-own", bob) == "secret of bob"
        details = [event.reason for event in files.sink.entries() if event.code == "filesystem_access_denied"]
        assert details[0] == "EACCES"


async def test_the_users_groups_count(homes: Homes, os_users: OsUsers) -> None:
    team = os_users.group("team")
    member = os_users.user("member", groups=(team,))
    with homes_of(member, homes.bob) as theirs:
        for user in (member, homes.bob):
            shared = theirs.write(user, "shared", "for the team", 0o640)
            os.chown(shared, 0, grp.getgrnam(team).gr_gid)
        async with theirs.gateway() as files:
            assert await files.text("shared", session_of(member)) == "for the team"
            assert await files.code("read", session_of(homes.bob), path="shared") == "filesystem_access_denied"


async def test_what_is_written_belongs_to_the_user(homes: Homes) -> None:
    alice = session_of(homes.alice)
    change = ChangeSettings(permission="files:write", umask="0027")
    async with homes.gateway(change=change) as files:
        await files.call("write", alice, path="new", content="x")
        await files.call("make-directory", alice, path="folder")
        await files.call("rename", alice, path="new", to="folder/new")
    made = (homes.home(homes.alice) / "folder" / "new").stat()
    assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (homes.alice.pw_uid, homes.alice.pw_gid, 0o640)
    assert stat.S_IMODE((homes.home(homes.alice) / "folder").stat().st_mode) == 0o750


async def test_the_receipt_is_what_the_kernel_says_of_the_process(homes: Homes) -> None:
    async with homes.gateway() as files:
        result = await files.pipeline.delegate(session_of(homes.alice), "files", "list", {})
    assert (result.receipt.identity, result.receipt.method) == (homes.alice.pw_name, "os_user:setuid")
    assert result.receipt.details == {
        "uid": str(homes.alice.pw_uid), "gid": str(homes.alice.pw_gid), "folder": homes.alice.pw_name,
    }  # fmt: skip


async def test_root_and_users_that_run_services_are_refused(homes: Homes, os_users: OsUsers) -> None:
    service = os_users.user("svc", system=True)
    twin = f"twin{os.getpid()}"
    run("useradd", "-M", "-o", "-u", str(homes.alice.pw_uid), twin)
    try:
        async with homes.gateway() as files:
            for name in ("root", "daemon", "nobody-by-that-name", service.pw_name, "0", twin):
                who = replace(ALICE, subject=name, legacy_username=name)
                assert await files.code("list", who) == "filesystem_no_account", name
            assert processes(files) == []
        async with homes.gateway(os_user=OsUserSettings(minimum_uid=homes.alice.pw_uid + 1)) as files:
            assert await files.code("list", session_of(homes.alice)) == "filesystem_no_account"
            assert await files.names("", session_of(homes.bob)) == ["notes.txt"]
    finally:
        run("userdel", "--force", twin)


async def test_a_user_whose_own_group_is_roots_is_refused(homes: Homes, os_users: OsUsers) -> None:
    rooted = os_users.user("rooted")
    run("usermod", "--gid", "0", rooted.pw_name)
    async with homes.gateway() as files:
        assert await files.code("list", session_of(rooted)) == "filesystem_no_account"


UNPRIVILEGED = """
import asyncio, os, sys
from actas.core import ConfigurationError, DownstreamUnavailable
from actas.delegation.filesystem.module import FilesystemDelegation
from actas.delegation.filesystem.settings import FilesystemSettings
module = FilesystemDelegation(FilesystemSettings(root="/tmp/{user}", permission="x", identity="os_user"))
async def main():
    try:
        await module.initialize()
    except ConfigurationError as error:
        print(error.message)
    except DownstreamUnavailable:
        print("away")
    print((await module.health_check()).healthy)
    await module.destroy()
{drop}
asyncio.run(main())
"""


def test_without_privileges_that_mode_does_not_start_and_says_what_it_takes(homes: Homes) -> None:
    keeping_it_to_itself = f"""
import ctypes
from actas.delegation.filesystem import becoming
libc = ctypes.CDLL(None)
libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS: permitted here, and gone in what is started
{as_user(homes.alice)}
header, some = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(0xE0, 0xE0, 0, 0, 0, 0)
assert libc.capset(header, some) == 0 and becoming.can_become_others()
"""
    for drop in (as_user(homes.alice), keeping_it_to_itself):
        done = subprocess.run(
            [sys.executable, "-I", "-c", UNPRIVILEGED.replace("{drop}", drop)],
            cwd="/", env={}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        said = done.stdout.splitlines()
        assert said in ([UNABLE, "False"], ["away", "False"]), done.stderr
        assert said[0] == UNABLE or drop == keeping_it_to_itself, "it may not even start Python as another user"
    assert UNABLE.startswith('identity = "os_user": this server cannot become other users. Run it as root')


def talked_to(command: list[str], greeting: dict[str, object]) -> tuple[dict[str, object], int]:
    """What a process answers to ``greeting``, and how it ends when nobody says more."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(command, stdin=theirs.fileno(), env={}, cwd="/")
    with ours:
        ours.sendall(packed(greeting, 1_000_000))
        answer = received(taking(ours), 1_000_000)
    return answer, process.wait(20)


def greeting_for(user: pwd.struct_passwd, homes: Homes) -> dict[str, object]:
    mode = Mode(str(homes.base), homes.settings())
    return {**mode._helpers._greeting, "user": user.pw_name}


def test_a_setuid_that_fails_ends_the_process_with_an_error(homes: Homes) -> None:
    """It is bob's already, and has no right to become alice."""
    script = f"""
import os
from actas.delegation.filesystem import helper
for encoding in helper._ENCODINGS: helper.codecs.lookup(encoding)
{as_user(homes.bob)}
helper.main()
"""
    answer, status = talked_to([sys.executable, "-I", "-c", script], greeting_for(homes.alice, homes))
    error = answer["error"]
    assert isinstance(error, dict) and error["code"] == "filesystem_access_denied" and error["detail"] == "EPERM"
    assert status == 0


def test_a_process_ends_when_the_server_says_no_more(homes: Homes) -> None:
    answer, status = talked_to(list(helpers_module._COMMAND), greeting_for(homes.alice, homes))
    assert (answer, status) == ({"ready": True}, 0)


async def test_a_helper_has_nothing_left_of_root(homes: Homes) -> None:
    read, write = os.pipe()  # what this process has open
    os.set_inheritable(read, True)
    try:
        async with homes.gateway() as files:
            await files.names("", session_of(homes.alice))
            (helper,) = processes(files)
            proc = Path(f"/proc/{helper.process.pid}")
            said = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
            uid, gid = str(homes.alice.pw_uid), str(homes.alice.pw_gid)
            assert said["Uid"].split() == [uid] * 4 and said["Gid"].split() == [gid] * 4
            assert said["Groups"].split() == [gid]
            assert {int(said[each], 16) for each in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
            assert said["NoNewPrivs"] == "1" and said["Threads"] == "1"
            assert (proc / "environ").read_bytes() in (b"", b"LC_CTYPE=C.UTF-8\0")
            assert os.readlink(proc / "cwd") == "/"
            opened = {each: os.readlink(proc / "fd" / each) for each in os.listdir(proc / "fd")}
            assert opened["1"] == opened["2"] == "/dev/null"
            rest = {each.partition(":")[0] for name, each in opened.items() if name not in "12"}
            its_own = {f"/proc/{helper.process.pid}/fd", f"/proc/{helper.process.pid}/fdinfo", str(homes.base)}
            assert rest <= {"socket", *its_own}, "what it opened itself, as the user"
            assert (proc / "fd").stat().st_uid == 0, "no process of the user's may trace it"
            limits = (proc / "limits").read_text()
            for name, value in [("core file size", 0), ("processes", 0), ("open files", 128), ("file size", 1_000_000)]:
                assert any(name in line and f" {value} " in line for line in limits.splitlines()), name
    finally:
        os.close(read)
        os.close(write)


async def test_one_process_never_serves_two_users(homes: Homes) -> None:
    users = [homes.alice, homes.bob]
    async with homes.gateway(limits=LimitSettings(workers=4, workers_per_user=2)) as files:

        async def one(turn: int) -> None:
            user = users[turn % 2]
            assert await files.text("notes.txt", session_of(user)) == f"notes of {user.pw_name}\n"

        await asyncio.gather(*(one(turn) for turn in range(40)))
        by_process = {(each.user, each.uid) for each in processes(files)}
        assert by_process == {(each.pw_name, each.pw_uid) for each in users}
        assert 2 <= len(processes(files)) <= 4
        for each in processes(files):
            assert f"Uid:\t{each.uid}\t" in said_of(each.process.pid)


async def test_processes_are_bounded_and_the_longest_idle_gives_way(homes: Homes) -> None:
    alice, bob = session_of(homes.alice), session_of(homes.bob)
    async with homes.gateway(limits=LimitSettings(workers=1, workers_per_user=1)) as files:
        await files.names("", alice)
        (first,) = processes(files)
        await files.names("", alice)
        assert processes(files) == [first], "it is kept for its user"
        await files.names("", bob)
        (second,) = processes(files)
        assert second.user == homes.bob.pw_name and first.process.wait(5) is not None


async def test_idle_processes_end_and_none_is_left_a_zombie(homes: Homes) -> None:
    async with homes.gateway(os_user=OsUserSettings(idle_seconds=0.2)) as files:
        await files.names("", session_of(homes.alice))
        (helper,) = processes(files)
        for _ in range(100):
            if not processes(files):
                break
            await asyncio.sleep(0.05)
        assert processes(files) == []
        assert helper.process.wait(5) == -9
        assert await files.names("", session_of(homes.alice)) == ["notes.txt"], "another one is started"


async def test_a_process_that_was_used_between_two_looks_ends_too(homes: Homes) -> None:
    async with homes.gateway(os_user=OsUserSettings(idle_seconds=0.5)) as files:
        await files.names("", session_of(homes.alice))
        await asyncio.sleep(0.3)
        await files.names("", session_of(homes.alice))
        for _ in range(100):
            if not processes(files):
                break
            await asyncio.sleep(0.05)
        assert processes(files) == [], "though nobody called again"


async def test_a_process_is_not_used_for_ever(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups are taken at the start: who was taken out of one must lose it."""
    async with homes.gateway() as files:
        await files.names("", session_of(homes.alice))
        (first,) = processes(files)
        asked: list[Helper] = []
        real = Helpers._exchange

        def exchange(self: Helpers, helper: Helper, message: dict[str, object], budget: Budget) -> object:
            asked.append(helper)
            return real(self, helper, message, budget)

        monkeypatch.setattr(Helpers, "_exchange", exchange)
        monkeypatch.setattr(helpers_module, "_LIVES", 0.0)
        await files.names("", session_of(homes.alice))
        assert processes(files) == [] and first.process.wait(5) == -9
        assert asked and first not in asked, "nor once more, because it was idle when its time was up"


async def test_health_is_asked_of_a_process_and_not_with_every_question(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    real = Helpers._started
    monkeypatch.setattr(Helpers, "_started", lambda self, user: (started.append(user), real(self, user))[1])
    async with homes.gateway() as files:
        assert started == [""]
        for _ in range(5):
            assert (await files.module.health_check()).healthy
        assert started == ["", ""]
        monkeypatch.setattr(os_users_module, "_HEALTH_SECONDS", 1.0)
        files.module._hands._well_until = 0.0  # type: ignore[union-attr]
        with hanging(homes.base):
            assert not (await files.module.health_check()).healthy
        assert (await files.module.health_check()).healthy


@pytest.mark.parametrize("how", ["deadline", "cancelled"])
async def test_a_process_that_hangs_is_killed_and_others_go_on(homes: Homes, how: str) -> None:
    alice, bob = session_of(homes.alice), session_of(homes.bob)
    stuck = homes.home(homes.alice) / "stuck"
    stuck.mkdir()
    async with homes.gateway(limits=LimitSettings(workers=4, workers_per_user=1)) as files:
        await files.names("", alice)
        (helper,) = processes(files)
        with hanging(stuck):
            os.chmod  # noqa: B018 -- nothing may look at what hangs but the process
            files.pipeline.registry._actions["files"]["list"] = replace(files.module.actions[0], timeout=1.0)
            call = asyncio.ensure_future(files.call("list", alice))
            await asyncio.sleep(0.3)
            assert not call.done()
            if how == "cancelled":
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
            else:
                with pytest.raises(DelegationTimeout):
                    await call
            assert await files.names("", bob) == ["notes.txt"]
            assert helper.process.wait(5) == -9
        assert [each.user for each in processes(files)] == [homes.bob.pw_name]
        assert "notes.txt" in await files.names("", alice)


async def test_a_process_that_was_given_up_when_its_answer_was_there_is_not_used_again(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed, and may look alive for a moment yet: the next call is not to meet it."""
    alice = session_of(homes.alice)
    async with homes.gateway() as files:
        await files.names("", alice)
        (helper,) = processes(files)
        budget = Budget(time.monotonic() + 10)
        real = helpers_module.received

        def given_up(take: Callable[[int], bytes], most: int) -> dict[str, object]:
            said = real(take, most)
            budget.stop()
            return said

        mode = files.module._hands
        assert isinstance(mode, Mode)
        request = {"action": "info", "parameters": {"path": ""}, "parts": [homes.alice.pw_name]}
        with monkeypatch.context() as patch:
            patch.setattr(helpers_module, "received", given_up)
            mode._helpers.ask(homes.alice.pw_name, request, budget)
        assert processes(files) == [] and helper.process.wait(5) == -9


async def test_half_a_character_is_no_trouble_to_a_process(homes: Homes) -> None:
    alice = session_of(homes.alice)
    async with homes.gateway() as files:
        await files.names("", alice)
        (helper,) = processes(files)
        assert (await files.call("search", alice, name="\ud800*"))["found"] == []
        assert processes(files) == [helper], "it was understood, and not ended"


async def test_processes_that_cannot_be_killed_stop_their_own_user_and_do_not_add_up(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a user's own file system (FUSE) has taken a request and does not answer."""
    alice, bob = session_of(homes.alice), session_of(homes.bob)
    stuck = homes.home(homes.alice) / "stuck"
    stuck.mkdir()
    async with homes.gateway(limits=LimitSettings(workers=4, workers_per_user=2)) as files:
        files.pipeline.registry._actions["files"]["list"] = replace(files.module.actions[0], timeout=3.0)
        started: list[Helper] = []
        real = Helpers._started

        def starting(self: Helpers, user: str) -> Helper:
            started.append(real(self, user))
            return started[-1]

        monkeypatch.setattr(Helpers, "_started", starting)
        with monkeypatch.context() as patch, hanging(stuck):
            patch.setattr(Helper, "kill", lambda self: None)
            patch.setattr(helpers_module, "_ENDS_WITHIN", 0.2)
            codes = ["timeout"]
            while set(codes) == {"timeout"} and len(codes) < 9:  # one that starts slowly ends before it hangs
                codes.append(await files.code("list", alice))
            many = len(started)
            assert codes[-1] == "filesystem_busy" == await files.code("list", alice)
            assert len(started) == many, "no more are started"
            # One call may be under way to its own deadline when the next one counts those that hang.
            assert 2 <= len([each for each in started if each.process.poll() is None]) <= 2 + 1
            assert await files.names("", bob) == ["notes.txt"]
        assert "notes.txt" in await files.names("", alice), "when they have ended"


ROGUE = """
import json, os, socket, struct, sys
{then}
s = socket.socket(fileno=0)
def take():
    n = struct.unpack("!I", s.recv(4))[0]
    while n: n -= len(s.recv(n))
def give(m):
    b = json.dumps(m).encode(); s.sendall(struct.pack("!I", len(b)) + b)
take(); give({{"ready": True}})
ids = {{"uids": [str(os.getuid())] * 4, "gids": [str(os.getgid())] * 4}}
take(); {answer}
s.recv(1)
"""
GOOD = '{"data": {"content": "x"}, "folder": "f", "owner": 1, "uids": ["UID"] * 4, "gids": ["GID"] * 4}'


@contextmanager
def rogue(monkeypatch: pytest.MonkeyPatch, then: str, answer: str) -> Iterator[None]:
    """Helper processes are ones that somebody else wrote."""
    script = ROGUE.format(then=then, answer=answer)
    with monkeypatch.context() as patch:
        patch.setattr(helpers_module, "_COMMAND", [sys.executable, "-I", "-c", script])
        yield


def as_user(user: pwd.struct_passwd) -> str:
    return f"os.setgroups([]); os.setgid({user.pw_gid}); os.setuid({user.pw_uid})"


async def test_a_process_that_is_not_its_user_is_found_out_whatever_it_says(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = session_of(homes.alice)
    good = GOOD.replace("UID", str(homes.alice.pw_uid)).replace("GID", str(homes.alice.pw_gid))
    async with homes.gateway() as files:
        with rogue(monkeypatch, as_user(homes.alice), f"give({good})"):
            assert await files.call("read", alice, path="x") == {"content": "x"}, "the rogue itself works"
    async with homes.gateway() as files:
        for then in ("", as_user(homes.bob), f"os.seteuid({homes.alice.pw_uid})"):
            with rogue(monkeypatch, then, f"give({good})"):
                assert await files.code("read", alice, path="x") == "identity_mismatch"
        later = f"os.setuid({homes.alice.pw_uid}); give({good})"
        with rogue(monkeypatch, f"os.setresuid({homes.alice.pw_uid}, 0, 0)", f"os.setresuid(0, 0, 0); give({good})"):
            assert await files.code("read", alice, path="x") == "identity_mismatch", "it became root between answers"
        with rogue(monkeypatch, "", later):
            assert await files.code("read", alice, path="x") == "identity_mismatch"
        lies = good.replace(f'["{homes.alice.pw_uid}"]', '["0"]')
        with rogue(monkeypatch, as_user(homes.alice), f"give({lies})"):
            assert await files.code("read", alice, path="x") == "identity_mismatch"
        for then in ("", as_user(homes.bob)):
            with rogue(monkeypatch, then, "give({'data': {}, 'folder': 'x', **ids})"):
                assert await files.code("read", alice, path="x") == "identity_mismatch", (
                    "it is somebody else, and says so"
                )
        forked = f"give({good}) if os.fork() == 0 else os.wait()"
        with rogue(monkeypatch, as_user(homes.alice), forked):
            assert await files.code("read", alice, path="x") == "identity_mismatch", "another process answered"
        assert processes(files) == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("sys.exit(1)", "filesystem_failed"),
        ("s.sendall(b'\\xff\\xff\\xff\\xff' + b'x' * 1000)", "filesystem_failed"),
        ("s.sendall(b'\\0\\0\\0\\3abc')", "filesystem_failed"),
        ("s.sendall(b'\\0\\0\\0\\2[]')", "filesystem_failed"),
        ("s.sendall(b'\\0\\1\\0\\0' + b'[' * 65536)", "filesystem_failed"),
        ("s.sendall(b'\\0\\0\\0\\x09{}'); s.shutdown(1)", "filesystem_failed"),
        ("give({'data': {}})", "identity_mismatch"),
        ("give({'data': 1, **ids})", "filesystem_failed"),
        ("give({'data': {}, 'folder': 1, **ids})", "filesystem_failed"),
        ("give({'error': 'x', **ids})", "filesystem_failed"),
        ("give({'error': {'code': 'permission_denied', 'message': 'x'}, **ids})", "filesystem_failed"),
        ("give({'error': {'code': 'filesystem_not_found', 'message': 7}, **ids})", "filesystem_failed"),
    ],
)
async def test_a_process_that_talks_nonsense_is_ended(
    homes: Homes, monkeypatch: pytest.MonkeyPatch, answer: str, code: str
) -> None:
    async with homes.gateway() as files:
        with rogue(monkeypatch, as_user(homes.alice), answer):
            assert await files.code("read", session_of(homes.alice), path="x") == code
        assert processes(files) == []
        assert await files.names("", session_of(homes.alice)) == ["notes.txt"]


async def test_a_process_that_does_not_start_or_dies_is_told(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = session_of(homes.alice)
    monkeypatch.setattr(os_users_module, "_HOLDS_SECONDS", -1.0)
    async with homes.gateway() as files:
        with monkeypatch.context() as patch:
            patch.setattr(helpers_module, "_COMMAND", ["/nowhere/python"])
            assert await files.code("list", alice) == "filesystem_failed"
            assert not (await files.module.health_check()).healthy
            patch.setattr(helpers_module, "_COMMAND", ["/bin/false"])
            assert await files.code("list", alice) == "filesystem_failed"
            assert not (await files.module.health_check()).healthy
        assert (await files.module.health_check()).healthy
        await files.names("", alice)
        (helper,) = processes(files)
        helper.process.kill()
        helper.process.wait()
        assert await files.names("", alice) == ["notes.txt"], "another one takes its place"


async def test_a_server_that_has_too_many_files_open_says_so(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async with homes.gateway() as files:
        with monkeypatch.context() as full:
            full.setattr(socket, "socketpair", none_left)
            assert await files.code("list", session_of(homes.alice)) == "filesystem_busy"
        assert await files.names("", session_of(homes.alice)) == ["notes.txt"]


def test_processes_end_with_the_server_however_that_ends(homes: Homes) -> None:
    """One that is in the middle of something too, which takes a minute and does not look whether anybody waits."""
    with homes.write(homes.alice, "huge", "").open("wb") as sparse:
        sparse.truncate(10**12)
    script = f"""
import asyncio, glob, os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from files_gateway import *
from actas.delegation.filesystem.settings import LimitSettings
async def main():
    settings = FilesystemSettings(root={str(homes.base)!r} + "/{{user}}", permission="files:read", identity="os_user",
                                  limits=LimitSettings(search_bytes=10**12, search_seconds=60))
    files = Gateway(settings)
    alice = replace(ALICE, legacy_username={homes.alice.pw_name!r})
    call = asyncio.ensure_future(files.call("search", alice, content="x"))
    pid = ""
    while not pid or "Uid:\\t{homes.alice.pw_uid}" not in open(f"/proc/{{pid}}/status").read():
        await asyncio.sleep(0.05)
        pid = "".join(open(each).read() for each in glob.glob("/proc/self/task/*/children")).strip()
    await asyncio.sleep(0.5)
    assert not call.done()
    print(pid, flush=True)
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == -9, done.stderr
    pid = int(done.stdout)
    for _ in range(100):
        if not os.path.exists(f"/proc/{pid}") or "State:\tZ" in said_of(pid):
            return
        time.sleep(0.05)
    os.kill(pid, 9)
    raise AssertionError("the helper lives on")


def test_nothing_is_imported_after_the_process_became_the_user(homes: Homes) -> None:
    """The user may not be allowed to read where Python is installed."""
    script = f"""
import socket, sys, threading
from actas.delegation.filesystem import helper
ours, theirs = socket.socketpair()
for encoding in helper._ENCODINGS: helper.codecs.lookup(encoding)
rules = helper.rules_of({greeting_for(homes.alice, homes)!r})
before = set(sys.modules)
serving = threading.Thread(target=helper.serve, args=(theirs, rules, {str(homes.base)!r}))
serving.start()
def ask(action, **parameters):
    request = {{"action": action, "parameters": parameters, 
                "parts": [{homes.alice.pw_name!r}], "seconds": 10.0}}
    ours.sendall(helper.packed(request, 10**6))
    answer = helper.received(helper.taking(ours), 10**7)
    assert "uids" in answer and ("data" in answer or parameters.get("path") in ("nothing", "..")), answer
ask("list"); ask("info"); ask("read", path="notes.txt"); ask("read", path="nothing"); ask("read", path="..")
for encoding in ("base64", "utf-8", "utf-16-le", "latin-1", "cp1252"):
    ask("read", path="notes.txt", encoding=encoding, length=4)
ask("search", content="notes", name="*", ignore_case=True); ask("write", path="x", content="eA==", encoding="base64")
ask("rename", path="x", to="y"); ask("make-directory", path="d"); ask("delete", path="d")
ours.close(); serving.join()
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


async def test_a_defect_in_a_process_is_told_as_one(homes: Homes) -> None:
    """What the server has checked cannot happen; what happens all the same ends as our error."""
    from actas.delegation.filesystem import helper

    ours, theirs = socket.socketpair()
    rules = helper.rules_of(greeting_for(homes.alice, homes))
    serving = asyncio.create_task(asyncio.to_thread(helper.serve, theirs, rules, str(homes.base)))
    for request in ({}, {"action": "nothing"}, {"action": "list", "parameters": {"no": 1}}):
        ours.sendall(packed(request, 1000))
        answer = await asyncio.to_thread(received, taking(ours), 10_000)
        assert isinstance(answer["error"], dict) and answer["error"]["code"] == "internal"
    ours.close()
    await serving
    theirs.close()


async def test_groups_and_users_may_both_be_in_the_template(homes: Homes) -> None:
    group = homes.base / "sales"
    group.mkdir(mode=0o755)
    mine = group / homes.alice.pw_name
    mine.mkdir(mode=0o700)
    os.chown(mine, homes.alice.pw_uid, homes.alice.pw_gid)
    who = replace(session_of(homes.alice), custom_roles=("sales",))
    async with homes.gateway(root=f"{homes.base}/{{group}}/{{user}}", groups=["sales"]) as files:
        assert await files.names("", who) == []
        assert files.module.principal(who) == homes.alice.pw_name
    async with homes.gateway(root=f"{homes.base}/{{group}}", groups=["sales"]) as files:
        assert await files.names("", who) == [homes.alice.pw_name]
        assert files.module.principal(who) == homes.alice.pw_name, "who acts is the user, wherever"


async def test_a_base_that_users_may_not_enter_is_told(homes: Homes) -> None:
    homes.base.chmod(0o700)
    async with homes.gateway() as files:
        assert await files.code("list", session_of(homes.alice)) == "filesystem_no_folder"
        assert [event.reason for event in files.sink.entries() if event.code] == ["the user's folder: EACCES"]


def test_helpers_ask_no_process_after_the_end(homes: Homes) -> None:
    from actas.core import DownstreamUnavailable

    made = Helpers({}, longest=1000, minimum_uid=1000, most=1, per_user=1, idle_seconds=1)
    made.close()
    made.close()
    with pytest.raises(DownstreamUnavailable):
        made.ask("alice", {}, Budget(time.monotonic() + 1))
    assert isinstance(session_of(homes.alice), Session) and issubclass(ConfigurationError, Exception)


def test_who_may_be_become_is_judged_by_the_systems_own_list(homes: Homes) -> None:
    from actas.delegation.filesystem.becoming import Account, account
    from actas.delegation.filesystem.failures import NoAccount

    alice = homes.alice
    assert account(alice.pw_name, 1000) == Account(alice.pw_name, alice.pw_uid, alice.pw_gid)
    for name, minimum in [
        ("root", 0),
        ("root", -1),
        ("daemon", 1000),
        (alice.pw_name, alice.pw_uid + 1),
        ("no-one", 1),
    ]:
        with pytest.raises(NoAccount):
            account(name, minimum)
    assert account("daemon", 1).uid == 1, "where an operator says so"


def test_a_process_that_is_still_root_is_seen_to_be_that(homes: Homes) -> None:
    from actas.delegation.filesystem import becoming

    for who in (becoming.Account("root", 0, 0), becoming.account(homes.alice.pw_name, 1000)):
        with pytest.raises(PermissionError, match="something is left"):
            becoming._seen_to_be(who)
    assert becoming.can_become_others()
    with pytest.raises(OSError, match="prctl"):
        becoming._asked(9999, 0)


def test_a_message_longer_than_agreed_is_not_sent() -> None:
    from actas.delegation.filesystem.frames import Broken

    with pytest.raises(Broken):
        packed({"content": "x" * 2000}, 1000)


HALF = {
    "the promise": "os.setgroups([g]); os.setresgid(g, g, g); os.setresuid(u, u, u)",
    "a group": "promise(); os.setgroups([g, 4]); os.setresgid(g, g, g); os.setresuid(u, u, u)",
    "the saved group": "promise(); os.setgroups([g]); os.setresgid(g, g, 4); os.setresuid(u, u, u)",
    "the real user": "promise(); os.setgroups([g]); os.setresgid(g, g, g); os.setresuid(0, u, u)",
    "the saved user": "promise(); os.setgroups([g]); os.setresgid(g, g, g); os.setresuid(u, u, 0)",
    "capabilities": "promise(); os.setgroups([g]); os.setresgid(g, g, g); libc.prctl(8, 1); os.setresuid(u, u, u)",
    "nothing": "promise(); os.setgroups([g]); os.setresgid(g, g, g); os.setresuid(u, u, u)",
}


@pytest.mark.parametrize("missing", HALF)
def test_half_a_change_of_user_is_found_out(homes: Homes, missing: str) -> None:
    script = f"""
import ctypes, os
from actas.delegation.filesystem import becoming
libc = ctypes.CDLL(None)
who = becoming.account({homes.alice.pw_name!r}, 1000)
u, g = who.uid, who.gid
def promise(): libc.prctl(38, 1, 0, 0, 0)
{HALF[missing]}
try:
    becoming._seen_to_be(who)
    print("is the user")
except PermissionError:
    print("found out")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == ("is the user" if missing == "nothing" else "found out"), done.stderr


def test_a_process_is_ended_with_no_more_than_the_capabilities_that_are_asked_for(homes: Homes) -> None:
    """One that its user has stopped, or that hangs, does not end because nobody talks to it any more."""
    script = f"""
import ctypes, os, socket, subprocess
from actas.delegation.filesystem import becoming
from actas.delegation.filesystem.processes import Helper
alice = dict(user={homes.alice.pw_uid}, group={homes.alice.pw_gid}, extra_groups=[])
process = subprocess.Popen(["sleep", "20"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **alice)
libc = ctypes.CDLL(None)
assert libc.prctl(8, 1, 0, 0, 0) == 0
{as_user(homes.bob)}
bits = sum(1 << each for each in becoming.NEEDED)
header, those = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(bits, bits, 0, 0, 0, 0)
assert libc.capset(header, those) == 0 and becoming.can_become_others()
helper = Helper({homes.alice.pw_name!r}, socket.socket(), process)
helper.kill()
print(process.wait(5))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "-9", done.stderr
