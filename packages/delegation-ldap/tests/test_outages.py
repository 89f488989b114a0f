"""Servers that go, come back, freeze or say no: bounded, told as it is, and over by itself."""

import asyncio
import socket
import threading
import time

import pytest
from ldap_directory import ask, call_of, code, data, dn, find, module_for, uids

from actas.core import DelegationTimeout, DownstreamUnavailable
from actas.delegation.ldap.actions import Change, Modify, WhoAmI
from actas.delegation.ldap.connections import Connections
from actas.delegation.ldap.link import Link
from actas.delegation.ldap.settings import LimitSettings, PoolSettings
from actas.testing.slapd import Slapd

pytestmark = pytest.mark.anyio


async def test_a_dead_directory_is_told_and_it_comes_back_by_itself(own_directory: Slapd) -> None:
    module = module_for(own_directory)
    await module.initialize()
    await ask(module, "alice", WhoAmI())
    own_directory.kill()
    assert await code(module, "alice", WhoAmI()) == "ldap_server_away"
    assert not (await module.health_check()).healthy
    own_directory.start()
    assert (await module.health_check()).healthy
    assert uids(await data(module, "alice", find(filter="(uid=bob)"))) == ["bob"]
    await module.destroy()


async def test_connections_that_a_restart_broke_are_not_noticed_by_anybody(own_directory: Slapd) -> None:
    module = module_for(own_directory, writable=["mobile"])
    await asyncio.gather(*(ask(module, who, WhoAmI()) for who in ("alice", "bob") * 4))
    own_directory.restart()
    change = Modify(changes=[Change(operation="replace", attribute="mobile", values=["1"])])
    await asyncio.gather(*(ask(module, who, what) for who in ("alice", "bob") * 4 for what in (WhoAmI(), change)))
    await module.destroy()


async def test_the_next_server_is_taken_and_kept(own_directory: Slapd, directory: Slapd) -> None:
    both = own_directory.folder / "both.crt"
    both.write_text(own_directory.authority.certificate.read_text() + directory.authority.certificate.read_text())
    urls = [own_directory.ldaps_url, directory.ldaps_url]
    module = module_for(own_directory, urls=urls, ca_file=str(both), pool=PoolSettings(connect_seconds=0.5))
    await module.initialize()
    own_directory.freeze()  # takes connections, and answers nothing
    limits = LimitSettings(seconds=3)
    frozen = module_for(
        own_directory, urls=urls, ca_file=str(both), pool=PoolSettings(connect_seconds=0.5), limits=limits
    )
    started = time.monotonic()
    await ask(frozen, "alice", WhoAmI())
    first = time.monotonic() - started
    started = time.monotonic()
    await ask(frozen, "bob", WhoAmI())
    assert time.monotonic() - started < first, "the second call does not try the frozen one again"
    own_directory.thaw()
    own_directory.kill()
    assert uids(await data(module, "alice", find(filter="(uid=alice)"))) == ["alice"]
    for each in (frozen, module):
        await each.destroy()


async def test_a_frozen_directory_costs_a_call_its_time_and_no_more(own_directory: Slapd) -> None:
    module = module_for(own_directory, limits=LimitSettings(seconds=0.5))
    await ask(module, "alice", WhoAmI())
    own_directory.freeze()
    started = time.monotonic()
    with pytest.raises(DelegationTimeout):
        await ask(module, "alice", WhoAmI())
    assert time.monotonic() - started < 3
    own_directory.thaw()
    await ask(module, "alice", WhoAmI())
    await module.destroy()


async def test_a_call_that_is_given_up_frees_its_thread_and_its_connection_at_once(own_directory: Slapd) -> None:
    module = module_for(own_directory, pool=PoolSettings(total=2, wait_seconds=1, connect_seconds=0.3))
    await asyncio.gather(ask(module, "alice", WhoAmI()), ask(module, "bob", WhoAmI()))
    own_directory.freeze()
    calls = [asyncio.ensure_future(ask(module, who, WhoAmI())) for who in ("alice", "bob")]
    await asyncio.sleep(0.2)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    assert all(call.cancelled() for call in calls)
    assert await code(module, "alice", WhoAmI()) == "ldap_server_away", "there is a place for it to try"
    own_directory.thaw()
    await asyncio.gather(*(ask(module, who, WhoAmI()) for who in ("alice", "bob")))
    await module.destroy()


async def test_who_waits_too_long_or_is_one_too_many_is_told(own_directory: Slapd) -> None:
    module = module_for(own_directory, pool=PoolSettings(total=1, waiting=1, wait_seconds=0.3))
    await ask(module, "alice", WhoAmI())
    own_directory.freeze()
    blocking = asyncio.ensure_future(ask(module, "alice", WhoAmI()))
    await asyncio.sleep(0.05)
    waiting = asyncio.ensure_future(code(module, "bob", WhoAmI()))
    await asyncio.sleep(0.05)
    assert await code(module, "bob", WhoAmI()) == "ldap_pool_exhausted", "one may wait"
    assert await waiting == "ldap_pool_exhausted", "and not for long"
    own_directory.thaw()
    await blocking
    await module.destroy()


async def test_one_user_cannot_take_all_connections(own_directory: Slapd) -> None:
    module = module_for(own_directory, pool=PoolSettings(total=4), limits=LimitSettings(calls_per_user=2, seconds=3))
    own_directory.freeze()
    greedy = [asyncio.ensure_future(code(module, "alice", WhoAmI())) for _ in range(10)]
    await asyncio.sleep(0.1)
    own_directory.thaw()
    await ask(module, "bob", WhoAmI())
    assert set(await asyncio.gather(*greedy)) == {"done"}
    await module.destroy()


async def test_a_change_whose_fate_is_unknown_is_not_made_twice(own_directory: Slapd) -> None:
    module = module_for(own_directory, writable=["description"], limits=LimitSettings(seconds=0.5))
    await ask(module, "alice", WhoAmI())
    own_directory.freeze()
    change = Modify(changes=[Change(operation="add", attribute="description", values=["once"])])
    with pytest.raises((DelegationTimeout, DownstreamUnavailable)):
        await module.delegate(call_of(module, "alice", change))
    own_directory.thaw()
    await ask(module, "alice", WhoAmI())
    assert own_directory.search(f"uid={dn('alice')[4:9]}").count("description: once") <= 1
    await module.destroy()


async def test_idle_connections_are_closed_and_old_ones_not_used_again(own_directory: Slapd) -> None:
    module = module_for(own_directory, pool=PoolSettings(idle_seconds=0.2))
    await ask(module, "alice", WhoAmI())
    for _ in range(100):
        if own_directory.read_log().count("closed (unbind)") or "UNBIND" in own_directory.read_log():
            break
        await asyncio.sleep(0.05)
    assert "UNBIND" in own_directory.read_log()
    await module.destroy()
    module = module_for(own_directory, pool=PoolSettings(lifetime_seconds=0.01))
    before = own_directory.read_log().count(" BIND dn=")
    for _ in range(3):
        await ask(module, "alice", WhoAmI())
        await asyncio.sleep(0.05)
    assert own_directory.read_log().count(" BIND dn=") - before >= 3
    await module.destroy()


@pytest.mark.parametrize("turns", range(6))
async def test_who_is_cancelled_as_his_work_ends_breaks_nobody_elses_connection(turns: int) -> None:
    """It may be the next one's already: the gateway's own connections are everybody's."""
    pool = Connections(PoolSettings(total=1))
    ends: list[socket.socket] = []
    ended = threading.Event()

    def opened() -> Link:
        ours, theirs = socket.socketpair()
        ends.append(theirs)
        return Link(ours)

    def broken(link: Link) -> bool:
        time.sleep(0.1)
        return link.broken

    until = time.monotonic() + 10
    first = asyncio.create_task(pool.run("x", opened, lambda link: ended.wait(5), until, fresh=False))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(pool.run("x", opened, broken, until, fresh=False))
    await asyncio.sleep(0.05)
    ended.set()
    time.sleep(0.1)  # noqa: ASYNC251 -- the thread has ended, and the loop has yet to hear of it
    for _ in range(turns):
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    assert await second is False
    await pool.close()
    for end in ends:
        end.close()


async def test_what_was_refused_for_want_of_a_thread_is_not_done_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor keeps it in its queue: a change would be made of which was said that it was not."""
    pool, done = Connections(PoolSettings()), list[str]()

    def opened() -> Link:
        here, there = socket.socketpair()
        there.close()
        return Link(here)

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def run(what: str) -> None:
        await pool.run("the gateway", opened, lambda link: done.append(what), time.monotonic() + 5, fresh=True)

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", start)
        with pytest.raises(DownstreamUnavailable):
            await run("refused")
    await run("done")
    assert done == ["done"] and not pool._busy
    await pool.close()
