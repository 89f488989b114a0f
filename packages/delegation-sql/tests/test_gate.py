"""What the gate lets pass at which level, what it says when it refuses, and what it survives."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actas.delegation.sql.failures import StatementRefused
from actas.delegation.sql.gate import Gate
from actas.delegation.sql.levels import Level

READS = """
SELECT 1
SELECT created_at, updated_by, deleted FROM t
SELECT * FROM notes WHERE body LIKE 'a%' AND id BETWEEN 1 AND 2 AND id NOT BETWEEN SYMMETRIC 3 AND 4
SELECT 'DROP TABLE notes; RESET ROLE' AS harmless
SELECT "drop", "set_config" FROM t
SELECT 1 -- ; RESET ROLE
SELECT /* ; DELETE FROM notes */ 1;
VALUES (1, 2), (3, 4)
TABLE notes
WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT * FROM t
WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) CYCLE n SET c USING p SELECT * FROM t
SELECT extract(year FROM now()), trim(both 'x' FROM y), a AT TIME ZONE 'UTC', substring(a FROM 1 FOR 2) FROM t
SELECT overlay(a PLACING b FROM 1), position('a' IN b), a SIMILAR TO 'b', (a, b) OVERLAPS (c, d) FROM t
SELECT count(*) FILTER (WHERE a), sum(b) OVER (PARTITION BY c ORDER BY d ROWS 1 PRECEDING) FROM t
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x), array_agg(DISTINCT x ORDER BY x) FROM t
SELECT a, b FROM t GROUP BY GROUPING SETS ((a), (b)), ROLLUP (c) HAVING count(*) > 1
SELECT DISTINCT ON (a) a, b FROM t, LATERAL (SELECT 1) z ORDER BY a DESC NULLS LAST LIMIT 3 OFFSET 1
SELECT * FROM jsonb_to_recordset('[]') AS x(a int, b text), generate_series(1, 3) WITH ORDINALITY
SELECT * FROM t TABLESAMPLE bernoulli (10) REPEATABLE (1)
SELECT a IS DISTINCT FROM b, nullif(a, b), coalesce(a, b), greatest(a, b), a = ANY (ARRAY[1]), a[1:2] FROM t
SELECT CASE WHEN a THEN 1 ELSE 2 END, ROW(1, 2), EXISTS (SELECT 1), a IN (1, 2), (r).x, a COLLATE "C" FROM t
SELECT current_date, current_user, session_user, current_timestamp(3), localtime
SELECT 1::int, '1'::numeric(10, 2), '{}'::text[], CAST('2026-01-01' AS date), interval '1 day', x::jsonb FROM t
SELECT json_object('a': 1), json_value('{}', '$.a'), json_arrayagg(a), 'x' IS JSON FROM t
SELECT * FROM json_table('[]', '$[*]' COLUMNS (a int PATH '$', NESTED '$.b' COLUMNS (c text PATH '$'))) j
SELECT a -> 'b' ->> 'c', a @> '{}', a ? 'b', a #>> '{b}' FROM t
SELECT to_tsvector('english', a) @@ plainto_tsquery('b') FROM t
SELECT a FROM t UNION SELECT b FROM u INTERSECT SELECT c FROM v EXCEPT ALL SELECT d FROM w
SELECT t.* FROM t LEFT JOIN u USING (id) NATURAL JOIN v CROSS JOIN w FULL JOIN x ON x.id = w.id
EXPLAIN SELECT 1
EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM notes
SELECT pg_catalog.lower('X')
""".strip().splitlines()
WRITES = """
INSERT INTO t (a) VALUES (1), (DEFAULT) ON CONFLICT (a) DO UPDATE SET a = excluded.a WHERE t.b RETURNING *
INSERT INTO t SELECT * FROM u ON CONFLICT ON CONSTRAINT c DO NOTHING
UPDATE t SET (a, b) = (SELECT 1, 2), c = DEFAULT FROM u WHERE t.id = u.id RETURNING t.*
DELETE FROM t USING u WHERE t.id = u.id RETURNING 1
MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = s.b WHEN NOT MATCHED THEN INSERT VALUES (1)
MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE RETURNING merge_action(), t.*
WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d
SELECT * FROM t FOR UPDATE SKIP LOCKED
SELECT nextval('s')
EXPLAIN DELETE FROM t
""".strip().splitlines()
ADMINS = """
CREATE TABLE t (id serial PRIMARY KEY, b text DEFAULT now(), FOREIGN KEY (b) REFERENCES u (b), CHECK (id > 0))
CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, d int GENERATED ALWAYS AS (1 + 1) STORED)
CREATE TABLE t (id int) PARTITION BY RANGE (id)
CREATE TABLE p PARTITION OF t FOR VALUES FROM (1) TO (2)
CREATE TABLE t (LIKE u INCLUDING ALL)
CREATE TABLE t AS SELECT 1 AS a
SELECT * INTO t FROM u
CREATE INDEX i ON t USING gin (a jsonb_path_ops) WHERE b
CREATE UNIQUE INDEX IF NOT EXISTS i ON t (lower(a) DESC NULLS LAST) INCLUDE (b) WITH (fillfactor = 70)
CREATE VIEW v WITH (security_invoker) AS SELECT * FROM t WITH CHECK OPTION
CREATE MATERIALIZED VIEW v AS SELECT * FROM t
REFRESH MATERIALIZED VIEW v
CREATE SCHEMA s
CREATE SEQUENCE s AS bigint START 5 OWNED BY t.id
ALTER SEQUENCE s RESTART WITH 3
CREATE TYPE colour AS ENUM ('red', 'green')
CREATE STATISTICS s ON a, b FROM t
ALTER TABLE t ADD COLUMN x int NOT NULL DEFAULT 3, ALTER COLUMN y TYPE text USING y::text
ALTER TABLE t ADD CONSTRAINT c UNIQUE (a), VALIDATE CONSTRAINT d
ALTER TABLE t RENAME COLUMN a TO b
ALTER TABLE t RENAME TO u
COMMENT ON TABLE t IS 'text'
COMMENT ON COLUMN t.a IS 'text'
""".strip().splitlines()
ALLS = """
DROP TABLE t
DROP TABLE IF EXISTS t, u CASCADE
DROP VIEW v
DROP INDEX i
DROP SCHEMA s CASCADE
TRUNCATE t, u RESTART IDENTITY
ALTER TABLE t DROP COLUMN a
ALTER TABLE t DROP CONSTRAINT c
""".strip().splitlines()
BY_LEVEL = {Level.SQL_READ: READS, Level.SQL_WRITE: WRITES, Level.SQL_ADMIN: ADMINS, Level.ADMIN: ALLS}
CASES = [(statement, level) for level, statements in BY_LEVEL.items() for statement in statements]


@pytest.mark.parametrize(("statement", "level"), CASES)
def test_a_statement_passes_from_its_own_level_on_and_not_below(statement: str, level: Level) -> None:
    for asked in Level:
        if asked >= level:
            assert Gate().check(statement, asked).needs is level
        else:
            with pytest.raises(StatementRefused):
                Gate().check(statement, asked)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT 1;\n RESET ROLE", "Send exactly one statement: there are 2, the second at line 2, column 2."),
        ("", "Send exactly one statement: there are 0."),
        ("-- nothing", "Send exactly one statement: there are 0."),
        (
            "RESET ROLE",
            "Refused: SET or RESET at line 1, column 1 is not allowed at your level, sql-read. No level allows it.",
        ),
        (
            "SELECT 'äö€',\n  set_config('role', 'bob', true)",
            "Refused: the function set_config at line 2, column 3 is not allowed at your level, sql-read. "
            "No level allows it.",
        ),
        ("SELECT 1\nFROM  ", "Not valid PostgreSQL: syntax error at line 2, column 5."),
        ("SELECT 'ä', FROM WHERE", "Not valid PostgreSQL: syntax error at line 1, column 13."),
        (
            "SELECT 1 OPERATOR(pg_catalog.+) 2",
            "Refused: a schema-qualified operator at line 1, column 10 is not allowed at your level, sql-read. "
            "No level allows it.",
        ),
        (
            "DROP TABLE x",
            "Refused: DROP at line 1, column 1 is not allowed at your level, sql-read. It needs the level admin.",
        ),
        (
            "SELECT * FROM t TABLESAMPLE evil (1)",
            "Refused: a sampling method at line 1, column 29 is not allowed at your level, sql-read. "
            "No level allows it.",
        ),
        (
            "SELECT nextval('s')",
            "Refused: the function nextval at line 1, column 8 is not allowed at your level, sql-read. "
            "It needs the level sql-write.",
        ),
        (
            "SELECT 1::serial",
            "Refused: the type serial at line 1, column 11 is not allowed at your level, sql-read. "
            "It needs the level sql-admin.",
        ),
    ],
)
def test_a_refusal_says_what_and_where(statement: str, message: str) -> None:
    with pytest.raises(StatementRefused) as refused:
        Gate().check(statement, Level.SQL_READ)
    assert refused.value.message == message
    assert refused.value.code == "sql_statement_refused"


PLACES = [
    ("  /* ä */ \n  RESET ROLE", Level.ADMIN, "SET or RESET", 2, 3),
    ("SELECT '😀',\r\n\tpg_sleep(1)", Level.ADMIN, "the function pg_sleep", 2, 2),
    ("SELECT a\nFROM t FOR UPDATE", Level.SQL_READ, "a row lock (FOR UPDATE or FOR SHARE)", 2, 8),
    ("SELECT a FROM t WHERE b IN (SELECT c FROM u FOR SHARE OF u)", Level.SQL_READ, "a row lock", 1, 45),
    ("WITH é AS (\n DELETE FROM t) SELECT 1", Level.SQL_READ, "DELETE", 2, 2),
    ("SELECT a\nINTO x FROM t", Level.SQL_WRITE, "SELECT INTO", 2, 1),
    ("EXPLAIN (unheard_of 1) SELECT 1", Level.ADMIN, "the option unheard_of", 1, 10),
    ("SELECT a\n<!!> b", Level.ADMIN, "the operator <!!>", 2, 1),
    ("ALTER TABLE t OWNER TO bob", Level.ADMIN, "ALTER TABLE … CHANGE OWNER", 1, 24),
    ("\n DROP FUNCTION f()", Level.ADMIN, "DROP of FUNCTION", 2, 2),
    ("SELECT now(), interval '1 day', x::unheard_of", Level.ADMIN, "the type unheard_of", 1, 36),
    ("\n  CREATE TABLE t (a int) TABLESPACE x", Level.ADMIN, "CREATE with TABLESPACENAME", 2, 3),
    ("\nSELECT '" + "x" * 70_000 + "' FROM t FOR UPDATE", Level.SQL_READ, "a row lock", 2, 1),
    ("INSERT INTO t SELECT 1 FROM pg_temp.u", Level.ADMIN, "a temporary or unlogged table", 1, 29),
]


@pytest.mark.parametrize(
    ("statement", "level", "construct", "line", "column"), PLACES, ids=[case[0][:40] for case in PLACES]
)
def test_the_place_is_the_one_that_an_editor_shows(
    statement: str, level: Level, construct: str, line: int, column: int
) -> None:
    with pytest.raises(StatementRefused) as refused:
        Gate().check(statement, level)
    assert refused.value.message.startswith(f"Refused: {construct}")
    assert f" at line {line}, column {column} is not allowed at your level, {level.label}." in refused.value.message


@pytest.mark.parametrize(
    "statement",
    ["CREATE INDEX i ON t (a public.evil_ops)", "CREATE TABLE p (a int) PARTITION BY RANGE (a public.evil_ops)"],
)
def test_an_operator_class_of_a_schema_is_refused_at_every_level(statement: str) -> None:
    with pytest.raises(StatementRefused, match="a schema-qualified operator class at line 1"):
        Gate().check(statement, Level.ADMIN)


@pytest.mark.parametrize("statement", [*WRITES, *ADMINS, *ALLS])
def test_every_refusal_has_a_place(statement: str) -> None:
    for before in ("", "-- two\n/* three */ "):
        with pytest.raises(StatementRefused, match=r" at line \d+, column \d+ is not allowed"):
            Gate().check(before + statement, Level.SQL_READ)


def test_a_refusal_repeats_nothing_of_the_statement_but_plain_function_and_type_names() -> None:
    for statement in (
        "SELECT \"SECRET '\"('SECRET')",
        'SELECT 1::"SECRET \'"',
        "SELECT 'SECRET' SECRET SECRET",
        "SECRET",
    ):
        with pytest.raises(StatementRefused) as refused:
            Gate().check(statement, Level.SQL_READ)
        assert "SECRET" not in refused.value.message


def test_what_the_settings_allow_passes() -> None:
    gate = Gate(["own.sum_up", "helper"], ["mood"], ["<=>"])
    assert gate.check("SELECT own.sum_up(1), 'x'::mood, a <=> b FROM t", Level.SQL_READ).calls_allowed_functions
    assert gate.check("SELECT helper()", Level.SQL_READ).calls_allowed_functions
    assert not gate.check("SELECT lower('x')", Level.SQL_READ).calls_allowed_functions
    for statement in ("SELECT sum_up(1)", "SELECT other.helper()", "SELECT 'x'::own.mood", "SELECT a <#> b FROM t"):
        with pytest.raises(StatementRefused):
            gate.check(statement, Level.SQL_READ)


def test_a_verdict_is_remembered_for_its_level_only() -> None:
    gate = Gate()
    statement = "DELETE FROM notes"
    for _ in range(2):
        assert gate.check(statement, Level.SQL_WRITE)
        with pytest.raises(StatementRefused):
            gate.check(statement, Level.SQL_READ)


def test_what_is_remembered_is_bounded() -> None:
    gate = Gate()
    for number in range(2000):
        gate.check(f"SELECT {number}", Level.SQL_READ)
    assert len(gate._remembered) <= 512


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT " + "(" * 30_000 + "1" + ")" * 30_000,
        "SELECT 1" + "+1" * 32_000,
        "SELECT " + "NOT " * 16_000 + "true",
        "SELECT * FROM " + "(SELECT * FROM " * 4_000 + "a" + ") x" * 4_000,
        "SELECT 1" + " UNION SELECT 1" * 4_000,
        "SELECT 1" + "::int" * 13_000,
        "SELECT " + "-- \n" * 16_000,
        "SELECT a" + "[1]" * 20_000,
    ],
    ids=lambda statement: statement[:16],
)
def test_a_deeply_nested_statement_is_judged_or_refused_but_breaks_nothing(statement: str) -> None:
    try:
        Gate().check(statement, Level.SQL_READ)
    except StatementRefused:
        pass


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40))
def test_any_text_in_a_literal_stays_a_literal(text: str) -> None:
    quoted, name = text.replace("'", "''"), text.replace('"', '""') or "x"
    assert Gate().check(f"SELECT '{quoted}' AS \"{name}\"", Level.SQL_READ).needs is Level.SQL_READ


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60))
def test_any_text_at_all_is_judged_or_refused(text: str) -> None:
    for statement in (text, f"SELECT {text}"):
        try:
            Gate().check(statement, Level.SQL_READ)
        except StatementRefused as refused:
            assert refused.message.isprintable()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT translate('a', 'b', 'c')",
        "SELECT normalize('a')",
        "SELECT 'a' IS NORMALIZED",
        "SELECT btrim(body, other) FROM notes",
        "SELECT rtrim('a', $1)",
        "SELECT trim(LEADING repeat('a', 50000) FROM body) FROM notes",
        f"SELECT ltrim('a', '{'b' * 33}')",
        "SELECT array_shuffle(a) FROM t",
        "SELECT array_sample(a, 2) FROM t",
        "SELECT '((1,1),(2,2))'::polygon",
        "SELECT path '((1,1),(2,2))'",
        "SELECT '<(0,0),1>'::circle",
        "SELECT polygon(1000000, c) FROM t",
    ],
)
def test_what_no_timeout_can_end_is_refused(statement: str) -> None:
    with pytest.raises(StatementRefused):
        Gate().check(statement, Level.ADMIN)


@pytest.mark.parametrize("trim", ["trim(body)", "trim(LEADING '0' FROM body)", "btrim(body, ' \t')", "rtrim(body)"])
def test_blanks_and_a_few_written_characters_are_trimmed(trim: str) -> None:
    Gate().check(f"SELECT {trim} FROM notes", Level.SQL_READ)


@pytest.mark.parametrize("run", ["/**/" * 33, "/*/" * 50 + "*/" * 50, "+" * 129, "'" + "-" * 129 + "'"])
def test_symbols_in_a_row_that_the_parser_would_be_slow_to_read_are_refused(run: str) -> None:
    with pytest.raises(StatementRefused, match=r"more than 128 .* at line 1, column"):
        Gate().check(f"SELECT {run}1", Level.ADMIN)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM pg_settings",
        "SELECT setting FROM pg_catalog.pg_settings",
        "CREATE VIEW v AS TABLE pg_settings",
        "UPDATE pg_settings SET setting = 'bob' WHERE name = 'role'",
    ],
)
def test_the_view_that_sets_settings_is_refused_in_every_statement(statement: str) -> None:
    with pytest.raises(StatementRefused):
        Gate().check(statement, Level.ADMIN)


def test_verdicts_are_remembered_from_several_threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long statements are judged in threads, short ones in the loop: both remember."""
    monkeypatch.setattr("actas.delegation.sql.gate._CACHED_STATEMENTS", 1)
    gate, before = Gate(), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            texts = [f"SELECT {number % 2}" for number in range(20_000)]
            verdicts = list(threads.map(lambda text: gate.check(text, Level.SQL_READ), texts))
    finally:
        sys.setswitchinterval(before)
    assert {verdict.needs for verdict in verdicts} == {Level.SQL_READ}
