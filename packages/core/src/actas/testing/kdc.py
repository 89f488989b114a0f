"""A real MIT KDC, Debian's, in a temporary folder of its own, gone when the process ends.

Kerberos libraries find it through the environment (:attr:`KerberosRealm.environment`), which belongs to the whole
process: :meth:`KerberosRealm.in_use` sets it for a while.
"""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from types import TracebackType
from typing import Self

from actas.testing._postgres_programs import checked, free_port
from actas.testing.kdc_databases import KdcDatabase, ListedDatabase, compile_c
from actas.testing.missing import ServerMissing

REALM = "EXAMPLE.COM"
_START_SECONDS = 20.0
_MASTER_PASSWORD = "master-password"  # noqa: S105 -- of a throw-away server
_CLIENT_CONFIGURATION = """\
[libdefaults]
    default_realm = {realm}
    dns_lookup_realm = false
    dns_lookup_kdc = false
    dns_canonicalize_hostname = false
    rdns = false
    forwardable = true
    udp_preference_limit = 1
    default_ccache_name = FILE:{folder}/nobody
    default_keytab_name = FILE:{folder}/none.keytab
    default_client_keytab_name = FILE:{folder}/none.keytab
{more}
[realms]
    {realm} = {{
        kdc = 127.0.0.1:{port}
    }}
[domain_realm]
    localhost = {realm}
    .example.com = {realm}
"""
_SERVER_CONFIGURATION = """\
[kdcdefaults]
    kdc_listen = 127.0.0.1:{port}
    kdc_tcp_listen = 127.0.0.1:{port}
[realms]
    {realm} = {{
        database_module = database
        key_stash_file = {folder}/stash
        acl_file = {folder}/kadm5.acl
        max_life = 10h
        max_renewable_life = 7d
        supported_enctypes = aes256-cts:normal aes128-cts:normal
    }}
[dbmodules]
    db_module_dir = {folder}/plugins
  database = {{
    {database}
  }}
[logging]
    kdc = FILE:{folder}/kdc.log
    admin_server = FILE:{folder}/kadmin.log
"""


class KerberosRealm:
    """One running KDC on loopback, for one realm. Use it as a context manager, or call :meth:`stop`.

    Args:
        realm: its name.
        database: where principals are kept: :class:`ListedDatabase` (fast, both ways of delegation) or
            :class:`LdapDatabase`.
        client_lines: more lines for ``[libdefaults]`` of ``krb5.conf``, such as ``kdc_timesync = 0``.

    Raises:
        ServerMissing: it is not installed, or what is needed to compile the database is not.
    """

    def __init__(self, realm: str = REALM, *, database: KdcDatabase | None = None, client_lines: str = "") -> None:
        for program in ("krb5kdc", "kadmin.local", "kinit"):
            _program(program)
        self.realm = realm
        """Its name."""
        self.folder = Path(tempfile.mkdtemp(prefix="actas-kdc-"))
        """Where ``krb5.conf`` and the keytabs are; servers that run as somebody else may enter it, keys are 0600."""
        self.folder.chmod(0o711)
        self.port = free_port()
        """The KDC's, on the loopback."""
        self._database = database or ListedDatabase()
        self._client_lines = client_lines
        self._process: subprocess.Popen[bytes] | None = None
        self._classic: dict[tuple[str, str], None] = {}
        self._resource: dict[tuple[str, str], None] = {}
        self._names: dict[tuple[str, str], None] = {}
        atexit.register(self.stop)
        self._database_lines = self._database.configuration(self.folder)
        self._configure()
        *create, flag = self._database.create_command
        program, *arguments = create
        checked(
            [_program(program), *arguments, flag, _MASTER_PASSWORD, "-r", realm], input="", env=self._server_environment
        )
        self.start()

    # -- for clients -----------------------------------------------------------------------------------------------

    @property
    def config(self) -> Path:
        """``krb5.conf``."""
        return self.folder / "krb5.conf"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to be a client or an acceptor of this realm. Replays are not looked for."""
        return {"KRB5_CONFIG": str(self.config), "KRB5RCACHENAME": "none:"}

    @contextmanager
    def in_use(self, *others: Self) -> Generator[None]:
        """This process belongs to the realm for a while, all its threads; and knows where ``others`` are."""
        kept = {name: os.environ.get(name) for name in self.environment}
        config = ":".join(str(realm.config) for realm in (self, *others))
        os.environ.update({**self.environment, "KRB5_CONFIG": config})
        try:
            yield
        finally:
            for name, value in kept.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def principal(self, name: str) -> str:
        """``name`` with the realm, where it has none."""
        return name if "@" in name else f"{name}@{self.realm}"

    def sign_in(self, user: str, *, flags: str = "-f") -> Path:
        """A credential cache (``FILE:``) of ``user``, who typed the password, as ``kinit`` makes it."""
        cache = self.folder / f"{user.replace('/', '_')}.ccache"
        command = [_program("kinit"), *flags.split(), "-c", f"FILE:{cache}", self.principal(user)]
        checked(command, input=f"{password_of(user)}\n", env={"PATH": os.defpath, **self.environment})
        return cache

    # -- for administrators ----------------------------------------------------------------------------------------

    def add_users(self, *names: str, sensitive: bool = False, disabled: bool = False) -> None:
        """Users; the password of each is :func:`password_of`.

        Args:
            sensitive: tickets of theirs may not be forwarded, so nobody may act as them
                (Active Directory's "Account is sensitive and cannot be delegated").
            disabled: they get no tickets, and nobody does for them.
        """
        flags = f"{'-' if sensitive else '+'}allow_forwardable {'-' if disabled else '+'}allow_tix"
        self.administer(*(f"addprinc -pw {password_of(name)} {flags} {name}" for name in names))

    def change_user(self, name: str, flags: str) -> None:
        """``modprinc``: ``-allow_tix`` disables, ``-allow_forwardable`` makes sensitive, ``-expire yesterday``."""
        self.administer(f"modprinc {flags} {name}")

    def add_service(self, name: str, *, transition: bool = False, seconds: int | None = None) -> Path:
        """A service, ``HTTP/web.example.com``; its keytab, which stays at that path.

        Args:
            transition: it may get tickets to itself for users who never typed a password, and go on with them
                (``ok_to_auth_as_delegate``; Active Directory's "use any authentication protocol").
            seconds: how long tickets for it last at most, and its own.
        """
        life = "" if seconds is None else f'-maxlife "{seconds} seconds" '
        flag = "+ok_to_auth_as_delegate " if transition else ""
        self.administer(f"addprinc -randkey {life}{flag}{name}")
        return self.write_keytab(name)

    def keytab(self, service: str) -> Path:
        """Where the keytab of ``service`` is."""
        return self.folder / f"{service.replace('/', '_')}.keytab"

    def write_keytab(self, *services: str) -> Path:
        """A keytab with the present keys of ``services``, at the first one's path, put there at once."""
        path = self.keytab(services[0])
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        self.administer(*(f"ktadd -norandkey -k {new} {service}" for service in services))
        new.replace(path)
        return path

    def rotate(self, service: str, *, keep_old: bool = False, write: bool = True) -> None:
        """A new key for ``service``.

        Args:
            keep_old: tickets that were made with the old key go on being good.
            write: the keytab gets it too.
        """
        self.administer(f"cpw -randkey {'-keepold ' if keep_old else ''}{service}")
        if write:
            self.write_keytab(service)

    def allow(self, service: str, *targets: str) -> None:
        """``service`` may go on to ``targets`` as its users (``krbAllowedToDelegateTo``), from now on."""
        self._classic |= dict.fromkeys((self.principal(service), self.principal(target)) for target in targets)
        self._write_lists()

    def allow_resource(self, target: str, *services: str) -> None:
        """``target`` takes users who come through ``services`` (resource-based delegation), from now on."""
        self._resource |= dict.fromkeys((self.principal(target), self.principal(service)) for service in services)
        self._write_lists()

    def withdraw(self, service: str, target: str) -> None:
        """``service`` may no longer go on to ``target``, by neither list."""
        self._classic.pop((self.principal(service), self.principal(target)), None)
        self._resource.pop((self.principal(target), self.principal(service)), None)
        self._write_lists()

    def trust(self, other: Self) -> None:
        """From now on this realm and ``other`` take each other's users."""
        shared = [f"krbtgt/{one}@{another}" for one, another in permutations((self.realm, other.realm))]
        for realm in (self, other):
            realm.administer(*(f"addprinc -pw {_MASTER_PASSWORD} {principal}" for principal in shared))

    def name(self, enterprise: str, user: str) -> None:
        """``enterprise`` (``alice.liddell@example.net``) is one more name of ``user``, from now on."""
        self._names[enterprise, self.principal(user)] = None
        self._write_lists()

    def _write_lists(self) -> None:
        self._database.write_lists(self._classic, self._resource, self._names)

    def administer(self, *queries: str) -> str:
        """Queries to ``kadmin.local``, all in one process; what it said.

        Raises:
            RuntimeError: one of them failed.
        """
        lines = "\n".join([*queries, ""])
        said = checked([_program("kadmin.local"), "-r", self.realm], input=lines, env=self._server_environment)
        wrong = [line for line in said.splitlines() if "while" in line or "nknown" in line or "usage" in line]
        if wrong:
            raise RuntimeError("; ".join(wrong))
        return said

    # -- the process -----------------------------------------------------------------------------------------------

    def start(self, *, clock: int = 0) -> None:
        """Start, with the data of before, and return when it listens.

        Args:
            clock: seconds that its clock is ahead of everybody else's.
        """
        environment = self._server_environment
        if clock:
            library = self.folder / "clock.so"
            if not library.exists():
                compile_c("kdc_clock.c", library)
            environment |= {"LD_PRELOAD": str(library), "OFFSET": str(clock)}
        for left in (2, 1, 0):
            if self._started(environment):
                return
            if not left or "in use" not in self.read_log():
                raise RuntimeError(f"krb5kdc did not start: {self.read_log()}")
            self.port = free_port()
            self._configure()

    def _started(self, environment: dict[str, str]) -> bool:
        command = [_program("krb5kdc"), "-n", "-r", self.realm]
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd="/")  # noqa: S603 -- fixed program
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return True
        self.kill()
        return False

    def kill(self) -> None:
        """End it at once; :meth:`start` brings it back with its data."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it take connections and answer nothing, until :meth:`thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        self._signal(signal.SIGCONT)

    def read_log(self) -> str:
        """What it wrote so far: each request, whom for, and what came of it."""
        paths = [self.folder / "kdc.log", self.folder / "output"]
        return "".join(path.read_text(errors="replace") for path in paths if path.exists())

    def stop(self) -> None:
        """End it and remove its folder. May be called twice."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.stop)

    @property
    def _server_environment(self) -> dict[str, str]:
        profile = str(self.folder / "kdc.conf")
        return {"PATH": os.defpath, "LC_ALL": "C", "KRB5_KDC_PROFILE": profile, **self.environment}

    def _configure(self) -> None:
        values = {"realm": self.realm, "folder": self.folder, "port": self.port}
        more = "".join(f"    {line}\n" for line in self._client_lines.splitlines())
        self.config.write_text(_CLIENT_CONFIGURATION.format(**values, more=more))
        lines = _SERVER_CONFIGURATION.format(**values, database=self._database_lines)
        if not (self.folder / "plugins").exists():
            lines = lines.replace(f"    db_module_dir = {self.folder}/plugins\n", "")
        (self.folder / "kdc.conf").write_text(lines)
        (self.folder / "kadm5.acl").touch()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the KDC does not run")
        self._process.send_signal(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def password_of(user: str) -> str:
    """What ``user`` types in."""
    return f"{user}-password"


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise ServerMissing(
            "A KDC is missing: apt-get install --no-install-recommends krb5-kdc krb5-admin-server krb5-user"
        )
    return found
