"""TLS of our own, for where no proxy ends it (RFC 8446, RFC 9325)."""

import asyncio
import ssl

from actas.core import ConfigurationError
from actas.mcp.settings import TlsSettings


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context that asks for client certificates where ``client_ca`` is set, and goes on without one.

    Raises:
        ConfigurationError: a file cannot be read, is no PEM, or key and certificate do not fit each other.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.certificate, settings.key, password=_no_password)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"mcp.tls: certificate and key cannot be used ({_why(error)}). Both must be PEM files, readable by this"
            " user, the key without a password and fitting the certificate."
        ) from error
    if settings.client_ca is not None:
        try:
            context.load_verify_locations(settings.client_ca)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"mcp.tls.client_ca: cannot be used ({_why(error)}). It must be a PEM file, readable by this user."
            ) from error
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def renew(context: ssl.SSLContext, settings: TlsSettings) -> None:
    """Use the certificate and key that are in the files now, for connections from now on.

    Raises:
        ConfigurationError: as :func:`server_context`. Nothing has changed.
    """
    server_context(settings)
    context.load_cert_chain(settings.certificate, settings.key, password=_no_password)


def tls_extension(transport: asyncio.BaseTransport) -> dict[str, object]:
    """The client's certificate as the ASGI specification's extension ``tls`` has it; nothing where there is none."""
    connection: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    certificate = None if connection is None else connection.getpeercert(binary_form=True)
    if certificate is None:
        return {}
    return {"tls": {"client_cert_chain": (ssl.DER_cert_to_PEM_cert(certificate),), "client_cert_error": None}}


def _no_password() -> str:
    """Instead of OpenSSL's question on the terminal, for which nobody is there."""
    raise ValueError("the key has a password")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "no PEM"
    return error.strerror or "no such file" if isinstance(error, OSError) else str(error)
