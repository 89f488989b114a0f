"""A client certificate as proxies and servers pass it on, and its thumbprint (RFC 8705 section 3.1).

Only its hash is of interest: that the certificate is valid, and the caller's, whoever ended the TLS connection saw.
"""

import base64
import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from hashlib import sha256
from urllib.parse import unquote_to_bytes

MAX_BYTES = 32_768
"""The longest header or PEM text that is looked at."""

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_HASH = re.compile(rb"[0-9A-Fa-f]{64}")
_XFCC_PAIR = re.compile(rb'([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;=]*))(?:;|$)')
"""``Key=value`` or ``Key="value"``, as Envoy writes them, with what divides it from the next."""


def from_pem(text: bytes) -> str:
    """The thumbprint of the one certificate in ``text``.

    Raises:
        ValueError: it is not one PEM certificate, or too long.
    """
    text = text.strip()
    if len(text) > MAX_BYTES or not text.startswith(_BEGIN) or not text.endswith(_END):
        raise ValueError("not one PEM certificate")
    return _thumbprint(_decoded(b"".join(text[len(_BEGIN) : -len(_END)].split())))


def from_escaped_pem(value: bytes) -> str:
    """The thumbprint of a PEM certificate with URL escapes: nginx's ``$ssl_client_escaped_cert``.

    Raises:
        ValueError: it is none.
    """
    if len(value) > MAX_BYTES:
        raise ValueError("too long")
    return from_pem(unquote_to_bytes(value))


def from_client_cert(value: bytes) -> str:
    """The thumbprint of ``Client-Cert`` (RFC 9440 section 2.2): a Byte Sequence, DER in base64 between colons.

    Raises:
        ValueError: it is none.
    """
    if len(value) > MAX_BYTES or len(value) < 3 or not value.startswith(b":") or not value.endswith(b":"):
        raise ValueError("not a Byte Sequence")
    return _thumbprint(_decoded(value[1:-1]))


def from_xfcc(value: bytes) -> str:
    """The thumbprint that Envoy's ``x-forwarded-client-cert`` gives, by ``Hash`` or ``Cert``.

    There must be one element: of several, only who knows all proxies on the way can tell which is the caller's.

    Raises:
        ValueError: several elements, neither ``Hash`` nor ``Cert``, one of them twice, or two that disagree.
    """
    pairs = _xfcc_pairs(value)
    given: set[str] = set()
    if b"hash" in pairs:
        if not _HASH.fullmatch(pairs[b"hash"]):
            raise ValueError("Hash is no SHA-256")
        given.add(_encoded(bytes.fromhex(pairs[b"hash"].decode())))
    if b"cert" in pairs:
        given.add(from_escaped_pem(pairs[b"cert"]))
    if len(given) != 1:
        raise ValueError("Hash and Cert are missing, or disagree")
    return given.pop()


def _xfcc_pairs(value: bytes) -> dict[bytes, bytes]:
    """The pairs of the one element that matter, by name in lower case."""
    if len(value) > MAX_BYTES:
        raise ValueError("too long")
    pairs: dict[bytes, bytes] = {}
    at = 0
    while at < len(value):
        found = _XFCC_PAIR.match(value, at)
        if found is None:
            raise ValueError("not one XFCC element")
        name = found[1].lower()
        if name in (b"hash", b"cert"):
            if name in pairs:
                raise ValueError("twice the same")
            pairs[name] = found[3] if found[2] is None else found[2]
        at = found.end()
    return pairs


FORMATS: dict[bytes, Callable[[bytes], str]] = {
    b"client-cert": from_client_cert,
    b"x-forwarded-client-cert": from_xfcc,
}
"""How a header's value is read, by its name in lower case; any other holds PEM with URL escapes."""


def _decoded(encoded: bytes) -> bytes:
    try:
        der = a2b_base64(encoded, strict_mode=True)
    except Base64Error:
        raise ValueError("not base64") from None
    if not der:
        raise ValueError("nothing")
    return der


def _thumbprint(der: bytes) -> str:
    return _encoded(sha256(der).digest())


def _encoded(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
