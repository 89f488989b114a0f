"""Log in as the user with a client certificate that says so, made for this one login by an authority of the gateway's.

The server needs one line of ``pg_ident.conf`` for all users, whatever its version. Key and certificate are in a file
only while libpq reads them, in memory (``/dev/shm``) where the system has such a folder.
"""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from psycopg import AsyncConnection

from actas.core.errors import ConfigurationError, PrincipalUnavailable
from actas.delegation.sql.connector import Connector, Proof
from actas.delegation.sql.evidence import NOTHING, Evidence
from actas.delegation.sql.frames import Frame, own_login
from actas.delegation.sql.settings import IssuerSettings, SqlSettings

_PREFIX = "user:"
_LONGEST_COMMON_NAME = 64  # X.520's ub-common-name
_BACKDATED = timedelta(minutes=1)
_MEMORY = "/dev/shm"  # noqa: S108 -- a folder of our own is made in it
_PEM = serialization.Encoding.PEM


class UserCertificate:
    """By a certificate for ``CN=user:<role>``, good for ``issuer.seconds``."""

    def __init__(self, settings: SqlSettings, connector: Connector) -> None:
        if settings.issuer is None:
            raise ConfigurationError("issuer: missing; identity = user_certificate needs it")
        self._authority = _Authority(settings.issuer)
        self._connector = connector
        self.method = "login:user-certificate"

    async def check(self) -> None:
        """There is no account of the gateway's own to look with."""

    async def connect(self, user: str, evidence: Evidence = NOTHING) -> AsyncConnection:
        """Make a certificate, log in as ``user`` with it, and remove it."""
        key, certificate = await asyncio.to_thread(self._authority.issue, user)
        with _files(key, certificate) as proof:
            connection = await self._connector.open(user, proof)
        return await self._connector.unplanted(connection, user)

    def frame(self, user: str, connection: AsyncConnection) -> Frame:
        """The session is the user's own."""
        return own_login(user)

    async def close(self) -> None:
        """Nothing is kept."""


@contextlib.contextmanager
def _files(key: bytes, certificate: bytes) -> Generator[Proof]:
    folder = _MEMORY if os.path.isdir(_MEMORY) else None
    with tempfile.TemporaryDirectory(prefix="actas-", dir=folder) as own:  # mode 0700
        proof = {"sslcert": f"{own}/crt", "sslkey": f"{own}/key", "sslcertmode": "require"}
        for path, pem in ((proof["sslcert"], certificate), (proof["sslkey"], key)):
            with open(path, "xb", opener=_for_us_alone) as file:
                file.write(pem)
        yield proof


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


class _Authority:
    def __init__(self, settings: IssuerSettings) -> None:
        try:
            self._certificate = x509.load_pem_x509_certificate(Path(settings.certificate_file).read_bytes())
            key = serialization.load_pem_private_key(Path(settings.key_file).read_bytes(), password=None)
        except (OSError, ValueError, TypeError):
            raise ConfigurationError("issuer: certificate_file or key_file is no PEM file, or is encrypted") from None
        if not isinstance(key, EllipticCurvePrivateKey | RSAPrivateKey):
            raise ConfigurationError("issuer: key_file has neither an elliptic-curve nor an RSA key")
        if key.public_key() != self._certificate.public_key():
            raise ConfigurationError("issuer: key_file is not the key of certificate_file")
        self._key = key
        self._valid = timedelta(seconds=settings.seconds)

    def issue(self, user: str) -> tuple[bytes, bytes]:
        """A new private key and its certificate, PEM.

        Raises:
            PrincipalUnavailable: the name is too long for a certificate.
        """
        name = _PREFIX + user
        if len(name) > _LONGEST_COMMON_NAME:
            raise PrincipalUnavailable(detail="the role's name is too long for a certificate")
        key = generate_private_key(SECP256R1())
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + self._valid)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return private, certificate.public_bytes(_PEM)
