"""What an operator sets for a module of kind ``sql``. Plain dataclasses: no driver is imported here."""

import ipaddress
import os
import re
from dataclasses import dataclass, field
from typing import Literal

from actas.core.errors import ConfigurationError
from actas.core.secret import Secret
from actas.delegation.sql.servers import Server, parsed

_HOSTILE_ENVIRONMENT = ("PGSERVICE", "PGDATESTYLE", "PGTZ", "PGGEQO")  # libpq obeys them, whatever it is told


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


def check(settings: SqlSettings) -> None:
    """See whether ``settings`` make sense and their files are there.

    Raises:
        ConfigurationError: with every problem, each with its path.
    """
    problems = [*_ways_in(settings), *_files(settings), *_bounds(settings)]
    names = {"host": [settings.host], "database": [settings.database], "search_path": settings.search_path}
    problems += [f"{path}: empty, or has a NUL" for path, values in names.items() if not _filled(values)]
    if problems:
        raise ConfigurationError(problems)


def _ways_in(settings: SqlSettings) -> list[str]:
    if problems := _several(settings):
        return problems
    if settings.unix_socket and settings.tls:
        return ["tls: has no use on a unix socket; leave it out, or give a host name as host"]
    if not settings.unix_socket and not settings.tls and settings.identity != "kerberos":
        return ["tls: missing; over TCP the gateway proves itself with a client certificate"]
    if hostile := [name for name in _HOSTILE_ENVIRONMENT if name in os.environ]:
        return [f"the environment variable {name} must not be set: it changes every session" for name in hostile]
    return _identity(settings)


def _several(settings: SqlSettings) -> list[str]:
    if not settings.host:
        return []  # told elsewhere
    try:
        servers = settings.servers
    except ValueError:
        return ["host: must be a name, or several with commas between them, each with or without a port of its own"]
    problems: list[str] = []
    if len(set(servers)) < len(servers):
        problems.append("host: names a server twice")
    if len({server.unix_socket for server in servers}) > 1:
        problems.append("host: must be unix sockets, or host names, not both")
    if len(servers) > 1 and settings.identity == "pooled_login":
        problems.append("host: the pooler is one; it is the pooler that knows the servers behind it")
    if settings.reads == "standby":
        if len(servers) < 2:
            problems.append("reads: host names one server only; a standby must stand there too")
        if settings.identity == "ephemeral_role":
            problems.append("reads: a role that was made a moment ago is not on a standby yet")
    return problems


def _identity(settings: SqlSettings) -> list[str]:
    identity, service = settings.identity, settings.service
    problems = [
        f"{name}: identity = {identity} {'needs' if identity in needed else 'has no use for'} it"
        for name, needed in _NEEDS.items()
        if (identity in needed) is not (getattr(settings, name) is not None)
    ]
    if service is not None and (not service.role or service.role.casefold() == "postgres"):
        problems.append("service.role: must be a role of its own, not postgres")
    if identity == "user_certificate" and settings.unix_socket:
        problems.append("host: certificates need a host name and tls, not a unix socket")
    problems += _kerberos(settings)
    if signed := settings.signed_claims:
        if service is not None:
            problems.append(f"signed_claims: are for session_user, which identity = {identity} does not have")
        if len(signed.key.reveal().encode(errors="surrogatepass")) < _SHORTEST_KEY or not signed.claims:
            problems.append(f"signed_claims: key must have at least {_SHORTEST_KEY} bytes, claims at least one name")
    if settings.oauth_issuer is not None and not settings.oauth_issuer.startswith("https://"):
        problems.append("oauth_issuer: must be an https URL")
    proved_otherwise = identity in ("user_certificate", "oauth", "kerberos") or (
        service is not None and service.password is not None
    )
    if settings.tls and settings.tls.certificate_file is None and not proved_otherwise:
        problems.append("tls.certificate_file: missing; over TCP the gateway proves itself with a client certificate")
    return problems


def _kerberos(settings: SqlSettings) -> list[str]:
    if settings.identity != "kerberos":
        unused = settings.kerberos_service != _KERBEROS_SERVICE
        return [f"kerberos_service: identity = {settings.identity} has no use for it"] if unused else []
    problems: list[str] = []
    if any(server.unix_socket or _is_address(server.host) for server in settings.servers):
        problems.append("host: must be a host name: Kerberos knows servers by it")
    if not _SERVICE.fullmatch(settings.kerberos_service):
        problems.append("kerberos_service: must be a word of letters, digits, _ and -")
    return problems


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


_FILES = ("ca_file", "certificate_file", "key_file")
_SHORTEST_KEY = 32
_KERBEROS_SERVICE = "postgres"
_SERVICE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NEEDS = {"issuer": ("user_certificate",), "oauth_issuer": ("oauth",), "service": ("ephemeral_role", "set_role")}


def _files(settings: SqlSettings) -> list[str]:
    tls = settings.tls
    paths: dict[str, str] = {}
    for section in ("tls", "issuer"):
        named: object = getattr(settings, section)
        paths |= {f"{section}.{name}": path for name in _FILES if (path := getattr(named, name, None)) is not None}
    problems = [f"{name}: cannot be read" for name, path in paths.items() if not os.access(path, os.R_OK)]
    if tls and (tls.certificate_file is None) is not (tls.key_file is None):
        problems.append("tls: certificate_file and key_file go together")
    return problems or [
        f"{name}: others may read it; chmod 600"
        for name, path in paths.items()
        if name.endswith("key_file") and os.stat(path).st_mode & 0o077
    ]


def _bounds(settings: SqlSettings) -> list[str]:
    sections: dict[str, object] = {"pool": settings.pool, "limits": settings.limits}
    problems = [
        f"{section}.{name}: must be more than 0"
        for section, values in sections.items()
        for name, value in vars(values).items()
        if not value > 0
    ]
    if settings.issuer and not 60 <= settings.issuer.seconds <= 86400:
        problems.append("issuer.seconds: must be 60 to 86400")
    if settings.signed_claims and not 10 <= settings.signed_claims.seconds <= 3600:
        problems.append("signed_claims.seconds: must be 10 to 3600")
    if not 0 < settings.port < 65536:
        problems.append("port: must be between 1 and 65535")
    if settings.cursor_key and len(settings.cursor_key.reveal().encode(errors="surrogatepass")) < _SHORTEST_KEY:
        problems.append(f"cursor_key: must have at least {_SHORTEST_KEY} bytes")
    levels = list(vars(settings.levels).values())
    if len(set(levels)) != len(levels) or not all(levels):
        problems.append("levels: each needs a permission of its own")
    return problems


def _filled(values: list[str]) -> bool:
    return bool(values) and all(value and "\0" not in value for value in values)
