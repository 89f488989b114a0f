"""The pool: whose connections there are, how many, how long, and what happens when the server goes away."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest
from sql_gateway import Gateway, gateway_to, settings_for

from actas.core.errors import DelegationTimeout, DownstreamUnavailable
from actas.delegation.sql.actions import Query
from actas.delegation.sql.failures import PoolExhausted
from actas.delegation.sql.settings import LimitSettings, PoolSettings, SqlSettings
from actas.testing.postgres import DebianPostgres, PostgresServer

pytestmark = pytest.mark.anyio
Admin = psycopg.Connection
SLOW = "SELECT count(*) FROM generate_series(1, 100000000000)"
DEAF = "SELECT strpos(repeat('a', 1000000), 'b' || repeat('a', 5000))"
BACKEND = "SELECT pid FROM pg_stat_activity WHERE usename = session_user AND query LIKE 'SELECT pid FROM%xact_start%'"
BACKEND += " AND xact_start = transaction_timestamp()"  # this very call's: others' may still be ending


async def _eventually(condition: Callable[[], bool]) -> None:
    """Wait for what others bring about, as long as a busy machine may need."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come about")


def _active(admin: Admin, user: str = "alice") -> int:
    found = admin.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND state = 'active'", [user]
    ).fetchone()
    assert found
    return found[0]


def _logins(admin: Admin) -> int:
    found = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'actas'").fetchone()
    assert found
    return found[0]


async def test_a_users_connection_is_used_again_and_only_by_that_user(gateway: Gateway) -> None:
    first = {user: await gateway.value(BACKEND, user) for user in ("alice", "bob")}
    again = {user: await gateway.value(BACKEND, user) for user in ("bob", "alice")}
    assert again == first
    assert first["alice"] != first["bob"]


async def test_a_user_has_no_more_connections_than_allowed(settings: SqlSettings, admin: Admin) -> None:
    async with gateway_to(settings, pool=PoolSettings(per_user=2, wait_seconds=20.0)) as gateway:
        await asyncio.gather(*(gateway.query("SELECT count(*) FROM generate_series(1, 50000)") for _ in range(12)))
        assert gateway.module._pool.of("alice") == 2
        assert _logins(admin) == 2


async def test_the_least_recently_used_idle_connection_makes_room(settings: SqlSettings, admin: Admin) -> None:
    async with gateway_to(settings, pool=PoolSettings(total=3)) as gateway:
        for number in range(8):
            await gateway.query("SELECT 1", f"user{number}")
        pool = gateway.module._pool
        assert pool.open == 3
        assert [pool.of(f"user{number}") for number in range(8)] == [0, 0, 0, 0, 0, 1, 1, 1]
        await gateway.query("SELECT 1", "user5")
        await gateway.query("SELECT 1", "user0")
        assert [pool.of(f"user{number}") for number in (5, 6, 7, 0)] == [1, 0, 1, 1]


async def test_who_waits_too_long_for_a_connection_is_told_so(settings: SqlSettings) -> None:
    pool = PoolSettings(total=1, wait_seconds=0.2)
    async with gateway_to(settings, pool=pool) as gateway:
        busy = asyncio.create_task(gateway.query(SLOW))
        await asyncio.sleep(0.1)
        for user in ("alice", "bob"):
            with pytest.raises(PoolExhausted) as refused:
                await gateway.query("SELECT 1", user)
            assert refused.value.code == "sql_busy"
        busy.cancel()
        with pytest.raises(asyncio.CancelledError):
            await busy
        await _eventually(lambda: gateway.module._pool.open == 0)
        assert await gateway.value("SELECT 1", "bob") == 1


async def test_no_more_calls_wait_than_allowed(settings: SqlSettings) -> None:
    pool = PoolSettings(total=1, waiting=2, wait_seconds=1.0)
    async with gateway_to(settings, pool=pool, limits=LimitSettings(seconds=0.5)) as gateway:
        tasks = [asyncio.create_task(gateway.query(SLOW)) for _ in range(5)]
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(error, PoolExhausted) for error in done) >= 2


async def test_a_waiter_that_is_cancelled_leaves_its_turn_to_the_next(settings: SqlSettings) -> None:
    async with gateway_to(settings, pool=PoolSettings(total=1, wait_seconds=10.0)) as gateway:
        first = asyncio.create_task(gateway.query("SELECT count(*) FROM generate_series(1, 2000000)"))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(gateway.query("SELECT 1", "bob"))
        third = asyncio.create_task(gateway.query("SELECT 1", "user1"))
        await asyncio.sleep(0.05)
        second.cancel()
        assert (await third)["rows"] == [[1]]
        await first
        with pytest.raises(asyncio.CancelledError):
            await second


async def test_an_idle_connection_is_closed_in_time(settings: SqlSettings, admin: Admin) -> None:
    async with gateway_to(settings, pool=PoolSettings(idle_seconds=0.2)) as gateway:
        await gateway.query("SELECT 1")
        assert gateway.module._pool.open == 1
        await _eventually(lambda: gateway.module._pool.open == 0 and _logins(admin) == 0)


async def test_a_connection_that_the_server_closed_is_replaced(gateway: Gateway, admin: Admin) -> None:
    first = await gateway.value(BACKEND)
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'alice'")
    await _eventually(lambda: _logins(admin) == 0)
    await asyncio.sleep(0.2)  # the good-bye is on its way
    assert await gateway.value(BACKEND) != first


async def test_a_connection_lost_in_the_middle_is_an_error_and_the_next_call_works(
    gateway: Gateway, admin: Admin
) -> None:
    running = asyncio.create_task(gateway.query(SLOW))
    await _eventually(lambda: _active(admin) == 1)
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'alice'")
    with pytest.raises(DownstreamUnavailable) as lost:
        await running
    assert "terminating" not in lost.value.message
    assert await gateway.value("SELECT 1") == 1


async def test_a_restart_of_the_server_is_survived(server: PostgresServer, settings: SqlSettings) -> None:
    async with gateway_to(settings) as gateway:
        for user in ("alice", "bob"):
            await gateway.query("SELECT 1", user)
        assert (await gateway.module.health_check()).healthy
        server.halt("immediate")
        try:
            health = await gateway.module.health_check()
            assert not health.healthy
            assert str(settings.port) not in health.message
            with pytest.raises(DownstreamUnavailable) as down:
                await gateway.query("SELECT 1")
            assert settings.host not in down.value.message
        finally:
            server.start()
        assert (await gateway.module.health_check()).healthy
        for user in ("alice", "bob"):
            assert await gateway.value("SELECT session_user", user) == user


async def test_nothing_is_left_on_the_server_after_destroy(settings: SqlSettings, admin: Admin) -> None:
    async with gateway_to(settings) as gateway:
        await asyncio.gather(*(gateway.query("SELECT 1", f"user{number}") for number in range(5)))
        running = asyncio.create_task(gateway.query(SLOW))
        await _eventually(lambda: _active(admin) == 1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await gateway.module.destroy()
        await gateway.module.destroy()
        with pytest.raises(DownstreamUnavailable):
            await gateway.query("SELECT 1")
    await _eventually(lambda: _logins(admin) == 0)


async def test_the_environment_cannot_change_where_and_how_we_connect(
    settings: SqlSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = {
        "PGHOST": "192.0.2.1",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGUSER": "postgres",
        "PGDATABASE": "postgres",
        "PGPASSWORD": "SECRET",
        "PGOPTIONS": "-c search_path=own",
        "PGSSLMODE": "disable",
        "PGREQUIREAUTH": "password",
        "PGTARGETSESSIONATTRS": "read-only",
        "PGCLIENTENCODING": "LATIN1",
        "PGAPPNAME": "SECRET",
    }
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    async with gateway_to(settings) as gateway:
        shown = await gateway.rows("SELECT session_user, current_database(), '2026-01-31'::date, 'ü€'")
        assert shown == [["alice", "app", "2026-01-31", "ü€"]]
        assert await gateway.value("SELECT count(*) FROM notes") == 2
        assert (await gateway.module.health_check()).healthy


async def test_a_server_that_another_authority_vouches_for_is_unhealthy(debian_postgres: DebianPostgres) -> None:
    trusted = settings_for(debian_postgres)
    assert trusted.tls
    ours = str(debian_postgres.gateway.certificate)
    for tls, healthy in ((trusted.tls, True), (replace(trusted.tls, ca_file=ours), False)):
        async with gateway_to(replace(trusted, tls=tls)) as gateway:
            assert (await gateway.module.health_check()).healthy is healthy


async def test_a_connection_counts_until_the_server_has_ended_what_it_does(settings: SqlSettings, admin: Admin) -> None:
    async with gateway_to(settings, pool=PoolSettings(per_user=1, wait_seconds=0.2)) as gateway:
        with pytest.raises(DelegationTimeout):
            await gateway.call(Query(sql=DEAF), seconds=0.3)
        with pytest.raises(PoolExhausted):
            await gateway.query("SELECT 1")
        for _ in range(500):
            counted, running = gateway.module._pool.of("alice"), _logins(admin)
            assert counted >= running
            if not counted:
                break
            await asyncio.sleep(0.02)
        assert _logins(admin) == 0
        assert await gateway.value("SELECT 1") == 1


async def test_a_connection_that_the_server_does_not_end_in_time_is_given_up_loudly(
    settings: SqlSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("actas.delegation.sql.connections._GOODBYE_SECONDS", 0.1)
    async with gateway_to(settings, pool=PoolSettings(per_user=1)) as gateway:
        with pytest.raises(DelegationTimeout):
            await gateway.call(Query(sql=DEAF), seconds=0.3)
        assert await gateway.value("SELECT 1") == 1
        assert [record.levelname for record in caplog.records if "does not stop" in record.message] == ["ERROR"]


async def test_a_user_cannot_fill_the_queue(settings: SqlSettings) -> None:
    pool = PoolSettings(total=1, waiting=4, waiting_per_user=2, wait_seconds=5.0)
    async with gateway_to(settings, pool=pool, limits=LimitSettings(seconds=0.5)) as gateway:
        tasks = [asyncio.create_task(gateway.query(SLOW)) for _ in range(3)]
        await asyncio.sleep(0.1)
        with pytest.raises(PoolExhausted):
            await gateway.query("SELECT 1")
        assert await gateway.value("SELECT 1", "bob") == 1
        await asyncio.gather(*tasks, return_exceptions=True)
