"""What every identity must hold, on every server that can have it."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import psycopg
import pytest
from sql_gateway import READ, WRITE, Gateway, gateway_to
from sql_ways import METHODS, Way

from actas.core.errors import ConfigurationError, CredentialRejected, DelegationTimeout, PrincipalUnavailable
from actas.delegation.sql.actions import ListTables, Query, TableDetails
from actas.delegation.sql.failures import DatabaseRefused, LoginRefused, StatementFailed
from actas.delegation.sql.settings import LimitSettings, PoolSettings

pytestmark = pytest.mark.anyio
Admin = psycopg.Connection


@pytest.fixture
async def through(way: Way) -> AsyncGenerator[Gateway]:
    async with gateway_to(way.settings) as opened:
        yield opened


async def test_each_user_gets_their_own_rows_and_their_own_receipt(way: Way, through: Gateway) -> None:
    query = Query(sql="SELECT owner, current_user FROM notes")
    for user in ("alice", "bob", "alice"):
        result = await through.call(query, user)
        assert result.data["rows"] and all(row == [user] * 2 for row in result.data["rows"])
        assert (result.receipt.identity, result.receipt.method) == (user, METHODS[way.name])
        if not way.takes_a_role:
            assert await through.value("SELECT session_user", user) == user


async def test_the_database_itself_denies_alice_the_table_of_bob(through: Gateway) -> None:
    with pytest.raises(DatabaseRefused, match="42501"):
        await through.query("SELECT * FROM bobs")
    assert await through.rows("SELECT * FROM bobs", "bob") == [["SECRET of bob"]]


async def test_the_schema_tools_show_what_the_user_may_see(through: Gateway) -> None:
    for user, seen in (("alice", False), ("bob", True)):
        tables = (await through.call(ListTables(), user)).data["tables"]
        assert ("bobs" in {table["name"] for table in tables}) is seen
    assert len((await through.call(TableDetails(table="notes"))).data["columns"]) == 3


async def test_a_write_is_the_users_own_and_a_failed_one_leaves_nothing(through: Gateway, way_admin: Admin) -> None:
    wrote = await through.rows(
        "INSERT INTO notes (body) VALUES (%(body)s) RETURNING owner, body", "user3", WRITE, body="mine"
    )
    assert wrote == [["user3", "mine"]]
    with pytest.raises(DatabaseRefused, match="42501"):
        await through.query("INSERT INTO notes (owner, body) VALUES ('bob', 'forged')", "user3", WRITE)
    with pytest.raises(StatementFailed):
        await through.query("INSERT INTO notes (id) SELECT 1/0", "user3", WRITE)
    assert (await through.query("DELETE FROM notes", "user3", WRITE))["affected_rows"] == 1
    found = way_admin.execute("SELECT count(*) FROM notes WHERE body IN ('mine', 'forged')").fetchone()
    assert found == (0,)


async def test_many_calls_of_many_users_at_once_are_never_mixed_up(way: Way) -> None:
    pool = PoolSettings(total=6, per_user=2, wait_seconds=30.0, connect_seconds=20.0)
    async with gateway_to(way.settings, pool=pool) as through:

        async def one(number: int) -> None:
            user = f"user{number % 10}"
            if number % 7 == 0:
                with pytest.raises(StatementFailed):
                    await through.query("SELECT 1 / (random() * 0)::int", user)
            assert await through.rows("SELECT current_user, %(n)s::int", user, n=number) == [[user, number]]

        await asyncio.gather(*(one(number) for number in range(60)))


async def test_the_sessions_settings_are_ours_whatever_the_role_and_the_call_before_set(
    way: Way, way_admin: Admin
) -> None:
    way_admin.execute(
        "ALTER ROLE alice SET search_path = own; ALTER ROLE alice SET standard_conforming_strings = off;"
        "CREATE FUNCTION public.leave() RETURNS int LANGUAGE plpgsql AS $$ BEGIN SET search_path = own;"
        "SET DateStyle = German; SET standard_conforming_strings = off; SET request.claims = 'x'; RETURN 1; END $$"
    )
    look = (
        "SELECT '\\' || count(*), '2026-01-31'::date, (SELECT setting FROM pg_catalog.pg_show_all_settings() "
        "WHERE name = 'request.claims') FROM notes"
    )
    try:
        async with gateway_to(
            way.settings,
            pool=PoolSettings(per_user=1),
            allowed_functions=["leave", "pg_catalog.pg_show_all_settings"],
        ) as through:
            for permissions in (READ, WRITE):
                assert await through.value("SELECT leave()", "alice", permissions) == 1
                assert await through.rows(look) in ([["\\2", "2026-01-31", None]], [["\\2", "2026-01-31", ""]])
    finally:
        way_admin.execute("ALTER ROLE alice RESET ALL; DROP FUNCTION public.leave()")


async def test_a_statement_that_runs_too_long_is_stopped_on_the_server(way: Way, way_admin: Admin) -> None:
    limits = LimitSettings(seconds=0.3)
    slow = "SELECT count(*) FROM generate_series(1, 100000000000)"
    async with gateway_to(way.settings, limits=limits) as through:
        with pytest.raises(DelegationTimeout):
            await through.query(slow)
        task = asyncio.create_task(through.query("SELECT 1"))
        assert (await task)["rows"] == [[1]]
    async with gateway_to(way.settings) as through:
        task = asyncio.create_task(through.query(slow))
        await _until(way_admin, "SELECT count(*) > 0 FROM pg_stat_activity WHERE query = %s AND state = 'active'", slow)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _until(way_admin, "SELECT count(*) = 0 FROM pg_stat_activity WHERE query = %s AND state = 'active'", slow)


async def _until(admin: Admin, condition: str, *values: str) -> None:
    for _ in range(1000):
        if admin.execute(condition.encode(), values).fetchone() == (True,):
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come about")


async def test_nobody_but_those_who_are_let_in_gets_in(through: Gateway, way: Way, way_admin: Admin) -> None:
    way_admin.execute("CREATE ROLE outsider LOGIN PASSWORD 'known'")
    try:
        for user in ("outsider", "nobody_at_all"):
            with pytest.raises((PrincipalUnavailable, CredentialRejected)) as refused:
                await through.query("SELECT 1", user)
            assert user not in refused.value.message
    finally:
        way_admin.execute("DROP ROLE outsider")
    if way.settings.service:
        with pytest.raises(PrincipalUnavailable):
            await through.query("SELECT 1", way.settings.service.role)


async def test_a_mighty_user_or_one_who_could_plant_functions_is_not_let_in(way: Way, way_admin: Admin) -> None:
    way_admin.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    try:
        async with gateway_to(replace(way.settings)) as through:
            with pytest.raises(LoginRefused) as refused:
                await through.query("SELECT 1")
            assert "REVOKE CREATE ON SCHEMA public FROM PUBLIC" in (refused.value.detail or "")
    finally:
        way_admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    if way.takes_a_role:
        way_admin.execute("ALTER ROLE user4 BYPASSRLS")
        try:
            with pytest.raises((LoginRefused, ConfigurationError)):
                async with gateway_to(way.settings) as through:
                    await through.query("SELECT 1", "user4")
        finally:
            way_admin.execute("ALTER ROLE user4 NOBYPASSRLS")
