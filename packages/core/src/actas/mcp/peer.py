"""Who is on the other end: the address, and the client certificate. A header counts only from a trusted proxy."""

import ipaddress
from collections.abc import Iterator

from actas.core import AuthenticationError
from actas.mcp import certificates, forwarded
from actas.mcp.settings import ProxySettings
from actas.oauth.asgi import Scope
from actas.oauth.reasons import Reason

UNKNOWN = "unknown"
"""Stands for the address where there is none: the request came over a unix socket."""


class Peers:
    """Reads ASGI scopes, heeding the headers of the proxies in ``settings`` and of nobody else."""

    def __init__(self, settings: ProxySettings) -> None:
        self._trusted = [ipaddress.ip_network(network) for network in settings.trusted]
        self._hops = forwarded.FORMATS[settings.address_header]
        self._address_header = settings.address_header.encode()
        header = settings.certificate_header
        self._certificate_header = None if header is None else header.lower().encode()

    def of(self, scope: Scope) -> "Peer":
        """The other end of the connection that ``scope`` belongs to. Does nothing yet."""
        return Peer(self, scope)

    def address(self, scope: Scope) -> str:
        """As :attr:`Peer.address`."""
        host = _host(scope)
        nearest = self._trusted_proxy(host)
        if nearest is None:
            return host or UNKNOWN
        lines = list(_values(scope, self._address_header))
        for hop in (hop for line in reversed(lines) for hop in self._hops(line)):
            if hop is None:
                break  # whoever is there has no address; the last one that is known stands for him
            nearest = hop
            if not self._trusts(hop):
                break
        return str(nearest)

    def certificate(self, scope: Scope) -> str | None:
        """As :meth:`Peer.certificate`."""
        try:
            # What a trusted proxy shows of itself is not the caller's.
            return _of_connection(scope) if self._trusted_proxy(_host(scope)) is None else self._passed_on(scope)
        except ValueError as error:
            raise AuthenticationError(Reason.MALFORMED_CERTIFICATE, detail=str(error)) from None

    def _passed_on(self, scope: Scope) -> str | None:
        name = self._certificate_header
        if name is None:
            return None
        values = list(_values(scope, name))
        if not values:
            return None
        if len(values) > 1:
            raise ValueError("several headers with a certificate")
        return certificates.FORMATS.get(name, certificates.from_escaped_pem)(values[0].strip(b" \t"))

    def _trusted_proxy(self, host: str) -> forwarded.Address | None:
        """The address of ``host`` where that is a trusted proxy."""
        connected = forwarded.address_of(host) if self._trusted else None
        return connected if connected is not None and self._trusts(connected) else None

    def _trusts(self, address: forwarded.Address) -> bool:
        return any(address in network for network in self._trusted)


class Peer:
    """One end of a connection. Works out what it is asked for, when it is asked."""

    __slots__ = ("_peers", "_scope")

    def __init__(self, peers: Peers, scope: Scope) -> None:
        self._peers = peers
        self._scope = scope

    @property
    def address(self) -> str:
        """The IP address of the nearest that is no trusted proxy, for throttling and audit."""
        return self._peers.address(self._scope)

    def certificate(self) -> str | None:
        """The SHA-256 thumbprint of the client certificate (RFC 8705 section 3.1), None where there is none.

        Raises:
            AuthenticationError: a trusted proxy passed several, or something that is none.
        """
        return self._peers.certificate(self._scope)


def _host(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _values(scope: Scope, wanted: bytes) -> Iterator[bytes]:
    return (value for name, value in scope["headers"] if name == wanted)


def _of_connection(scope: Scope) -> str | None:
    """Of our own TLS, or of the ASGI server that hosts us: the ASGI specification's extension ``tls``."""
    tls = scope.get("extensions", {}).get("tls", {})
    chain = list(tls.get("client_cert_chain") or ())
    if not chain:
        return None
    if tls.get("client_cert_error"):
        raise ValueError("the client's certificate was not verified")
    return certificates.from_pem(chain[0].encode())
