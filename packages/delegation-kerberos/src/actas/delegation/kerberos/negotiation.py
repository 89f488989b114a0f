"""HTTP ``Negotiate`` (RFC 4559) with one ticket: we prove who she is, and the target proves who it is, or nothing that
it says counts."""

import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64

import gssapi
from gssapi.raw.misc import GSSError

from actas.core.errors import InternalError
from actas.core.tickets import Ticket
from actas.delegation.kerberos.caches import SPNEGO
from actas.delegation.kerberos.failures import TargetUnproven, TicketRejected, number

_CHALLENGE = re.compile(r"(?:^|,)[ \t]*negotiate[ \t]+([A-Za-z0-9+/]{4,65536}={0,2})[ \t]*(?=,|$)", re.IGNORECASE)


class Negotiation:
    """One security context with ``ticket``'s target, for one request.

    Raises:
        TicketRejected: the ticket ran out.
    """

    def __init__(self, ticket: Ticket) -> None:
        credentials = ticket.gss_credentials()
        if not isinstance(credentials, gssapi.Credentials):
            raise InternalError(detail="the ticket's credentials are not python-gssapi's")
        self._ticket = ticket
        self._context = gssapi.SecurityContext(
            name=gssapi.Name(ticket.target, gssapi.NameType.kerberos_principal),
            creds=credentials,
            usage="initiate",
            mech=SPNEGO,
            flags=gssapi.RequirementFlag.mutual_authentication | gssapi.RequirementFlag.out_of_sequence_detection,
        )

    def authorization(self) -> str:
        """The header's value. Call it once. Reaches nobody: the ticket is there.

        Raises:
            TicketRejected: the ticket cannot be used any more.
        """
        try:
            token, _ = self._stepped()
        except GSSError as error:
            raise TicketRejected(detail=f"beginning with the ticket: Kerberos error {number(error.min_code)}") from None
        return f"Negotiate {b64encode(token or b'').decode()}"

    def prove(self, challenge: str) -> None:
        """See that the target had the key that the ticket was made for.

        Args:
            challenge: ``WWW-Authenticate`` of the answer, all of it.

        Raises:
            TargetUnproven: it did not show that.
        """
        found = _CHALLENGE.findall(challenge)
        if len(found) != 1:
            raise TargetUnproven(detail=f"the answer has {len(found)} Negotiate tokens, not one")
        try:
            _, complete = self._stepped(b64decode(found[0], validate=True))
            proven = complete and self._proven()
        except NotBase64:
            raise TargetUnproven(detail="the answer's Negotiate token is not base64") from None
        except GSSError as error:
            raise TargetUnproven(detail=f"the answer's token: Kerberos error {number(error.min_code)}") from None
        if not proven:
            raise TargetUnproven(detail="the target did not end the negotiation as the one the ticket is for")

    def complaint(self, challenge: str) -> int | None:
        """RFC 4120's number of the error that a target says in refusing; None where it says none."""
        found = _CHALLENGE.findall(challenge)
        try:
            self._stepped(b64decode(found[0], validate=True))
        except GSSError as error:
            return number(error.min_code)
        except (IndexError, NotBase64):
            return None
        return None

    def _stepped(self, token: bytes | None = None) -> tuple[bytes | None, bool]:
        """What to say next, and whether it is done. python-gssapi keeps some errors for whoever asks next: so ask."""
        return self._context.step(token), self._context.complete

    def _proven(self) -> bool:
        context = self._context
        return (
            gssapi.RequirementFlag.mutual_authentication in context.actual_flags
            and str(context.initiator_name) == self._ticket.principal
            and str(context.target_name) == self._ticket.target
        )
