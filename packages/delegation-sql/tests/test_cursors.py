"""A result that was cut goes on with its cursor, for who got it, with the same statement, and for nobody else."""

from dataclasses import replace

import pytest
from sql_gateway import READ, WRITE, Gateway, gateway_to, session_of

from actas.core.errors import ConfigurationError, InvalidParameters
from actas.core.secret import Secret
from actas.delegation.sql.actions import Query
from actas.delegation.sql.cursors import MOST_ROWS, Cursors
from actas.delegation.sql.module import SqlDelegation
from actas.delegation.sql.settings import LimitSettings, SqlSettings

pytestmark = pytest.mark.anyio
NUMBERS = "SELECT g FROM generate_series(1, %(n)s) g ORDER BY g"
KEY = Secret("k" * 32)


async def _pages(gateway: Gateway, sql: str, **params: object) -> list[list[object]]:
    pages: list[list[object]] = []
    cursor: str | None = None
    while True:
        data = (await gateway.call(Query(sql=sql, params=params, cursor=cursor))).data
        pages.append([row[0] for row in data["rows"]])
        cursor = data.get("cursor")
        assert data["truncated"] is (cursor is not None)
        if cursor is None:
            return pages


async def test_a_long_result_comes_page_by_page_and_whole(settings: SqlSettings) -> None:
    async with gateway_to(settings, limits=LimitSettings(rows=10)) as gateway:
        pages = await _pages(gateway, NUMBERS, n=33)
        assert [len(page) for page in pages] == [10, 10, 10, 3]
        assert [number for page in pages for number in page] == list(range(1, 34))
        assert await _pages(gateway, NUMBERS, n=20) == [list(range(1, 11)), list(range(11, 21))]
        explained = await _pages(gateway, "EXPLAIN " + " UNION ALL ".join(["SELECT 1"] * 30))
        assert len(explained) > 2


async def test_a_result_that_is_cut_for_its_bytes_goes_on_too(settings: SqlSettings) -> None:
    async with gateway_to(settings, limits=LimitSettings(bytes=10_000)) as gateway:
        pages = await _pages(gateway, "SELECT g, repeat('x', 3000) FROM generate_series(1, 8) g ORDER BY 1")
        assert [len(page) for page in pages] == [3, 3, 2]
        data = await gateway.query("SELECT repeat('x', 20000)")
        assert (data["truncated"], "cursor" in data) == (True, False)


async def test_the_notice_says_how_to_go_on_and_what_an_order_is_for(settings: SqlSettings) -> None:
    async with gateway_to(settings, limits=LimitSettings(rows=1)) as gateway:
        unordered = await gateway.query("SELECT body FROM notes")
        assert "send the same sql and params with this cursor" in unordered["notice"]
        assert "Without ORDER BY" in unordered["notice"]
        for ordered in ("SELECT body FROM notes ORDER BY id", "EXPLAIN SELECT count(*) FROM notes"):
            assert "Without ORDER BY" not in (await gateway.query(ordered))["notice"]


async def test_a_cursor_of_alice_is_nothing_to_bob(settings: SqlSettings) -> None:
    async with gateway_to(settings, limits=LimitSettings(rows=1)) as gateway:
        hers = Query(sql="SELECT body FROM notes ORDER BY id")
        cursor = (await gateway.call(hers)).data["cursor"]
        with pytest.raises(InvalidParameters, match="is not for this statement"):
            await gateway.call(replace(hers, cursor=cursor), "bob")
        assert (await gateway.call(replace(hers, cursor=cursor))).data["rows"] == [["alice two"]]


async def test_a_cursor_shows_what_the_user_may_see_now(settings: SqlSettings) -> None:
    async with gateway_to(settings, limits=LimitSettings(rows=1)) as gateway:
        query = Query(sql="SELECT body FROM notes ORDER BY id")
        cursor = (await gateway.call(query)).data["cursor"]
        await gateway.query("UPDATE notes SET body = 'changed' WHERE body = 'alice two'", "alice", WRITE)
        try:
            assert (await gateway.call(replace(query, cursor=cursor))).data["rows"] == [["changed"]]
        finally:
            await gateway.query("UPDATE notes SET body = 'alice two' WHERE body = 'changed'", "alice", WRITE)


async def test_what_writes_has_no_cursor_and_is_never_run_again(settings: SqlSettings) -> None:
    async with gateway_to(settings, limits=LimitSettings(rows=1)) as gateway:
        sql = "INSERT INTO notes (body) VALUES ('new'), ('new') RETURNING body"
        try:
            written = await gateway.query(sql, "alice", WRITE)
            assert (written["affected_rows"], written["truncated"], "cursor" in written) == (2, True, False)
            assert written["notice"] == "All 2 rows were changed; the first 1 of those returned are shown."
            reading = (await gateway.call(Query(sql="SELECT body FROM notes"))).data["cursor"]
            with pytest.raises(InvalidParameters):
                await gateway.call(Query(sql=sql, cursor=reading), "alice", WRITE)
            assert await gateway.value("SELECT count(*) FROM notes") == 4
        finally:
            await gateway.query("DELETE FROM notes WHERE body = 'new'", "alice", WRITE)


def test_a_cursor_is_for_one_user_one_statement_and_one_module() -> None:
    cursors = Cursors(KEY, ("sql", "db", "5432", "app"))
    alice, query = session_of("alice"), Query(sql="SELECT 1", params={"a": 1, "b": [2]})
    cursor = cursors.after(7, alice, "alice", query)
    assert cursors.rows(alice, "alice", replace(query, cursor=cursor, params={"b": [2], "a": 1})) == 7
    assert Cursors(KEY, ("sql", "db", "5432", "app")).rows(alice, "alice", replace(query, cursor=cursor)) == 7
    for made_by, session, principal, asked in (
        (cursors, session_of("bob"), "bob", query),
        (cursors, alice, "bob", query),
        (cursors, replace(alice, issuer="https://other.test"), "alice", query),
        (cursors, replace(alice, subject="other"), "alice", query),
        (cursors, alice, "alice", replace(query, sql="SELECT 2")),
        (cursors, alice, "alice", replace(query, params={"a": 2, "b": [2]})),
        (cursors, alice, "alice", replace(query, params={"a": "1", "b": [2]})),
        (Cursors(KEY, ("hr", "db", "5432", "app")), alice, "alice", query),
        (Cursors(None, ("sql", "db", "5432", "app")), alice, "alice", query),
    ):
        with pytest.raises(InvalidParameters, match="is not for this statement"):
            made_by.rows(session, principal, replace(asked, cursor=cursor))


def test_no_bit_of_a_cursor_can_be_changed() -> None:
    cursors, alice, query = Cursors(KEY, ()), session_of("alice"), Query(sql="SELECT 1")
    cursor = cursors.after(7, alice, "alice", query)
    others = [
        cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :] for place in range(len(cursor))
    ]
    for bad in (*others, "", "x", "ü", "\0", "=", cursor[:-2], cursor + "A", cursor * 2, "A" * 100_000):
        with pytest.raises(InvalidParameters, match="is not for this statement"):
            cursors.rows(alice, "alice", replace(query, cursor=bad))


def test_a_cursor_is_good_for_a_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    cursors, alice, query = Cursors(KEY, ()), session_of("alice"), Query(sql="SELECT 1")
    monkeypatch.setattr("actas.delegation.sql.cursors.time.time", lambda: 1_000_000.0)
    query = replace(query, cursor=cursors.after(7, alice, "alice", query))
    monkeypatch.setattr("actas.delegation.sql.cursors.time.time", lambda: 1_000_890.0)
    assert cursors.rows(alice, "alice", query) == 7
    monkeypatch.setattr("actas.delegation.sql.cursors.time.time", lambda: 1_000_901.0)
    with pytest.raises(InvalidParameters):
        cursors.rows(alice, "alice", query)


async def test_who_looks_too_far_gets_no_cursor(settings: SqlSettings) -> None:
    async with gateway_to(settings, limits=LimitSettings(rows=10)) as gateway:
        query = Query(sql="SELECT g FROM generate_series(1, 200000) g ORDER BY g")
        for passed, more in ((MOST_ROWS - 10, True), (MOST_ROWS, False)):
            cursor = gateway.module._cursors.after(passed, session_of("alice", READ), "alice", query)
            data = (await gateway.call(replace(query, cursor=cursor))).data
            assert data["rows"][0] == [passed + 1]
            assert ("cursor" in data) is more


def test_a_short_key_is_refused(settings: SqlSettings) -> None:
    with pytest.raises(ConfigurationError, match="cursor_key: must have at least 32 bytes"):
        SqlDelegation(replace(settings, cursor_key=Secret("k" * 31)))
