"""Which nodes of PostgreSQL's grammar a statement may have, from which level on.

Fields come from the parser's own node definitions; a node or field that is not listed is refused.
"""

from typing import Final

from pglast import ast

from actas.delegation.sql.levels import Level

NODES: Final = ""
"""The kind of a field that holds nodes of any type, each under its type's name."""

_READ = """
    SelectStmt ExplainStmt List A_ArrayExpr A_Expr A_Indices A_Indirection Alias BoolExpr BooleanTest
    CTECycleClause CTESearchClause CaseExpr CaseWhen CoalesceExpr CollateClause ColumnRef CommonTableExpr DefElem
    FuncCall GroupingFunc GroupingSet JoinExpr MinMaxExpr NamedArgExpr NullTest ParamRef RangeFunction
    RangeSubselect RangeVar RangeTableSample ResTarget RowExpr SQLValueFunction SetToDefault SortBy SubLink
    TypeCast TypeName WindowDef WithClause ColumnDef JsonObjectConstructor JsonArrayConstructor
    JsonArrayQueryConstructor JsonObjectAgg JsonArrayAgg JsonAggConstructor JsonKeyValue JsonValueExpr JsonFormat
    JsonOutput JsonReturning JsonFuncExpr JsonBehavior JsonArgument JsonTable JsonTableColumn JsonTablePathSpec
    JsonIsPredicate JsonParseExpr JsonScalarExpr JsonSerializeExpr
"""
_WRITE = """
    InsertStmt UpdateStmt DeleteStmt MergeStmt MergeWhenClause OnConflictClause InferClause
    IndexElem ReturningClause ReturningOption MultiAssignRef LockingClause
"""
_ADMIN = """
    CreateStmt Constraint IndexStmt AlterTableStmt AlterTableCmd ViewStmt RenameStmt CreateTableAsStmt IntoClause
    CommentStmt CreateSchemaStmt CreateSeqStmt AlterSeqStmt CreateEnumStmt AlterEnumStmt CreateStatsStmt StatsElem
    RefreshMatViewStmt PartitionSpec PartitionElem PartitionBoundSpec PartitionRangeDatum PartitionCmd
    TableLikeClause
"""
_ALL = "DropStmt TruncateStmt"

LEAVES: Final = frozenset(
    {"A_Const", "A_Star", "String", "Integer", "Float", "Boolean", "BitString", "MergeSupportFunc"}
)
"""Nodes without anything below them that could do harm."""

STATEMENTS: Final = frozenset(
    """
    SelectStmt ExplainStmt InsertStmt UpdateStmt DeleteStmt MergeStmt CreateStmt IndexStmt AlterTableStmt ViewStmt
    RenameStmt CreateTableAsStmt CommentStmt CreateSchemaStmt CreateSeqStmt AlterSeqStmt CreateEnumStmt
    AlterEnumStmt CreateStatsStmt RefreshMatViewStmt DropStmt TruncateStmt
    """.split()
)
"""Nodes that may stand at the root."""

_FORBIDDEN_FIELDS = {
    "CreateSchemaStmt": {"authrole", "schemaElts"},
    "CreateSeqStmt": {"ownerId"},
    "CreateStmt": {"tablespacename", "accessMethod"},
    "IntoClause": {"tableSpaceName", "accessMethod", "viewQuery"},
    "IndexStmt": {"tableSpace", "concurrent"},
    "Constraint": {"indexspace"},
    "ColumnDef": {"fdwoptions", "storage_name"},
    "AlterTableCmd": {"newowner"},
    "RefreshMatViewStmt": {"concurrent"},
    "RangeVar": {"catalogname"},
    "TypeName": {"setof", "pct_type"},
    "DropStmt": {"concurrent"},
}

# These lists of strings are names: the gate checks them as a whole instead of walking them.
_NAME_FIELDS = {
    "FuncCall": {"funcname"},
    "A_Expr": {"name"},
    "SubLink": {"operName"},
    "SortBy": {"useOp"},
    "TypeName": {"names"},
    "ColumnRef": {"fields"},
    "RangeTableSample": {"method"},
    "CollateClause": {"collname"},
    "IndexElem": {"opclass"},
    "PartitionElem": {"opclass"},
}

DROPPABLE: Final = frozenset(
    f"OBJECT_{kind}" for kind in "TABLE VIEW INDEX MATVIEW SEQUENCE SCHEMA TYPE STATISTIC_EXT".split()
)
"""What DROP may drop."""
RENAMEABLE: Final = frozenset(
    f"OBJECT_{kind}" for kind in "TABLE VIEW INDEX MATVIEW SEQUENCE SCHEMA TYPE COLUMN ATTRIBUTE TABCONSTRAINT".split()
)
"""What ALTER … RENAME may rename."""
COMMENTABLE: Final = RENAMEABLE | {"OBJECT_STATISTIC_EXT"}
"""What COMMENT may be on."""
ALTERABLE: Final = frozenset(f"OBJECT_{kind}" for kind in "TABLE VIEW INDEX MATVIEW SEQUENCE".split())
"""What ALTER may alter."""
ALTERATIONS: Final = {
    **{
        f"AT_{kind}": Level.ADMIN
        for kind in (
            "AddColumn ColumnDefault SetNotNull DropNotNull SetStatistics AddConstraint ValidateConstraint "
            "AlterConstraint AlterColumnType AddIdentity SetIdentity SetExpression AttachPartition"
        ).split()
    },
    **{f"AT_{kind}": Level.ALL for kind in "DropColumn DropConstraint DropIdentity DropExpression".split()},
}
"""Subcommands of ALTER TABLE. Not here, so refused: owners, row security, triggers, rules, storage, inheritance."""

OPTIONS: Final = {
    **dict.fromkeys(
        "analyze verbose costs buffers timing summary format generic_plan wal memory serialize".split(), Level.READ
    ),
    **dict.fromkeys(
        (
            "fillfactor security_barrier security_invoker check_option as start restart increment minvalue maxvalue "
            "cache cycle owned_by"
        ).split(),
        Level.ADMIN,
    ),
}
"""Options in parentheses or sequences' clauses, by name."""


def _fields(kind: str) -> dict[str, str | None]:
    """A node's fields: ``NODES``, the one type that a field has, or None where it is no node."""
    if kind == "List":
        return {"items": NODES}
    found: dict[str, str | None] = {}
    for name, info in getattr(ast, kind).__slots__.items():
        field = "def" if name == "def_" else name
        if field in _FORBIDDEN_FIELDS.get(kind, ()):
            continue
        found[field] = None if name in _NAME_FIELDS.get(kind, ()) else _kind_of(info.c_type)
    return found


def _kind_of(c_type: str) -> str | None:
    if c_type in {"List*", "Node*", "Expr*"}:
        return NODES
    pointed = c_type.removesuffix("*")
    return pointed if c_type.endswith("*") and hasattr(ast, pointed) else None


def _grammar() -> dict[str, tuple[Level, dict[str, str | None]]]:
    by_level = ((Level.READ, _READ), (Level.WRITE, _WRITE), (Level.ADMIN, _ADMIN), (Level.ALL, _ALL))
    return {kind: (level, _fields(kind)) for level, kinds in by_level for kind in kinds.split()}


GRAMMAR: Final = _grammar()
"""Each allowed node with the level it needs and its fields."""
