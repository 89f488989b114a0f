"""What an operator sets for a module of kind ``sql``. Plain dataclasses: no driver is imported here."""

import os
from dataclasses import dataclass, field
from typing import Literal

from actas.core.errors import ConfigurationError

_HOSTILE_ENVIRONMENT = ("PGSERVICE", "PGDATESTYLE", "PGTZ", "PGGEQO")  # libpq obeys them, whatever it is told


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """How the gateway proves itself to a server that is reached over TCP. The server is always verified in full."""

    ca_file: str
    """PEM file of the authority that signed the server's certificate. `sslmode` is always `verify-full`."""
    certificate_file: str
    """PEM file of the gateway's client certificate. Its common name stands in the server's `pg_ident.conf`."""
    key_file: str
    """PEM file of the client certificate's private key; nobody but this process may read it (mode 0600)."""


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

    There is no service account and no password: the gateway proves itself by its operating system
    account on a unix socket, or by a client certificate over TLS, and the server's `pg_ident.conf`
    says whom it may log in as.
    """

    host: str
    """Folder of the server's unix socket (begins with `/`; needs `peer` in `pg_hba.conf`), or its host name
    (needs `tls`)."""
    database: str
    """Name of the database."""
    port: int = 5432
    """The server's port; with a unix socket it is part of the socket's name."""
    tls: TlsSettings | None = None
    """Certificates for a server reached by host name. Leave out for a unix socket."""
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


def check(settings: SqlSettings) -> None:
    """See whether ``settings`` make sense and their files are there.

    Raises:
        ConfigurationError: with every problem, each with its path.
    """
    problems = [*_ways_in(settings), *_files(settings.tls), *_bounds(settings)]
    names = {"host": [settings.host], "database": [settings.database], "search_path": settings.search_path}
    problems += [f"{path}: empty, or has a NUL" for path, values in names.items() if not _filled(values)]
    if problems:
        raise ConfigurationError(problems)


def _ways_in(settings: SqlSettings) -> list[str]:
    if settings.unix_socket and settings.tls:
        return ["tls: has no use on a unix socket; leave it out, or give a host name as host"]
    if not settings.unix_socket and not settings.tls:
        return ["tls: missing; over TCP the gateway proves itself with a client certificate"]
    if hostile := [name for name in _HOSTILE_ENVIRONMENT if name in os.environ]:
        return [f"the environment variable {name} must not be set: it changes every session" for name in hostile]
    if "," in settings.host:
        return ["host: names one server, without commas"]
    return []


def _files(tls: TlsSettings | None) -> list[str]:
    if tls is None:
        return []
    paths = {"ca_file": tls.ca_file, "certificate_file": tls.certificate_file, "key_file": tls.key_file}
    problems = [f"tls.{name}: cannot be read" for name, path in paths.items() if not os.access(path, os.R_OK)]
    if not problems and os.stat(tls.key_file).st_mode & 0o077:
        problems.append("tls.key_file: others may read it; chmod 600")
    return problems


def _bounds(settings: SqlSettings) -> list[str]:
    sections = {"pool": settings.pool, "limits": settings.limits}
    problems = [
        f"{section}.{name}: must be more than 0"
        for section, values in sections.items()
        for name, value in vars(values).items()
        if not value > 0
    ]
    if not 0 < settings.port < 65536:
        problems.append("port: must be between 1 and 65535")
    levels = list(vars(settings.levels).values())
    if len(set(levels)) != len(levels) or not all(levels):
        problems.append("levels: each needs a permission of its own")
    return problems


def _filled(values: list[str]) -> bool:
    return bool(values) and all(value and "\0" not in value for value in values)
