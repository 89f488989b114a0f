"""Every identity on every server that can have it: the same users, the same tables, the same tests."""

from dataclasses import dataclass, replace

from sql_gateway import ISSUER, by_ticket, settings_for

from actas.delegation.sql.settings import IssuerSettings, ServiceSettings, SqlSettings, TlsSettings
from actas.testing.pgbouncer import PgBouncer
from actas.testing.postgres import DebianPostgres, PostgresServer
from actas.testing.postgres_lines import BELTS_SQL, BROKER_SQL, BROKER_USER_SQL, SERVICE_SQL, SERVICE_USER_SQL

USERS = ("alice", "bob", *(f"user{number}" for number in range(20)))
OPEN, CLOSED = "by_role", "closed"
"""Databases whose policies ask for ``current_user``; in the second one, the belts of ``set_role`` are on."""
WAYS = (
    "embedded-login",
    "embedded-ephemeral_role",
    "embedded-set_role",
    "debian-login",
    "debian-user_certificate",
    "debian-pooled_login",
    "debian-ephemeral_role",
    "debian-set_role",
    "oauth-oauth",
    "kerberos-kerberos",
)
METHODS = {
    "embedded-login": "login:peer",
    "oauth-oauth": "login:oauth",
    "kerberos-kerberos": "login:kerberos",
    "debian-login": "login:certificate",
    "debian-user_certificate": "login:user-certificate",
    "debian-pooled_login": "login:pooled",
    "embedded-ephemeral_role": "login:ephemeral",
    "debian-ephemeral_role": "login:ephemeral",
    "embedded-set_role": "set-role",
    "debian-set_role": "set-role",
}


@dataclass(frozen=True)
class Way:
    """One identity on one server."""

    name: str
    settings: SqlSettings
    server: PostgresServer

    @property
    def takes_a_role(self) -> bool:
        """The session is not the user's own login."""
        return self.settings.service is not None


def add_roles_and_databases(server: PostgresServer, schema: str) -> None:
    """What the identities need that are not a plain login."""
    by_role = schema.replace("session_user", "current_user")
    modern = int(server.sql("SHOW server_version_num")) >= 160000
    server.sql(BROKER_SQL + SERVICE_SQL)
    for user in USERS:
        grant = SERVICE_USER_SQL.format(user=user)
        server.sql(grant.replace(";", " WITH INHERIT FALSE;") if modern else grant)
        server.sql(BROKER_USER_SQL.format(user=user))
    for database in (OPEN, CLOSED):
        server.sql(f"CREATE DATABASE {database}")
        server.sql(by_role, database=database)
    server.sql(BELTS_SQL.format(database=CLOSED), database=CLOSED)


def way_of(name: str, server: PostgresServer, pgbouncer: PgBouncer | None) -> Way:
    settings, identity = settings_for(server), name.partition("-")[2]
    if identity == "user_certificate":
        assert isinstance(server, DebianPostgres)
        issuer = IssuerSettings(
            certificate_file=str(server.issuer.certificate), key_file=str(server.issuer.write_key())
        )
        tls = TlsSettings(ca_file=str(server.authority.certificate))
        settings = replace(settings, identity="user_certificate", issuer=issuer, tls=tls)
    elif identity == "pooled_login":
        assert pgbouncer
        settings = replace(settings, identity="pooled_login", host=str(pgbouncer.folder), port=pgbouncer.port, tls=None)
    elif identity == "ephemeral_role":
        service = ServiceSettings(role="actas_broker")
        settings = replace(settings, identity="ephemeral_role", service=service, database=OPEN)
    elif identity == "set_role":
        service = ServiceSettings(role="actas_service")
        settings = replace(settings, identity="set_role", service=service, database=CLOSED)
    elif identity == "oauth":
        settings = replace(settings, identity="oauth", oauth_issuer=ISSUER)
    elif identity == "kerberos":
        settings = by_ticket(settings)
    return Way(name, settings, server)
