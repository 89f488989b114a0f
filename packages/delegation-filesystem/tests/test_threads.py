"""Work that hangs: its caller, other users, and the end of the server do not wait for it."""

import asyncio
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from files_gateway import ALICE, BOB, Ground, Way, gateway
from hanging import hanging

from actas.core import DelegationTimeout, DownstreamUnavailable
from actas.delegation.filesystem import service
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.failures import Busy
from actas.delegation.filesystem.settings import LimitSettings
from actas.delegation.filesystem.threads import Threads

pytestmark = pytest.mark.anyio


def working() -> list[str]:
    """The threads in which files are opened."""
    names = [each.name for each in threading.enumerate()]
    return [each for each in names if each.startswith("actas-files-") and not each.startswith("actas-files-health")]


def soon(seconds: float = 30.0) -> float:
    return time.monotonic() + seconds


async def test_a_disk_that_hangs_under_one_folder_stops_one_user(ground: Ground, way: Way) -> None:
    limits = LimitSettings(workers=4, workers_per_user=2)
    with hanging(ground.alice):
        async with gateway(ground, way, limits=limits) as files:
            quick = replace(files.module.actions[1], timeout=0.3)
            files.pipeline.registry._actions["files"]["read"] = quick
            codes = await asyncio.gather(*(files.code("read", path="x") for _ in range(8)))
            assert set(codes) == {"timeout"}
            for _ in range(10):
                assert await files.text("notes.txt", BOB) == "notes of bob\n"
            assert len(working()) <= 4
            cancelled = asyncio.ensure_future(files.call("list"))
            await asyncio.sleep(0.05)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
    for _ in range(100):
        if not working():
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError("threads that came back did not end")


async def test_a_base_that_hangs_is_unhealthy_in_time_and_is_asked_by_one_thread(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actas.delegation.filesystem import service

    monkeypatch.setattr(service, "_HEALTH_SECONDS", 1.0)
    async with gateway(ground) as files:
        with hanging(ground.base):
            before = threading.active_count()
            answers = await asyncio.gather(*(files.module.health_check() for _ in range(3)))
            assert [each.healthy for each in answers] == [False] * 3
            assert threading.active_count() <= before + 1
        for _ in range(100):
            if (await files.module.health_check()).healthy:
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("it did not come back")


def test_a_server_ends_though_a_thread_hangs(ground: Ground) -> None:
    script = f"""
import asyncio, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from files_gateway import *
async def main():
    ground = Ground.__new__(Ground)
    ground.base = Path({str(ground.base)!r})
    files = Gateway(ground.settings())
    call = asyncio.ensure_future(files.call("list"))
    await asyncio.sleep(0.5)
    assert not call.done()
    call.cancel()
    await files.module.destroy()
asyncio.run(main())
"""
    with hanging(ground.alice):
        done = subprocess.run([sys.executable, "-c", script], timeout=30, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


async def test_places_are_bounded_in_all_and_for_each_user() -> None:
    threads = Threads(3, 2, "test-threads")
    at_once = {"alice": 0, "bob": 0}
    most = dict(at_once)
    lock = threading.Lock()

    async def one(user: str) -> None:
        def work(budget: Budget) -> None:
            with lock:
                at_once[user] += 1
                most[user] = max(most[user], at_once[user])
            time.sleep(0.02)
            with lock:
                at_once[user] -= 1

        await threads.run(user, work, soon())

    await asyncio.gather(*(one(user) for user in ("alice", "bob") for _ in range(10)))
    assert most["alice"] <= 2 and most["bob"] <= 2 and sum(most.values()) >= 3
    assert len([each for each in threading.enumerate() if each.name.startswith("test-threads")]) <= 3
    assert threads._of_user == {} and not threads._using
    threads.close()


async def test_who_finds_no_place_is_told_so_and_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from actas.delegation.filesystem import threads as module

    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.1)
    threads, held = Threads(2, 1, "test-places"), threading.Event()
    first = asyncio.ensure_future(threads.run("alice", lambda budget: held.wait(10), soon()))
    await asyncio.sleep(0.02)
    with pytest.raises(Busy):
        await threads.run("alice", lambda budget: None, soon())
    second = asyncio.ensure_future(threads.run("bob", lambda budget: held.wait(10), soon()))
    await asyncio.sleep(0.02)
    with pytest.raises(Busy):
        await threads.run("carol", lambda budget: None, soon())
    waiting = [asyncio.ensure_future(threads.run("alice", lambda budget: None, soon())) for _ in range(40)]
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(each, Busy) for each in ended)
    assert any("already" in str(each.detail) for each in ended if isinstance(each, Busy))
    held.set()
    await asyncio.gather(first, second)
    threads.close()


async def test_work_is_told_to_stop_when_time_is_up_or_nobody_waits() -> None:
    threads = Threads(2, 2, "test-stop")
    told = threading.Event()

    def work(budget: Budget) -> None:
        try:
            while True:
                budget.check()
                time.sleep(0.005)
        finally:
            told.set()

    with pytest.raises(DelegationTimeout):
        await threads.run("alice", work, soon(0.05))
    assert told.wait(5)
    told.clear()
    call = asyncio.ensure_future(threads.run("alice", work, soon()))
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert told.wait(5)
    told.clear()
    call = asyncio.ensure_future(threads.run("alice", work, soon()))
    await asyncio.sleep(0.05)
    threads.close()
    with pytest.raises(DelegationTimeout):
        await call
    with pytest.raises(DownstreamUnavailable):
        await threads.run("alice", work, soon())


async def test_a_thread_that_cannot_be_started_costs_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Threads(2, 1, "test-none")

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", start)
        for _ in range(4):
            with pytest.raises(Busy):
                await threads.run("alice", lambda budget: 7, soon())
    assert await threads.run("alice", lambda budget: 7, soon()) == 7
    assert not threads._using and not threads._at_work
    threads.close()


async def test_who_waited_when_it_was_closed_begins_nothing() -> None:
    threads = Threads(1, 1, "test-closed")
    ran: list[str] = []

    def work(budget: Budget) -> None:
        while True:
            budget.check()
            time.sleep(0.005)

    first = asyncio.ensure_future(threads.run("alice", work, soon()))
    await asyncio.sleep(0.05)
    second = asyncio.ensure_future(threads.run("bob", lambda budget: ran.append("bob"), soon()))
    await asyncio.sleep(0.05)
    threads.close()
    ended = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(each) for each in ended] == [DelegationTimeout, DownstreamUnavailable] and not ran
    assert threads._of_user == {} and not threads._using
    for _ in range(100):
        if not any(each.name.startswith("test-closed") for each in threading.enumerate()):
            break
        await asyncio.sleep(0.02)
    assert not [each for each in threading.enumerate() if each.name.startswith("test-closed")]


async def test_a_member_of_a_group_does_not_fill_its_queue_for_the_others(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = service.carry_out

    def slow(*given: Any) -> Any:
        time.sleep(0.05)
        return real(*given)

    monkeypatch.setattr(service, "carry_out", slow)
    (ground.base / "team").mkdir()
    alice, bob = (replace(each, role="team") for each in (ALICE, BOB))
    async with gateway(ground, root=f"{ground.base}/{{group}}", groups=["team"]) as files:
        many = [asyncio.ensure_future(files.call("list", alice)) for _ in range(30)]
        await asyncio.sleep(0.01)
        await files.call("list", bob)
        assert sum(each.done() for each in many) < 10, "bob's turn comes before all that alice asked for"
        await asyncio.gather(*many)


async def test_what_work_raises_is_raised_where_it_is_waited_for() -> None:
    threads = Threads(1, 1, "test-errors")

    def work(budget: Budget) -> None:
        raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await threads.run("alice", work, soon())
    with pytest.raises(SystemExit):
        await threads.run("alice", lambda budget: sys.exit(1), soon())
    assert await threads.run("alice", lambda budget: 7, soon()) == 7
    threads.close()


def test_a_budget_calls_who_cannot_ask() -> None:
    called: list[int] = []
    budget = Budget(soon())
    with budget.stopping(lambda: called.append(1)):
        pass
    budget.stop()
    assert called == [], "the work was over"
    with budget.stopping(lambda: called.append(2)):
        assert called == [2], "it had been stopped before"
    budget = Budget(soon())
    with budget.stopping(lambda: called.append(3)):
        budget.stop()
    assert called == [2, 3] and ALICE.subject
