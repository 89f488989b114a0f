"""What of T-SQL the gate lets through: classes of sqlglot's tree, functions, words. What is not listed is refused."""

READING = frozenset(
    """
    Add Alias All And Any Between BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Boolean CTE Case Cast Collate Column
    Convert DataType DataTypeParam Distinct Div Dot EQ Escape Except Exists Fetch From GT GTE Group Having
    HexString Identifier If In Intersect Is Join LT LTE Lateral Like Limit LimitOptions Literal Mod Mul NEQ
    National Neg Not Null Offset Or Order Ordered Parameter Paren Select Star Sub Subquery Table TableAlias TryCast
    Tuple Union Values Var Where Window WindowSpec With
    """.split()
)
"""Classes at every level. ``Dot``, ``Parameter``, ``Table``, ``Identifier`` and ``Var`` are looked at more closely."""

WRITING = frozenset("Delete Insert Merge Returning Schema Update When Whens".split())
"""Classes that also need the level sql-write."""

STATEMENTS = frozenset("Delete Except Insert Intersect Merge Select Union Update".split())
"""What a whole statement may be."""

FUNCTION_CLASSES = frozenset(
    """
    Abs Anonymous Avg Ceil Coalesce Concat Count CurrentTimestamp DateAdd DateDiff Day DenseRank Exp FirstValue Floor
    GroupConcat Lag LastDay Rank
    LastValue Lead Left Length Lower Max Min Month Nullif Power Replace Reverse Right Round RowNumber Sign Sqrt
    Substring Sum TimeStrToTime TsOrDsToDate TsOrDsToTimestamp Trim Upper Year
    """.split()
)
"""Functions that sqlglot has a class for. ``Anonymous`` ones are looked up by name."""

FUNCTION_NAMES = frozenset(
    """
    ABS ACOS ASCII ASIN ATAN ATN2 CHAR CHECKSUM_AGG CHOOSE CONCAT_WS COS COT COUNT_BIG CUME_DIST DATALENGTH
    DATEFROMPARTS DEGREES DENSE_RANK DIFFERENCE GREATEST ISDATE ISNULL ISNUMERIC LEAST LOG LOG10 LTRIM NCHAR NTILE
    PATINDEX PERCENT_RANK PI QUOTENAME RADIANS RANK REPLICATE RTRIM SIN SOUNDEX SPACE SQUARE STDEV STDEVP STR STUFF
    SYSDATETIME SYSDATETIMEOFFSET SYSUTCDATETIME TAN TRANSLATE UNICODE VAR VARP
    """.split()
)
"""Functions without effects, without a look at the server or at files."""

WORDS = frozenset(
    """
    ALL APPLY ASC BETWEEN BOTH CROSS DESC FIRST FOLLOWING FULL INNER LAST LEADING LEFT NEXT OUTER OVER PRECEDING
    RANGE RIGHT ROW ROWS TRAILING UNBOUNDED CURRENT_ROW DAY DAYOFYEAR HOUR ISO_WEEK MICROSECOND MILLISECOND MINUTE
    MONTH NANOSECOND QUARTER SECOND WEEK WEEKDAY YEAR DD MM YY YYYY HH MI SS MAX
    """.split()
) | {"CURRENT ROW"}
"""Words that stand in the tree as bare text and are sent as they are."""

TYPES = frozenset(
    """
    BIGINT BINARY BIT CHAR DATE DATETIME DATETIME2 DECIMAL DOUBLE FLOAT INT MONEY NCHAR NUMERIC NVARCHAR REAL
    SMALLDATETIME SMALLINT SMALLMONEY TEXT TIME TIMESTAMPTZ TINYINT UTINYINT UUID UNIQUEIDENTIFIER VARBINARY
    VARCHAR
    """.split()
)
"""sqlglot's names of the types that may be cast to."""

DANGEROUS = frozenset(
    """
    ALTER BACKUP BREAK BULK CHECKPOINT COMMIT CONTAINS CONTAINSTABLE CONTINUE CREATE DBCC DEALLOCATE DECLARE DENY
    DISK DROP DUMP EXEC EXECUTE FREETEXT FREETEXTTABLE GOTO GRANT KILL LINENO LOAD OPENDATASOURCE OPENJSON
    OPENQUERY OPENROWSET OPENXML PRINT PROC PROCEDURE RAISERROR READTEXT RECONFIGURE RESTORE RETURN REVERT REVOKE
    ROLLBACK SAVE SETUSER SHUTDOWN STATISTICS TRAN TRANSACTION TRIGGER TRUNCATE UPDATETEXT USE WAITFOR WHILE
    WRITETEXT
    """.split()
)
"""Words that no allowed statement has outside of brackets: each is refused by its name, where it stands."""

RESERVED = DANGEROUS | frozenset(
    """
    ADD ALL AND ANY AS ASC AUTHORIZATION BEGIN BETWEEN BROWSE BY CASCADE CASE CHECK CLOSE CLUSTERED COALESCE
    COLLATE COLUMN COMPUTE CONSTRAINT CONVERT CROSS CURRENT CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP
    CURRENT_USER CURSOR DATABASE DEFAULT DELETE DESC DISTINCT DISTRIBUTED DOUBLE ELSE END ERRLVL ESCAPE EXCEPT
    EXISTS EXIT EXTERNAL FETCH FILE FILLFACTOR FOR FOREIGN FROM FULL FUNCTION GO GROUP HAVING HOLDLOCK IDENTITY
    IDENTITYCOL IDENTITY_INSERT IF IN INDEX INNER INSERT INTERSECT INTO IS JOIN KEY LEFT LIKE MERGE NATIONAL
    NOCHECK NONCLUSTERED NOT NULL NULLIF OF OFF OFFSETS ON OPEN OPTION OR ORDER OUTER OVER PERCENT PIVOT PLAN
    PRECISION PRIMARY PUBLIC READ REFERENCES REPLICATION RESTRICT RIGHT ROWCOUNT ROWGUIDCOL RULE SCHEMA
    SECURITYAUDIT SELECT SEMANTICKEYPHRASETABLE SEMANTICSIMILARITYDETAILSTABLE SEMANTICSIMILARITYTABLE SESSION_USER
    SET SOME SYSTEM_USER TABLE TABLESAMPLE TEXTSIZE THEN THROW TO TOP TRY_CONVERT TSEQUAL UNION UNIQUE UNPIVOT
    UPDATE USER VALUES VARYING VIEW WHEN WHERE WITH WITHIN
    """.split()
)
"""Words that are no names unless in brackets. Where the parser took one for a name, a second statement began there."""
