"""The values that travel along the road: immutable, and none of them prints a secret.

In the order of a call: :class:`Session` (who), :class:`Action` (what),
:class:`DelegationCall` (who does what, until when), :class:`DelegationResult` with its
:class:`Receipt` (what came back, and whom the downstream saw), :class:`AuditEvent` (the minutes).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Self

from actas.core.secret import Secret

UNASSIGNED = "unassigned"
"""The role of a session whose roles could not be read or mapped. It has no permissions."""


def new_id() -> str:
    """128 random bits in hexadecimal: of a session, a request, an event."""
    return os.urandom(16).hex()


_EMPTY: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """One party of a token's ``act`` claim: somebody who acts for the subject (RFC 8693 section 4.1)."""

    subject: str
    issuer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who is calling, as a verified token says.

    The identity is the pair of ``issuer`` and ``subject`` (OpenID Connect Core section 2): a
    username alone is unique nowhere. ``legacy_username`` is the name that older systems know the
    user by; it is None unless the operator mapped a claim to it.
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
    """The ``act`` chain, the current actor first."""
    claims: Mapping[str, object] = field(default_factory=lambda: _EMPTY, repr=False)
    expires_at: float = float("inf")
    """Seconds since the epoch."""
    rejected: bool = False
    """True where the token is good but its roles are not accepted: authenticated, admitted to nothing."""
    rejection_reason: str | None = None
    token: Secret | None = field(default=None, repr=False, compare=False)
    session_id: str = field(default_factory=new_id, compare=False)


class Effect(StrEnum):
    """What an action does downstream; becomes the tool's read-only and destructive hints."""

    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"


@dataclass(frozen=True, slots=True)
class NoParameters:
    """For an action that takes none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What a module can do, declared once: tools, JSON schemas, documentation and checks derive from it.

    ``parameters`` is a plain dataclass; each field's docstring becomes the description that a
    model reads. No field may carry an identity: who acts is the session's to say.
    """

    name: str
    description: str
    parameters: type = NoParameters
    permission: str | None = None
    """Whoever lacks it does not see the tool. None: every admitted session has it."""
    scopes: frozenset[str] = frozenset()
    """Whoever lacks one sees the tool and is told to step up."""
    effect: Effect = Effect.READ
    tool: str | None = None
    """The tool's name after the module's prefix; the action's own name where None."""
    timeout: float | None = None
    """Seconds; None takes the pipeline's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegationCall:
    """What a module gets: one action, for one session, with validated parameters, until ``deadline``."""

    session: Session
    action: Action
    parameters: object
    """An instance of ``action.parameters``."""
    deadline: float
    """On :func:`time.monotonic`'s clock. The pipeline cancels at that time; a module should stop
    the downstream's work too."""
    request_id: str

    def remaining(self, now: float) -> float:
        """Seconds left at ``now``, never below zero."""
        return max(0.0, self.deadline - now)


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
    """What came back, and the proof of whom it was given to.

    ``data`` is JSON: str, int, float, bool, None, and lists and dicts of these.
    """

    data: object
    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether a module's downstream answers. ``message`` is safe to show to any caller."""

    healthy: bool
    message: str = ""


class Outcome(StrEnum):
    """How a call ended."""

    SUCCESS = "success"
    REFUSED = "refused"
    """A rule said no, ours or the downstream's."""
    FAILED = "failed"
    """Something broke: time, network, a defect."""
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One line of the minutes. Carries no token, no parameter value and no result."""

    source: str
    """Who wrote it: ``auth``, ``tool``, ``delegation:<module>``, or ``audit`` itself when it works again."""
    outcome: Outcome
    action: str
    request_id: str = ""
    provider: str | None = None
    issuer: str | None = None
    subject: str | None = None
    username: str | None = None
    role: str | None = None
    client_id: str | None = None
    actors: tuple[str, ...] = ()
    session_id: str | None = None
    address: str | None = None
    """Where the request came from: the caller's IP address, as far as it can be trusted. The door's events have it."""
    tool: str | None = None
    code: str | None = None
    """The error's stable code; None on success."""
    reason: str | None = None
    """The error's private detail: why, for the operator."""
    receipt: Receipt | None = None
    duration_ms: float | None = None
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    event_id: str = field(default_factory=new_id)

    @classmethod
    def of(
        cls,
        session: Session,
        *,
        source: str,
        action: str,
        outcome: Outcome,
        request_id: str,
        address: str | None = None,
        tool: str | None = None,
        code: str | None = None,
        reason: str | None = None,
        receipt: Receipt | None = None,
        duration_ms: float | None = None,
    ) -> Self:
        """An event about ``session``: what of it belongs into the minutes is said here and nowhere else."""
        return cls(
            source=source,
            outcome=outcome,
            action=action,
            request_id=request_id,
            provider=session.provider,
            issuer=session.issuer,
            subject=session.subject,
            username=session.username,
            role=session.role,
            client_id=session.client_id,
            actors=tuple(actor.subject for actor in session.actors),
            session_id=session.session_id,
            address=address,
            tool=tool,
            code=code,
            reason=reason,
            receipt=receipt,
            duration_ms=duration_ms,
        )
