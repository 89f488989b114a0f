"""A real OpenLDAP server, Debian's, in a temporary folder of its own, gone when the process ends."""

import atexit
import gzip
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from actas.testing._postgres_programs import checked, free_port
from actas.testing.missing import ServerMissing
from actas.testing.pki import CertificateAuthority, CertificateFiles
from actas.testing.slapd_lines import (
    CERTIFICATE_REGEXP,
    KERBEROS_REGEXP,
    POLICY,
    PROTECTION,
    SUFFIX,
    USER_REGEXP,
)

ADMINISTRATOR = f"cn=admin,{SUFFIX}"
"""Who may do everything: by ``password``, or through ``ldapi_url`` with SASL EXTERNAL as the account of the tests."""
_START_SECONDS = 20.0
_PROGRAM = Path("/usr/sbin/slapd")
_KERBEROS_SCHEMA = Path("/usr/share/doc/krb5-kdc-ldap/kerberos.schema.gz")
_TREE = f"""\
dn: {SUFFIX}
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=people,{SUFFIX}
objectClass: organizationalUnit
ou: people

dn: ou=services,{SUFFIX}
objectClass: organizationalUnit
ou: services

"""
_ACCESS = f"""\
access to attrs=userPassword by self =xw by anonymous auth by * none
access to dn.subtree="cn=krbContainer,{SUFFIX}" by * none
access to dn.subtree="ou=people,{SUFFIX}" attrs=mobile,description by self write by users read
access to dn.subtree="ou=people,{SUFFIX}" attrs=homePhone by self write by * none
access to * by users read by * none
"""
LINES = (
    "security simple_bind=128\n" + POLICY + PROTECTION + CERTIFICATE_REGEXP + USER_REGEXP + KERBEROS_REGEXP + _ACCESS
)
"""Who may do what, unless a test says otherwise."""
_CONFIGURATION = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
{schemas}
modulepath /usr/lib/ldap
moduleload back_mdb.so
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
TLSCACertificateFile {folder}/ca.crt
TLSCertificateFile {folder}/server.crt
TLSCertificateKeyFile {folder}/server.key
TLSVerifyClient try
localSSF 256
sasl-host localhost
sasl-secprops noplain,noanonymous
authz-regexp "gidNumber={gid}[+]uidNumber={uid},cn=peercred,cn=external,cn=auth" "{administrator}"
{lines}
database config
rootdn "{administrator}"
database mdb
suffix "{suffix}"
rootdn "{administrator}"
rootpw {password}
directory {folder}/db
dbnosync
maxsize 268435456
sizelimit size.soft=500 size.hard=1000 size.pr=500 size.prtotal=unlimited
index objectClass,uid,cn,member eq
{index}
"""


def service(name: str, *, authz_to: str | None = None, password: str | None = None) -> str:
    """LDIF of ``cn=NAME,ou=services``: its password is ``NAME-password``, where no other is given."""
    lines = [f"dn: cn={name},ou=services,{SUFFIX}", "objectClass: applicationProcess"]
    lines += ["objectClass: simpleSecurityObject", f"cn: {name}", f"userPassword: {password or f'{name}-password'}"]
    return "\n".join([*lines, *([f"authzTo: {authz_to}"] if authz_to else []), "", ""])


def person(uid: str, *lines: str) -> str:
    """LDIF of ``uid=UID,ou=people``, with ``lines`` besides. The password is ``UID-password``."""
    who = [f"dn: uid={uid},ou=people,{SUFFIX}", "objectClass: inetOrgPerson", f"uid: {uid}", f"cn: {uid}", f"sn: {uid}"]
    return "\n".join([*who, f"userPassword: {uid}-password", *lines, "", ""])


class Slapd:
    """One running server on loopback: ``ldap``, ``ldaps`` and ``ldapi``. Use it as a context manager, or :meth:`stop`.

    The directory has ``SUFFIX``, ``ou=people``, ``ou=services`` and what ``seed`` adds (LDIF). By the default ``lines``
    everybody known reads everything, but ``homePhone`` is read by its owner alone, who may also write it, ``mobile``,
    ``description`` and the password. Passwords cross no connection without TLS.

    ``folder`` has all that it writes, ``authority`` has signed its certificate and signs clients', ``password`` is the
    administrator's.

    Args:
        seed: LDIF of further entries, see :func:`person` and :func:`service`.
        lines: who may do what, in slapd.conf's own words, in place of :data:`LINES`.
        kerberos_schema: knows the entries in which a KDC keeps its principals (``krb5-kdc-ldap``).
        keytab: has the key of ``ldap/localhost``, for SASL/GSSAPI.
        environment: of the server's process, such as ``KRB5_CONFIG``.

    Raises:
        ServerMissing: it is not installed.
    """

    def __init__(
        self,
        seed: str = "",
        *,
        lines: str | None = None,
        kerberos_schema: bool = False,
        keytab: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if not _PROGRAM.is_file():
            raise ServerMissing("OpenLDAP is missing: apt-get install --no-install-recommends slapd ldap-utils")
        self.folder = Path(tempfile.mkdtemp(prefix="actas-slapd-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {"PATH": os.defpath, "KRB5RCACHENAME": "none:", **(environment or {})}
        if keytab is not None:
            self._environment["KRB5_KTNAME"] = str(keytab)
        self.password = "admin-password"  # noqa: S105 -- of a throw-away server
        self.port, self.tls_port = free_port(), free_port()
        self.authority = CertificateAuthority(self.folder)
        atexit.register(self.stop)
        self._install(lines if lines is not None else LINES, kerberos_schema)
        self._load(_TREE + seed)
        self.start()

    @property
    def ldap_url(self) -> str:
        """Without TLS, which StartTLS can begin."""
        return f"ldap://localhost:{self.port}"

    @property
    def ldaps_url(self) -> str:
        """With TLS; the certificate is ``authority``'s, for ``localhost`` and ``127.0.0.1``."""
        return f"ldaps://localhost:{self.tls_port}"

    @property
    def ldapi_url(self) -> str:
        """The unix socket."""
        return f"ldapi://{quote(str(self.folder / 'ldapi'), safe='')}"

    def issue_client(self, common_name: str) -> CertificateFiles:
        """A client certificate: whoever shows it with SASL EXTERNAL is ``cn=COMMON_NAME,ou=services``."""
        return self.authority.issue_client(common_name)

    def _install(self, lines: str, kerberos_schema: bool) -> None:
        # A copy, for AppArmor on Ubuntu allows the program at its own path the system's own folders only.
        shutil.copy(_PROGRAM, self.folder / "slapd")
        (self.folder / "db").mkdir(mode=0o700)
        files = self.authority.issue_server("localhost", "127.0.0.1")
        files.certificate.rename(self.folder / "server.crt")
        files.key.rename(self.folder / "server.key")
        if kerberos_schema:
            if not _KERBEROS_SCHEMA.is_file():
                raise ServerMissing(
                    "The KDC's schema is missing: apt-get install --no-install-recommends krb5-kdc-ldap"
                )
            (self.folder / "kerberos.schema").write_bytes(gzip.decompress(_KERBEROS_SCHEMA.read_bytes()))
        configuration = _CONFIGURATION.format(
            folder=self.folder,
            schemas=f"include {self.folder}/kerberos.schema" if kerberos_schema else "",
            index="index krbPrincipalName eq,pres,sub" if kerberos_schema else "",
            uid=os.getuid(),
            gid=os.getgid(),
            administrator=ADMINISTRATOR,
            suffix=SUFFIX,
            password=self.password,
            lines=lines,
        )
        path = self.folder / "slapd.conf"
        path.touch(mode=0o600)
        path.write_text(configuration)

    def _load(self, entries: str) -> None:
        seed = self.folder / "seed.ldif"
        seed.write_text(entries)
        configuration = str(self.folder / "slapd.conf")
        program = [str(self.folder / "slapd"), "-T", "add", "-q", "-f", configuration]
        checked([*program, "-b", SUFFIX, "-l", str(seed)], input="", env=self._environment)

    def start(self) -> None:
        """Start, with the data of before, and return when it listens. Other ports are taken where somebody has ours."""
        for left in (2, 1, 0):
            if self._started():
                return
            if not left or "Address already in use" not in self.read_log():
                raise RuntimeError(f"slapd did not start: {self.read_log()}")
            self.port, self.tls_port = free_port(), free_port()

    def _started(self) -> bool:
        urls = f"ldap://127.0.0.1:{self.port}/ ldaps://127.0.0.1:{self.tls_port}/ {self.ldapi_url}/"
        command = [str(self.folder / "slapd"), "-d", "stats", "-f", str(self.folder / "slapd.conf"), "-h", urls]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)  # noqa: S603 -- fixed
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                for port in (self.port, self.tls_port):
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return True
        self.kill()
        return False

    def modify(self, changes: str) -> None:
        """Apply ``changes`` (LDIF; ``changetype`` is add) as the administrator, to ``cn=config`` too."""
        command = ["ldapmodify", "-a", "-Q", "-Y", "EXTERNAL", "-H", self.ldapi_url]
        checked(command, input=changes, env={"PATH": os.defpath, "LDAPNOINIT": "1"})

    def search(self, *arguments: str) -> str:
        """What ``ldapsearch`` prints to the administrator, as LDIF without comments."""
        command = [
            "ldapsearch",
            "-LLL",
            "-Q",
            "-o",
            "ldif-wrap=no",
            "-Y",
            "EXTERNAL",
            "-H",
            self.ldapi_url,
            "-b",
            SUFFIX,
        ]
        return checked([*command, *arguments], input="", env={"PATH": os.defpath, "LDAPNOINIT": "1"})

    def read_log(self) -> str:
        """The server's log so far: each connection, bind and operation."""
        return (self.folder / "log").read_text(errors="replace")

    def kill(self) -> None:
        """End it at once; :meth:`start` brings it back with its data."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """End it and bring it back; every connection is lost."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Let it take connections and answer nothing, until :meth:`thaw`."""
        self._signal(signal.SIGSTOP)
        until = time.monotonic() + _START_SECONDS
        while not self._stands_still() and time.monotonic() < until:
            time.sleep(0.001)

    def thaw(self) -> None:
        """Let it answer again."""
        self._signal(signal.SIGCONT)

    def _stands_still(self) -> bool:
        if self._process is None:
            return True
        threads = Path(f"/proc/{self._process.pid}/task").glob("*/stat")
        return all(thread.read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)

    def stop(self) -> None:
        """End it and remove its folder. May be called twice."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.stop)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the server does not run")
        self._process.send_signal(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
