"""Threads: a bounded number, nobody waits too long, and none of them keeps anything from ending."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest
from kerberos_stage import GATEWAY, settings_for

from actas.delegation.kerberos.workers import Workers
from actas.testing.kdc import KerberosRealm

pytestmark = pytest.mark.anyio

SOON = 0.1


def soon() -> float:
    return time.monotonic() + SOON


async def test_what_is_given_or_raised_comes_back() -> None:
    workers = Workers(1, "test")
    assert await workers.run(lambda: 7, time.monotonic() + 5, "alice") == 7
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 // 0, time.monotonic() + 5, "alice")
    assert await workers.run(threading.current_thread, time.monotonic() + 5, "alice") is not threading.current_thread()


async def test_one_that_hangs_keeps_its_place_and_nobody_waits_too_long() -> None:
    workers, done = Workers(2, "test"), threading.Event()
    for user in ("alice", "bob"):
        with pytest.raises(TimeoutError):
            await workers.run(done.wait, soon(), user)
    begun: list[int] = []
    with pytest.raises(TimeoutError):
        await workers.run(lambda: begun.append(1), soon(), "carol")
    assert not begun, "there was no place"
    done.set()
    await workers.run(lambda: begun.append(2), time.monotonic() + 5, "alice")
    assert begun == [2]


async def test_one_user_whose_realm_hangs_takes_a_part_of_the_threads() -> None:
    workers, done = Workers(8, "test"), threading.Event()
    hanging = [asyncio.ensure_future(workers.run(done.wait, soon(), "alice")) for _ in range(20)]
    await asyncio.wait(hanging)
    assert await asyncio.gather(*(workers.run(lambda: 7, time.monotonic() + 5, "bob") for _ in range(20))) == [7] * 20
    for user in ("carol", "dave", "erin"):
        with pytest.raises(TimeoutError):
            await workers.run(done.wait, soon(), user)
    assert await workers.run(lambda: 7, time.monotonic() + 5, "bob") == 7
    done.set()
    assert await workers.run(lambda: 7, time.monotonic() + 5, "alice") == 7
    await asyncio.sleep(0.05)
    assert not workers._using and not workers._of_user


async def test_who_is_cancelled_while_waiting_takes_no_place() -> None:
    workers, done = Workers(1, "test"), threading.Event()
    first = asyncio.ensure_future(workers.run(done.wait, time.monotonic() + 5, "alice"))
    await asyncio.sleep(0.01)
    second = asyncio.ensure_future(workers.run(lambda: None, time.monotonic() + 5, "alice"))
    await asyncio.sleep(0.01)
    second.cancel()
    first.cancel()
    done.set()
    assert await workers.run(lambda: 7, time.monotonic() + 5, "alice") == 7


async def test_nothing_begins_when_it_is_closed() -> None:
    workers = Workers(1, "test")
    workers.close()
    with pytest.raises(TimeoutError):
        await workers.run(lambda: 7, time.monotonic() + 5, "alice")


HANGING = """
import asyncio, sys
from actas.delegation.kerberos.module import KerberosDelegation
from actas.delegation.kerberos.settings import KerberosSettings, LimitSettings

async def main():
    module = KerberosDelegation(KerberosSettings(
        principal=sys.argv[1], keytab=sys.argv[2], targets=["HTTP/localhost"], limits=LimitSettings(kdc_seconds=0.3)
    ))
    print((await module.health_check()).healthy)
    await module.destroy()

asyncio.run(main())
"""


def test_a_kdc_that_hangs_keeps_no_process_from_ending(own_realm: KerberosRealm) -> None:
    own_realm.freeze()
    settings = settings_for(own_realm)
    command = [sys.executable, "-c", HANGING, own_realm.principal(GATEWAY), settings.keytab]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (0, "False\n"), ended.stderr
