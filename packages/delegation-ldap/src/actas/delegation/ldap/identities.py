"""The three ways in which the directory comes to see the user: whose links there are, and what they carry."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from actas.core.errors import PrincipalUnavailable
from actas.core.models import DelegationCall
from actas.core.tickets import Ticket
from actas.delegation.ldap import messages
from actas.delegation.ldap.library import External, Gssapi, Simple, Way, monotonic, open_link
from actas.delegation.ldap.link import Link
from actas.delegation.ldap.messages import Control
from actas.delegation.ldap.principals import Principals
from actas.delegation.ldap.servers import Server
from actas.delegation.ldap.settings import LdapSettings

_GATEWAY = "the gateway"
"""The owner of links that are let in as the gateway. No user is called so: theirs begin with dn: or u:."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """How one user comes to one server."""

    owner: str
    """Whose link it is: it is used for nobody else."""
    open: Callable[[], Link]
    """Opens one. Blocks."""
    controls: tuple[Control, ...] = ()
    """What goes with every operation."""
    details: dict[str, str] = field(default_factory=dict[str, str])
    """For the receipt."""


class Identities:
    """Makes entrances as the settings say."""

    def __init__(self, settings: LdapSettings, principals: Principals, context: ssl.SSLContext) -> None:
        self._settings = settings
        self._principals = principals
        self._context = context

    async def entrance(self, call: DelegationCall, server: Server) -> Entrance:
        """How ``call``'s user comes to ``server``.

        Raises:
            PrincipalUnavailable: there is no name, or no ticket; what ``tickets.obtain`` raises.
        """
        if self._settings.identity != "kerberos":
            return self.entrance_as(self._principals.asked_as(call.session), server)
        if call.tickets is None:
            raise PrincipalUnavailable(detail="there are no tickets: tickets_from is not configured")
        ticket = await call.tickets.obtain(f"ldap/{server.host}")
        return self._by_ticket(self._principals.of(call.session), server, ticket)

    def entrance_as(self, authzid: str, server: Server) -> Entrance:
        """How ``authzid`` comes to ``server``, but for ``kerberos``."""
        if self._settings.identity == "sasl_external":
            return Entrance(authzid, lambda: self.open(server, External(authzid)))
        control = messages.proxied_authorization(authzid)
        return Entrance(_GATEWAY, lambda: self.open(server, self._gateway()), (control,))

    def open(self, server: Server, way: Way) -> Link:
        """Open a link. Blocks. Raises as :func:`~.library.open_link`."""
        encrypted = not (self._settings.unencrypted and server.loopback)
        return open_link(server, self._context, way, self._settings.pool.connect_seconds, encrypted=encrypted)

    def as_gateway(self, server: Server) -> Link:
        """Open a link that nobody uses. Blocks. Raises as :func:`~.library.open_link`."""
        return self.open(server, self._gateway())

    def _gateway(self) -> Way:
        service = self._settings.service
        return External() if service is None else Simple(service.dn, service.password)

    def _by_ticket(self, principal: str, server: Server, ticket: Ticket) -> Entrance:
        way = Gssapi(ticket.gss_credentials, monotonic(ticket.expires_at))
        owner = f"{principal}\n{ticket.principal}\n{server.host}:{server.port}"
        details = {"kerberos": ticket.principal}
        return Entrance(owner, lambda: self.open(server, way), details=details)
