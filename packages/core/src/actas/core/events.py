"""The minutes: one event for each thing that was tried, and how it ended."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

from actas.core.models import Receipt, Session, new_id


class Outcome(StrEnum):
    """How a call ended."""

    SUCCESS = "success"
    """It was carried out, and the downstream saw whom it should."""
    REFUSED = "refused"
    """A rule said no, ours or the downstream's."""
    FAILED = "failed"
    """Something broke: time, network, a defect."""
    CANCELLED = "cancelled"
    """The caller left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One line of the minutes. Carries no token, no parameter value and no result."""

    source: str
    """Who wrote it: ``auth``, ``limits``, ``tool``, ``delegation:<module>``, ``configuration`` where one was replaced,
    or ``audit`` itself when it works again."""
    outcome: Outcome
    action: str
    request_id: str = ""
    provider: str | None = None
    issuer: str | None = None
    subject: str | None = None
    username: str | None = None
    role: str | None = None
    client_id: str | None = None
    application: bool | None = None
    """True where no user is behind the token; not set otherwise."""
    actors: tuple[str, ...] = ()
    session_id: str | None = None
    address: str | None = None
    """Where the request came from: the caller's IP address, as far as it can be trusted. The door's events have it."""
    tool: str | None = None
    code: str | None = None
    """The error's stable code; None on success."""
    reason: str | None = None
    """The error's private detail: why, for the operator."""
    granted_by: str | None = None
    """Why the call was allowed, once it was: permission, role, and what each authoriser said."""
    receipt: Receipt | None = None
    duration_ms: float | None = None
    count: int | None = None
    """Set where one event stands for so many alike, which were not recorded one by one."""
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
        granted_by: str | None = None,
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
            application=session.application or None,
            actors=tuple(actor.subject for actor in session.actors),
            session_id=session.session_id,
            address=address,
            tool=tool,
            code=code,
            reason=reason,
            granted_by=granted_by,
            receipt=receipt,
            duration_ms=duration_ms,
        )
