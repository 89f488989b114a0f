"""The attacks on the T-SQL gate: each refused, or without effect on the peer, which reads what is sent by itself."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mssql_attacks import ATTACKS
from mssql_stage import ALICE, ask

from actas.core.errors import ActasError
from actas.delegation.sql.failures import StatementRefused
from actas.delegation.sql.levels import Level
from actas.delegation.sql.mssql.gate import TsqlGate
from actas.delegation.sql.mssql.module import MssqlDelegation
from actas.testing.tds import TdsPeer
from actas.testing.tds_session import WRITES, TdsSession, lex

GATE = TsqlGate()

GOOD = """
SELECT created_at FROM dbo.orders
SELECT TOP (5) a, b AS c FROM dbo.o AS x WHERE a LIKE N'%x' AND b IN (1, 2) ORDER BY a DESC
SELECT COUNT(*), SUM(x), MAX(y) FROM o GROUP BY a HAVING COUNT(*) > 1
SELECT o.a, p.b FROM o LEFT JOIN p ON o.a = p.a CROSS JOIN q
WITH x AS (SELECT 1 AS a UNION ALL SELECT 2) SELECT * FROM x
SELECT ROW_NUMBER() OVER (PARTITION BY a ORDER BY b) FROM o
SELECT SUM(x) OVER (ORDER BY a ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM o
SELECT CASE WHEN a = 1 THEN 2 ELSE 3 END, IIF(a = 1, 2, 3), ISNULL(a, 1), COALESCE(a, b) FROM o
SELECT CONVERT(varchar(10), d, 112), CAST(a AS decimal(10, 2)), TRY_CAST(x AS int) FROM o
SELECT * FROM o ORDER BY a OFFSET 5 ROWS FETCH NEXT 5 ROWS ONLY
SELECT a COLLATE Latin1_General_BIN2 FROM [strange name].[a]]b]
SELECT DATEADD(day, 1, d), DATEDIFF(day, a, b), YEAR(d), GETDATE() FROM o
SELECT SUBSTRING(a, 1, 2), UPPER(a), REPLACE(a, 'x', 'y'), ROUND(a, 2), TRIM(a), LEFT(a, 2), ABS(a) FROM o;
SELECT [delete], "update" FROM o
SELECT RANK() OVER (ORDER BY a), DENSE_RANK() OVER (ORDER BY a) FROM t
SELECT STRING_AGG(b, ',') FROM t
SELECT EOMONTH(d) FROM t
"""
WRITING = """
INSERT INTO o (a, b) OUTPUT inserted.a VALUES (1, 2), (3, 4)
INSERT INTO o (a) SELECT a FROM p
UPDATE o SET a = 1 OUTPUT deleted.a WHERE b = 2
DELETE FROM o WHERE a IN (SELECT a FROM p)
MERGE INTO o USING p ON o.a = p.a WHEN MATCHED THEN UPDATE SET b = p.b WHEN NOT MATCHED THEN INSERT (a) VALUES (p.a)
"""


def test_there_are_enough_of_them() -> None:
    assert len(set(ATTACKS)) == len(ATTACKS) >= 150


def judged(statement: str, level: Level, parameters: tuple[str, ...] = ()) -> list[str]:
    """What the peer says that the statement would do; nothing where the gate refused it."""
    try:
        text = GATE.check(statement, level, parameters).text
    except StatementRefused as refusal:
        assert "\n" not in refusal.message
        return []
    session = TdsSession("gateway", frozenset({"alice"}))
    cookie = session.execute_as("alice", cookie=True)
    session.statement(text, {f"@{name}": 1 for name in parameters})
    session.revert(cookie)
    assert session.user == "gateway"
    return list(session.ran[0].effects)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_or_without_effect_at_the_reading_level(attack: str) -> None:
    assert judged(attack, Level.SQL_READ) == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_does_no_more_than_one_write_at_the_writing_level(attack: str) -> None:
    effects = judged(attack, Level.SQL_WRITE, ("p",))
    assert set(effects) <= WRITES
    if effects and effects[0] != "MERGE":
        assert len(effects) == 1


@pytest.mark.anyio
async def test_all_attacks_over_the_wire_leave_no_trace(mssql: MssqlDelegation, tds_peer: TdsPeer) -> None:
    passed = 0
    for attack in ATTACKS:
        try:
            result = await ask(mssql, attack)
        except ActasError:
            continue
        passed += 1
        assert result.receipt.identity == "CORP\\alice"
    assert passed < len(ATTACKS) / 10
    assert all(ran.user == ALICE.legacy_username and set(ran.effects) <= WRITES for ran in tds_peer.ran)
    assert {seen.left_as for seen in tds_peer.connections} == {None}


@pytest.mark.parametrize("statement", GOOD.strip().splitlines())
def test_ordinary_reading_is_allowed(statement: str) -> None:
    verdict = GATE.check(statement, Level.SQL_READ)
    assert GATE.check(verdict.text, Level.SQL_READ).text == verdict.text


@pytest.mark.parametrize("statement", WRITING.strip().splitlines())
def test_writing_is_allowed_at_its_level_only(statement: str) -> None:
    assert GATE.check(statement, Level.SQL_WRITE).needs is Level.SQL_WRITE
    with pytest.raises(StatementRefused, match="sql-write"):
        GATE.check(statement, Level.SQL_READ)


def test_a_refusal_says_what_and_where_and_repeats_no_data() -> None:
    with pytest.raises(StatementRefused) as caught:
        GATE.check("SELECT 'secret'\n  FROM t REVERT", Level.SQL_READ)
    assert caught.value.message == "Refused: REVERT at line 2, column 10, which no level allows."


def test_a_function_is_allowed_by_its_full_name_only() -> None:
    gate = TsqlGate(["dbo.Total"])
    assert gate.check("SELECT dbo.total(a) FROM o", Level.SQL_READ).text == "SELECT [dbo].total([a]) FROM [o]"
    gate.check("SELECT * FROM dbo.total(1) AS t", Level.SQL_READ)
    for other in ("SELECT total(a) FROM o", "SELECT x.total(a) FROM o", "SELECT d.dbo.total(a) FROM o"):
        with pytest.raises(StatementRefused):
            gate.check(other, Level.SQL_READ)


@pytest.mark.parametrize(
    "statement",
    ["SELECT " + "(" * 3000 + "1" + ")" * 3000, "SELECT 1" + " + 1" * 4000, "SELECT " + "-" * 1 + "~" * 4000 + "1"],
)
def test_what_is_nested_too_deeply_or_too_long_is_refused(statement: str) -> None:
    with pytest.raises(StatementRefused):
        GATE.check(statement, Level.SQL_READ)


_PIECES = st.sampled_from(
    """
    SELECT FROM WHERE DELETE UPDATE INSERT INTO REVERT EXEC EXECUTE AS USER = ; , ( ) [ ] " ' -- /* */ * @p
    @@ROWCOUNT [a] [a]]b] "b" 'x' N'y' '' 0x1F 1 1. .5 1e5 a b dbo . :: $ # ## ↵ \\ { } ? : WITH UNION ALL TOP
    SET VALUES OUTPUT MERGE USING ON JOIN CASE WHEN THEN END IF BEGIN TRY CATCH GO WAITFOR DBCC OPENROWSET
    xp_cmdshell sp_executesql sys t ORDER BY GROUP HAVING OVER FOR XML OPTION NOLOCK CAST CONVERT int EXISTS IN
    LIKE AND OR NOT NULL IS COUNT(*) COLLATE é \u017f
    """.split()
)


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.one_of(_PIECES, st.text(max_size=3)), max_size=25), st.sampled_from([" ", "", "/**/"]))
def test_whatever_is_written_is_refused_or_harmless(pieces: list[str], between: str) -> None:
    statement = between.join(["SELECT", *pieces]).replace("↵", "\n")
    assert judged(statement, Level.SQL_READ, ("p",)) == []


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=40), st.text(min_size=1, max_size=20))
def test_no_text_and_no_name_ends_before_its_quote(text: str, name: str) -> None:
    quoted, bracketed = text.replace("'", "''"), name.replace("]", "]]")
    try:
        sent = GATE.check(f"SELECT N'{quoted}' FROM [{bracketed}]", Level.SQL_READ).text
    except StatementRefused:
        return
    kinds = [token.kind for token in lex(sent)]
    assert kinds == ["word", "string", "word", "name"]
    assert re.sub(r"\s", "", sent).startswith("SELECTN'")
