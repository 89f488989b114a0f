"""A real Redis server (Valkey speaks the same), in a temporary folder of its own, gone when the process ends."""

import atexit
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from actas.testing._postgres_programs import free_port
from actas.testing.missing import ServerMissing
from actas.testing.pki import CertificateAuthority

_START_SECONDS = 20.0


class RedisServer:
    """One running server on loopback, in memory only. Use it as a context manager, or call :meth:`stop`.

    It is reached at ``url``, on ``port``; its files are in ``folder``.

    Args:
        secured: TLS only, with a certificate of ``ca_file``; and no way in but with ``url``'s user and password.

    Raises:
        ServerMissing: it is not installed.
    """

    def __init__(self, *, secured: bool = False) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            raise ServerMissing("Redis is missing: apt-get install --no-install-recommends redis-server")
        self.folder = Path(tempfile.mkdtemp(prefix="actas-redis-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._arguments = [program, "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self.ca_file: Path | None = None
        self.url = f"redis://127.0.0.1:{self.port}/0"
        if secured:
            self._secure()
        else:
            self._arguments += ["--port", str(self.port)]
        atexit.register(self.stop)
        self.start()

    def _secure(self) -> None:
        authority = CertificateAuthority(self.folder)
        files = authority.issue_server("127.0.0.1", "localhost")
        password = secrets.token_urlsafe(16)
        (self.folder / "users.acl").write_text(f"user default off\nuser actas on >{password} ~actas:* +@all\n")
        self.ca_file = authority.certificate
        self.url = f"rediss://actas:{password}@127.0.0.1:{self.port}/0"
        self._arguments += [
            *("--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"),
            *("--tls-cert-file", str(files.certificate), "--tls-key-file", str(files.key)),
            *("--tls-ca-cert-file", str(authority.certificate), "--aclfile", str(self.folder / "users.acl")),
        ]

    def start(self) -> None:
        """Start, empty, and return when it listens."""
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(self._arguments, stdout=log, stderr=log)  # noqa: S603 -- fixed, no shell
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"redis-server did not start: {(self.folder / 'log').read_text(errors='replace')}")

    def kill(self) -> None:
        """End it at once; :meth:`start` brings it back, empty."""
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
