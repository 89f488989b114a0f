"""Servers that hang, die and come back; callers who give up; too many of them; and what is left afterwards."""

import asyncio
import os
import resource
import socket
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from smb_meddler import Meddler
from smb_stage import ALICE, BOB, SharePoolSettings, ShareSettings, Stage, other_server, staged, user

from actas.core import ActasError, CredentialRejected, Session
from actas.core.errors import DelegationRefused, DelegationTimeout, DownstreamUnavailable
from actas.delegation.kerberos.smb_client import UserConnection
from actas.delegation.kerberos.smb_failures import FileRefused, SharesBusy
from actas.testing.kdc import KerberosRealm

pytestmark = pytest.mark.anyio


@pytest.fixture
async def own(realm: KerberosRealm) -> AsyncGenerator[Stage]:
    """A server of the test's own, which may be frozen and killed."""
    async with other_server(realm) as server:
        for name in ("alice", "bob"):
            server.write(f"{name}.txt", f"of {name}".encode(), owner=name)
        async with staged(realm, server, pool=SharePoolSettings(total=4, per_user=2, wait_seconds=0.5)) as stage:
            yield stage


async def reads_hers(stage: Stage) -> None:
    assert (await stage.data(ALICE, "read-file", "alice.txt"))["contents"] == "of alice"


@pytest.mark.parametrize("kept", [True, False], ids=["connection kept", "no connection"])
async def test_a_server_that_hangs_is_waited_for_no_longer_than_the_call_has(own: Stage, kept: bool) -> None:
    if kept:
        await reads_hers(own)
    own.server.freeze()
    started = time.monotonic()
    with pytest.raises(DelegationTimeout):
        await own.call(ALICE, "list-directory", seconds=0.5)
    assert time.monotonic() - started < 5
    own.server.thaw()
    await reads_hers(own)


async def test_a_server_that_is_down_is_unavailable_and_comes_back_by_itself(own: Stage) -> None:
    await reads_hers(own)
    own.server.kill()
    with pytest.raises(DownstreamUnavailable):
        await own.call(ALICE, "list-directory")
    own.server.start()
    await reads_hers(own)


async def test_a_kept_connection_that_the_server_ended_is_replaced_unnoticed(own: Stage) -> None:
    await reads_hers(own)
    own.server.kill()
    own.server.start()
    await reads_hers(own)


async def test_a_share_that_the_server_closed_is_opened_again_unnoticed(own: Stage) -> None:
    await reads_hers(own)
    own.server.close_share()
    await asyncio.sleep(0.5)
    await reads_hers(own)


async def test_a_connection_that_ends_while_it_is_used_again_is_replaced_unnoticed(own: Stage) -> None:
    cut: list[bool] = []

    def cutting(message: bytes) -> bytes:
        if cut and cut.pop():
            raise OSError
        return message

    with Meddler(own.server.port, cutting) as meddler:
        allow = [ShareSettings(server="localhost", share="files", port=meddler.port)]
        async with staged(own.realm, own.server, allow=allow) as stage:
            await reads_hers(stage)
            cut.append(True)
            await reads_hers(stage)
            assert not cut


async def test_a_cancelled_call_ends_at_once_and_gives_its_place_back(own: Stage) -> None:
    await reads_hers(own)
    own.server.freeze()
    calls = [asyncio.ensure_future(own.call(ALICE, "list-directory")) for _ in range(2)]
    await asyncio.sleep(0.2)
    for call in calls:
        call.cancel()
    done = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
    assert all(isinstance(each, asyncio.CancelledError) for each in done)
    own.server.thaw()
    await asyncio.gather(reads_hers(own), reads_hers(own))


async def test_what_cannot_be_ended_keeps_its_place_until_it_ends(
    own: Stage, realm: KerberosRealm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host name whose server answers nobody, say: a thread cannot be taken out of that."""
    going_on, right = threading.Event(), socket.create_connection

    def late(address: tuple[str, int], timeout: float) -> socket.socket:
        going_on.wait(20)
        return right(address, timeout=timeout)

    pool = SharePoolSettings(total=4, per_user=1, wait_seconds=0.2)
    async with staged(realm, own.server, pool=pool) as stage:
        monkeypatch.setattr(socket, "create_connection", late)
        call = asyncio.ensure_future(stage.call(ALICE, "list-directory"))
        await asyncio.sleep(0.2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, 5)
        with pytest.raises(SharesBusy):
            await stage.call(ALICE, "list-directory")
        going_on.set()
        for _ in range(100):
            if not stage.pool._users:
                break
            await asyncio.sleep(0.05)
        assert not stage.pool._idle
        await reads_hers(stage)


async def test_one_user_does_not_take_all_connections(own: Stage) -> None:
    await reads_hers(own)
    own.server.freeze()
    calls = [asyncio.ensure_future(own.call(ALICE, "list-directory", seconds=3)) for _ in range(2)]
    await asyncio.sleep(0.1)
    with pytest.raises(SharesBusy):
        await own.call(ALICE, "list-directory", seconds=3)
    own.server.thaw()
    assert (await own.data(BOB, "read-file", "bob.txt"))["contents"] == "of bob"
    await asyncio.gather(*calls)


async def test_all_users_together_have_so_many_connections_and_so_many_may_wait(
    own: Stage, realm: KerberosRealm
) -> None:
    pool = SharePoolSettings(total=2, per_user=2, waiting=1, wait_seconds=0.5)
    async with staged(realm, own.server, pool=pool) as stage:
        await reads_hers(stage)
        own.server.freeze()
        calls = [asyncio.ensure_future(stage.call(ALICE, "list-directory", seconds=3)) for _ in range(2)]
        await asyncio.sleep(0.1)
        waiting = asyncio.ensure_future(stage.call(BOB, "list-directory", seconds=3))
        await asyncio.sleep(0.1)
        with pytest.raises(SharesBusy):
            await stage.call(BOB, "list-directory", seconds=3)
        with pytest.raises(SharesBusy):
            await waiting
        own.server.thaw()
        await asyncio.gather(*calls)
        assert (await stage.data(BOB, "read-file", "bob.txt"))["contents"] == "of bob"
        assert not stage.pool._waiting


async def test_the_longest_unused_connection_makes_room_for_another_users(own: Stage, realm: KerberosRealm) -> None:
    async with staged(realm, own.server, pool=SharePoolSettings(total=1)) as stage:
        await reads_hers(stage)
        (hers,) = [held.connection for kept in stage.pool._idle.values() for held in kept]
        await stage.data(BOB, "read-file", "bob.txt")
        assert not hers.usable
        assert [owner.principal for owner in stage.pool._idle] == ["bob@EXAMPLE.COM"]


@pytest.mark.parametrize(("since", "seconds"), [("used", 61), ("opened", 601)])
async def test_connections_are_closed_after_their_time(own: Stage, since: str, seconds: float) -> None:
    await reads_hers(own)
    (held,) = [held for kept in own.pool._idle.values() for held in kept]
    setattr(held, since, getattr(held, since) - seconds)
    await reads_hers(own)
    assert not held.connection.usable


async def test_a_connection_that_nobody_uses_is_closed_by_itself(own: Stage, realm: KerberosRealm) -> None:
    async with staged(realm, own.server, pool=SharePoolSettings(idle_seconds=1)) as stage:
        await reads_hers(stage)
        for _ in range(100):
            if not stage.pool._idle:
                break
            await asyncio.sleep(0.05)
        assert not stage.pool._idle
        await asyncio.sleep(0.2)
        assert stage.pool._timer is None


async def test_a_process_with_many_open_files_reads_as_well(own: Stage) -> None:
    """smbprotocol's own TCP uses select(), which ends at 1023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
    if most < 1200:
        pytest.skip("this process may not open more than 1023 files")
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    try:
        while not taken or taken[-1] < 1024:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        await reads_hers(own)
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_call_that_was_under_way_when_the_module_was_destroyed_ends(own: Stage, realm: KerberosRealm) -> None:
    async with staged(realm, own.server) as stage:
        await reads_hers(stage)
        own.server.freeze()
        call = asyncio.ensure_future(stage.call(ALICE, "list-directory"))
        await asyncio.sleep(0.2)
    with pytest.raises(ActasError):
        await asyncio.wait_for(call, 5)
    own.server.thaw()


async def test_who_gets_no_ticket_any_more_has_no_use_of_a_kept_connection(
    own: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reads_hers(own)

    async def none(session: Session, target: str, *, deadline: float) -> Any:
        raise DelegationRefused

    monkeypatch.setattr(own.module, "ticket", none)
    with pytest.raises(DelegationRefused):
        await own.call(ALICE, "list-directory")


async def test_after_the_server_got_a_new_key_another_ticket_is_obtained(own: Stage, realm: KerberosRealm) -> None:
    await reads_hers(own)
    own.server.kill()
    realm.rotate(own.server.service)
    own.server.start()
    await reads_hers(own)


async def test_a_server_that_takes_no_ticket_lets_nobody_in(own: Stage, realm: KerberosRealm) -> None:
    own.server.kill()
    keytab = realm.keytab(own.server.service)
    right = keytab.read_bytes()
    try:
        keytab.write_bytes(realm.add_service("cifs/other.example.com").read_bytes())
        own.server.start()
        with pytest.raises(CredentialRejected):
            await own.call(ALICE, "list-directory")
    finally:
        keytab.write_bytes(right)


async def test_a_connection_is_not_used_for_longer_than_its_ticket(own: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await reads_hers(own)
    (idle,) = [held for kept in own.pool._idle.values() for held in kept]
    first = idle.connection
    first.expires_at = time.time() - 1
    await reads_hers(own)
    assert not first.usable


async def test_a_destroyed_module_refuses_and_leaves_no_thread_and_no_socket(own: Stage) -> None:
    before = len(os.listdir("/proc/self/fd"))
    async with staged(own.realm, own.server) as stage:
        for session in (ALICE, BOB):
            await stage.call(session, "list-directory")
        calls = [stage.ask(ALICE, "list-directory") for _ in range(2)]
    for call in calls:
        with pytest.raises(ActasError):
            await stage.module.delegate(call)
    names = ["?"]
    for _ in range(60):
        names = [each.name for each in threading.enumerate() if str(own.server.port) in each.name]
        if not names and len(os.listdir("/proc/self/fd")) <= before:
            break
        await asyncio.sleep(0.05)
    assert not names
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_a_file_server_that_was_asked_who_the_user_is_leaves_nothing_behind(realm: KerberosRealm) -> None:
    """It starts processes for that which are not its children."""
    async with other_server(realm) as server, staged(realm, server) as stage:
        await stage.call(ALICE, "list-directory")
        assert any("rpcd_lsad" in command for command in running(str(server.folder)))
        server.stop()
        assert not running(str(server.folder))


def running(folder: str) -> list[str]:
    """The commands of the processes that have ``folder`` among their arguments."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and folder in (command := (entry / "cmdline").read_text()):
                found.append(command)
    return found


async def test_twenty_users_at_once_are_each_themselves(own: Stage, realm: KerberosRealm) -> None:
    names = [f"user{number:02}" for number in range(20)]
    realm.add_users(*names)
    own.server.add_users(*names)
    for name in names:
        own.server.write(f"of/{name}", name.encode(), owner=name)

    async def each(stage: Stage, name: str, other: str) -> None:
        for _ in range(3):
            data = await stage.data(user(name), "read-file", f"of/{name}")
            assert data["contents"] == name
            result = await stage.call(user(name), "file-info", path=f"//localhost/files/of/{name}")
            assert result.receipt.details["account"] == f"EXAMPLE\\{name}"
            with pytest.raises(FileRefused):
                await stage.call(user(name), "read-file", path=f"//localhost/files/of/{other}")

    async with staged(realm, own.server, pool=SharePoolSettings(total=8, wait_seconds=20)) as stage:
        await asyncio.gather(*(each(stage, name, names[number - 1]) for number, name in enumerate(names)))


async def test_what_was_refused_for_want_of_a_thread_leaves_no_connection_behind(
    own: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The executor keeps the work in its queue, which would log the user in for nobody."""
    made: list[UserConnection] = []
    real, starts = UserConnection.log_in, threading.Thread.start

    def log_in(self: UserConnection, *given: Any, **more: Any) -> None:
        made.append(self)
        real(self, *given, **more)

    def start(self: threading.Thread) -> None:
        if self.name.startswith("actas-smb"):
            raise RuntimeError("can't start new thread")
        starts(self)

    monkeypatch.setattr(UserConnection, "log_in", log_in)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", start)
        with pytest.raises(DownstreamUnavailable):
            await own.data(ALICE, "read-file", "alice.txt")
    await reads_hers(own)
    assert [each.usable for each in made] == [False, True], "the first one was closed before it was opened"
