"""Which nodes of PostgreSQL's grammar a statement may have, with which fields, from which level on.

What is not listed is refused: a node, and a field of a node. So a newer parser widens nothing; a test then
says which fields it has that are neither listed here nor among those that the test names as refused.

To allow one more kind of statement:

1. Parse some (``pglast.parser.parse_sql_json``): each node of the tree needs a line under its level below, with the
   fields that may occur; a node ending in ``Stmt`` may then be a whole statement. Fields with a danger of their own
   (owners, tablespaces, other databases) are left out, and named in the test as refused.
2. A list of strings that is a name, not a tree, goes into ``_NAME_FIELDS`` and gets a check of the gate.
3. What one node tells apart by a word goes into ``DROPPABLE`` and its neighbours, ``ALTERATIONS`` or ``OPTIONS``.
4. A check beyond that (a target table, a kind of object) goes into ``_CHECKS`` of the gate.
5. Put one example into each of ``tests/test_gate.py`` (under its level) and, if it can harm, ``tests/sql_attacks.py``.
   Does it end the transaction, refuse to run in one, or act outside of it? Then it cannot be allowed.
"""

import re
from typing import Final

from pglast import ast

from actas.delegation.sql.levels import Level

NODES: Final = ""
"""The kind of a field that holds nodes of any type, each under its type's name."""

_SQL_READ = """
    SelectStmt: distinctClause intoClause targetList fromClause whereClause groupClause groupDistinct havingClause
        windowClause valuesLists sortClause limitOffset limitCount limitOption lockingClause withClause op all larg rarg
    ExplainStmt: query options
    List: items
    A_ArrayExpr: elements list_start list_end location
    A_Expr: kind name lexpr rexpr rexpr_list_start rexpr_list_end location
    A_Indices: is_slice lidx uidx
    A_Indirection: arg indirection
    Alias: aliasname colnames
    BoolExpr: boolop args location
    BooleanTest: arg booltesttype location
    CTECycleClause: cycle_col_list cycle_mark_column cycle_mark_value cycle_mark_default cycle_path_column location
        cycle_mark_typmod
    CTESearchClause: search_col_list search_breadth_first search_seq_column location
    CaseExpr: arg args defresult location
    CaseWhen: expr result location
    CoalesceExpr: args location
    CollateClause: arg collname location
    ColumnRef: fields location
    CommonTableExpr: ctename aliascolnames ctematerialized ctequery search_clause cycle_clause location cterecursive
        cterefcount ctecolnames ctecoltypes ctecoltypmods ctecolcollations
    DefElem: defnamespace defname arg defaction location arg_location
    FuncCall: funcname args agg_order agg_filter over agg_within_group agg_star agg_distinct func_variadic funcformat
        location
    GroupingFunc: args refs agglevelsup location
    GroupingSet: kind content location
    JoinExpr: jointype isNatural larg rarg usingClause join_using_alias quals alias rtindex
    MinMaxExpr: op args location
    NamedArgExpr: arg name argnumber location
    NullTest: arg nulltesttype argisrow location
    ParamRef: number location
    RangeFunction: lateral ordinality is_rowsfrom functions alias coldeflist
    RangeSubselect: lateral subquery alias
    RangeVar: schemaname relname inh relpersistence alias location
    RangeTableSample: relation method args repeatable location
    ResTarget: name indirection val location
    RowExpr: args row_format colnames location
    SQLValueFunction: op typmod location
    SetToDefault: typeMod location
    SortBy: node sortby_dir sortby_nulls useOp location
    SubLink: subLinkType subLinkId testexpr operName subselect location
    TypeCast: arg typeName location
    TypeName: names typmods typemod arrayBounds location
    WindowDef: name refname partitionClause orderClause frameOptions startOffset endOffset location
    WithClause: ctes recursive location
    ColumnDef: colname typeName compression inhcount is_local is_not_null is_from_type storage raw_default
        cooked_default identity identitySequence generated collClause constraints location
    JsonObjectConstructor: exprs output absent_on_null unique location
    JsonArrayConstructor: exprs output absent_on_null location
    JsonArrayQueryConstructor: query output format absent_on_null location
    JsonObjectAgg: constructor arg absent_on_null unique
    JsonArrayAgg: constructor arg absent_on_null
    JsonAggConstructor: output agg_filter agg_order over location
    JsonKeyValue: key value
    JsonValueExpr: raw_expr formatted_expr format
    JsonFormat: format_type encoding location
    JsonOutput: typeName returning
    JsonReturning: format typmod
    JsonFuncExpr: op column_name context_item pathspec passing output on_empty on_error wrapper quotes location
    JsonBehavior: btype expr coerce location
    JsonArgument: val name
    JsonTable: context_item pathspec passing columns on_error alias lateral location
    JsonTableColumn: coltype name typeName pathspec format wrapper quotes columns on_empty on_error location
    JsonTablePathSpec: string name name_location location
    JsonIsPredicate: expr format item_type unique_keys location
    JsonParseExpr: expr output unique_keys location
    JsonScalarExpr: expr output location
    JsonSerializeExpr: expr output location
"""
_SQL_WRITE = """
    InsertStmt: relation cols selectStmt onConflictClause returningClause withClause override
    UpdateStmt: relation targetList whereClause fromClause returningClause withClause
    DeleteStmt: relation usingClause whereClause returningClause withClause
    MergeStmt: relation sourceRelation joinCondition mergeWhenClauses returningClause withClause
    MergeWhenClause: matchKind commandType override condition targetList values
    OnConflictClause: action infer targetList whereClause location
    InferClause: indexElems whereClause conname location
    IndexElem: name expr indexcolname collation opclass opclassopts ordering nulls_ordering
    ReturningClause: options exprs
    ReturningOption: option value location
    MultiAssignRef: source colno ncolumns
    LockingClause: lockedRels strength waitPolicy
"""
_SQL_ADMIN = """
    CreateStmt: relation tableElts inhRelations partbound partspec ofTypename constraints nnconstraints options oncommit
        if_not_exists
    Constraint: contype conname deferrable initdeferred is_enforced skip_validation initially_valid is_no_inherit
        raw_expr cooked_expr generated_when generated_kind nulls_not_distinct keys without_overlaps including exclusions
        options indexname reset_default_tblspc access_method where_clause pktable fk_attrs pk_attrs fk_with_period
        pk_with_period fk_matchtype fk_upd_action fk_del_action fk_del_set_cols old_conpfeqop location
    IndexStmt: idxname relation accessMethod indexParams indexIncludingParams options whereClause excludeOpNames
        idxcomment oldNumber oldCreateSubid oldFirstRelfilelocatorSubid unique nulls_not_distinct primary isconstraint
        iswithoutoverlaps deferrable initdeferred transformed if_not_exists reset_default_tblspc
    AlterTableStmt: relation cmds objtype missing_ok
    AlterTableCmd: subtype name num def behavior missing_ok recurse
    ViewStmt: view aliases query replace options withCheckOption
    RenameStmt: renameType relationType relation object subname newname behavior missing_ok
    CreateTableAsStmt: query into objtype is_select_into if_not_exists
    IntoClause: rel colNames options onCommit skipData
    CommentStmt: objtype object comment
    CreateSchemaStmt: schemaname if_not_exists
    CreateSeqStmt: sequence options for_identity if_not_exists
    AlterSeqStmt: sequence options for_identity missing_ok
    CreateEnumStmt: typeName vals
    AlterEnumStmt: typeName oldVal newVal newValNeighbor newValIsAfter skipIfNewValExists
    CreateStatsStmt: defnames stat_types exprs relations stxcomment transformed if_not_exists
    StatsElem: name expr
    RefreshMatViewStmt: skipData relation
    PartitionSpec: strategy partParams location
    PartitionElem: name expr collation opclass location
    PartitionBoundSpec: strategy is_default modulus remainder listdatums lowerdatums upperdatums location
    PartitionRangeDatum: kind value location
    PartitionCmd: name bound concurrent
    TableLikeClause: relation options
"""
_ADMIN = """
    DropStmt: objects removeType behavior missing_ok
    TruncateStmt: relations restart_seqs behavior
"""

LEAVES: Final = frozenset(
    {"A_Const", "A_Star", "String", "Integer", "Float", "Boolean", "BitString", "MergeSupportFunc"}
)
"""Nodes without anything below them that could do harm."""

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
        f"AT_{kind}": Level.SQL_ADMIN
        for kind in (
            "AddColumn ColumnDefault SetNotNull DropNotNull SetStatistics AddConstraint ValidateConstraint "
            "AlterConstraint AlterColumnType AddIdentity SetIdentity SetExpression AttachPartition"
        ).split()
    },
    **{f"AT_{kind}": Level.ADMIN for kind in "DropColumn DropConstraint DropIdentity DropExpression".split()},
}
"""Subcommands of ALTER TABLE. Not here, so refused: owners, row security, triggers, rules, storage, inheritance."""

OPTIONS: Final = {
    **dict.fromkeys(
        "analyze verbose costs buffers timing summary format generic_plan wal memory serialize".split(), Level.SQL_READ
    ),
    **dict.fromkeys(
        (
            "fillfactor security_barrier security_invoker check_option as start restart increment minvalue maxvalue "
            "cache cycle owned_by"
        ).split(),
        Level.SQL_ADMIN,
    ),
}
"""Options in parentheses or sequences' clauses, by name."""


def declared(node: str) -> dict[str, str]:
    """All fields of a node that the installed parser knows, each with its C type."""
    if node == "List":  # the parser makes it of a list within a list; it has no definition
        return {"items": "List*"}
    slots = getattr(ast, node).__slots__
    return {"def" if name == "def_" else name: slot.c_type for name, slot in slots.items()}


def _kind_of(c_type: str) -> str | None:
    if c_type in {"List*", "Node*", "Expr*"}:
        return NODES
    return c_type[:-1] if c_type.endswith("*") and c_type != "char*" else None


def _fields(node: str, listed: str) -> dict[str, str | None]:
    """The listed fields, each with its kind: ``NODES``, the one type of node that it has, or None where it is none."""
    types, names = declared(node), _NAME_FIELDS.get(node, ())
    return {field: None if field in names else _kind_of(types[field]) for field in listed.split() if field in types}


def _grammar() -> dict[str, tuple[Level, dict[str, str | None]]]:
    tables = {
        Level.SQL_READ: _SQL_READ,
        Level.SQL_WRITE: _SQL_WRITE,
        Level.SQL_ADMIN: _SQL_ADMIN,
        Level.ADMIN: _ADMIN,
    }
    return {
        node: (level, _fields(node, listed))
        for level, table in tables.items()
        for node, listed in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", table, re.MULTILINE)
    }


GRAMMAR: Final = _grammar()
"""Each allowed node with the level it needs and its fields."""

STATEMENTS: Final = frozenset(node for node in GRAMMAR if node.endswith("Stmt"))
"""Nodes that may stand at the root."""
