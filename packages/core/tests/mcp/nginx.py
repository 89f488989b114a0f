"""The distribution's nginx as a TLS-terminating proxy on loopback, configured as the how-to shows it."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from actas.testing.pki import CertificateAuthority

PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")

_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_client_certificate {ca};
        ssl_verify_client optional;
        location / {{
            proxy_pass {backend};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Client-Cert $ssl_client_escaped_cert;
        }}
    }}
}}
"""


def require_nginx() -> None:
    """Fail in CI, skip elsewhere, where there is no nginx."""
    if PROGRAM is None:
        missing = "nginx is missing: apt-get install --no-install-recommends nginx"
        pytest.fail(missing) if "CI" in os.environ else pytest.skip(missing)


class Nginx:
    """Serves between ``with`` and its end, in front of ``backend``, an origin."""

    def __init__(self, folder: Path, authority: CertificateAuthority, backend: str) -> None:
        files = authority.issue_server("127.0.0.1", "localhost")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.origin = f"https://127.0.0.1:{self._port}"
        self._log = folder / "error.log"
        configuration = folder / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                folder=folder,
                port=self._port,
                certificate=files.certificate,
                key=files.key,
                ca=authority.certificate,
                backend=backend,
            )
        )
        assert PROGRAM is not None
        self._command = [PROGRAM, "-e", str(self._log), "-p", str(folder), "-c", str(configuration)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return self
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.05)
        self._process.kill()
        self._process.wait()
        raise RuntimeError(f"nginx did not start: {self._log.read_text()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)
