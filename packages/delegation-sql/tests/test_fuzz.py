"""Generated SQL through the gate and the real server, as alice at every level: never bob's rows, never bob himself."""

import asyncio
import contextlib
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings, target
from hypothesis import strategies as st
from sql_gateway import ALL, READ, WRITE, gateway_to

from actas.core.errors import ActasError
from actas.delegation.sql.settings import SqlSettings

Admin = psycopg.Connection
HIS = (
    "SELECT md5(string_agg(n::text, ',' ORDER BY id)), (SELECT string_agg(secret, ',') FROM bobs), "
    "(SELECT count(*) FROM pg_policies) FROM notes n WHERE owner = 'bob'"
)
COLUMNS = st.sampled_from(
    ["id", "owner", "body", "n.owner", "n.*", "*", "n", "secret", "ctid", "tableoid", "n.pg_sleep"]
)
LITERALS = st.sampled_from(
    [
        "1",
        "'bob'",
        "E'\\x62ob'",
        "U&'\\0062ob'",
        "$$role$$",
        "NULL",
        "true",
        "'{role,bob}'::text[]",
        "'notes'::regclass",
    ]
)
FUNCTIONS = st.sampled_from(
    'set_config pg_catalog.set_config "set_config" lower count max coalesce current_setting query_to_xml nextval '
    "pg_notify to_jsonb row_to_json array_agg string_agg concat format pg_sleep lo_import dblink version".split()
)
OPERATORS = st.sampled_from("= <> || + - ~ @> -> ->> AND OR IS\u0020DISTINCT\u0020FROM OPERATOR(own.=)".split(" "))
CASTS = st.sampled_from(["", "::text", "::int", "::regrole", "::own.mood", "::name"])


def _calls(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arguments = st.lists(inner, max_size=3).map(", ".join)
    return st.one_of(
        st.builds("{}({})".format, FUNCTIONS, arguments),
        st.builds("({} {} {}){}".format, inner, OPERATORS, inner, CASTS),
        st.builds("CASE WHEN {} THEN {} ELSE {} END".format, inner, inner, inner),
        st.builds("(SELECT {} FROM {} LIMIT 1)".format, inner, TABLES),
        st.builds("ARRAY[{}]".format, inner),
        st.just("set_config('role', 'bob', false)"),
    )


TABLES = st.sampled_from(
    "notes n;notes n;notes n;notes n;ONLY notes n;bobs n;public.bobs n;partly n;pg_authid n;pg_stat_activity n;"
    "(SELECT set_config('role', 'bob', true) OFFSET 0) s, notes n;notes n LEFT JOIN bobs ON true;"
    "LATERAL (TABLE bobs) n;notes n JOIN notes m USING (owner);notes n TABLESAMPLE system (100)".split(";")
)
EXPRESSIONS = st.recursive(st.one_of(COLUMNS, LITERALS), _calls, max_leaves=6)
CONDITIONS = st.one_of(
    st.sampled_from(["true", "n.owner = 'bob'", "n.owner <> session_user", "n.id > 0 OR n.owner <> ''"]),
    EXPRESSIONS,
)
SELECTED = st.one_of(
    st.sampled_from(["n.*", "count(*)", "string_agg(n.body, ',')", "to_jsonb(n)", "n::text", "array_agg(n.owner)"]),
    EXPRESSIONS,
)
QUERIES = st.one_of(
    st.builds("SELECT {} FROM {} WHERE {}".format, SELECTED, TABLES, CONDITIONS),
    st.builds("SELECT {} FROM {} WHERE {}".format, SELECTED, TABLES, CONDITIONS),
    st.builds("SELECT {} FROM {} GROUP BY {}".format, SELECTED, TABLES, EXPRESSIONS),
    st.builds("SELECT {}, {} FROM {} ORDER BY {}".format, SELECTED, COLUMNS, TABLES, EXPRESSIONS),
    st.builds("SELECT {} FROM {}".format, COLUMNS, TABLES),
    st.just("TABLE bobs"),
)
WRITES = st.one_of(
    st.builds("UPDATE notes n SET body = {} WHERE {} RETURNING *".format, LITERALS, CONDITIONS),
    st.builds("UPDATE notes SET owner = {} RETURNING *".format, LITERALS),
    st.builds("DELETE FROM notes n USING notes m WHERE {} RETURNING *".format, CONDITIONS),
    st.builds("INSERT INTO notes (owner, body) {} RETURNING *".format, QUERIES),
)
STATEMENTS = st.one_of(
    QUERIES,
    WRITES,
    st.builds("WITH q AS ({}) {}".format, st.one_of(QUERIES, WRITES), QUERIES),
    st.builds("EXPLAIN (ANALYZE, VERBOSE) {}".format, st.one_of(QUERIES, WRITES)),
    st.builds("{} UNION ALL {}".format, QUERIES, QUERIES),
    st.builds("{}; {}".format, QUERIES, st.sampled_from(["RESET ROLE", "SET ROLE bob", "SELECT 1", "COMMIT"])),
    st.sampled_from(["SET ROLE bob", "RESET ROLE", "COMMIT", "SET SESSION AUTHORIZATION bob"]),
)


@pytest.fixture
def restored(admin: Admin) -> Iterator[Admin]:
    """The superuser's connection; alice's rows come back."""
    admin.execute("CREATE TABLE kept AS SELECT * FROM notes")
    yield admin
    admin.execute("DELETE FROM notes; INSERT INTO notes SELECT * FROM kept; DROP TABLE kept")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(statements=st.lists(st.tuples(STATEMENTS, st.sampled_from([READ, WRITE, ALL])), min_size=20, max_size=40))
def test_no_generated_statement_shows_or_changes_what_is_bobs(
    statements: list[tuple[str, tuple[str, ...]]], settings: SqlSettings, restored: Admin
) -> None:
    before = restored.execute(HIS).fetchone()
    target(asyncio.run(_ran(settings, statements)), label="ran")
    assert restored.execute(HIS).fetchone() == before


async def _ran(settings: SqlSettings, statements: list[tuple[str, tuple[str, ...]]]) -> float:
    """How many of them ran: the more, the better the fuzz."""
    ran = 0.0
    async with gateway_to(settings) as gateway:
        for statement, permissions in statements:
            with contextlib.suppress(ActasError):
                seen = await gateway.query(statement, "alice", permissions)
                assert "SECRET" not in str(seen), statement
                ran += 1
            assert await gateway.rows("SELECT session_user, current_user") == [["alice", "alice"]]
    return ran
