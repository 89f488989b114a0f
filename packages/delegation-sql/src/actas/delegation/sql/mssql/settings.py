"""What an operator sets for a module of kind ``mssql``. Plain dataclasses: no driver is imported here."""

import os
import re
from dataclasses import dataclass, field
from typing import Literal

from actas.core.errors import ConfigurationError
from actas.core.secret import Secret
from actas.delegation.sql.settings import LimitSettings, PoolSettings

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:\-]{0,252}")
_ROUTINE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\.[A-Za-z_][A-Za-z0-9_]{0,127}")
_FORBIDDEN = ("sys.", "sp_", "xp_")


@dataclass(frozen=True, kw_only=True)
class MssqlServiceSettings:
    """The gateway's own login. It may impersonate the users, one by one, and needs no other right."""

    login: str
    """Its name. It is no user's: nobody may become it. Never a member of `sysadmin`."""
    password: Secret
    """Its password: it goes out over verified TLS only."""


@dataclass(frozen=True, kw_only=True)
class MssqlLevelSettings:
    """Which permission gives which level of statement. There is none for CREATE, ALTER and DROP: they are refused."""

    sql_read: str = "sql:read"
    """SELECT. T-SQL has no read-only transaction: the statement gate and the user's grants hold it."""
    sql_write: str = "sql:write"
    """Also INSERT, UPDATE, DELETE and MERGE, and the procedures that `procedures` names."""


@dataclass(frozen=True, kw_only=True)
class MssqlSettings:
    """A SQL Server database in which every call runs as the user who made it, by `EXECUTE AS … WITH COOKIE`
    or by the user's own login."""

    host: str
    """The server's host name: the one that its certificate is for."""
    database: str
    """Name of the database."""
    ca_file: str
    """PEM file of the authority that signed the server's certificate. Encryption and verification cannot be
    turned off."""
    identity: Literal["impersonate", "integrated"] = "impersonate"
    """How the server learns who the user is. `impersonate`: `service` logs in, and each call takes the user's identity.
    `integrated`: the user's own Kerberos ticket logs in, from the module that `tickets_from` names; there is no service
    login then, and the server's rules for the user's login hold."""
    service: MssqlServiceSettings | None = None
    """The login of the gateway. Needed by `impersonate`."""
    port: int = 1433
    """The server's TCP port."""
    impersonate: Literal["user", "login"] = "user"
    """For `impersonate`. `user`: `EXECUTE AS USER`, which reaches no other database. `login`: `EXECUTE AS LOGIN`."""
    principal: Literal["legacy_username", "username", "subject"] = "legacy_username"
    """Which of the session's names is the user's, as `USER_NAME()` gives it. With `login` or `integrated` it is
    `SUSER_SNAME()` that does: `DOMAIN\\user`, in the directory's own spelling."""
    denied_principals: list[str] = field(default_factory=list[str])
    """Names that no user may become, besides `dbo`, `sa`, `guest`, `sys`, `INFORMATION_SCHEMA`, `public`, whatever
    begins with `db_`, and the service's. A name with `#` or a blank in it is nobody's, and so the server's own are not
    either."""
    allowed_functions: list[str] = field(default_factory=list[str])
    """Functions that statements may call besides T-SQL's own harmless ones, as `schema.name`."""
    procedures: list[str] = field(default_factory=list[str])
    """Stored procedures that the tool `procedure` may run, as `schema.name`. They run as the user."""
    levels: MssqlLevelSettings = field(default_factory=MssqlLevelSettings)
    """Permissions for the levels of statements."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    """Bounds for each call. `seconds` is rounded up to whole seconds."""
    pool: PoolSettings = field(default_factory=PoolSettings)
    """Bounds for the connections. Each serves one user, although all log in as the service."""


def check(settings: MssqlSettings) -> None:
    """Raise ConfigurationError with everything that makes no sense."""
    problems: list[str] = []
    if not _HOST.fullmatch(settings.host):
        problems.append("host: must be a host name")
    problems += _identity(settings)
    named = {"database": settings.database}
    if settings.service is not None:
        named["service.login"] = settings.service.login
        if settings.service.login.casefold() == "sa":
            problems.append("service.login: must be a login of its own, not sa")
    for name, value in named.items():
        if not value or not value.isprintable() or len(value) > 128:
            problems.append(f"{name}: must be 1 to 128 printable characters")
    # FreeTDS's configuration has lines, and comments that begin with ; or #.
    if not settings.ca_file.startswith("/") or not re.fullmatch(r"[\w./@+\-]+", settings.ca_file):
        problems.append("ca_file: must be an absolute path of letters, digits and _ . / @ + -")
    elif not os.access(settings.ca_file, os.R_OK):
        problems.append("ca_file: cannot be read")
    if not 0 < settings.port < 65536:
        problems.append("port: must be between 1 and 65535")
    for option in ("allowed_functions", "procedures"):
        values: list[str] = getattr(settings, option)
        for value in values:
            if not _ROUTINE.fullmatch(value) or any(each in value.casefold() for each in _FORBIDDEN):
                problems.append(f"{option}: each must be schema.name, and none of the server's own")
    for section, values_of in (("pool", vars(settings.pool)), ("limits", vars(settings.limits))):
        problems += [f"{section}.{name}: must be more than 0" for name, value in values_of.items() if not value > 0]
    if not settings.levels.sql_read or settings.levels.sql_read == settings.levels.sql_write:
        problems.append("levels: each needs a permission of its own")
    if problems:
        raise ConfigurationError(problems)


def _identity(settings: MssqlSettings) -> list[str]:
    if settings.identity == "impersonate":
        return [] if settings.service else ["service: missing; identity = impersonate needs it"]
    problems: list[str] = []
    if settings.service is not None:
        problems.append("service: identity = integrated has no use for it")
    if settings.impersonate != "user":
        problems.append("impersonate: identity = integrated has no use for it")
    if ":" in settings.host or settings.host.replace(".", "").isdigit():
        problems.append("host: must be a host name: Kerberos knows servers by it")
    return problems
