"""What one module lends another: the user's own credential for one target.

A module for Kerberos obtains tickets, one for databases or directories presents them, and neither imports the other.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class Ticket(Protocol):
    """A service ticket (RFC 4120 section 1.1) of one user for one target. It prints neither itself nor its key."""

    @property
    def principal(self) -> str:
        """Whom the target will see, as the KDC named it: ``alice@EXAMPLE.COM``."""
        ...

    @property
    def target(self) -> str:
        """Whom it is for: ``postgres/db.example.com@EXAMPLE.COM``."""
        ...

    @property
    def expires_at(self) -> float:
        """Seconds since the epoch."""
        ...

    def gss_credentials(self) -> object:
        """A fresh ``gssapi.Credentials`` of python-gssapi, for one security context with the target, in one thread.

        It may be had for the mechanisms Kerberos and SPNEGO.
        """
        ...

    def cache_file(self) -> AbstractContextManager[Path]:
        """A credential cache of MIT's format that only this process may read, for a library with a Kerberos of its own.

        Inside, it is there; afterwards it is gone. It does I/O: use it in a thread.
        """
        ...


class Tickets(Protocol):
    """The tickets that one call may present. Whose they are is the call's session to say, and nobody else's."""

    async def obtain(self, target: str) -> Ticket:
        """The ticket for ``target``.

        Args:
            target: a service's principal name, ``postgres/db.example.com``; the lender's own realm is understood.

        Raises:
            PrincipalUnavailable: the user has no name that the lender could use.
            DelegationRefused: the target is not on the lender's list, or nobody may act as this user.
            DownstreamUnavailable: whoever gives out tickets does not answer.
        """
        ...
