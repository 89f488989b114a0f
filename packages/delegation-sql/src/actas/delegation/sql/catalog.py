"""The tables that a user may see, asked of the catalogue as that user: privileges decide, column by column.

They run where unqualified names are PostgreSQL's own alone: see ``Statement.our_own``. Texts that anybody can make as
long as he likes are cut, so that an answer has a size that a model can read.
"""

_MAY_SEE = "'SELECT, INSERT, UPDATE'"


def _visible(table: str, schema: str) -> str:
    return f"""
    {table}.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND {schema}.nspname !~ '^(pg_|information_schema$)'
    AND pg_catalog.has_schema_privilege({schema}.oid, 'USAGE')
    AND (pg_catalog.has_table_privilege({table}.oid, 'SELECT, INSERT, UPDATE, DELETE')
         OR pg_catalog.has_any_column_privilege({table}.oid, {_MAY_SEE}))
"""


def _columns_visible(table: str, key: str) -> str:
    return f"""NOT EXISTS (
        SELECT FROM pg_catalog.unnest({key}) s (number)
        WHERE s.number <> 0 AND pg_catalog.has_column_privilege({table}, s.number, {_MAY_SEE}) IS NOT TRUE)"""


def _columns_of(table: str, key: str) -> str:
    return f"""(
        SELECT pg_catalog.json_agg(m.attname ORDER BY s.position)
        FROM ROWS FROM (pg_catalog.unnest({key})) WITH ORDINALITY s (number, position)
            JOIN pg_catalog.pg_attribute m ON m.attrelid = {table} AND m.attnum = s.number)"""  # noqa: S608 -- constants


def _cut(text: str, most: int) -> str:
    return (
        f"CASE WHEN pg_catalog.length({text}) > {most} THEN pg_catalog.left({text}, {most}) || '…'::text "
        f"ELSE {text} END"
    )


MOST_TABLES = 500
"""Tables on one page of the list."""
MOST_COLUMNS = 100
"""Columns on one page of a table's details."""
MOST_OTHERS = 50
"""Constraints, foreign keys in each direction, and indexes that the details show."""

MOST_VALUES = 50
"""Values of an enumeration that a column's details show."""
MOST_ROWS = 4000
"""Rows of any answer: the most columns that a result can have, twice, and some."""

_KIND = """
    CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
        WHEN 'm' THEN 'materialized view' ELSE 'foreign table' END
"""
_ESTIMATE = """
    CASE WHEN c.reltuples >= 0 AND c.relkind <> 'v' AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
        THEN c.reltuples::bigint END
"""

LIST_TABLES = f"""
SELECT n.nspname AS schema, c.relname AS name, {_KIND} AS kind, {_ESTIMATE} AS estimated_rows,
       {_cut("pg_catalog.obj_description(c.oid, 'pg_class')", 200)} AS comment
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE {_visible("c", "n")} AND NOT c.relispartition
    AND (%(schema)s::text IS NULL OR n.nspname LIKE %(schema)s) AND (%(name)s::text IS NULL OR c.relname LIKE %(name)s)
ORDER BY 1, 2 OFFSET %(offset)s LIMIT %(limit)s
"""  # noqa: S608 -- made of constants
"""Parameters: schema, name (LIKE patterns or None), offset, limit."""

_WHOLE = "pg_catalog.has_table_privilege(t.oid, 'SELECT')"
_PRIVILEGES = ", ".join(
    f"CASE WHEN pg_catalog.has_table_privilege(t.oid, '{name}') THEN '{name}' END"
    for name in ("SELECT", "INSERT", "UPDATE", "DELETE")
)

TABLE_DETAILS = f"""
WITH t AS (
    SELECT c.oid, n.nspname, c.relname, {_KIND} AS kind, {_ESTIMATE} AS estimated_rows, c.relrowsecurity
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE {_visible("c", "n")} AND c.relname = %(table)s
        AND n.nspname = CASE WHEN %(schema)s::text IS NOT NULL THEN %(schema)s ELSE (
            SELECT s.nspname
            FROM ROWS FROM (pg_catalog.unnest(%(path)s::text[])) WITH ORDINALITY p (name, position)
                JOIN pg_catalog.pg_namespace s ON s.nspname = p.name
                JOIN pg_catalog.pg_class r ON r.relnamespace = s.oid AND r.relname = %(table)s
            WHERE pg_catalog.has_schema_privilege(s.oid, 'USAGE') ORDER BY p.position LIMIT 1) END
), a AS (
    SELECT a.*
    FROM t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid
    WHERE a.attnum > 0 AND NOT a.attisdropped
        AND pg_catalog.has_column_privilege(a.attrelid, a.attnum, {_MAY_SEE})
    ORDER BY a.attnum OFFSET %(offset)s LIMIT {MOST_COLUMNS + 1}
), k AS (
    SELECT k.*
    FROM t JOIN pg_catalog.pg_constraint k ON k.conrelid = t.oid
    WHERE k.contype IN ('p', 'u', 'c', 'x') AND {_columns_visible("k.conrelid", "k.conkey")}
        AND (k.contype IN ('p', 'u') OR {_WHOLE})
), f AS (
    SELECT k.*, c.relname, n.nspname
    FROM t JOIN pg_catalog.pg_constraint k ON k.confrelid = t.oid OR k.conrelid = t.oid
        JOIN pg_catalog.pg_class c ON c.oid = CASE WHEN k.conrelid = t.oid THEN k.confrelid ELSE k.conrelid END
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype = 'f' AND NOT c.relispartition AND {_visible("c", "n")}
        AND {_columns_visible("k.conrelid", "k.conkey")} AND {_columns_visible("k.confrelid", "k.confkey")}
)
SELECT t.nspname AS schema, t.relname AS name, t.kind, {_cut("pg_catalog.obj_description(t.oid, 'pg_class')", 1000)}
        AS comment,
    t.estimated_rows, t.relrowsecurity AS row_security,
    pg_catalog.to_json(pg_catalog.array_remove(ARRAY[{_PRIVILEGES}], NULL)) AS privileges,
    (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'nullable', NOT a.attnotnull,
        'default', CASE WHEN {_WHOLE} THEN (
            SELECT {_cut("pg_catalog.pg_get_expr(d.adbin, d.adrelid)", 300)} FROM pg_catalog.pg_attrdef d
            WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum) END,
        'generated', CASE WHEN a.attidentity <> '' THEN 'identity' WHEN a.attgenerated = 's' THEN 'stored'
            WHEN a.attgenerated <> '' THEN 'virtual' END,
        'values', (
            SELECT pg_catalog.json_agg(l.enumlabel ORDER BY l.enumsortorder)
            FROM (SELECT e.enumlabel, e.enumsortorder
                FROM pg_catalog.pg_type y JOIN pg_catalog.pg_enum e ON e.enumtypid IN (y.oid, y.typelem)
                WHERE y.oid = a.atttypid ORDER BY e.enumsortorder LIMIT {MOST_VALUES}) l),
        'comment', {_cut("pg_catalog.col_description(a.attrelid, a.attnum)", 300)}) ORDER BY a.attnum)
     FROM a) AS columns,
    (SELECT {_columns_of("k.conrelid", "k.conkey")} FROM k WHERE k.contype = 'p') AS primary_key,
    (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', k.conname,
        'kind', CASE k.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique' WHEN 'c' THEN 'check'
            ELSE 'exclusion' END,
        'definition', {_cut("pg_catalog.pg_get_constraintdef(k.oid)", 500)}) ORDER BY k.conname)
     FROM (SELECT k.* FROM k ORDER BY k.conname LIMIT {MOST_OTHERS + 1}) k) AS constraints,
    (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', f.conname, 'columns', {_columns_of("f.conrelid", "f.conkey")},
        'schema', f.nspname, 'table', f.relname, 'referenced_columns', {_columns_of("f.confrelid", "f.confkey")})
        ORDER BY f.conname)
     FROM (SELECT f.* FROM f WHERE f.conrelid = t.oid ORDER BY f.conname LIMIT {MOST_OTHERS + 1}) f) AS foreign_keys,
    (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', f.conname, 'schema', f.nspname, 'table', f.relname,
        'columns', {_columns_of("f.conrelid", "f.conkey")},
        'referenced_columns', {_columns_of("f.confrelid", "f.confkey")})
        ORDER BY f.nspname, f.relname, f.conname)
     FROM (SELECT f.* FROM f WHERE f.confrelid = t.oid ORDER BY f.nspname, f.relname, f.conname
        LIMIT {MOST_OTHERS + 1}) f) AS referenced_by,
    (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', i.relname, 'definition', {_cut("pg_catalog.pg_get_indexdef(i.oid)", 500)}) ORDER BY i.relname)
     FROM (SELECT ic.oid, ic.relname FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid
        WHERE x.indrelid = t.oid AND {_WHOLE} ORDER BY ic.relname LIMIT {MOST_OTHERS + 1}) i) AS indexes
FROM t
"""  # noqa: S608 -- made of constants
"""Parameters: table, schema (or None: looked up in path), path: the schemas of the search path, offset in columns."""

COLUMN_FACTS = """
SELECT 'type' AS about, t.oid AS id, 0 AS number, pg_catalog.format_type(t.oid, NULL) AS name, e.base,
    t.typelem <> 0 AND t.typlen = -1 AND t.typcategory = 'A' AND e.typdelim = ',' AS flag
FROM pg_catalog.pg_type t LEFT JOIN LATERAL (
    WITH RECURSIVE element AS (
        SELECT b.oid, b.typtype, b.typbasetype, b.typdelim FROM pg_catalog.pg_type b WHERE b.oid = t.typelem
        UNION ALL
        SELECT b.oid, b.typtype, b.typbasetype, b.typdelim
        FROM element d JOIN pg_catalog.pg_type b ON b.oid = d.typbasetype WHERE d.typtype = 'd')
    SELECT d.oid AS base, d.typdelim FROM element d WHERE d.typtype <> 'd') e ON true
WHERE t.oid = ANY (%(types)s::oid[])
UNION ALL
SELECT 'column', a.attrelid, a.attnum, '', 0::oid, CASE WHEN c.relkind = 'r' AND NOT c.relhassubclass THEN
    a.attnotnull AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_constraint k
        WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey[1] = a.attnum AND NOT k.convalidated) END
FROM ROWS FROM (pg_catalog.unnest(%(tables)s::oid[]), pg_catalog.unnest(%(numbers)s::int2[])) w (attrelid, attnum)
    JOIN pg_catalog.pg_attribute a USING (attrelid, attnum) JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
"""
"""Parameters: types (OIDs), tables and numbers (OIDs and column numbers, in pairs).

Whether a column is NOT NULL is known of plain tables alone: a view does not say, and children, partitions and foreign
tables need not hold to it."""
