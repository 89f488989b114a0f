"""SQL Server: what nobody waits for any more ends at once, and pymssql's other users are left alone."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pymssql
import pytest
from mssql_stage import BOB, PASSWORD, ask
from pymssql import _mssql

from actas.core.errors import DelegationTimeout, DownstreamUnavailable
from actas.delegation.sql.mssql import waiting
from actas.delegation.sql.mssql.connections import Connections
from actas.delegation.sql.mssql.module import MssqlDelegation
from actas.delegation.sql.mssql.settings import MssqlSettings
from actas.delegation.sql.mssql.tls import section
from actas.delegation.sql.settings import LimitSettings, PoolSettings
from actas.testing.tds import TdsPeer

pytestmark = pytest.mark.anyio
SLOW = "SELECT a FROM slow"
"""20 s at the peer, unless its connection ends."""


async def closed(peer: TdsPeer) -> None:
    for _ in range(300):
        if all(seen.closed for seen in peer.connections):
            return
        await asyncio.sleep(0.01)
    pytest.fail("the statement still runs")


async def test_a_call_that_is_cancelled_ends_its_statement_and_gives_its_place_to_the_next(
    mssql_settings: MssqlSettings, tds_peer: TdsPeer
) -> None:
    module = MssqlDelegation(replace(mssql_settings, pool=PoolSettings(total=1, per_user=1, wait_seconds=3.0)))
    slow = asyncio.create_task(ask(module, SLOW))
    await asyncio.sleep(0.3)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert (await ask(module, "SELECT 1", BOB)).receipt.identity == "bob"
    await module.destroy()
    await closed(tds_peer)


async def test_so_does_one_whose_time_is_up_and_one_whose_module_is_destroyed(
    mssql_settings: MssqlSettings, tds_peer: TdsPeer
) -> None:
    module = MssqlDelegation(mssql_settings)
    with pytest.raises(DelegationTimeout):
        await ask(module, SLOW, seconds=0.3)
    await closed(tds_peer)
    slow = asyncio.create_task(ask(module, SLOW))
    await asyncio.sleep(0.3)
    await module.destroy()
    with pytest.raises(DownstreamUnavailable):
        await slow
    await closed(tds_peer)


async def test_the_limit_is_each_modules_own(mssql_settings: MssqlSettings, tds_peer: TdsPeer) -> None:
    """FreeTDS has one for the process, and the module that connected last sets it."""
    short = MssqlDelegation(replace(mssql_settings, limits=LimitSettings(seconds=1)))
    long = MssqlDelegation(replace(mssql_settings, limits=LimitSettings(seconds=60)))
    await ask(short, "SELECT 1")
    await ask(long, "SELECT 1")
    with pytest.raises(DelegationTimeout) as stopped:
        await ask(short, SLOW, seconds=10)
    assert "the statement took too long" in (stopped.value.detail or "")
    for module in (short, long):
        await module.destroy()


@pytest.fixture
def another() -> Iterator[list[int]]:
    """Somebody else in this process who waits in a way of their own."""
    asked: list[int] = []
    before = _mssql.wait_callback
    _mssql.set_wait_callback(asked.append)
    yield asked
    _mssql.set_wait_callback(before)
    waiting._others.clear()


async def test_whoever_else_uses_pymssql_here_waits_as_before(
    mssql_settings: MssqlSettings, tds_peer: TdsPeer, another: list[int]
) -> None:
    module = MssqlDelegation(mssql_settings)
    await ask(module, "SELECT 1")
    ours = len(another)
    server = section(mssql_settings.host, mssql_settings.port, mssql_settings.ca_file)

    def theirs() -> None:
        with pymssql.connect(
            *(server, "gateway", PASSWORD, "shop"), port=str(tds_peer.port), conn_properties="", autocommit=True
        ) as connection:
            connection.cursor().execute("SELECT SUSER_SNAME() AS [a]")

    await asyncio.to_thread(theirs)
    assert len(another) > ours
    await module.destroy()


def test_what_was_given_up_before_it_began_is_not_waited_for() -> None:
    given_up = threading.Event()
    given_up.set()
    one, other = socket.socketpair()
    with one, other, waiting.until(given_up, 60), pytest.raises(DownstreamUnavailable):
        waiting._wait(one.fileno())


async def test_what_was_refused_for_want_of_a_thread_is_not_done_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor keeps it in its queue: a change would be made of which was said that it was not."""
    pool, done = Connections[_Connection](PoolSettings()), list[str]()
    connections: list[_Connection] = []

    def opened() -> _Connection:
        connections.append(_Connection())
        return connections[-1]

    async def opening() -> Callable[[], _Connection]:
        return opened

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def run(what: str) -> None:
        def work(connection: _Connection, given_up: threading.Event) -> _Answer:
            done.append(what)
            return _Answer()

        await pool.run("alice", work, 5.0, opening)

    for _ in range(2):  # with a connection to be opened, and with one that was kept
        with monkeypatch.context() as full:
            full.setattr(threading.Thread, "start", start)
            full.setattr(pool, "_threads", ThreadPoolExecutor(1))
            refusing = pool._threads
            with pytest.raises(DownstreamUnavailable):
                await run("refused")
        await asyncio.to_thread(refusing.submit(lambda: None).result)
        await run("done")
    assert done == ["done", "done"]
    assert [each.closed for each in connections] == [True, False]
    await pool.close()


@dataclass
class _Connection:
    closed: bool = False

    def close(self) -> None:
        self.closed = True


@dataclass
class _Answer:
    spent: bool = False
