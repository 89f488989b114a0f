"""Tickets: S4U2Self for the user, S4U2Proxy for the target, and of all that only the ticket for the target is kept.

The credentials that come of S4U2Self hold the gateway's own ticket too, with which one could go on to any other target,
or as any other user. What is kept here, lent and written to files holds one service ticket, and nothing else.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gssapi
import krb5
from gssapi.raw.misc import GSSError

from actas.core.errors import ActasError, IdentityMismatch
from actas.delegation.kerberos.caches import KERBEROS, SPNEGO, MemoryCache, alone, cache_file, stored
from actas.delegation.kerberos.failures import (
    STALE,
    NotDelegable,
    TargetNotDelegable,
    TicketRejected,
    number,
    of_target,
    of_user,
)
from actas.delegation.kerberos.gateway import Gateway
from actas.delegation.kerberos.principals import Principal, is_users, realm_of

_ENTERPRISE = gssapi.OID.from_int_seq("1.2.840.113554.1.2.2.6")
"""MIT's GSS_KRB5_NT_ENTERPRISE_NAME."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What S4U2Self gave: the KDC's word that there is such a user."""

    principal: str
    """Whom the KDC found."""
    forwardable: bool
    """Whether the gateway may go on with it by its own list (constrained delegation)."""
    expires_at: float


class KerberosTicket:
    """One user's ticket for one target (see :class:`actas.core.tickets.Ticket`)."""

    def __init__(self, granted: krb5.Creds) -> None:
        self.principal = str(granted.client)
        self.target = str(granted.server)
        self.expires_at = float(granted.times.endtime)
        self.obtained_at = time.time()
        self._cache = MemoryCache(granted.client, [alone(granted)])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.principal!r}, {self.target!r})"

    def gss_credentials(self) -> gssapi.Credentials:
        """Fresh ones, for Kerberos and SPNEGO. Reaches neither KDC nor disk.

        Raises:
            TicketRejected: it ran out, or was wiped.
        """
        if time.time() >= self.expires_at:
            raise TicketRejected(detail="the ticket ran out before it was used")
        try:
            return self._cache.credentials(self.principal, (KERBEROS, SPNEGO))
        except GSSError:
            raise TicketRejected(detail="the ticket was wiped before it was used") from None

    @contextmanager
    def cache_file(self) -> Generator[Path]:
        """A file with this ticket alone, 0600 in a folder of its own in shared memory, until the end of the block.

        Raises:
            TicketRejected: it was wiped.
        """
        try:
            content = self._cache.content()
        except krb5.Krb5Error:
            content = []
        if not content:
            raise TicketRejected(detail="the ticket was wiped before it was used")
        with cache_file(content[0].client, content) as path:
            yield path

    def wipe(self) -> None:
        """Overwrite and forget it, whoever holds it."""
        self._cache.wipe()


class Obtainer:
    """Asks the KDC. Its methods block.

    Args:
        realms: where users may be.
    """

    def __init__(self, gateway: Gateway, realms: frozenset[str]) -> None:
        self._gateway = gateway
        self._realms = realms

    def evidence(self, user: Principal) -> Evidence:
        """S4U2Self: is there such a user?

        Raises:
            ActasError: as :mod:`.failures` has it.
        """
        found = self._own(stored(self._impersonated(user)), user)
        return Evidence(str(found.client), _forwardable(found), float(found.times.endtime))

    def ticket(self, user: Principal, target: str) -> KerberosTicket:
        """S4U2Self and S4U2Proxy.

        Args:
            target: with its realm.

        Raises:
            IdentityMismatch: the KDC gave a ticket of another user, or for another service.
            ActasError: as :mod:`.failures` has it.
        """
        credentials = self._impersonated(user)
        name = gssapi.Name(target, gssapi.NameType.kerberos_principal)
        try:
            # There is no call that only obtains the ticket. The message to the target that comes of it is not sent.
            gssapi.SecurityContext(name=name, creds=credentials, usage="initiate", mech=KERBEROS).step()
        except GSSError as error:
            raise self._refused(error, credentials, user) from None
        for each in stored(credentials):
            if str(each.server) == target and self._is(str(each.client), user):
                return KerberosTicket(each)
        raise IdentityMismatch(detail="the KDC gave a ticket of somebody else, or for another service")

    def _impersonated(self, user: Principal) -> gssapi.Credentials:
        kind = _ENTERPRISE if user.enterprise else gssapi.NameType.kerberos_principal
        name = gssapi.Name(user.name.encode(), kind)
        try:
            return self._gateway.credentials().impersonate(name, mechs=[KERBEROS])
        except GSSError as error:
            if number(error.min_code) not in STALE:
                raise of_user(error.min_code) from None
        self._gateway.renew()
        try:
            return self._gateway.credentials().impersonate(name, mechs=[KERBEROS])
        except GSSError as error:
            raise of_user(error.min_code) from None

    def _refused(self, error: GSSError, credentials: gssapi.Credentials, user: Principal) -> ActasError:
        """The KDC says the same of a target that is not listed and of a user who is sensitive; her ticket tells."""
        refusal = of_target(error.min_code)
        if isinstance(refusal, TargetNotDelegable) and not _forwardable(self._own(stored(credentials), user)):
            return NotDelegable(detail=f"{refusal.detail}; the user's ticket to the gateway is not forwardable")
        return refusal

    def _own(self, tickets: list[krb5.Creds], user: Principal) -> krb5.Creds:
        for each in tickets:
            if str(each.server) == self._gateway.principal and self._is(str(each.client), user):
                return each
        raise IdentityMismatch(detail="the KDC gave a ticket of somebody else")

    def _is(self, found: str, user: Principal) -> bool:
        if not user.enterprise:
            return found == user.name
        return realm_of(found) in self._realms and is_users(found, self._gateway.principal)


def _forwardable(ticket: krb5.Creds) -> bool:
    return bool(ticket.ticket_flags & krb5.TicketFlags.forwardable)
