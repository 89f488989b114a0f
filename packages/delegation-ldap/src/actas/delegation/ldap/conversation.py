"""What is said on a link as one user: each exchange has the directory's own word on whom it sees."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from actas.core.errors import IdentityMismatch
from actas.delegation.ldap import messages
from actas.delegation.ldap.failures import SUCCESS, ConnectionLost, NothingDone, UnexpectedAnswer, not_proven
from actas.delegation.ldap.filters import EVERYTHING
from actas.delegation.ldap.link import Link
from actas.delegation.ldap.messages import Answer, Control, Operation, Request
from actas.delegation.ldap.names import same

_KEPT = 1024
_PRINCIPAL_NAME = "msDS-PrincipalName"


class Proof(Protocol):
    """A question to the directory whom it sees."""

    def question(self, controls: tuple[Control, ...]) -> Request:
        """The operation, with ``controls``."""
        ...

    def reported(self, answer: Answer) -> str:
        """Whom it sees, as ``dn:…`` or ``u:…``; empty for nobody. Raises UnexpectedAnswer."""
        ...


class _Asking:
    """Keeps what is asked again and again: for each user of late, the whole message."""

    def __init__(self, operation: Operation) -> None:
        def made(controls: tuple[Control, ...]) -> Request:
            return messages.request(operation, controls)

        self.question = lru_cache(_KEPT)(made)


class ByWhoAmI(_Asking):
    """Who am I? (RFC 4532)"""

    def __init__(self) -> None:
        super().__init__(messages.who_am_i())

    def reported(self, answer: Answer) -> str:
        """What it answered."""
        return _text(answer.end.value or b"")


class ByPrincipalName(_Asking):
    """Active Directory's root entry: ``msDS-PrincipalName`` is ``DOMAIN\\name`` of who reads it (MS-ADTS 3.1.1.3.2)."""

    def __init__(self) -> None:
        super().__init__(messages.search("", messages.BASE, EVERYTHING, [_PRINCIPAL_NAME], size=1))

    def reported(self, answer: Answer) -> str:
        """The attribute's value, as ``u:…``."""
        for entry in answer.entries:
            for name, values in entry.attributes.items():
                if not entry.name and name.lower() == _PRINCIPAL_NAME.lower() and len(values) == 1:
                    return f"u:{_text(values[0])}"
        return ""


PROOFS: dict[str, Callable[[], Proof]] = {"whoami": ByWhoAmI, "principal_name": ByPrincipalName}


@dataclass(frozen=True, slots=True)
class Conversation:
    """One user on one link, for one call.

    ``controls`` go with every operation, the proof included; ``principal`` is whom the directory must report.
    """

    link: Link
    principal: str
    controls: tuple[Control, ...]
    proof: Proof
    deadline: float
    most_bytes: int

    def ask(self, operation: Operation, *more: Control) -> Answer:
        """Read something, with ``more`` controls. The proof goes ahead in the same packet.

        Raises:
            IdentityMismatch, AssumptionRefused: the directory sees somebody else, or does not say whom.
            DelegationError: see :class:`~.link.Link`.
        """
        asked = messages.request(operation, [*self.controls, *more])
        proof, answer = self.link.ask([self.proof.question(self.controls), asked], self.deadline, self.most_bytes)
        self._check(proof)
        return answer

    def tell(self, operation: Operation) -> Answer:
        """Change something: only when the proof has come. Raises as :meth:`ask`, and NothingDone."""
        try:
            self.prove()
        except ConnectionLost as error:
            raise NothingDone(detail=error.detail) from None
        (answer,) = self.link.ask([messages.request(operation, self.controls)], self.deadline, self.most_bytes)
        return answer

    def prove(self) -> None:
        """Hear whom the directory sees. Raises as :meth:`ask`."""
        (proof,) = self.link.ask([self.proof.question(self.controls)], self.deadline, self.most_bytes)
        self._check(proof)

    def _check(self, answer: Answer) -> None:
        if answer.end.code != SUCCESS:
            raise not_proven(answer.end)
        if not same(self.proof.reported(answer), self.principal):
            self.link.broken = True
            raise IdentityMismatch(detail="the directory reported another identity")


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise UnexpectedAnswer(detail="an identity that is no UTF-8") from error
