"""What goes into a T-SQL batch as a value, what comes out as JSON, and statements that are none."""

from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

import pytest

from actas.core import InvalidParameters
from actas.delegation.sql.failures import StatementRefused
from actas.delegation.sql.levels import Level
from actas.delegation.sql.mssql.actions import Scalar
from actas.delegation.sql.mssql.batch import bind
from actas.delegation.sql.mssql.driver import plain
from actas.delegation.sql.mssql.gate import TsqlGate


@pytest.mark.parametrize(
    ("value", "kind", "literal"),
    [
        (None, "nvarchar(max)", "NULL"),
        (True, "bit", "1"),
        (-5, "bigint", "-5"),
        (0.1, "float", "1.00000000000000006e-01"),
        ("it's", "nvarchar(max)", "N'it''s'"),
        ("'; REVERT --", "nvarchar(max)", "N'''; REVERT --'"),
    ],
)
def test_a_value_has_its_type_and_stays_in_its_quotes(value: Scalar, kind: str, literal: str) -> None:
    bound = bind({"a": value}, most_bytes=100)
    assert (bound.declared, bound.variables) == (f"@a {kind}", [f"DECLARE @actas_p0 {kind} = {literal};"])
    assert bound.given == "@a = @actas_p0"


@pytest.mark.parametrize(
    "params",
    [
        {f"p{number}": 1 for number in range(201)},
        {"a": 1, "A": 2},
        {"a b": 1},
        {"": 1},
        {"a": "x" * 101},
        {"a": 2**63},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": "\0"},
        {"a": "\ud800"},
        {"a": ["x"]},
    ],
    ids=lambda params: str(params)[:20],
)
def test_what_cannot_be_a_value_is_refused(params: dict[str, Scalar]) -> None:
    with pytest.raises(InvalidParameters):
        bind(params, most_bytes=100)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, None),
        (True, True),
        (2**53, 2**53),
        (2**53 + 1, "9007199254740993"),
        (0.5, 0.5),
        (float("nan"), "nan"),
        (Decimal("1.10"), "1.10"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\x00\xff", "AP8="),
        (date(2026, 11, 26), "2026-11-26"),
        (datetime(2026, 11, 26, 1, 2, 3), "2026-11-26T01:02:03"),
        (time(1, 2), "01:02:00"),
        ("x", "x"),
        (complex(1, 2), "(1+2j)"),
    ],
)
def test_a_value_becomes_json_that_no_reader_rounds(value: object, told: object) -> None:
    assert plain(value) == told and type(plain(value)) is type(told)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("", "more or less than one statement"),
        (";", "more or less than one statement"),
        ("SELECT 'open", "what is no T-SQL"),
        ("SELECT a FROM WHERE", "what is no T-SQL"),
        ("SELECT " + "(" * 200 + "1" + ")" * 200, "levels of nesting"),
        ("SELECT " + "1+" * 3000 + "1", "words"),
        ("SELECT a.b.c.d.e FROM t", "which no level allows"),
        ("SELECT shop.dbo.t.a FROM t", "which no level allows"),
    ],
    ids=lambda text: str(text)[:24],
)
def test_a_statement_that_is_none_is_told_so(statement: str, why: str) -> None:
    with pytest.raises(StatementRefused) as caught:
        TsqlGate().check(statement, Level.SQL_WRITE)
    assert why in caught.value.message
