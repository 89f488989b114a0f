"""What a statement may do at each level, what it may take, and what is said when it fails."""

import asyncio
import threading
import time
from dataclasses import replace

import psycopg
import pytest
from sql_gateway import ADMIN, ALL, READ, WRITE, Gateway, gateway_to

from actas.core.errors import ActasError, DelegationTimeout, InvalidParameters, LimitExceeded
from actas.core.events import Outcome
from actas.delegation.sql.actions import Query
from actas.delegation.sql.failures import DatabaseRefused, StatementFailed, StatementRefused
from actas.delegation.sql.gate import Verdict
from actas.delegation.sql.levels import Level
from actas.delegation.sql.module import SqlDelegation
from actas.delegation.sql.settings import LimitSettings, SqlSettings

pytestmark = pytest.mark.anyio
Admin = psycopg.Connection


def peak_memory() -> int:
    """Kilobytes that this process ever had."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


async def test_a_reader_reads_and_changes_nothing(gateway: Gateway) -> None:
    assert await gateway.rows("SELECT body FROM notes ORDER BY id") == [["alice one"], ["alice two"]]
    for statement in ("INSERT INTO notes (body) VALUES ('x')", "UPDATE notes SET body = 'x'", "DELETE FROM notes"):
        with pytest.raises(StatementRefused):
            await gateway.query(statement)
    assert (await gateway.query("EXPLAIN SELECT * FROM notes"))["rows"]


async def test_a_function_that_writes_is_stopped_at_the_read_level_by_the_transaction(
    settings: SqlSettings, admin: Admin
) -> None:
    admin.execute(
        "CREATE OR REPLACE FUNCTION public.writes() RETURNS int LANGUAGE sql VOLATILE AS "
        "$$ INSERT INTO public.notes (body) VALUES ('from a function') RETURNING 1 $$"
    )
    try:
        async with gateway_to(settings, allowed_functions=["writes"]) as gateway:
            with pytest.raises(DatabaseRefused, match="25006"):
                await gateway.query("SELECT writes()")
            assert await gateway.value("SELECT writes()", "alice", WRITE) == 1
            deleted = await gateway.query("DELETE FROM notes WHERE body = 'from a function'", "alice", WRITE)
            assert deleted == {"command": "DELETE", "affected_rows": 1}
    finally:
        admin.execute("DROP FUNCTION public.writes()")


async def test_a_writer_writes_and_sees_what_was_returned(gateway: Gateway) -> None:
    inserted = await gateway.query(
        "INSERT INTO notes (body) VALUES (%(body)s), ('other') RETURNING body", "alice", WRITE, body="it's %s 100%"
    )
    assert inserted["affected_rows"] == 2
    assert inserted["rows"] == [["it's %s 100%"], ["other"]]
    assert await gateway.value("SELECT count(*) FROM notes") == 4
    gone = await gateway.query("DELETE FROM notes WHERE body = ANY(%(b)s)", "alice", WRITE, b=["it's %s 100%", "other"])
    assert gone == {"command": "DELETE", "affected_rows": 2}
    with pytest.raises(StatementRefused):
        await gateway.query("CREATE TABLE own.t (id int)", "alice", WRITE)


async def test_an_administrator_creates_and_only_the_highest_level_drops(gateway: Gateway) -> None:
    assert await gateway.query("CREATE TABLE own.t (id int)", "alice", ADMIN) == {"command": "CREATE TABLE"}
    for statement in ("DROP TABLE own.t", "TRUNCATE own.t", "ALTER TABLE own.t DROP COLUMN id"):
        with pytest.raises(StatementRefused):
            await gateway.query(statement, "alice", ADMIN)
    assert await gateway.query("TRUNCATE own.t", "alice", ALL) == {"command": "TRUNCATE TABLE"}
    assert await gateway.query("DROP TABLE own.t", "alice", ALL) == {"command": "DROP TABLE"}


async def test_the_highest_permission_decides_whatever_else_there_is(gateway: Gateway) -> None:
    with pytest.raises(StatementRefused):
        await gateway.query("DROP TABLE nothing", "alice", ("sql:read", "sql:admin", "sql:write"))
    with pytest.raises(StatementFailed, match="42P01"):
        await gateway.query("DROP TABLE nothing", "alice", ("sql:read", "admin"))


async def test_a_million_rows_are_cut_in_bounded_memory_and_it_is_said(gateway: Gateway) -> None:
    await gateway.query("SELECT 1")
    before = peak_memory()
    data = await gateway.query("SELECT g, repeat('x', 500) FROM generate_series(1, 1000000) g")
    assert data["row_count"] == len(data["rows"]) == 1000
    assert data["truncated"] is True
    assert "cut after 1000 rows" in data["notice"]
    assert peak_memory() - before < 20_000
    assert await gateway.value("SELECT 1") == 1


async def test_many_bytes_and_one_enormous_value_are_cut_and_it_is_said(settings: SqlSettings) -> None:
    async with gateway_to(settings, limits=LimitSettings(bytes=100_000)) as gateway:
        data = await gateway.query("SELECT repeat('x', 30000) FROM generate_series(1, 100)")
        assert 1 <= data["row_count"] <= 3
        assert data["truncated"] is True
        assert "cut at 100000 bytes" in data["notice"]
        data = await gateway.query("SELECT repeat('x', 50000000)")
        assert data["truncated"] is True
        assert data.get("rows", []) == []


async def test_a_write_that_returns_too_many_bytes_is_undone(settings: SqlSettings) -> None:
    async with gateway_to(settings, limits=LimitSettings(bytes=10_000)) as gateway:
        for rows, length in ((500, 9000), (1, 20_000_000), (2, 6000)):
            made = "SELECT repeat('x', %(length)s) FROM generate_series(1, %(rows)s)"
            sql = f"INSERT INTO notes (body) {made} RETURNING body"
            with pytest.raises(LimitExceeded, match="nothing was changed"):
                await gateway.query(sql, "alice", WRITE, rows=rows, length=length)
        assert await gateway.value("SELECT count(*) FROM notes") == 2


async def test_a_write_with_many_rows_returned_is_kept_and_its_rows_cut(settings: SqlSettings) -> None:
    async with gateway_to(settings, limits=LimitSettings(rows=10)) as gateway:
        sql = "INSERT INTO notes (body) SELECT 'bulk' FROM generate_series(1, 500) RETURNING id"
        data = await gateway.query(sql, "alice", WRITE)
        assert (data["affected_rows"], data["row_count"], data["truncated"]) == (500, 10, True)
        gone = await gateway.query("DELETE FROM notes WHERE body = 'bulk'", "alice", WRITE)
        assert gone["affected_rows"] == 500


async def test_a_statement_that_runs_too_long_is_cancelled_by_the_server(settings: SqlSettings, admin: Admin) -> None:
    async with gateway_to(settings, limits=LimitSettings(seconds=0.3)) as gateway:
        with pytest.raises(DelegationTimeout, match="57014"):
            await gateway.query("SELECT count(*) FROM generate_series(1, 100000000000)")
        assert _running(admin) == 0
        assert await gateway.value("SELECT 1") == 1


async def test_the_callers_deadline_ends_the_statement_on_the_server(gateway: Gateway, admin: Admin) -> None:
    started = time.monotonic()
    with pytest.raises(DelegationTimeout):
        await gateway.call(Query(sql="SELECT count(*) FROM generate_series(1, 100000000000)"), seconds=0.4)
    assert time.monotonic() - started < 5
    await _until(admin, running=False)


@pytest.mark.parametrize("check", ["0", "1000"], ids=["by the cancel alone", "by both"])
async def test_a_cancelled_call_ends_its_statement_on_the_server(
    settings: SqlSettings, admin: Admin, monkeypatch: pytest.MonkeyPatch, check: str
) -> None:
    monkeypatch.setattr("actas.delegation.sql.connector._CLIENT_CHECK_MILLISECONDS", check)
    gateway = Gateway(SqlDelegation(settings), settings)
    running = asyncio.create_task(gateway.query("SELECT count(*) FROM generate_series(1, 100000000000)"))
    await _until(admin, running=True)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await _until(admin, running=False)
    assert await gateway.value("SELECT session_user") == "alice"
    await gateway.module.destroy()


async def test_a_lost_cancel_does_not_keep_the_statement_running(
    gateway: Gateway, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(self: object, **bounds: float) -> None:
        return None

    monkeypatch.setattr(psycopg.AsyncConnection, "cancel_safe", lost)
    running = asyncio.create_task(gateway.query("SELECT count(*) FROM generate_series(1, 100000000000)"))
    await _until(admin, running=True)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await _until(admin, running=False)


async def test_a_result_without_end_is_cut_as_soon_as_there_is_enough(gateway: Gateway) -> None:
    data = await gateway.query("SELECT generate_series(1, 100000000000)")
    assert (data["row_count"], data["truncated"]) == (1000, True)


async def test_a_cancelled_write_changes_nothing(gateway: Gateway, admin: Admin) -> None:
    sql = "INSERT INTO notes (body) SELECT 'never' FROM generate_series(1, 100000000)"
    running = asyncio.create_task(gateway.query(sql, "alice", WRITE))
    await _until(admin, running=True)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await _until(admin, running=False)
    assert await gateway.value("SELECT count(*) FROM notes") == 2


def _running(admin: Admin) -> int:
    found = admin.execute(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE usename = 'alice' AND state = 'active' AND query ~ 'generate_series'"
    ).fetchone()
    assert found
    return found[0]


async def _until(admin: Admin, *, running: bool) -> None:
    for _ in range(500):
        if bool(_running(admin)) is running:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the statement does not run" if running else "the statement still runs on the server")


@pytest.mark.parametrize(
    ("sql", "permissions", "sqlstate", "said"),
    [
        ("SELECT * FROM nowhere", READ, "42P01", "at line 1, column 15"),
        ("SELECT\n  nowhere FROM notes", READ, "42703", "at line 2, column 3"),
        ("SELECT 'x'::int", READ, "22P02", "at line 1, column 8"),
        ("SELECT 1 + 'SECRET'", READ, "22P02", "cannot be read"),
        ("SELECT lower(1, 2)", READ, "42883", "add casts"),
        ("SELECT id FROM notes, notes n", READ, "42702", "qualify"),
        ("SELECT body FROM notes GROUP BY id, owner HAVING 1 > 0", READ, None, ""),
        ("INSERT INTO notes (id, body) SELECT id, 'SECRET' FROM notes LIMIT 1", WRITE, "23505", "same key"),
        ("SELECT '😀',\r\n\t1, nowhere FROM notes", READ, "42703", "at line 2, column 5"),
        ("SELECT (SELECT id FROM notes)", READ, "21000", "several rows"),
        ("SELECT 1 / 0", READ, "22012", "division by zero"),
        ("UPDATE notes SET id = NULL", WRITE, "23502", "NULL"),
        ("INSERT INTO notes (owner) VALUES ('bob')", WRITE, "42501", "permission denied"),
        ("CREATE TABLE public.notes (id int)", ADMIN, "42P07", "exists already"),
        ("SELECT * FROM notes FOR UPDATE OF nothing", WRITE, "42P01", ""),
    ],
)
async def test_an_error_of_the_database_is_explained_without_its_text(
    gateway: Gateway, sql: str, permissions: tuple[str, ...], sqlstate: str | None, said: str
) -> None:
    if sqlstate is None:
        await gateway.query(sql, "alice", permissions)
        return
    with pytest.raises(ActasError) as failed:
        await gateway.query(sql, "alice", permissions)
    error = failed.value
    assert f"SQLSTATE {sqlstate}" in error.message
    assert said in error.message
    for private in ("SECRET", "notes", "LINE", "DETAIL", "psycopg", "libpq"):
        assert private not in error.message
    assert error.outcome in (Outcome.FAILED, Outcome.REFUSED)
    assert f"SQLSTATE {sqlstate}" in (error.detail or "")


async def test_the_private_part_of_an_error_names_objects_and_has_no_row_value_or_statement(gateway: Gateway) -> None:
    taken = await gateway.value("SELECT min(id) FROM notes")
    with pytest.raises(StatementFailed) as failed:
        await gateway.query("INSERT INTO notes (id, body) VALUES (%(id)s, 'SECRET')", "alice", WRITE, id=taken)
    assert failed.value.detail == ("SQLSTATE 23505, severity ERROR, schema public, table notes, constraint notes_pkey")
    with pytest.raises(StatementFailed) as failed:
        await gateway.query("SELECT %(number)s::int", number="SECRET")
    assert failed.value.detail == "SQLSTATE 22P02, severity ERROR"


async def test_a_long_statement_is_judged_beside_the_event_loop(gateway: Gateway) -> None:
    threads = []
    check = gateway.module._gate.check

    def watched(statement: str, level: Level) -> Verdict:
        threads.append(threading.current_thread())
        return check(statement, level)

    gateway.module._gate.check = watched
    for blanks in (1, 9000):
        assert await gateway.value("SELECT" + " " * blanks + "1") == 1
    assert threads[0] is threading.main_thread()
    assert threads[1] is not threading.main_thread()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (Query(sql="SELECT '" + "x" * 70_000 + "'"), "longer than 65536 bytes"),
        (Query(sql="SELECT '" + "€" * 30_000 + "'"), "longer than 65536 bytes"),
        (Query(sql="SELECT %(a)s", params={"a": "x" * 10_000_000}), "longer than 1000000 bytes"),
        (Query(sql="SELECT '\0'"), "NUL"),
        (Query(sql="SELECT %(a)s"), "no value"),
    ],
    ids=["long", "long in UTF-8", "ten megabytes", "NUL", "missing"],
)
async def test_bad_parameters_are_refused_before_anybody_logs_in(gateway: Gateway, query: Query, said: str) -> None:
    with pytest.raises(InvalidParameters, match=said):
        await gateway.call(query)
    assert gateway.module._pool.open == 0


async def test_a_large_parameter_and_a_large_statement_get_through(gateway: Gateway) -> None:
    assert await gateway.value("SELECT length(%(a)s)", a="x" * 999_000) == 999_000
    assert await gateway.value("SELECT length('" + "y" * 60_000 + "')") == 60_000


async def test_a_query_used_again_survives_a_change_of_its_table(gateway: Gateway, admin: Admin) -> None:
    admin.execute("CREATE TABLE own.changing (a int)")
    admin.execute("GRANT SELECT ON own.changing TO alice")
    try:
        for _ in range(4):
            columns = (await gateway.query("SELECT * FROM own.changing"))["columns"]
            assert columns == [{"name": "a", "type": "int4", "nullable": True}]
        admin.execute("ALTER TABLE own.changing ADD COLUMN b text")
        assert len((await gateway.query("SELECT * FROM own.changing"))["columns"]) == 2
    finally:
        admin.execute("DROP TABLE own.changing")


async def test_a_deferred_constraint_that_fails_at_the_end_is_an_error(gateway: Gateway, admin: Admin) -> None:
    admin.execute("CREATE TABLE own.deferred (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    admin.execute("GRANT SELECT, INSERT ON own.deferred TO alice")
    try:
        with pytest.raises(StatementFailed, match="23505"):
            await gateway.query("INSERT INTO own.deferred VALUES (1), (1)", "alice", WRITE)
        assert await gateway.value("SELECT count(*) FROM own.deferred") == 0
    finally:
        admin.execute("DROP TABLE own.deferred")


async def test_the_modules_limits_are_the_settings(settings: SqlSettings) -> None:
    tight = replace(settings, limits=LimitSettings(rows=2))
    async with gateway_to(tight) as gateway:
        assert len(await gateway.rows("SELECT generate_series(1, 3)")) == 2
        exact = await gateway.query("SELECT generate_series(1, 2)")
        assert exact["truncated"] is False
