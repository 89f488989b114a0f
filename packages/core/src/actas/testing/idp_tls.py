"""A second way into an identity provider: TLS, for clients that show a certificate (RFC 8705)."""

import ssl
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Self

from actas.testing.idp_http import HOST, Answer, Request, Server, handler_for
from actas.testing.pki import CertificateAuthority, CertificateFiles


class MutualTls:
    """Serves what ``answer`` answers to clients with a certificate of ``authority``, and nobody else.

    Args:
        answer: a provider's: :meth:`actas.testing.idp.IdentityProvider.answer`.
        authority: issues the server's certificate too.
    """

    def __init__(self, answer: Callable[[Request], Answer], authority: CertificateAuthority) -> None:
        files = authority.issue_server(HOST)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        context.load_verify_locations(authority.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
        self._server = Server((HOST, 0), handler_for(answer))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="mutual-tls", daemon=True)

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"https://{HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def thumbprint(files: CertificateFiles | Path) -> str:
    """What :class:`actas.testing.idp_clients.DemoClient` is known by: SHA-256 of the certificate, in hexadecimal."""
    path = files.certificate if isinstance(files, CertificateFiles) else files
    return sha256(ssl.PEM_cert_to_DER_cert(path.read_text())).hexdigest()
