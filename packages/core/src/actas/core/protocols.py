"""What a plug-in author implements. Structural types: nothing needs to be inherited.

A whole module::

    @dataclass(frozen=True)
    class Greet:
        greeting: str = "Hello"
        \"\"\"The word to greet with.\"\"\"

    class Greeter:
        actions = (Action(name="greet", description="Greet the caller by name.", parameters=Greet),)

        async def initialize(self) -> None: ...

        def principal(self, session: Session) -> str:
            if not session.username.isalnum():
                raise PrincipalUnavailable
            return session.username

        async def delegate(self, call: DelegationCall) -> DelegationResult:
            who = self.principal(call.session)
            return DelegationResult(
                data=f"{call.parameters.greeting}, {who}!",
                receipt=Receipt(identity=who, method="in-process"),
            )

        async def health_check(self) -> Health:
            return Health(healthy=True)

        async def destroy(self) -> None: ...
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from actas.core.events import AuditEvent
from actas.core.models import Action, Credential, Decision, DelegationCall, DelegationResult, Health, Question, Session
from actas.core.secret import Secret
from actas.core.tickets import Ticket


@runtime_checkable
class DelegationModule(Protocol):
    """A live connection to one downstream system.

    It never exchanges tokens, authorises or audits: the pipeline did, or will.
    """

    @property
    def actions(self) -> Sequence[Action]:
        """What it can do; the same for its whole life."""
        ...

    async def initialize(self) -> None:
        """Connect and prove that identities are switched as configured.

        Raises:
            ConfigurationError: the downstream is not set up as the settings say.
            DownstreamUnavailable: it does not answer. The server starts without this module and calls this again
                later, so nothing may be left behind; so it does where this takes more than 10 s, by cancelling it.
        """
        ...

    def principal(self, session: Session) -> str:
        """The name by which the downstream will know this session. Does no I/O.

        Raises:
            PrincipalUnavailable: it has none, or one that is not safe to use.
        """
        ...

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        """Carry out ``call`` as ``principal(call.session)``, or raise.

        Identity comes from ``call.session`` alone, never from ``call.parameters``. The receipt's
        identity is what the downstream itself reported; the pipeline throws the result away
        where it is not the principal.

        Raises:
            ActasError: always one of ours, with a message that is safe to show.
        """
        ...

    async def health_check(self) -> Health:
        """Ask the downstream whether it is there. Bounded in time; never raises."""
        ...

    async def destroy(self) -> None:
        """Release everything. May be called twice, and without ``initialize``."""
        ...


class CredentialSource(Protocol):
    """Where one module's credentials come from: the token exchange that its configuration describes.

    The pipeline asks; a module finds what it got in ``call.credential``.
    """

    async def obtain(self, session: Session) -> Credential:
        """The credential with which the module acts as ``session``'s user: verified, and for this module alone.

        Raises:
            ActasError: there is none. The call is refused; there is no other way in.
        """
        ...

    async def discard(self, session: Session, refused: Credential) -> None:
        """Forget ``refused``: the downstream did not take it."""
        ...

    def plan(self, session: Session) -> Mapping[str, object]:
        """What would be asked for, of whom, for the operator to read; ``problem`` says why ``session`` gets nothing."""
        ...


@runtime_checkable
class TicketGranter(Protocol):
    """What a module is besides, if it lends others their users' Kerberos tickets."""

    async def ticket(self, session: Session, target: str, *, deadline: float) -> Ticket:
        """The ticket with which ``session``'s user is known to ``target``.

        Args:
            deadline: on :func:`time.monotonic`'s clock.

        Raises:
            ActasError: as :meth:`.Tickets.obtain` says.
        """
        ...

    async def discard(self, session: Session, target: str) -> None:
        """Forget the ticket: ``target`` did not take it."""
        ...


class CredentialUse(StrEnum):
    """Whether a kind of module works with an exchanged token, or with tickets."""

    NEVER = "never"
    """Its identity comes another way: a configuration that exchanges one is refused."""
    OPTIONAL = "optional"
    """The configuration says."""
    REQUIRED = "required"
    """A configuration without ``token_exchange``, or without ``tickets_from``, is refused."""


@dataclass(frozen=True, slots=True)
class ModuleKind:
    """One kind of module that a plug-in offers."""

    name: str
    """The entry point's name and the configuration's ``kind``: ``sql``."""
    settings: type
    """A plain dataclass: the server validates it, refuses unknown keys and resolves secrets first."""
    create: Callable[[str, Any], DelegationModule]  # Any: an instance of this kind's own ``settings``
    """``create(name, settings)``; imports the driver here, not when the plug-in is imported."""
    credential: CredentialUse = CredentialUse.NEVER
    """Whether ``token_exchange`` may or must be configured for it."""
    bound_tokens: bool = True
    """Whether it can present tokens that are bound to a key (``dpop_key``); where it cannot, a configuration that binds
    them is refused."""
    tickets: CredentialUse = CredentialUse.NEVER
    """Whether ``tickets_from`` may or must be configured for it."""
    grants_tickets: bool = False
    """Whether its modules are :class:`TicketGranter`s, whom others name in ``tickets_from``."""
    by_name: bool = False
    """Whether its modules know users by a name out of the token, without the issuer: then who is called alike at two
    providers is one user to it, and a configuration with several providers must say in ``providers`` whose users it is
    for. Not where each call goes by an exchanged token: that has its issuer with it."""


@runtime_checkable
class AuditSink(Protocol):
    """Where the minutes are kept."""

    async def write(self, event: AuditEvent) -> None:
        """Keep ``event``; return only when it is kept. Raises anything where it cannot be."""
        ...

    async def close(self) -> None:
        """Write what is pending. May be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class AuditSinkKind:
    """One kind of audit sink that a plug-in offers; ``create`` makes one with its settings."""

    name: str
    """The entry point's name and the configuration's ``auth.audit.kind``."""
    settings: type
    """A plain dataclass, read as a module's settings are."""
    create: Callable[[Any], AuditSink]  # Any: an instance of this kind's own ``settings``


@runtime_checkable
class Authorizer(Protocol):
    """Decides besides roles and permissions: a policy, a schedule, a service that is asked.

    It can only restrict. It is asked about nothing that permissions, roles or scopes refuse already, all
    authorisers must allow, and one that raises, answers late or answers something else has refused.
    """

    async def initialize(self) -> None:
        """Load, connect. Raises ConfigurationError where it is not set up as the settings say."""
        ...

    async def decide(self, questions: Sequence[Question]) -> Sequence[Decision]:
        """One decision for each question, in their order.

        A list of tools is one call with a question for each; carrying out a tool is one question, with
        parameters. Bounded in time by whoever asks. What it does must not depend on which tool a caller named.
        """
        ...

    async def close(self) -> None:
        """Release everything. May be called twice, and without ``initialize``."""
        ...


@dataclass(frozen=True, slots=True)
class AuthorizerKind:
    """One kind of authoriser that a plug-in offers; ``create`` makes one with its settings."""

    name: str
    """The entry point's name and the configuration's ``kind``: ``cedar``."""
    settings: type
    """A plain dataclass, read as a module's settings are."""
    create: Callable[[Any], Authorizer]  # Any: an instance of this kind's own ``settings``


class SecretProvider(Protocol):
    """Looks up secrets: a vault, a keyring, a cloud."""

    @property
    def name(self) -> str:
        """For error messages."""
        ...

    def get(self, name: str) -> Secret | None:
        """The secret, or None where it is not this provider's. Raises where it should be and cannot be read."""
        ...


Validator = Callable[[Action, Mapping[str, object]], object]
"""Makes an instance of ``action.parameters`` from what the caller sent, or raises InvalidParameters."""
