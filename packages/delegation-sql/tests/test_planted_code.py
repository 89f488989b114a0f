"""Code that somebody left in the database for the user to run: it changes neither who we are nor what we ask."""

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from sql_gateway import WRITE, Gateway, gateway_to

from actas.delegation.sql.actions import ListTables, TableDetails
from actas.delegation.sql.failures import LoginRefused, StatementFailed
from actas.delegation.sql.settings import PoolSettings, SqlSettings

pytestmark = pytest.mark.anyio
Admin = psycopg.Connection
ONE = PoolSettings(per_user=1)
OPERATORS = """
CREATE FUNCTION public.caught(name, name) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;
CREATE FUNCTION public.caught(float4, int4) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;
CREATE OPERATOR public.>= (FUNCTION = public.caught, LEFTARG = float4, RIGHTARG = int4);
CREATE OPERATOR public.!~ (FUNCTION = public.caught, LEFTARG = name, RIGHTARG = name);
CREATE OPERATOR public.~~ (FUNCTION = public.caught, LEFTARG = name, RIGHTARG = name);
"""


@pytest.fixture
def planted(admin: Admin) -> Iterator[Admin]:
    """The superuser's connection; what it makes named ``caught`` is dropped."""
    yield admin
    for (found,) in admin.execute("SELECT oid::regprocedure::text FROM pg_proc WHERE proname = 'caught'").fetchall():
        admin.execute(f"DROP FUNCTION {found} CASCADE")


def _plant(admin: Admin, does: str) -> None:
    admin.execute(
        f"CREATE FUNCTION public.caught(public.notes) RETURNS int LANGUAGE plpgsql AS $$ BEGIN {does}; RETURN 1; END $$"
    )


CATCH = "SELECT n.caught FROM notes n LIMIT 1"


async def test_operators_planted_in_the_search_path_are_not_used_by_our_own_statements(
    gateway: Gateway, planted: Admin
) -> None:
    planted.execute(OPERATORS)
    listed = (await gateway.call(ListTables(name="n%"))).data["tables"]
    assert [table["name"] for table in listed] == ["notes"]
    details = (await gateway.call(TableDetails(table="notes"))).data
    assert (details["schema"], len(details["columns"])) == ("public", 3)


async def test_a_table_is_looked_up_in_the_schemas_of_the_search_path_in_their_order(
    settings: SqlSettings, admin: Admin
) -> None:
    admin.execute("CREATE TABLE own.notes (id int); ALTER TABLE own.notes OWNER TO alice")
    try:
        for path, found in ((["own", "public"], "own"), (["public", "own"], "public"), (["walled"], None)):
            async with gateway_to(settings, search_path=path) as gateway:
                if found:
                    assert (await gateway.call(TableDetails(table="notes"))).data["schema"] == found
                else:
                    with pytest.raises(StatementFailed):
                        await gateway.call(TableDetails(table="notes"))
    finally:
        admin.execute("DROP TABLE own.notes")


@pytest.mark.parametrize("creator", ["PUBLIC", "app_users"])
async def test_nobody_is_let_in_where_others_may_create_in_the_search_path(
    gateway: Gateway, admin: Admin, creator: str
) -> None:
    admin.execute(f"GRANT CREATE ON SCHEMA public TO {creator}")
    try:
        with pytest.raises(LoginRefused) as refused:
            await gateway.query("SELECT 1")
        assert f"REVOKE CREATE ON SCHEMA public FROM {creator}" in (refused.value.detail or "")
        assert "public" not in refused.value.message and creator not in refused.value.message
    finally:
        admin.execute(f"REVOKE CREATE ON SCHEMA public FROM {creator}")
    assert await gateway.value("SELECT 1") == 1


async def test_who_alone_may_create_in_a_schema_is_let_in(settings: SqlSettings) -> None:
    async with gateway_to(settings, search_path=["own", "public"]) as gateway:
        assert await gateway.value("SELECT session_user") == "alice"


KEPT = "SELECT name, statement FROM pg_prepared_statements"
FORGE = """
DECLARE n text; BEGIN
    FOR n IN SELECT name FROM pg_prepared_statements LOOP EXECUTE 'DEALLOCATE ' || n; END LOOP;
    FOR i IN 1..20 LOOP EXECUTE 'PREPARE actas_' || i || ' AS SELECT ''forged'', ''bob'', ''bob'''; END LOOP;
    RETURN 1;
END"""


async def test_only_a_statement_that_is_said_again_at_once_is_kept_and_no_part_of_the_frame(
    settings: SqlSettings,
) -> None:
    async with gateway_to(settings, pool=ONE) as gateway:
        for permissions in (WRITE, WRITE, ("sql:read",)):
            await gateway.query("SELECT count(*) FROM notes", "alice", permissions)
        await gateway.query(KEPT)  # its columns are asked for once, by a statement of ours
        assert [await gateway.rows(KEPT) for _ in range(3)] == [[], [["actas_2", KEPT]], [["actas_2", KEPT]]]


async def test_what_is_kept_serves_no_other_text_whatever_planted_code_made_of_it(
    settings: SqlSettings, planted: Admin
) -> None:
    planted.execute(
        "CREATE FUNCTION public.caught(public.notes) RETURNS int LANGUAGE plpgsql SET search_path = pg_catalog AS "
        f"$${FORGE}$$"
    )
    who = "SELECT session_user, current_user, count(*) FROM notes"
    async with gateway_to(settings, pool=ONE) as gateway:
        for _ in range(3):
            assert await gateway.rows(CATCH) in ([[1]], [["forged", "bob", "bob"]])  # it may do this to its own text
            for _ in range(4):
                assert await gateway.rows(who) == [["alice", "alice", 2]]


async def test_a_write_is_a_write_whatever_an_earlier_call_made_the_default(
    settings: SqlSettings, planted: Admin
) -> None:
    _plant(planted, "PERFORM set_config('default_transaction_read_only', 'on', false)")
    async with gateway_to(settings, pool=ONE) as gateway:
        await gateway.query(CATCH)
        assert (await gateway.query("UPDATE notes SET body = body", "alice", WRITE))["affected_rows"] == 2


async def test_what_a_function_leaves_is_gone_also_where_the_commit_failed(
    settings: SqlSettings, planted: Admin
) -> None:
    planted.execute(
        "CREATE TABLE parent (id int PRIMARY KEY);"
        "CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);"
        "GRANT ALL ON parent, child TO app_users;"
        "CREATE FUNCTION public.caught() RETURNS int LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_advisory_lock(4711); RETURN 1; END $$"
    )
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    try:
        async with gateway_to(settings, pool=ONE, allowed_functions=["caught"]) as gateway:
            with pytest.raises(StatementFailed, match="23503"):
                await gateway.query("INSERT INTO child SELECT caught()", "alice", WRITE)
            assert await gateway.value("SELECT count(*) FROM child") == 0
            for _ in range(100):
                if planted.execute(locks).fetchone() == (0,):
                    break
                await asyncio.sleep(0.02)
            assert planted.execute(locks).fetchone() == (0,)
    finally:
        planted.execute("DROP TABLE child, parent")
