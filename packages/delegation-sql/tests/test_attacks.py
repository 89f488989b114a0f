"""Some hundreds of attacks, through the gate and with the gate taken away, in every identity, on both servers."""

import contextlib
import os
from dataclasses import dataclass, replace
from typing import Self

import psycopg
import pytest
from sql_attacks import ATTACKS, BY_GRANTS, NEVER, READABLE
from sql_gateway import ALL, evidence_for, gateway_to
from sql_ways import Way

from actas.core.errors import ActasError, DownstreamUnavailable, IdentityMismatch
from actas.delegation.sql.connector import Connector
from actas.delegation.sql.failures import StatementRefused
from actas.delegation.sql.frames import Frame
from actas.delegation.sql.gate import Gate
from actas.delegation.sql.identities import Identity, identity_of
from actas.delegation.sql.levels import Level
from actas.delegation.sql.settings import SqlSettings
from actas.delegation.sql.transaction import Answer, Bounds, Statement, run_as
from actas.delegation.sql.wire import Wire

pytestmark = pytest.mark.anyio
Admin = psycopg.Connection
BOUNDS = Bounds(100_000, 5.0)
AT_ONCE = 60
WHAT_IS_BOBS = """
SELECT (SELECT md5(string_agg(n::text, ',' ORDER BY id)) FROM notes n WHERE owner = 'bob'),
    (SELECT string_agg(secret, ',') FROM bobs),
    (SELECT string_agg(a::text, ',' ORDER BY rolname) FROM pg_authid a
        WHERE rolname <> 'alice' AND rolname !~ '^(pg_|actas_ephemeral_)'),
    (SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls FROM pg_roles WHERE rolname = 'alice'),
    (SELECT string_agg(m::text, ',' ORDER BY m::text) FROM pg_auth_members m
        WHERE m.member::regrole::text !~ '^actas_ephemeral_' AND m.roleid::regrole::text !~ '^actas_ephemeral_'),
    (SELECT string_agg(p::text, ',') FROM pg_policies p),
    (SELECT c::text FROM pg_class c WHERE oid = 'notes'::regclass),
    (SELECT c::text FROM pg_class c WHERE oid = 'bobs'::regclass), (SELECT count(*) FROM pg_event_trigger),
    (SELECT count(*) FROM pg_extension), (SELECT count(*) FROM pg_rewrite WHERE ev_class >= 16384),
    (SELECT count(*) FROM pg_trigger), (SELECT count(*) FROM pg_replication_slots),
    (SELECT count(*) FROM pg_prepared_xacts),
    (SELECT string_agg(d::text, ',') FROM pg_database d WHERE datname = current_database()),
    (SELECT string_agg(s::text, ',') FROM pg_db_role_setting s WHERE setrole <> 'alice'::regrole
        AND setrole::regrole::text !~ '^actas_ephemeral_')
"""
CLEAN = """
ALTER ROLE alice RESET ALL; DROP OWNED BY alice; CREATE SCHEMA IF NOT EXISTS own AUTHORIZATION alice;
GRANT USAGE, SELECT ON SEQUENCE notes_id_seq TO app_users; GRANT CREATE ON SCHEMA public TO alice;
UPDATE notes SET owner = 'alice' WHERE owner <> 'bob';
"""


@pytest.mark.parametrize("attack", [*NEVER, *BY_GRANTS])
def test_the_gate_refuses_the_attack_to_a_reader(attack: str) -> None:
    with pytest.raises(StatementRefused):
        Gate().check(attack, Level.SQL_READ)


@pytest.mark.parametrize("attack", NEVER)
def test_the_gate_refuses_the_attack_at_the_highest_level(attack: str) -> None:
    with pytest.raises(StatementRefused):
        Gate().check(attack, Level.ADMIN)


def test_there_are_enough_of_them_and_none_twice() -> None:
    assert len(ATTACKS) == len(set(ATTACKS)) >= 300


async def test_the_database_shows_nothing_of_bobs_to_alice(way: Way) -> None:
    async with gateway_to(way.settings) as gateway:
        for attack in READABLE:
            with contextlib.suppress(ActasError):
                assert "bob" not in str(await gateway.rows(attack))


async def test_no_attack_through_the_module_changes_anything_of_bobs(way: Way, way_admin: Admin) -> None:
    before = way_admin.execute(WHAT_IS_BOBS).fetchone()
    async with gateway_to(way.settings) as gateway:
        for attack in ATTACKS:
            with contextlib.suppress(ActasError):
                assert "SECRET of bob" not in str(await gateway.query(attack, "alice", ALL))
            assert await gateway.value("SELECT count(*) FROM public.notes WHERE owner <> 'alice'") == 0
        assert await gateway.rows("SELECT secret FROM bobs", "bob") == [["SECRET of bob"]]
    way_admin.execute(CLEAN)
    assert way_admin.execute(WHAT_IS_BOBS).fetchone() == before


@pytest.mark.parametrize("first", range(0, len(ATTACKS), AT_ONCE))
async def test_without_the_gate_no_attack_becomes_anybody_else(way: Way, way_admin: Admin, first: int) -> None:
    before = way_admin.execute(WHAT_IS_BOBS).fetchone()
    identity = identity_of(way.settings, Connector(way.settings))
    try:
        for read_only in (True, False):
            await _attacked(identity, way.settings, ATTACKS[first : first + AT_ONCE], read_only=read_only)
        session = await _Open.one(identity, way.settings)
        await _is_still_alice(session)
        session.close()
    finally:
        await identity.close()
        way_admin.execute(CLEAN)
    assert way_admin.execute(WHAT_IS_BOBS).fetchone() == before
    assert "actas_attack" not in os.listdir("/tmp")


@dataclass
class _Open:
    wire: Wire
    frame: Frame

    @classmethod
    async def one(cls, identity: Identity, settings: SqlSettings) -> Self:
        connection = await identity.connect("alice", evidence_for(settings, "alice"))
        return cls(Wire(connection), identity.frame("alice", connection))

    def close(self) -> None:
        self.wire.connection.pgconn.finish()


async def _attacked(identity: Identity, settings: SqlSettings, attacks: list[str], *, read_only: bool) -> None:
    """Each three times in one session, which then serves the next one, as long as it is fit to.

    So what is left behind meets the next call, and what is kept parsed is used again.
    """
    session = await _Open.one(identity, settings)
    for attack in attacks:
        hostile = Statement(attack, 100, read_only=read_only, may_leave_traces=not read_only)
        for _ in range(3):
            with contextlib.suppress(ActasError, psycopg.Error):
                answer = await run_as(session.wire, session.frame, hostile, BOUNDS)
                assert "SECRET of bob" not in str(answer.page), attack
            if not session.wire.idle:
                session.close()
                session = await _Open.one(identity, settings)
        try:
            await _is_still_alice(session)
        except (DownstreamUnavailable, IdentityMismatch):
            assert not session.wire.idle, attack  # broken, and known to be: it is thrown away
            session.close()
            session = await _Open.one(identity, settings)
        except AssertionError as error:
            raise AssertionError(f"after {attack}: {error}") from error
    session.close()


LOOK = (
    "SELECT current_setting('search_path'), current_setting('row_security'), "
    "current_setting('standard_conforming_strings'), current_setting('request.jwt.claims', true), "
    "array(SELECT DISTINCT owner::text FROM public.notes), current_setting('session_replication_role'), "
    "current_setting('client_encoding')"
)


async def _is_still_alice(session: _Open) -> None:
    wire, frame = session.wire, session.frame
    answer: Answer = await run_as(wire, frame, Statement(LOOK, 100), BOUNDS)
    assert answer.current_user == "alice"
    if frame.role == "none":
        assert answer.session_user == "alice"
    ((search_path, row_security, strings, claims, owners, replication, encoding),) = answer.page.rows
    assert (search_path.replace('"', ""), row_security, strings) == ("pg_catalog, public, pg_temp", "on", "on")
    assert claims in (None, "")
    assert owners in ([], ["alice"])
    assert (replication, encoding) == ("origin", "UTF8")
    written = await run_as(
        wire, frame, replace(Statement("SELECT session_user, current_user", 1), read_only=False), BOUNDS
    )
    assert written.page.rows[0][1] == "alice"
