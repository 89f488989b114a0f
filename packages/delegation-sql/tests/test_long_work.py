"""Work that is given up ends on the server, for every identity; and no cancel ever hits the next statement."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sql_gateway import Gateway, gateway_to
from sql_ways import Way

from actas.core.errors import DelegationTimeout
from actas.delegation.sql.actions import Query
from actas.delegation.sql.settings import LimitSettings, PoolSettings, SqlSettings

pytestmark = pytest.mark.anyio
Admin = psycopg.Connection
ENDLESS = "SELECT count(*) AS endless FROM generate_series(1, 100000000000)"
BRIEF = "SELECT count(*) AS brief FROM generate_series(1, 20000)"


def running(admin: Admin, text: str = "endless") -> int:
    found = admin.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s AND pid <> pg_backend_pid()",
        [f"%AS {text}%"],
    ).fetchone()
    assert found
    return found[0]


async def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- the server tells nobody
            await asyncio.sleep(0.01)


async def test_what_its_caller_gave_up_is_gone_from_the_server(way: Way, way_admin: Admin) -> None:
    async with gateway_to(way.settings) as gateway:
        task = asyncio.create_task(gateway.query(ENDLESS))
        await eventually(lambda: running(way_admin) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: running(way_admin) == 0)
        assert await gateway.value("SELECT count(*) FROM generate_series(1, 100000)") == 100000


async def test_what_took_longer_than_the_call_has_is_gone_from_the_server(way: Way, way_admin: Admin) -> None:
    async with gateway_to(way.settings) as gateway:
        with pytest.raises(DelegationTimeout):
            await gateway.call(Query(sql=ENDLESS), seconds=0.5)
        await eventually(lambda: running(way_admin) == 0)


async def test_the_servers_own_clock_ends_it_where_ours_does_not(settings: SqlSettings, admin: Admin) -> None:
    async with gateway_to(settings, limits=LimitSettings(seconds=0.3)) as gateway:
        with pytest.raises(DelegationTimeout) as told:
            await gateway.query(ENDLESS)
        assert told.value.message.endswith("it took too long and was cancelled; ask for less.")
        assert running(admin) == 0


async def test_a_cancel_never_hits_the_next_statement(way: Way) -> None:
    """One connection at a time, calls that end and are given up at the same moment, and another one right behind."""
    chance = random.Random(7)
    async with gateway_to(way.settings, pool=PoolSettings(per_user=2, wait_seconds=20.0)) as gateway:
        for _ in range(40):
            first = asyncio.create_task(gateway.query(BRIEF))
            await asyncio.sleep(chance.random() * 0.012)
            first.cancel()
            following = [asyncio.create_task(gateway.query(BRIEF)) for _ in range(2)]
            await asyncio.gather(first, return_exceptions=True)
            for each in following:
                assert (await each)["rows"] == [[20000]]


async def test_a_write_that_was_given_up_left_nothing_or_all_and_the_connection_is_not_used_again(
    gateway: Gateway, admin: Admin
) -> None:
    write = ("sql:read", "sql:write")
    text = "INSERT INTO notes (body) SELECT 'given up' FROM generate_series(1, 300000) RETURNING id"
    for seconds in (0.02, 0.1):
        task = asyncio.create_task(gateway.query(text, "alice", write))
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await eventually(lambda: gateway.module._pool.open == 0)
        found: Any = admin.execute("SELECT count(*) FROM notes WHERE body = 'given up'").fetchone()
        assert found[0] in (0, 300000)
        admin.execute("DELETE FROM notes WHERE body = 'given up'")
