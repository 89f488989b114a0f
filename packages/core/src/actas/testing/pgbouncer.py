"""A real pgbouncer between a gateway and :class:`~.postgres.DebianPostgres`, which it logs in to by certificate.

Runs as whom the server runs as; this process, as root, gets at its socket all the same.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from actas.testing._postgres_programs import environment
from actas.testing.missing import ServerMissing
from actas.testing.postgres import DebianPostgres
from actas.testing.postgres_lines import PGBOUNCER_INI

_START_SECONDS = 10.0


class PgBouncer:
    """One running pgbouncer for ``server``'s database, for ``users``. Use it as a context manager.

    Raises:
        ServerMissing: it is not installed.
    """

    port = 6432

    def __init__(self, server: DebianPostgres, *users: str) -> None:
        program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", ""))
        if program is None:
            raise ServerMissing("pgbouncer is missing: apt-get install --no-install-recommends pgbouncer")
        self.folder = server.folder / "pgbouncer"
        self.folder.mkdir(mode=0o700)
        self._account = server.account
        self._write("users.txt", "".join(f'"{user}" ""\n' for user in users))
        self._write("ca.crt", server.authority.certificate.read_text())
        self._write("gateway.crt", server.gateway.certificate.read_text())
        self._write("gateway.key", server.gateway.key.read_text())
        ini = PGBOUNCER_INI.format(host=server.host, port=server.port, folder=self.folder)
        self._write("pgbouncer.ini", f"{ini}logfile = {self.folder}/log\n")
        self._give(self.folder)
        switch = [] if self._account is None else ["-u", self._account.pw_name]
        self._process = subprocess.Popen(  # noqa: S603 -- a fixed program, no shell
            [program, "-q", *switch, str(self.folder / "pgbouncer.ini")], env=environment(), cwd="/"
        )
        self._await_socket()

    def _await_socket(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while not (self.folder / f".s.PGSQL.{self.port}").exists():
            if time.monotonic() > end or self._process.poll() is not None:
                raise RuntimeError("pgbouncer does not start")
            time.sleep(0.02)

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        self._give(path)

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def stop(self) -> None:
        """Stop it. May be called twice."""
        self._process.terminate()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
