"""A certificate authority for one test run: real certificates, thrown away with their folder."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A PEM certificate and its PEM private key (mode 0600)."""

    certificate: Path
    key: Path


class CertificateAuthority:
    """Issues P-256 certificates into ``folder``; its own is in ``certificate``."""

    def __init__(self, folder: Path, common_name: str = "actas throw-away CA") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(common_name)
        public = self._key.public_key()
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            _builder(self._name, self._name, public, timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = folder / "ca.crt"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def write_key(self) -> Path:
        """Its own private key, in a file (mode 0600): for what is to issue certificates itself."""
        path = self._folder / "ca.key"
        path.touch(mode=0o600)
        path.write_bytes(_private(self._key))
        return path

    def issue_server(self, *hosts: str) -> CertificateFiles:
        """A server certificate for ``hosts`` (names or IP addresses), the first as its common name."""
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        return self._issue(hosts[0], [ExtendedKeyUsageOID.SERVER_AUTH], names, timedelta(days=1))

    def issue_client(self, common_name: str, *, valid_for: timedelta = timedelta(days=1)) -> CertificateFiles:
        """A client certificate. A negative ``valid_for`` makes one that has run out."""
        return self._issue(common_name, [ExtendedKeyUsageOID.CLIENT_AUTH], None, valid_for)

    def _issue(
        self,
        common_name: str,
        usages: list[x509.ObjectIdentifier],
        names: x509.SubjectAlternativeName | None,
        valid_for: timedelta,
    ) -> CertificateFiles:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_name(common_name), self._name, key.public_key(), valid_for)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        serial = f"{x509.random_serial_number():x}"[:12]
        files = CertificateFiles(self._folder / f"{serial}.crt", self._folder / f"{serial}.key")
        certificate = builder.sign(self._key, hashes.SHA256())
        files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files.key.touch(mode=0o600)
        files.key.write_bytes(_private(key))
        return files


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, valid_for: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + valid_for) - _SKEW)
        .not_valid_after(now + valid_for)
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
