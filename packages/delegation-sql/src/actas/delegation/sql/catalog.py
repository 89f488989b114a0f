"""The tables that a user may see, asked of the catalogue as that user: privileges decide, column by column.

They run where unqualified names are PostgreSQL's own alone: see ``Statement.our_own``.
"""

_VISIBLE = """
    c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND n.nspname !~ '^(pg_|information_schema$)'
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    AND (pg_catalog.has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE')
         OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE'))
"""
_KIND = """
    CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
        WHEN 'm' THEN 'materialized view' ELSE 'foreign table' END
"""

LIST_TABLES = f"""
SELECT n.nspname AS schema, c.relname AS name, {_KIND} AS kind,
       pg_catalog.obj_description(c.oid, 'pg_class') AS comment
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE {_VISIBLE} AND NOT c.relispartition
    AND (%(schema)s::text IS NULL OR n.nspname LIKE %(schema)s) AND (%(name)s::text IS NULL OR c.relname LIKE %(name)s)
ORDER BY 1, 2 OFFSET %(offset)s LIMIT %(limit)s
"""  # noqa: S608 -- made of constants
"""Parameters: schema, name (LIKE patterns or None), offset, limit."""

_WHOLE = "pg_catalog.has_table_privilege(t.oid, 'SELECT')"

TABLE_DETAILS = f"""
WITH t AS (
    SELECT c.oid, n.nspname, c.relname, {_KIND} AS kind, c.reltuples
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE {_VISIBLE} AND c.relname = %(table)s
        AND n.nspname = CASE WHEN %(schema)s::text IS NOT NULL THEN %(schema)s ELSE (
            SELECT s.nspname
            FROM ROWS FROM (pg_catalog.unnest(%(path)s::text[])) WITH ORDINALITY p (name, position)
                JOIN pg_catalog.pg_namespace s ON s.nspname = p.name
                JOIN pg_catalog.pg_class r ON r.relnamespace = s.oid AND r.relname = %(table)s
            WHERE pg_catalog.has_schema_privilege(s.oid, 'USAGE') ORDER BY p.position LIMIT 1) END
), a AS (
    SELECT a.attrelid, a.attnum, a.attname, a.attnotnull, a.atttypid, a.atttypmod, a.atthasdef
    FROM t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid
    WHERE a.attnum > 0 AND NOT a.attisdropped
        AND pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT, INSERT, UPDATE')
)
SELECT t.nspname AS schema, t.relname AS name, t.kind,
    pg_catalog.obj_description(t.oid, 'pg_class') AS comment,
    CASE WHEN t.reltuples >= 0 AND {_WHOLE} THEN t.reltuples::bigint END AS estimated_rows,
    (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'nullable', NOT a.attnotnull,
        'default', CASE WHEN {_WHOLE} THEN (
            SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d
            WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum) END,
        'comment', pg_catalog.col_description(a.attrelid, a.attnum)) ORDER BY a.attnum) FROM a) AS columns,
    (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', k.conname,
        'kind', CASE k.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique' WHEN 'f' THEN 'foreign key'
            WHEN 'c' THEN 'check' ELSE 'other' END,
        'definition', pg_catalog.pg_get_constraintdef(k.oid)) ORDER BY k.conname)
     FROM pg_catalog.pg_constraint k
     WHERE k.conrelid = t.oid AND k.contype <> 'n'
        AND (k.conkey <@ (SELECT pg_catalog.array_agg(a.attnum) FROM a))
        AND (k.contype <> 'c' OR {_WHOLE})
        AND (k.confrelid = 0 OR (SELECT pg_catalog.has_any_column_privilege(k.confrelid, 'SELECT, INSERT, UPDATE')
            AND pg_catalog.has_schema_privilege(f.relnamespace, 'USAGE')
            FROM pg_catalog.pg_class f WHERE f.oid = k.confrelid))) AS constraints,
    (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', ic.relname, 'definition', pg_catalog.pg_get_indexdef(i.indexrelid)) ORDER BY ic.relname)
     FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
     WHERE i.indrelid = t.oid AND {_WHOLE}) AS indexes
FROM t
"""  # noqa: S608 -- made of constants
"""Parameters: table, schema (or None: looked up in path), path: the schemas of the search path."""
