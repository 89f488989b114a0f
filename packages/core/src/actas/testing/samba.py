"""A real Samba file server, Debian's, in a temporary folder of its own, gone when the process ends.

It lets in whoever has a Kerberos ticket for it and carries out each request as the Unix account of that name, so the
file system's own permissions decide. The accounts are in a file that only this server sees (``nss_wrapper``); to
become them, it must be started by root.
"""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from actas.testing._postgres_programs import checked, free_port
from actas.testing.kdc import KerberosRealm
from actas.testing.missing import ServerMissing

_START_SECONDS = 20.0
_SMBD = "/usr/sbin/smbd"
_FIRST_ACCOUNT = 70_001
_NOBODY = 65_534
_FOLDERS = ("private", "lock", "state", "cache", "pid", "ncalrpc")
# A standalone server refuses tickets that carry authorisation data of Active Directory's kind (MS-PAC), which MIT's
# KDC adds since 1.20; no_auth_data_required, below, keeps it from doing so for this service.
_CONFIGURATION = """\
[global]
    server role = standalone server
    security = user
    netbios name = FILES
    workgroup = EXAMPLE
    realm = {realm}
    kerberos method = dedicated keytab
    dedicated keytab file = FILE:{keytab}
    map to guest = never
    server min protocol = SMB3
    server smb encrypt = required
    smb ports = {port}
    interfaces = lo
    bind interfaces only = yes
    disable netbios = yes
    load printers = no
    printcap name = /dev/null
    log file = {folder}/log.smbd
    log level = 1
    private dir = {folder}/private
    lock directory = {folder}/lock
    state directory = {folder}/state
    cache directory = {folder}/cache
    pid directory = {folder}/pid
    ncalrpc dir = {folder}/ncalrpc
{more}
"""
_SHARE = """\
[{name}]
    path = {path}
    read only = no
{more}
"""


class SambaServer:
    """One running server on loopback, known as ``cifs/localhost``. Use it as a context manager, or call :meth:`stop`.

    It listens at ``host``, on ``port``, and is ``service`` in its realm; its files are in ``folder``.

    Args:
        realm: where its tickets come from; it becomes a service there.
        lines: more lines for the section ``[global]``; ``{folder}`` is the server's own.

    Raises:
        ServerMissing: it is not installed, or this process is not root.
    """

    host = "localhost"
    """The name that callers and tickets know it by."""

    def __init__(self, realm: KerberosRealm, *, lines: str = "") -> None:
        if not os.access(_SMBD, os.X_OK):
            raise ServerMissing("Samba is missing: apt-get install --no-install-recommends samba")
        wrappers = sorted(Path("/usr/lib").glob("*/libnss_wrapper.so"))
        if not wrappers:
            raise ServerMissing("nss_wrapper is missing: apt-get install --no-install-recommends libnss-wrapper")
        if os.geteuid() != 0:
            raise ServerMissing("Samba carries out requests as other users, which takes root: run the tests as root")
        self.realm = realm
        self.service = f"cifs/{self.host}"
        """Its principal, without the realm."""
        self._keytab = realm.keytab(self.service)
        if not self._keytab.exists():  # several servers of one realm are the same service
            realm.add_service(self.service)
            realm.administer(f"modprinc +no_auth_data_required {self.service}")
        self.folder = Path(tempfile.mkdtemp(prefix="actas-samba-"))
        """All that it has: configuration, logs, shares."""
        self._configuration = self.folder / "smb.conf"
        self.folder.chmod(0o711)
        for name in _FOLDERS:
            (self.folder / name).mkdir(mode=0o700)
        (self.folder / "ncalrpc").chmod(0o755)
        self.port = free_port()
        """Where it listens, on loopback."""
        self._lines = lines
        self._shares: dict[str, str] = {}
        self._accounts = {"root": 0, "nobody": _NOBODY}
        self._preload = wrappers[0]
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)
        self._write_accounts()
        self.add_share("files")

    def add_users(self, *names: str) -> None:
        """Accounts that only this server knows, from now on."""
        for name in names:
            self._accounts.setdefault(name, _FIRST_ACCOUNT + len(self._accounts))
        self._write_accounts()

    def _write_accounts(self) -> None:
        for file, lines in (
            ("passwd", [f"{name}:x:{number}:{number}::/:/usr/sbin/nologin" for name, number in self._accounts.items()]),
            ("group", [f"{name}:x:{number}:" for name, number in self._accounts.items()]),
        ):
            new = self.folder / f"{file}.new"
            new.write_text("".join(f"{line}\n" for line in lines))
            new.replace(self.folder / file)

    def add_share(self, name: str, *, lines: str = "") -> Path:
        """A share, and its folder, which is root's and readable for everybody. Before :meth:`start`."""
        path = self.folder / f"share-{name}"
        path.mkdir(mode=0o755)
        self._shares[name] = lines
        return path

    def share(self, name: str = "files") -> Path:
        """The folder of a share."""
        return self.folder / f"share-{name}"

    def write(self, path: str, data: bytes, *, owner: str, mode: int = 0o600, share: str = "files") -> Path:
        """A file of ``owner``'s, and the folders to it, which everybody may enter."""
        file = self.share(share) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        os.chown(file, self._accounts[owner], self._accounts[owner])
        file.chmod(mode)
        return file

    def start(self) -> None:
        """Start, and return when it listens."""
        for left in (2, 1, 0):
            self._configure()
            if self._started():
                return
            if not left or "in use" not in self.read_log().lower():
                raise RuntimeError(f"smbd did not start: {self.read_log()}")
            self.port = free_port()

    def _started(self) -> bool:
        command = [_SMBD, "--foreground", "--no-process-group", "--configfile", str(self._configuration)]
        accounts = {f"NSS_WRAPPER_{file.upper()}": str(self.folder / file) for file in ("passwd", "group")}
        environment = {"PATH": os.defpath, "LD_PRELOAD": str(self._preload), **accounts, **self.realm.environment}
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 -- fixed program
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd="/"
            )  # fmt: skip
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return True
        self.kill()
        return False

    def kill(self) -> None:
        """End it at once, with every process that it started; :meth:`start` brings it back with its files."""
        if self._process is not None:
            while self._running():  # one may have been about to start another
                self._signal(signal.SIGKILL)
                self._process.wait()
            self._process.wait()
            self._process = None

    def close_share(self, name: str = "files") -> None:
        """Take the share from all who have it open, as an administrator can. They may open it again."""
        command = ["smbcontrol", "--configfile", str(self._configuration), "smbd", "close-share", name]
        checked(command, input="", env={"PATH": os.defpath})

    def freeze(self) -> None:
        """Let it take connections and answer nothing, until :meth:`thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        self._signal(signal.SIGCONT)

    def read_log(self) -> str:
        """What it wrote so far."""
        paths = [*sorted(self.folder.glob("log*")), self.folder / "output"]
        return "".join(path.read_text(errors="replace") for path in paths if path.exists())

    def stop(self) -> None:
        """End it and remove its folder. May be called twice."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.stop)

    def _configure(self) -> None:
        text = _CONFIGURATION.format(
            realm=self.realm.realm,
            keytab=self._keytab,
            port=self.port,
            folder=self.folder,
            more=_indented(self._lines.format(folder=self.folder)),
        )
        for name, lines in self._shares.items():
            text += _SHARE.format(name=name, path=self.share(name), more=_indented(lines))
        self._configuration.write_text(text)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the server does not run")
        for pid in self._running():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _running(self) -> list[int]:
        """All of it: a process for each connection, and those that answer its pipes, which are nobody's children."""
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and str(self._configuration) in (entry / "cmdline").read_text():
                    found.append(int(entry.name))
        return found

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def _indented(lines: str) -> str:
    return "".join(f"    {line}\n" for line in lines.splitlines())
