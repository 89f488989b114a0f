"""The grammar lists what may pass, field by field: what a newer parser adds is refused until somebody lists it."""

import pytest
from pglast import ast

from actas.delegation.sql import grammar
from actas.delegation.sql.failures import StatementRefused
from actas.delegation.sql.gate import Gate
from actas.delegation.sql.grammar import GRAMMAR, LEAVES, declared
from actas.delegation.sql.levels import Level

REFUSED = {
    "AlterTableCmd": {"newowner"},
    "ColumnDef": {"fdwoptions", "storage_name"},
    "Constraint": {"indexspace"},
    "CreateSchemaStmt": {"authrole", "schemaElts"},
    "CreateSeqStmt": {"ownerId"},
    "CreateStmt": {"accessMethod", "tablespacename"},
    "DropStmt": {"concurrent"},
    "IndexStmt": {"concurrent", "tableSpace"},
    "IntoClause": {"accessMethod", "tableSpaceName", "viewQuery"},
    "RangeVar": {"catalogname"},
    "RefreshMatViewStmt": {"concurrent"},
    "TypeName": {"pct_type", "setof"},
}
"""Fields of listed nodes that are refused on purpose, at every level."""


@pytest.mark.parametrize("node", GRAMMAR)
def test_every_field_that_the_parser_knows_is_listed_or_refused_on_purpose(node: str) -> None:
    known, listed, refused = set(declared(node)), set(GRAMMAR[node][1]), REFUSED.get(node, set())
    new = known - listed - refused
    assert not new, f"{node} has new fields: {sorted(new)}. List them in grammar.py, or here as refused on purpose"
    assert not listed & refused


@pytest.mark.parametrize("table", ["_SQL_READ", "_SQL_WRITE", "_SQL_ADMIN", "_ADMIN"])
def test_every_field_that_is_listed_exists(table: str) -> None:
    node = ""
    for word in getattr(grammar, table).split():
        if word.endswith(":"):
            node = word[:-1]
            assert node in GRAMMAR
        else:
            assert word in GRAMMAR[node][1], f"{node} has no field {word}"


def test_a_field_that_holds_one_type_of_node_holds_a_listed_one() -> None:
    below = {(node, kind) for node, (_, fields) in GRAMMAR.items() for kind in fields.values() if kind}
    assert {(node, kind) for node, kind in below if kind not in GRAMMAR} == set()
    assert not LEAVES & GRAMMAR.keys()


def test_a_field_that_a_newer_parser_adds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for node, field in (("DeleteStmt", "whereClause"), ("SelectStmt", "targetList"), ("A_Expr", "lexpr")):
        level, fields = GRAMMAR[node]
        monkeypatch.setitem(GRAMMAR, node, (level, {name: kind for name, kind in fields.items() if name != field}))
    for statement in ("DELETE FROM t WHERE a", "SELECT 1", "VALUES (1 + 1)"):
        with pytest.raises(StatementRefused, match="No level allows it"):
            Gate().check(statement, Level.ADMIN)


def test_a_field_whose_type_is_new_to_the_parser_is_refused_and_not_skipped() -> None:
    assert grammar._kind_of("NewThing*") == "NewThing" not in GRAMMAR
    assert not hasattr(ast, "NewThing")
    assert grammar._kind_of("char*") is None
    assert grammar._kind_of("bool") is None
