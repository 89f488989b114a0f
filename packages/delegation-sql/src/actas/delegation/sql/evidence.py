"""What a call brings to prove its user with, where the gateway cannot prove it by itself."""

from dataclasses import dataclass

from actas.core.models import Credential, DelegationCall
from actas.core.tickets import Tickets


@dataclass(frozen=True, slots=True)
class Evidence:
    """A token that was exchanged for the user's, or the user's Kerberos tickets; or neither."""

    credential: Credential | None = None
    tickets: Tickets | None = None
    bearer: tuple[str, ...] = ()
    """Whom it is for. A connection that it opened serves nobody else's calls, whoever has the role."""


NOTHING = Evidence()


def evidence_of(call: DelegationCall) -> Evidence:
    """What ``call`` brings."""
    if call.tickets is not None:
        return Evidence(None, call.tickets, (call.session.issuer, call.session.subject))
    if call.credential is not None:
        return Evidence(call.credential, None, (call.credential.subject,))
    return NOTHING
