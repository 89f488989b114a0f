"""The values that travel along the road: immutable, and none of them prints a secret.

In the order of a call: :class:`Session` (who), :class:`Action` (what),
:class:`DelegationCall` (who does what, until when), :class:`DelegationResult` with its
:class:`Receipt` (what came back, and whom the downstream saw). The minutes are in :mod:`actas.core.events`.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol, Self

from actas.core.secret import Secret
from actas.core.tickets import Tickets

UNASSIGNED = "unassigned"
"""The role of a session whose roles could not be read or mapped, or may not be used by who acts. It gives nothing."""


def new_id() -> str:
    """128 random bits in hexadecimal: of a session, a request, an event."""
    return os.urandom(16).hex()


_EMPTY: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """One party of a token's ``act`` claim: somebody who acts for the subject (RFC 8693 section 4.1).

    ``issuer`` is None where the claim names none: then it is the token's.
    """

    subject: str
    """Who acts, as the issuer calls it."""
    issuer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who is calling, as a verified token says.

    The identity is the pair of ``issuer`` and ``subject`` (OpenID Connect Core section 2): a ``username`` alone is
    unique nowhere. ``legacy_username`` is the name that older systems know the user by; it is None unless the operator
    mapped a claim to it. ``role`` and ``custom_roles`` are this server's, ``permissions`` what they give, ``scopes``,
    ``client_id`` and ``claims`` the token's. ``token`` is the caller's own, and is passed on to nobody.
    """

    issuer: str
    subject: str
    username: str
    provider: str
    """The name that the configuration gives to the trusted identity provider."""
    legacy_username: str | None = None
    role: str = UNASSIGNED
    custom_roles: tuple[str, ...] = ()
    permissions: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    client_id: str | None = None
    actors: tuple[Actor, ...] = ()
    """The ``act`` chain, the current actor first. Roles, permissions and scopes are those that this one may use too."""
    application: bool = False
    """True where the token stands for an application and no user: then there is no ``legacy_username``."""
    claims: Mapping[str, object] = field(default_factory=lambda: _EMPTY, repr=False)
    expires_at: float = float("inf")
    """Seconds since the epoch."""
    rejected: bool = False
    """True where the token is good but its roles are not accepted: authenticated, admitted to nothing."""
    rejection_reason: str | None = None
    """Why, for the operator."""
    token: Secret | None = field(default=None, repr=False, compare=False)
    session_id: str = field(default_factory=new_id, compare=False)
    """The same while one verified token is remembered."""


SCOPE_KEY = "actas.session"
"""Where an ASGI scope has the :class:`Session` that a service's own middleware made of the token it received."""


class Prover(Protocol):
    """A key of ours that a token is bound to (RFC 9449)."""

    def prove(self, method: str, url: str, token: Secret) -> str:
        """A proof for one request that presents ``token``."""
        ...

    def heed(self, url: str, nonce: str) -> None:
        """Use ``nonce``, which the server at ``url`` gave, from now on there (RFC 9449 section 8)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A ``token`` for one downstream service: exchanged for the caller's own, and verified like any other."""

    token: Secret
    token_type: str = "Bearer"  # noqa: S105 -- a scheme, no password
    """How it is presented: ``Bearer``, or ``DPoP``."""
    subject: str
    """Whom it names, as the issuer of *this* token spells it; the caller, by the checks that were configured."""
    expires_at: float
    """Seconds since the epoch."""
    prover: Prover | None = field(default=None, repr=False, compare=False)
    """Proves that we have the key which the token is bound to; None: it is bound to none."""

    def headers(self, method: str, url: str) -> dict[str, str]:
        """What one HTTP request to ``url`` carries: ``authorization``, and ``dpop`` where the token is bound."""
        headers = {"authorization": f"{self.token_type} {self.token.reveal()}"}
        if self.prover is not None:
            headers["dpop"] = self.prover.prove(method, url, self.token)
        return headers


class Effect(StrEnum):
    """What an action does downstream; becomes the tool's read-only and destructive hints.

    ``READ`` changes nothing, ``WRITE`` adds, ``DESTRUCTIVE`` changes or deletes what was there.
    """

    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"


@dataclass(frozen=True, slots=True)
class NoParameters:
    """For an action that takes none."""


@dataclass(frozen=True, eq=False)
class JsonSchema:
    """Parameters that somebody else declared: of an operation in an OpenAPI document, of a gRPC method.

    ``document`` is a JSON Schema (2020-12) of an object, with nothing outside that it refers to. A call's
    parameters are then a plain mapping that fits it.
    """

    document: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What a module can do, declared once: tools, JSON schemas, documentation and checks derive from it.

    ``name`` is unique in its module, ``description`` what a model reads, ``effect`` a hint for its client.
    ``parameters`` is a plain dataclass; each field's docstring becomes the description that a
    model reads. No field may carry an identity: who acts is the session's to say. Where the parameters are
    not ours to declare, a :class:`JsonSchema` stands in the dataclass's place.
    """

    name: str
    description: str
    parameters: type | JsonSchema = NoParameters
    permission: str | None = None
    """Whoever lacks it does not see the tool. None: every admitted session has it."""
    roles: frozenset[str] = frozenset()
    """Whoever has none of them does not see the tool. Empty: the role does not matter."""
    can_access: Callable[[Session], bool] | None = None
    """Whoever it does not answer True for does not see the tool. Does no I/O; what it raises hides the tool."""
    providers: frozenset[str] | None = None
    """Whoever's token comes from another provider does not see the tool. None: the provider does not matter."""
    scopes: frozenset[str] = frozenset()
    """Whoever lacks one sees the tool and is told to step up."""
    effect: Effect = Effect.READ
    tool: str | None = None
    """The tool's name after the module's prefix; the action's own name where None."""
    timeout: float | None = None
    """Seconds; None takes the pipeline's."""

    def only_for(self, providers: frozenset[str] | None) -> Self:
        """The same, for the users of ``providers`` alone; None changes nothing."""
        if providers is None:
            return self
        return replace(self, providers=providers if self.providers is None else self.providers & providers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether something is ``allowed``, and why. Made with :meth:`allow` and :meth:`refuse`."""

    allowed: bool
    reason: str
    """Why, for the operator: goes into the audit, never to a caller."""
    code: str | None = None
    """The stable code of the error that a refusal becomes; None where it is allowed."""
    scopes: frozenset[str] = frozenset()
    """Where more scopes would help: *all* that are needed."""
    missing: frozenset[str] = frozenset()
    """Those of them that the token lacks."""

    @classmethod
    def allow(cls, reason: str) -> Self:
        """Nothing stands against it."""
        return cls(allowed=True, reason=reason)

    @classmethod
    def refuse(cls, reason: str, *, code: str = "permission_denied") -> Self:
        """No."""
        return cls(allowed=False, reason=reason, code=code)

    @classmethod
    def step_up(cls, needed: frozenset[str], held: frozenset[str]) -> Self:
        """Not with this token: ``needed`` are all the scopes that it takes, ``held`` those that the token has."""
        return cls(
            allowed=False,
            reason=f"needs {' '.join(sorted(needed))}",
            code="insufficient_scope",
            scopes=needed,
            missing=needed - held,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an authoriser is asked: may ``session`` see, or with ``parameters`` call, the tool of this ``action``?"""

    session: Session
    tool: str
    """The tool's public name."""
    module: str | None
    """The module that would carry the action out; None for a tool of one's own."""
    action: Action
    parameters: object = None
    """An instance of ``action.parameters`` on a call; None where the tools are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegationCall:
    """What a module gets: one ``action``, for one ``session``, with validated parameters, until ``deadline``.

    ``request_id`` is that of the audit's events.
    """

    session: Session
    action: Action
    parameters: object
    """An instance of ``action.parameters``, or a mapping where that is a :class:`JsonSchema`."""
    deadline: float
    """On :func:`time.monotonic`'s clock. The pipeline cancels at that time; a module should stop
    the downstream's work too."""
    request_id: str
    credential: Credential | None = None
    """The token for this module's downstream, where its configuration asks for one. The caller's own is never it."""
    tickets: Tickets | None = None
    """Where the user's own Kerberos tickets come from, where its configuration says ``tickets_from``."""

    def remaining(self, now: float) -> float:
        """Seconds left at ``now``, never below zero."""
        return max(0.0, self.deadline - now)

    def holding(self, credential: Credential) -> "DelegationCall":
        """The same call with ``credential``; ``replace`` would take twice as long, for each call."""
        return DelegationCall(
            session=self.session,
            action=self.action,
            parameters=self.parameters,
            deadline=self.deadline,
            request_id=self.request_id,
            credential=credential,
            tickets=self.tickets,
        )

    def presenting(self, tickets: Tickets) -> "DelegationCall":
        """The same call with ``tickets``."""
        return replace(self, tickets=tickets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Whom the downstream saw: its own word, taken in the same transaction or exchange as the data."""

    identity: str
    """The name that the downstream reported, spelled as the module's ``principal`` spells it."""
    method: str
    """How the module got that identity: ``login:peer``, ``login:certificate``, ``in-process``."""
    details: Mapping[str, str] = field(default_factory=dict[str, str])
    """What else the downstream reported, safe to show: ``session_user``, ``current_user``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegationResult:
    """What came back, and in ``receipt`` the proof of whom it was given to.

    ``data`` is JSON: str, int, float, bool, None, and lists and dicts of these.
    """

    data: object
    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether a module's downstream answers: ``healthy``. ``message`` is safe to show to any caller."""

    healthy: bool
    message: str = ""
