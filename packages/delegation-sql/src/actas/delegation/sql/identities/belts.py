"""What must be shut in a database before ``SET ROLE`` is safe in it, asked of the live server.

One SELECT in a READ ONLY transaction is enough to read as bob where ``set_config('role', …)`` may be called. Other ways
are ``DO``, a function of one's own (``ALTER FUNCTION … SET role``), a trigger on a temporary table, ``pg_settings``.
Each is shut by one of the statements that the query returns; ``RESET ROLE`` as the statement itself is refused by the
gate, and would end with its transaction.
"""

from typing import Final, LiteralString

EVERYBODY: Final = "public"
"""Stands for all users, where the question is not about one."""

LOOK_NOWHERE_ELSE: Final[LiteralString] = "SET search_path = pg_catalog, pg_temp"
"""Goes before the query: its operators are PostgreSQL's own."""

BELTS: Final[LiteralString] = """
WITH me AS (SELECT * FROM pg_roles WHERE rolname = session_user),
    one AS (SELECT * FROM pg_roles WHERE rolname = %(user)s AND %(user)s <> 'public'),
    whom AS (SELECT coalesce(min(rolname), 'public') AS role FROM one),
    guarded (why, privilege, object, acl) AS (
        SELECT 'a query can change its role', 'EXECUTE', 'FUNCTION pg_catalog.set_config(text, text, boolean)',
            coalesce(proacl, acldefault('f', proowner))
        FROM pg_proc WHERE oid = 'pg_catalog.set_config(text, text, boolean)'::regprocedure
        UNION ALL SELECT 'an update of pg_settings is set_config()', 'UPDATE', 'pg_catalog.pg_settings',
            coalesce(relacl, acldefault('r', relowner))
        FROM pg_class WHERE oid = 'pg_catalog.pg_settings'::regclass
        UNION ALL SELECT 'users can write code', 'USAGE', 'LANGUAGE ' || quote_ident(lanname),
            coalesce(lanacl, acldefault('l', lanowner))
        FROM pg_language WHERE lanpltrusted
        UNION ALL SELECT 'users can make temporary tables', 'TEMPORARY', 'DATABASE ' || quote_ident(datname),
            coalesce(datacl, acldefault('d', datdba))
        FROM pg_database WHERE datname = current_database())
SELECT 'the service role may too much by itself', format(
        'ALTER ROLE %%I NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT', rolname)
    FROM me WHERE rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls OR rolinherit
UNION ALL SELECT 'the service role has a role''s rights without taking it', format(
        'GRANT %%I TO %%I WITH INHERIT FALSE', g.rolname, me.rolname)
    FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN me ON me.oid = m.member
    WHERE to_jsonb(m) ->> 'inherit_option' = 'true'
UNION ALL SELECT 'the service role may hand a role on', format(
        'REVOKE ADMIN OPTION FOR %%I FROM %%I', g.rolname, me.rolname)
    FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN me ON me.oid = m.member WHERE m.admin_option
UNION ALL SELECT 'the service role may become a mighty role', format('REVOKE %%I FROM %%I', g.rolname, me.rolname)
    FROM pg_roles g, me WHERE pg_has_role(me.oid, g.oid, 'MEMBER') AND g.oid <> me.oid
        AND (g.rolsuper OR g.rolcreaterole OR g.rolreplication OR g.rolbypassrls OR g.rolname LIKE 'pg\\_%%')
UNION ALL SELECT DISTINCT 'the service role owns something', format('REASSIGN OWNED BY %%I TO postgres', me.rolname)
    FROM pg_shdepend d JOIN me ON d.refclassid = 'pg_authid'::regclass AND d.refobjid = me.oid WHERE d.deptype = 'o'
UNION ALL SELECT 'the service role has rights of its own', format('REVOKE ALL ON %%s FROM %%I',
        pg_describe_object(d.classid, d.objid, d.objsubid), me.rolname)
    FROM pg_shdepend d JOIN me ON d.refclassid = 'pg_authid'::regclass AND d.refobjid = me.oid
    WHERE d.deptype = 'a' AND d.classid <> 'pg_database'::regclass
        AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL SELECT g.why, format('REVOKE %%s ON %%s FROM %%s', g.privilege, g.object,
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
    FROM guarded g, aclexplode(g.acl) a
    WHERE a.privilege_type = g.privilege
        AND (a.grantee = 0 OR EXISTS (SELECT FROM one WHERE pg_has_role(one.oid, a.grantee, 'MEMBER')))
UNION ALL SELECT 'a function changes the role', format('ALTER FUNCTION %%s RESET %%I', p.oid::regprocedure, s.name)
    FROM whom, pg_proc p, unnest(p.proconfig) c (line), split_part(c.line, '=', 1) s (name)
    WHERE s.name IN ('role', 'session_authorization') AND has_function_privilege(whom.role, p.oid, 'EXECUTE')
UNION ALL SELECT 'the user owns code', format('ALTER ROUTINE %%s OWNER TO postgres', p.oid::regprocedure)
    FROM pg_proc p, one WHERE pg_has_role(one.oid, p.proowner, 'MEMBER')
UNION ALL SELECT 'the user may too much', format(
        'ALTER ROLE %%I NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS', rolname)
    FROM one WHERE rolsuper OR rolcreaterole OR rolreplication OR rolbypassrls
UNION ALL SELECT 'the service role cannot become the user', format('GRANT %%I TO %%I', %(user)s::text, me.rolname)
    FROM me WHERE %(user)s <> 'public' AND NOT EXISTS (SELECT FROM one WHERE pg_has_role(me.oid, one.oid, 'MEMBER'))
"""
"""Asked as the service role about one user, or ``public``: for each belt that is missing, why, and what puts it on."""
