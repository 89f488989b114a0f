"""What an operator sets for a module of kind ``sql``. Plain dataclasses: no driver is imported here."""

from dataclasses import dataclass, field
from typing import Literal

from actas.core.secret import Secret
from actas.delegation.sql.servers import Server, parsed


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """How the gateway proves itself to a server that is reached over TCP. The server is always verified in full."""

    ca_file: str
    """PEM file of the authority that signed the server's certificate. `sslmode` is always `verify-full`."""
    certificate_file: str | None = None
    """PEM file of the gateway's client certificate. Its common name stands in the server's `pg_ident.conf`.
    Without it, `identity` or `service.password` must say how else somebody is let in."""
    key_file: str | None = None
    """PEM file of the client certificate's private key; nobody but this process may read it (mode 0600)."""


@dataclass(frozen=True, kw_only=True)
class IssuerSettings:
    """The authority that signs the users' short-lived certificates, where `identity` is `user_certificate`."""

    certificate_file: str
    """PEM file of the authority's certificate: the server's `ssl_ca_file` has it."""
    key_file: str
    """PEM file of its private key; nobody but this process may read it (mode 0600). Use it for nothing else."""
    seconds: int = 300
    """How long a certificate is good for: long enough to log in, whatever the clocks say."""


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """The gateway's own role, where `identity` is `set_role` or `ephemeral_role`."""

    role: str
    """Its name. It is no user's: nobody may become it."""
    password: Secret | None = None
    """Its password, for SCRAM. Without it, the gateway's operating-system account or certificate lets it in."""


@dataclass(frozen=True, kw_only=True)
class SignedClaimsSettings:
    """Claims of the token that row-level policies can trust, through the function that `signed_claims.sql` makes."""

    key: Secret
    """The key of the signature, at least 32 bytes: `actas.set_key()` got the same."""
    claims: list[str]
    """Names of the token's claims that are handed on; one that a token lacks is left out."""
    seconds: int = 60
    """How long a signature is good for: longer than a statement may take, and than the clocks differ."""


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """How many connections are kept. Each belongs to one user and is never used for another."""

    total: int = 50
    """Connections in all. Keep it below the server's `max_connections`."""
    per_user: int = 5
    """Connections of one user. One that is given up counts until the server has closed it, for at most 10 s."""
    waiting: int = 200
    """Calls that may wait for a connection; further ones are refused at once."""
    waiting_per_user: int = 50
    """How many of them may be one user's."""
    wait_seconds: float = 5.0
    """How long a call waits for a connection before it is refused."""
    connect_seconds: float = 5.0
    """How long connecting and logging in may take."""
    idle_seconds: float = 60.0
    """A connection that was not used for so long is closed."""
    lifetime_seconds: float = 900.0
    """A connection this old is not used again: so long may a user who was locked out stay logged in."""


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """What one call may take."""

    rows: int = 1000
    """Rows returned; a longer result is cut, and says so."""
    bytes: int = 1_000_000
    """Bytes of the rows as JSON; a bigger result is cut, and says so."""
    seconds: float = 30.0
    """Time of one statement (`statement_timeout`); a shorter time that the caller has left wins."""
    statement_bytes: int = 65_536
    """Length of a statement's text in UTF-8."""
    parameter_bytes: int = 1_000_000
    """Length of all bound parameters together in UTF-8."""


@dataclass(frozen=True, kw_only=True)
class LevelSettings:
    """Which permission gives which level. The session's highest level decides; each includes those below it.

    Whoever lacks `sql_read` does not see the tools at all: give it to everybody who has another one.
    """

    sql_read: str = "sql:read"
    """SELECT, VALUES, WITH and EXPLAIN, in a READ ONLY transaction."""
    sql_write: str = "sql:write"
    """Also INSERT, UPDATE, DELETE, MERGE and SELECT … FOR UPDATE."""
    sql_admin: str = "sql:admin"
    """Also CREATE and ALTER of tables, indexes, views, sequences and schemas; nothing that drops."""
    admin: str = "admin"
    """Also DROP and TRUNCATE."""


@dataclass(frozen=True, kw_only=True)
class SqlSettings:
    """A PostgreSQL database in which every call runs as the user who made it.

    By default there is no service account and no password: the gateway proves itself by its operating
    system account on a unix socket, or by a client certificate over TLS, and the server's `pg_ident.conf`
    says whom it may log in as. `identity` names the other ways.
    """

    host: str
    """Folder of the server's unix socket (begins with `/`; needs `peer` in `pg_hba.conf`), or its host name
    (needs `tls`). Several, separated by commas, are one database: its primary and its standbys, in any order; each may
    have a port of its own (`db2.example.com:5433`)."""
    database: str
    """Name of the database."""
    port: int = 5432
    """The server's port; with a unix socket it is part of the socket's name."""
    reads: Literal["primary", "standby"] = "primary"
    """Where calls of users who may only read go. `standby`: to one of the standbys in `host`, where one lets them in,
    and else to the primary; what they see may be a moment old. Users who may write see their own writes: they
    always go to the primary."""
    tls: TlsSettings | None = None
    """Certificates for a server reached by host name. Leave out for a unix socket, and where `identity` is `kerberos`
    and GSSAPI is to encrypt instead (`hostgssenc`)."""
    identity: Literal[
        "login", "user_certificate", "oauth", "kerberos", "pooled_login", "ephemeral_role", "set_role"
    ] = "login"
    """How the database learns who the user is. `login`: the gateway logs in as the user. `user_certificate`: the same,
    with a certificate made for each login by `issuer`. `oauth`: the same, with the token that `token_exchange` gets
    (PostgreSQL 18). `kerberos`: the same, with the user's own ticket from the module that `tickets_from` names.
    `pooled_login`: the same, through a pooler such as pgbouncer.
    `ephemeral_role`: `service` makes a role for each session. `set_role`: `service` takes the user's role; the
    weakest, and refused where the database is not closed for it."""
    issuer: IssuerSettings | None = None
    """Needed by `user_certificate`."""
    oauth_issuer: str | None = None
    """Needed by `oauth`: the `issuer` in the server's `pg_hba.conf`, an https URL."""
    kerberos_service: str = "postgres"
    """For `kerberos`: the first part of the server's principal, before `/` and the host name. In Active Directory it
    often is `POSTGRES`."""
    service: ServiceSettings | None = None
    """Needed by `ephemeral_role` and `set_role`."""
    signed_claims: SignedClaimsSettings | None = None
    """Hand claims of the token to row-level policies. Not where the session is another role's: `ephemeral_role`,
    `set_role`."""
    principal: Literal["legacy_username", "username", "subject"] = "legacy_username"
    """Which of the session's names is the user's login role."""
    denied_roles: list[str] = field(default_factory=list[str])
    """Login roles that no user may become, besides `postgres`, whatever begins with `pg_`, and the account that the
    gateway itself runs as: name the owners of the tables here."""
    search_path: list[str] = field(default_factory=lambda: ["public"])
    """Schemas in which unqualified names are looked up, after `pg_catalog`. Users are let in only where neither
    everybody (`PUBLIC`) nor a group of theirs may create in these."""
    allowed_functions: list[str] = field(default_factory=list[str])
    """Functions that statements may call besides PostgreSQL's own harmless ones: `name`, or `schema.name` where
    statements write it so. They run as the user, or as their owner where they are SECURITY DEFINER."""
    allowed_types: list[str] = field(default_factory=list[str])
    """Types that statements may cast to besides PostgreSQL's own: enumerations, domains, those of extensions."""
    allowed_operators: list[str] = field(default_factory=list[str])
    """Operators that statements may use besides PostgreSQL's own, such as `<=>` of an extension."""
    cursor_key: Secret | None = None
    """Key of the cursors with which a long result goes on, at least 32 bytes: the same in all processes that serve the
    module. Without it, a cursor is good only in the process that made it."""
    levels: LevelSettings = field(default_factory=LevelSettings)
    """Which permission allows which statements."""
    pool: PoolSettings = field(default_factory=PoolSettings)
    """Bounds of the connection pool."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    """Bounds of one call."""

    @property
    def unix_socket(self) -> bool:
        """Whether the server is reached over a unix socket."""
        return self.host.startswith("/")

    @property
    def servers(self) -> list[Server]:
        """Those that ``host`` names. Raises ValueError where it is not written as it should be."""
        return parsed(self.host, self.port)
