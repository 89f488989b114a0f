"""What a Kerberos module can do besides obtaining tickets: services that it reaches with them, each in its own file."""

from collections.abc import Callable, Sequence
from typing import Protocol

from actas.core.models import Action, DelegationCall, DelegationResult, Receipt
from actas.core.tickets import Ticket, Tickets
from actas.delegation.kerberos.principals import Principal
from actas.delegation.kerberos.settings import KerberosSettings


class Service(Protocol):
    """Something that is reached with the user's tickets: web services, file shares."""

    @property
    def actions(self) -> Sequence[Action]:
        """What it can do; names that no other service of the module has."""
        ...

    async def delegate(self, call: DelegationCall, principal: Principal, tickets: Tickets) -> DelegationResult:
        """Carry out ``call``, one of :attr:`actions`, as ``principal``; :func:`receipt` makes its receipt.

        Args:
            tickets: those of the call's user, until the call's deadline.

        Raises:
            CredentialRejected: the target did not take the ticket, and did nothing: it is tried once more with another.
            ActasError: refused or failed.
        """
        ...

    async def destroy(self) -> None:
        """Release everything. May be called twice."""
        ...


ServiceMaker = Callable[[KerberosSettings, list[str]], Service | None]
"""Makes a service from the settings; None where they have none of it. What is wrong is added to the list of problems,
each with its path."""


def receipt(principal: Principal, ticket: Ticket, method: str, **details: str) -> Receipt:
    """The receipt for what was done with ``ticket``: whom the KDC named in it, which is whom the target sees.

    An enterprise name is the KDC's to resolve: there the receipt names it, and ``kerberos`` in its details says whom
    the KDC found.
    """
    identity = principal.name if principal.enterprise else ticket.principal
    return Receipt(
        identity=identity, method=method, details={"kerberos": ticket.principal, "target": ticket.target, **details}
    )
