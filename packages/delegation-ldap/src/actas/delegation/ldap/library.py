"""ldap3, held to what is needed of it: a connection that is verified and let in as somebody.

What goes over the connection afterwards is :mod:`.link`'s.
"""

import contextlib
import math
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from actas.core.errors import ActasError, CredentialRejected, DelegationRefused
from actas.core.secret import Secret
from actas.delegation.ldap.failures import ASSUMPTION_DENIED, AssumptionRefused, ServerAway
from actas.delegation.ldap.link import Link
from actas.delegation.ldap.servers import Server

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # ldap3 asks pyasn1 for names that it calls otherwise by now
    import ldap3
    from ldap3.core.exceptions import LDAPException

_STEPS = 3
"""To connect, to begin TLS, to be let in."""


@dataclass(frozen=True, slots=True)
class Simple:
    """As the gateway, by name and password."""

    dn: str
    password: Secret


@dataclass(frozen=True, slots=True)
class External:
    """By the client certificate, or the unix socket: as the gateway, or as ``authzid`` (RFC 4422 appendix A)."""

    authzid: str = ""


@dataclass(frozen=True, slots=True)
class Gssapi:
    """As whom the ticket is for (RFC 4752). ``credentials`` makes a fresh ``gssapi.Credentials``."""

    credentials: Callable[[], object] = field(repr=False)
    good_until: float
    """On :func:`time.monotonic`'s clock."""


Way = Simple | External | Gssapi


class _Verifying(ldap3.Tls):
    """TLS by the standard library's own rules: ldap3's compares the host's name with code of its own."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)  # pyright: ignore[reportUnknownMemberType] -- half typed
        self._context = context

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:  # Any: ldap3's
        connection.socket = self._context.wrap_socket(connection.socket, server_hostname=connection.server.host)


def tls_context(ca_file: str | None, certificate: tuple[str, str] | None) -> ssl.SSLContext:
    """What verifies servers. Raises OSError (ssl.SSLError is one) where a file cannot be used."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context


def open_link(server: Server, context: ssl.SSLContext, way: Way, seconds: float, *, encrypted: bool = True) -> Link:
    """Connect to ``server``, begin TLS, and be let in by ``way``. Blocks: it is for threads.

    Args:
        seconds: of each step.
        encrypted: False leaves out StartTLS on ``ldap://``.

    Raises:
        ServerAway: no server, no certificate to trust, or it does not let the gateway in.
        AssumptionRefused: it lets the gateway in, and not as the user.
        CredentialRejected: it does not take the ticket.
    """
    place = f"ldapi://{server.host}" if server.local else server.host
    connection: Any = None  # Any: ldap3's
    try:
        peer = ldap3.Server(
            place,
            port=server.port or None,
            use_ssl=server.scheme == "ldaps",
            tls=_Verifying(context),
            get_info=ldap3.NONE,
            connect_timeout=seconds,
        )
        connection = ldap3.Connection(
            peer,
            client_strategy=ldap3.SYNC,
            auto_referrals=False,
            receive_timeout=math.ceil(seconds),
            **_login(server, way),
        )
        with _ended_after(connection, _STEPS * seconds):
            connection.open(read_server_info=False)
            if server.scheme == "ldap" and encrypted:
                connection.start_tls(read_server_info=False)
                if not isinstance(connection.socket, ssl.SSLSocket):  # it can also say no by returning False
                    raise ServerAway(detail="StartTLS did not begin TLS")
            let_in = connection.bind(read_server_info=False)
    except ActasError:
        _close(connection)
        raise
    except Exception as error:
        _close(connection)
        if isinstance(way, Gssapi) and type(error).__module__.startswith("gssapi"):
            raise CredentialRejected(detail=f"SASL/GSSAPI: {type(error).__name__}: {error}") from None
        raise _away(server, error) from None
    if not let_in:
        code, text = connection.result["result"], connection.result["message"]
        _close(connection)
        raise _not_let_in(way, f"bind: LDAP result {code}: {text}", code)
    return _link(connection.socket, way)


def reach(server: Server, context: ssl.SSLContext, seconds: float) -> None:
    """See that ``server`` answers and can be verified, and be let in as nobody. Raises ServerAway."""
    connection: Any = None  # Any: ldap3's
    try:
        peer = ldap3.Server(
            server.host,
            port=server.port,
            use_ssl=server.scheme == "ldaps",
            tls=_Verifying(context),
            get_info=ldap3.NONE,
            connect_timeout=seconds,
        )
        connection = ldap3.Connection(peer, client_strategy=ldap3.SYNC, receive_timeout=math.ceil(seconds))
        with _ended_after(connection, _STEPS * seconds):
            connection.open(read_server_info=False)
            if server.scheme == "ldap":
                connection.start_tls(read_server_info=False)
    except Exception as error:
        raise _away(server, error) from None
    finally:
        _close(connection)


def _away(server: Server, error: Exception) -> ServerAway:
    """Whatever ldap3 raises: on an answer that is none, that may be a KeyError. Its text is told where it is a text."""
    text = f": {error}" if isinstance(error, (LDAPException, OSError, ValueError)) else ""
    return ServerAway(detail=f"{server.scheme}://{server.host}: {type(error).__name__}{text}")


@contextlib.contextmanager
def _ended_after(connection: Any, seconds: float) -> Generator[None]:  # Any: ldap3's
    """Whatever waits for the server inside fails after so long: ldap3 counts its time anew with each byte that comes,
    and reads as many as are sent, before TLS from anybody."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(seconds):  # again, for ldap3 may just have been putting TLS in the socket's place
            with contextlib.suppress(OSError, ValueError, AttributeError):
                socket.socket.shutdown(connection.socket, socket.SHUT_RDWR)

    threading.Thread(target=watch, name="actas-ldap-login", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _login(server: Server, way: Way) -> dict[str, Any]:  # Any: what ldap3 takes
    match way:
        case Simple():
            return {"user": way.dn, "password": way.password.reveal(), "authentication": ldap3.SIMPLE}
        case External():
            return {
                "authentication": ldap3.SASL,
                "sasl_mechanism": ldap3.EXTERNAL,
                "sasl_credentials": way.authzid,
            }
        case Gssapi():
            return {
                "authentication": ldap3.SASL,
                "sasl_mechanism": ldap3.GSSAPI,
                "sasl_credentials": (server.host, None, way.credentials()),
            }


def _not_let_in(way: Way, detail: str, code: int) -> DelegationRefused | ServerAway:
    if isinstance(way, Gssapi):
        return CredentialRejected(detail=detail)
    if isinstance(way, External) and way.authzid and code in ASSUMPTION_DENIED:
        return AssumptionRefused(detail=detail)
    return ServerAway(detail=detail)


def _link(sock: socket.socket, way: Way) -> Link:
    link = Link(sock)
    if isinstance(way, Gssapi):
        link.good_until = way.good_until
    return link


def _close(connection: Any) -> None:  # Any: ldap3's
    if connection is not None and getattr(connection, "socket", None) is not None:
        with contextlib.suppress(Exception):  # whatever a broken connection says: it is gone
            connection.socket.close()


def monotonic(epoch_seconds: float) -> float:
    """A time of the calendar on :func:`time.monotonic`'s clock."""
    return time.monotonic() + epoch_seconds - time.time()
