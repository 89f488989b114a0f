"""What the user may see of the database: SQL Server shows in ``sys`` what one has a right to, and nothing else."""

TABLES = """
SELECT s.name AS [schema], o.name AS [name], CASE o.type WHEN 'V' THEN 'view' ELSE 'table' END AS [kind],
    CAST(ep.value AS nvarchar(1000)) AS [comment],
    (SELECT SUM(p.rows) FROM sys.partitions AS p WHERE p.object_id = o.object_id AND p.index_id IN (0, 1)) AS [rows]
FROM sys.objects AS o JOIN sys.schemas AS s ON s.schema_id = o.schema_id
LEFT JOIN sys.extended_properties AS ep
    ON ep.class = 1 AND ep.major_id = o.object_id AND ep.minor_id = 0 AND ep.name = N'MS_Description'
WHERE o.type IN ('U', 'V') AND (@schema IS NULL OR s.name LIKE @schema) AND (@name IS NULL OR o.name LIKE @name)
ORDER BY s.name, o.name OFFSET @offset ROWS FETCH NEXT @limit ROWS ONLY
"""

COLUMNS = """
SELECT c.name AS [name], t.name AS [type], c.max_length AS [max_length], c.precision AS [precision], c.scale AS [scale],
    c.is_nullable AS [nullable], c.is_identity AS [identity], c.is_computed AS [computed],
    CAST(ep.value AS nvarchar(1000)) AS [comment],
    (SELECT TOP 1 1 FROM sys.index_columns AS ic JOIN sys.indexes AS i
        ON i.object_id = ic.object_id AND i.index_id = ic.index_id
        WHERE i.is_primary_key = 1 AND ic.object_id = c.object_id AND ic.column_id = c.column_id) AS [key],
    (SELECT TOP 1 CONCAT(OBJECT_SCHEMA_NAME(f.referenced_object_id), N'.', OBJECT_NAME(f.referenced_object_id), N'.',
        COL_NAME(f.referenced_object_id, f.referenced_column_id)) FROM sys.foreign_key_columns AS f
        WHERE f.parent_object_id = c.object_id AND f.parent_column_id = c.column_id) AS [references]
FROM sys.columns AS c JOIN sys.types AS t ON t.user_type_id = c.user_type_id
LEFT JOIN sys.extended_properties AS ep
    ON ep.class = 1 AND ep.major_id = c.object_id AND ep.minor_id = c.column_id AND ep.name = N'MS_Description'
WHERE c.object_id = OBJECT_ID(QUOTENAME(COALESCE(@schema, SCHEMA_NAME())) + N'.' + QUOTENAME(@table))
ORDER BY c.column_id OFFSET @offset ROWS FETCH NEXT @limit ROWS ONLY
"""
