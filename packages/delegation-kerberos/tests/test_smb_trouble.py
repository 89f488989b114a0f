"""Servers that hang, die and come back; callers who give up; too many of them; and what is left afterwards."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncGenerator

import pytest
from smb_stage import ALICE, BOB, LabTickets, SharePoolSettings, Stage, other_server, user

from actas.core import ActasError, CredentialRejected
from actas.core.errors import DelegationRefused, DelegationTimeout, DownstreamUnavailable
from actas.delegation.kerberos.smb_failures import SharesBusy
from actas.testing.kdc import KerberosRealm

pytestmark = pytest.mark.anyio


@pytest.fixture
async def own(kerberos_realm: KerberosRealm, tickets: LabTickets) -> AsyncGenerator[Stage]:
    """A server of the test's own, which may be frozen and killed."""
    tickets.refused.clear()
    async with other_server(kerberos_realm, "") as server:
        for name in ("alice", "bob"):
            server.write(f"{name}.txt", f"of {name}".encode(), owner=name)
        stage = Stage(server, tickets, pool=SharePoolSettings(total=4, per_user=2, wait_seconds=0.5))
        yield stage
        await stage.shares.destroy()


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


async def test_who_gets_no_ticket_any_more_has_no_use_of_a_kept_connection(own: Stage) -> None:
    await reads_hers(own)
    own.tickets.refused.add("alice")
    with pytest.raises(DelegationRefused):
        await own.call(ALICE, "list-directory")


async def test_a_ticket_that_the_server_does_not_take_is_discarded_and_another_one_tried(
    own: Stage, kerberos_realm: KerberosRealm
) -> None:
    own.server.kill()
    keytab = own.server._keytab
    whole = keytab.read_bytes()
    kerberos_realm.add_service("cifs/other.example.com")
    keytab.write_bytes(kerberos_realm.keytab("cifs/other.example.com").read_bytes())
    try:
        own.server.start()
        own.tickets.discarded.clear()
        with pytest.raises(CredentialRejected):
            await own.call(ALICE, "list-directory")
        assert own.tickets.discarded == ["cifs/localhost"]
    finally:
        keytab.write_bytes(whole)


async def test_a_connection_is_not_used_for_longer_than_its_ticket(own: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await reads_hers(own)
    (idle,) = [held for kept in own.shares._pool._idle.values() for held in kept]
    first = idle.connection
    first.expires_at = time.time() - 1
    await reads_hers(own)
    assert not first.usable


async def test_a_destroyed_module_refuses_and_leaves_no_thread_and_no_socket(
    own: Stage, kerberos_realm: KerberosRealm
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    stage = Stage(own.server, own.tickets)
    for session in (ALICE, BOB):
        await stage.call(session, "list-directory")
    await stage.shares.destroy()
    await stage.shares.destroy()
    with pytest.raises(DownstreamUnavailable):
        await stage.call(ALICE, "list-directory")
    for _ in range(50):
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith("msg_worker")]
        if not names and len(os.listdir("/proc/self/fd")) <= before:
            break
        await asyncio.sleep(0.05)
    assert not [name for name in names if str(own.server.port) in name]
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_twenty_users_at_once_are_each_themselves(own: Stage, kerberos_realm: KerberosRealm) -> None:
    names = [f"user{number:02}" for number in range(20)]
    kerberos_realm.add_users(*names)
    own.server.add_users(*names)
    for name in names:
        own.server.write(f"of/{name}", name.encode(), owner=name)
    stage = Stage(own.server, own.tickets, pool=SharePoolSettings(total=8, wait_seconds=20))

    async def each(name: str, other: str) -> None:
        for _ in range(3):
            data = await stage.data(user(name), "read-file", f"of/{name}")
            assert data["contents"] == name
            result = await stage.call(user(name), "file-info", path=f"//localhost/files/of/{name}")
            assert result.receipt.details["account"] == f"EXAMPLE\\{name}"
            with pytest.raises(ActasError):
                await stage.call(user(name), "read-file", path=f"//localhost/files/of/{other}")

    await asyncio.gather(*(each(name, names[number - 1]) for number, name in enumerate(names)))
    await stage.shares.destroy()
