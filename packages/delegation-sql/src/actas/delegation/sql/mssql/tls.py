"""Verified TLS for FreeTDS: pymssql has no parameter for it, so it is told by a configuration file of this process.

``encryption="require"`` alone encrypts towards anybody. Only ``ca file`` in FreeTDS's configuration verifies the
certificate and the host name; ``FREETDSCONF``, which names that file, holds for the whole process.
"""

import atexit
import os
import shutil
import tempfile
import threading
from pathlib import Path

_lock = threading.Lock()
_sections: dict[str, str] = {}
_folder: Path | None = None


def section(host: str, port: int, ca_file: str, principal: str | None = None) -> str:
    """Write a section for this server, and return its name: what to give pymssql as ``server``.

    With ``principal``, the server's own, a login without a name is one by a ticket for it.

    It ends in ``.invalid`` (RFC 2606), so that it is no host where the file is not found.
    """
    global _folder
    lines = (
        f"host = {host}",
        f"port = {port}",
        "tds version = 7.4",
        "client charset = UTF-8",
        "encryption = require",
        "check certificate hostname = yes",
        f"ca file = {ca_file}",
        *([f"spn = {principal}"] if principal else []),
    )
    text = "\n\t".join(lines)
    with _lock:
        if _folder is None:
            _folder = Path(tempfile.mkdtemp(prefix="actas-freetds-"))
            atexit.register(shutil.rmtree, _folder, ignore_errors=True)
        name = next((each for each, known in _sections.items() if known == text), f"actas{len(_sections)}.invalid")
        _sections[name] = text
        file, new = _folder / "freetds.conf", _folder / "freetds.conf.new"
        new.write_text("".join(f"[{each}]\n\t{known}\n" for each, known in _sections.items()))
        new.replace(file)  # whole, for a login that reads it at this moment
        os.environ["FREETDSCONF"] = str(file)
    return name


def stranger() -> str:
    """A file with an authority that has signed nothing: towards it, every connection must fail."""
    with _lock:
        folder = _folder or Path(tempfile.gettempdir())
    return _certificate(folder / "stranger.pem")


def _certificate(path: Path) -> str:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return str(path)
