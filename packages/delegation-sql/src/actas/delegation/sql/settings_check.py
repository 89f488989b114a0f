"""Whether settings of the kind ``sql`` make sense, and all that does not: an operator mends it in one go."""

import ipaddress
import os
import re

from actas.core.errors import ConfigurationError
from actas.delegation.sql.settings import SqlSettings

_HOSTILE_ENVIRONMENT = ("PGSERVICE", "PGDATESTYLE", "PGTZ", "PGGEQO")  # libpq obeys them, whatever it is told


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
