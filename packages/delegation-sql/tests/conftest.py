"""Two real servers, and a gateway to each. Tests import their helpers from the modules in this folder."""

import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import psycopg
import pytest

from actas.delegation.sql.settings import SqlSettings
from actas.testing.fixtures import debian_postgres, embedded_postgres, kerberos_realm, needed_in_ci
from actas.testing.kdc import KerberosRealm
from actas.testing.pgbouncer import PgBouncer
from actas.testing.postgres import DebianPostgres, PostgresServer
from actas.testing.postgres_kerberos import KerberosPostgres
from actas.testing.postgres_oauth import OAuthPostgres

sys.path.insert(0, str(Path(__file__).parent))
from mssql_stage import mssql, mssql_settings, tds_authority, tds_peer
from sql_gateway import ISSUER, LENDERS, Gateway, gateway_to, settings_for, user_of
from sql_ways import USERS, WAYS, Way, add_roles_and_databases, way_of
from typed_tickets import TypedTickets

__all__ = [
    "debian_postgres",
    "embedded_postgres",
    "kerberos_realm",
    "mssql",
    "mssql_settings",
    "tds_authority",
    "tds_peer",
]

_SCHEMA = """
CREATE TABLE notes (id serial PRIMARY KEY, owner name NOT NULL DEFAULT session_user, body text);
COMMENT ON TABLE notes IS 'What people write down';
COMMENT ON COLUMN notes.body IS 'The text';
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes USING (owner = session_user);
GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO app_users;
GRANT USAGE ON SEQUENCE notes_id_seq TO app_users;
INSERT INTO notes (owner, body) VALUES ('alice', 'alice one'), ('alice', 'alice two'), ('bob', 'SECRET of bob');
CREATE TABLE bobs (secret text);
INSERT INTO bobs VALUES ('SECRET of bob');
GRANT SELECT ON bobs TO bob;
CREATE TABLE partly (id int PRIMARY KEY, shown text, hidden text DEFAULT 'x', CHECK (hidden <> 'SECRET'));
CREATE INDEX partly_hidden ON partly (hidden);
GRANT SELECT (id, shown) ON partly TO app_users;
CREATE SCHEMA walled;
CREATE TABLE walled.off (id int);
GRANT SELECT ON walled.off TO app_users;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE SCHEMA own AUTHORIZATION alice;
GRANT CREATE ON SCHEMA public TO alice;
"""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def _prepared(server: PostgresServer) -> PostgresServer:
    """The server with alice, bob and others, and all tables; the first time, they are made."""
    if server not in _PREPARED:
        server.add_users(*USERS)
        server.sql(_SCHEMA)
        add_roles_and_databases(server, _SCHEMA)
        _PREPARED.append(server)
    return server


_PREPARED: list[PostgresServer] = []


@pytest.fixture(
    scope="session", params=["embedded_postgres", "debian_postgres"], ids=["embedded-peer", "debian-certificate"]
)
def server(request: pytest.FixtureRequest) -> PostgresServer:
    """A running server with alice, bob and others. A missing one fails the tests."""
    return _prepared(request.getfixturevalue(request.param))


@pytest.fixture(scope="session")
def pgbouncer(debian_postgres: DebianPostgres) -> Iterator[PgBouncer]:
    with PgBouncer(debian_postgres, *USERS) as running:
        yield running


@pytest.fixture(scope="session")
def oauth_postgres() -> Iterator[OAuthPostgres]:
    with needed_in_ci(), OAuthPostgres(user_of, issuer=ISSUER, scope="db") as running:
        yield running


@pytest.fixture(scope="session")
def tickets(kerberos_realm: KerberosRealm, tmp_path_factory: pytest.TempPathFactory) -> TypedTickets:
    """Tickets of everybody, for their passwords."""
    kerberos_realm.add_users(*USERS, "outsider")
    return TypedTickets(kerberos_realm, tmp_path_factory.mktemp("tickets"))


@pytest.fixture(scope="session")
def kerberos_postgres(kerberos_realm: KerberosRealm, tickets: TypedTickets) -> Iterator[PostgresServer]:
    with needed_in_ci(), KerberosPostgres(kerberos_realm) as running:
        LENDERS[running.port] = tickets
        yield _prepared(running)


@pytest.fixture(scope="session", params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    """Each identity on each server that can have it."""
    name: str = request.param
    server = _prepared(request.getfixturevalue(f"{name.partition('-')[0]}_postgres"))
    return way_of(name, server, request.getfixturevalue("pgbouncer") if name.endswith("pooled_login") else None)


@pytest.fixture
def way_admin(way: Way) -> Iterator[psycopg.Connection]:
    """The superuser's own connection to the database that ``way`` uses."""
    where = {"host": str(way.server.socket_folder), "port": str(way.server.port), "dbname": way.settings.database}
    with psycopg.connect(**where, user="postgres", autocommit=True) as connection:
        yield connection


@pytest.fixture
def admin(server: PostgresServer) -> Iterator[psycopg.Connection]:
    """The superuser's own connection, to look behind the gateway's back."""
    where = {"host": str(server.socket_folder), "port": str(server.port), "dbname": server.database}
    with psycopg.connect(**where, user="postgres", autocommit=True) as connection:
        yield connection


@pytest.fixture
def settings(server: PostgresServer) -> SqlSettings:
    return settings_for(server)


@pytest.fixture
async def gateway(settings: SqlSettings) -> AsyncGenerator[Gateway]:
    async with gateway_to(settings) as opened:
        yield opened
