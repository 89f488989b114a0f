"""Every call is the caller's own: alone, together, after errors, and where the server was set up to lie."""

import asyncio
from dataclasses import replace

import psycopg
import pytest
from sql_gateway import READ, WRITE, Gateway, gateway_to, session_of

from actas.core.errors import IdentityMismatch, PermissionDenied, PrincipalUnavailable
from actas.core.models import Session
from actas.delegation.sql.actions import Query
from actas.delegation.sql.connector import Connector
from actas.delegation.sql.failures import DatabaseRefused, LoginRefused, StatementFailed
from actas.delegation.sql.frames import own_login
from actas.delegation.sql.identities.login import Login
from actas.delegation.sql.principals import Principals
from actas.delegation.sql.settings import PoolSettings, SqlSettings
from actas.delegation.sql.transaction import Bounds, Statement, run_as
from actas.delegation.sql.wire import Wire

pytestmark = pytest.mark.anyio
Admin = psycopg.Connection
BOUNDS = Bounds(100_000, 5.0)
NOT_MINE = Statement("INSERT INTO notes (body) VALUES ('not mine')", 10, read_only=False)


async def test_each_user_gets_their_own_rows_and_their_own_receipt(gateway: Gateway, settings: SqlSettings) -> None:
    query = Query(sql="SELECT owner, session_user, current_user FROM notes")
    for user in ("alice", "bob"):
        result = await gateway.call(query, user)
        assert result.data["rows"] and all(row == [user] * 3 for row in result.data["rows"])
        assert result.receipt.identity == user
        assert result.receipt.method == ("login:peer" if settings.unix_socket else "login:certificate")


async def test_the_database_itself_denies_alice_the_table_of_bob(gateway: Gateway) -> None:
    with pytest.raises(DatabaseRefused, match="42501") as refused:
        await gateway.query("SELECT * FROM bobs")
    assert refused.value.detail == "SQLSTATE 42501, severity ERROR"
    assert "bobs" not in refused.value.message
    assert await gateway.rows("SELECT * FROM bobs", "bob") == [["SECRET of bob"]]


async def test_after_a_failing_statement_the_next_user_has_a_clean_connection_of_their_own(gateway: Gateway) -> None:
    for statement in ("SELECT 1/0", "SELECT * FROM bobs", "SELECT nowhere", "INSERT INTO notes (id) VALUES (1)"):
        with pytest.raises((StatementFailed, DatabaseRefused)):
            await gateway.query(statement, "alice", WRITE)
        assert await gateway.value("SELECT session_user", "bob") == "bob"
        assert await gateway.value("SELECT session_user", "alice") == "alice"


async def test_two_hundred_concurrent_calls_of_twenty_users_are_never_mixed_up(settings: SqlSettings) -> None:
    pool = PoolSettings(total=12, per_user=2, wait_seconds=30.0)
    async with gateway_to(settings, pool=pool) as gateway:

        async def one(number: int) -> None:
            user = f"user{number % 20}"
            sql = "SELECT session_user, %(n)s::int FROM generate_series(1, %(rows)s)"
            if number % 7 == 0:
                with pytest.raises(StatementFailed):
                    await gateway.query("SELECT 1 / (random() * 0)::int", user)
            rows = await gateway.rows(sql, user, n=number, rows=number % 5 + 1)
            assert rows == [[user, number]] * (number % 5 + 1)

        await asyncio.gather(*(one(number) for number in range(200)))
        assert gateway.module._pool.open <= 12


async def test_a_role_that_its_owner_set_to_another_one_is_itself_all_the_same(
    settings: SqlSettings, admin: Admin
) -> None:
    admin.execute("GRANT bob TO user1")
    admin.execute("ALTER ROLE user1 SET role = 'bob'")
    try:
        async with gateway_to(settings) as gateway:
            for _ in range(2):
                assert await gateway.rows("SELECT session_user, current_user", "user1") == [["user1", "user1"]]
                assert await gateway.rows("SELECT * FROM notes", "user1") == []
    finally:
        admin.execute("ALTER ROLE user1 RESET ALL")
        admin.execute("REVOKE bob FROM user1")


async def test_a_session_whose_role_was_renamed_runs_nothing_under_the_old_name(
    settings: SqlSettings, admin: Admin
) -> None:
    admin.execute("CREATE ROLE former LOGIN IN ROLE app_users")
    connection = await Login(settings, Connector(settings)).connect("user2")
    try:
        admin.execute("ALTER ROLE user2 RENAME TO user2_away")
        admin.execute("ALTER ROLE former RENAME TO user2")
        with pytest.raises(IdentityMismatch):
            await run_as(Wire(connection), own_login("user2"), NOT_MINE, BOUNDS)
        assert admin.execute("SELECT count(*) FROM notes WHERE body = 'not mine'").fetchone() == (0,)
    finally:
        connection.pgconn.finish()
        admin.execute("DROP ROLE user2")
        admin.execute("ALTER ROLE user2_away RENAME TO user2")


@pytest.mark.parametrize("statement", ["SELECT secret FROM bobs", "INSERT INTO notes (body) VALUES ('not mine')"])
async def test_a_connection_of_bobs_never_serves_alice(settings: SqlSettings, admin: Admin, statement: str) -> None:
    connection = await Login(settings, Connector(settings)).connect("bob")
    wire = Wire(connection)
    with pytest.raises(IdentityMismatch):
        await run_as(wire, own_login("alice"), replace(NOT_MINE, text=statement), BOUNDS)
    assert not wire.idle
    connection.pgconn.finish()
    assert admin.execute("SELECT count(*) FROM notes WHERE body = 'not mine'").fetchone() == (0,)


async def test_parallel_workers_are_the_user_too(settings: SqlSettings, admin: Admin) -> None:
    forced = "debug_parallel_query" if admin.info.server_version >= 160000 else "force_parallel_mode"
    admin.execute(f"ALTER DATABASE app SET {forced} = on")
    try:
        async with gateway_to(settings) as gateway:
            seen = await gateway.rows("SELECT session_user, current_user, count(*) FROM notes GROUP BY 1, 2")
            assert seen == [["alice", "alice", 2]]
    finally:
        admin.execute("ALTER DATABASE app RESET ALL")


async def test_what_a_user_sets_for_its_own_role_does_not_reach_our_sessions(
    settings: SqlSettings, admin: Admin
) -> None:
    for name, value in (
        ("search_path", "own"),
        ("standard_conforming_strings", "off"),
        ("row_security", "off"),
        ("default_transaction_read_only", "on"),
        ("statement_timeout", "1"),
        ("DateStyle", "German"),
    ):
        admin.execute(f"ALTER ROLE alice SET {name} = '{value}'")
    try:
        async with gateway_to(settings) as gateway:
            assert await gateway.value("SELECT '\\' || count(*) FROM notes", "alice") == "\\2"
            assert await gateway.value("SELECT '2026-01-31'::date", "alice") == "2026-01-31"
            await gateway.query("UPDATE notes SET body = body", "alice", WRITE)
    finally:
        admin.execute("ALTER ROLE alice RESET ALL")


async def test_what_an_allowed_function_leaves_is_gone_at_the_users_next_call(
    settings: SqlSettings, admin: Admin
) -> None:
    admin.execute(
        "CREATE OR REPLACE FUNCTION public.leave_traces(temporary bool) RETURNS int LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM set_config('search_path', 'own', false), set_config('request.jwt.claims', '{}', false), "
        "set_config('statement_timeout', '1', false), pg_advisory_lock(7); "
        "IF temporary THEN CREATE TEMP TABLE notes AS SELECT 1 AS poisoned; END IF; RETURN 1; END $$"
    )
    try:
        one = PoolSettings(per_user=1)
        async with gateway_to(settings, pool=one, allowed_functions=["leave_traces"]) as gateway:
            for permissions, temporary in ((READ, False), (WRITE, True)):
                traces = "SELECT leave_traces(%(temporary)s)"
                assert await gateway.value(traces, "alice", permissions, temporary=temporary) == 1
                shown = await gateway.rows("SELECT count(*), count(DISTINCT owner) FROM notes", "alice", permissions)
                assert shown == [[2, 1]]
                assert admin.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)
    finally:
        admin.execute("DROP FUNCTION public.leave_traces(bool)")


async def test_nobody_but_members_of_the_group_gets_in(gateway: Gateway, admin: Admin) -> None:
    admin.execute("CREATE ROLE outsider LOGIN PASSWORD 'known'")
    try:
        for user in ("outsider", "nobody_at_all"):
            with pytest.raises(LoginRefused) as refused:
                await gateway.query("SELECT 1", user)
            assert user not in refused.value.message
            assert "pg_hba" not in refused.value.message
    finally:
        admin.execute("DROP ROLE outsider")


async def test_a_dropped_user_is_out_when_the_connections_lifetime_ends(settings: SqlSettings, admin: Admin) -> None:
    admin.execute("CREATE ROLE leaver LOGIN IN ROLE app_users")
    ident = admin.execute("SHOW ident_file").fetchone()
    assert ident
    async with gateway_to(settings, pool=PoolSettings(lifetime_seconds=0.2)) as gateway:
        if settings.unix_socket:
            assert await gateway.value("SELECT session_user", "leaver") == "leaver"
        admin.execute("ALTER ROLE leaver NOLOGIN")
        await asyncio.sleep(0.25)
        with pytest.raises(LoginRefused):
            await gateway.query("SELECT 1", "leaver")
    admin.execute("DROP ROLE leaver")


HOSTILE_NAMES = [
    'x"; DROP ROLE bob; --',
    "x'; DROP ROLE bob; --",
    "",
    " alice",
    "alice ",
    "alice\n",
    "alice\0",
    "al\tice",
    "alice bob",
    "alice,bob",
    "alice dbname=postgres",
    "user=bob",
    "postgresql://bob@/app",
    "älice",
    "\u0430lice",
    "a" * 64,
    "postgres",
    "POSTGRES",
    "pg_read_all_data",
    "PG_monitor",
    "table_owner",
    "Table_Owner",
    "current_user",
    "none",
    "-alice",
    "$user",
    "%alice",
    "alice\u202e",
    "{alice}",
    "+app_users",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
async def test_a_hostile_or_denied_name_is_no_principal(gateway: Gateway, settings: SqlSettings, name: str) -> None:
    principals = Principals(replace(settings, denied_roles=["table_owner"]))
    with pytest.raises(PrincipalUnavailable) as refused:
        principals.of(session_of(name))
    assert not name or name not in refused.value.message
    if name.casefold() != "table_owner":
        with pytest.raises(PrincipalUnavailable):
            await gateway.query("SELECT 1", name)


def test_the_gateways_own_account_is_no_principal(settings: SqlSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "gatekeeper")
    with pytest.raises(PrincipalUnavailable):
        Principals(settings).of(session_of("gatekeeper"))

    def nameless() -> str:
        raise KeyError("uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert Principals(settings).of(session_of("gatekeeper")) == "gatekeeper", "this process has no name to be taken"


@pytest.mark.parametrize("name", ["alice", "alice.b-c_d", "alice@example.test", "A" * 63, "1alice", "_x"])
def test_an_ordinary_name_is_a_principal(settings: SqlSettings, name: str) -> None:
    assert Principals(settings).of(session_of(name)) == name


def test_the_settings_say_which_name_is_the_principal(settings: SqlSettings) -> None:
    session = session_of("alice")
    assert Principals(replace(settings, principal="username")).of(session) == "alice@example.test"
    assert Principals(replace(settings, principal="subject")).of(session) == "subject-of-alice"
    with pytest.raises(PrincipalUnavailable):
        Principals(settings).of(replace(session, legacy_username=None))


async def test_a_session_without_a_level_or_rejected_runs_nothing(gateway: Gateway) -> None:
    with pytest.raises(PermissionDenied):
        await gateway.query("SELECT 1", "alice", ("other",))
    rejected: Session = replace(session_of("alice"), rejected=True)
    assert gateway.module._levels.of(rejected) is None
