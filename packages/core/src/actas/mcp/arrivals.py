"""What the minutes say of those who come: known, known and admitted to nothing, or not known at all."""

from collections.abc import Awaitable, Callable

from actas.core import AuditEvent, AuthenticationError, Outcome, Session, SessionRejected
from actas.core.pipeline import current_request

Record = Callable[[AuditEvent], Awaitable[None]]
"""Writes an event, or counts it."""


async def record_failure(
    record: Record, code: str, reason: str | None, outcome: Outcome = Outcome.REFUSED, *, address: str | None = None
) -> None:
    """Somebody came whom nobody knows, from ``address``. Raises AuditUnavailable as any record does."""
    await record(
        AuditEvent(
            source="auth",
            outcome=outcome,
            action="authenticate",
            request_id=current_request(),
            address=address,
            code=code,
            reason=reason,
        )
    )


async def record_session(record: Record, session: Session, *, address: str | None = None) -> None:
    """Somebody came who is known. Admitted to nothing is another event than not known. Raises AuditUnavailable."""
    if session.rejected:
        await _record(record, session, Outcome.REFUSED, SessionRejected.code, session.rejection_reason, address)
    else:
        await _record(record, session, Outcome.SUCCESS, None, None, address)


async def record_misuse(record: Record, session: Session, error: AuthenticationError, *, address: str | None) -> None:
    """Somebody came with the good token of ``session``, and could not show that it is his: it may be stolen.

    Raises AuditUnavailable as any record does.
    """
    await _record(record, session, Outcome.REFUSED, error.code, error.detail, address)


async def _record(
    record: Record, session: Session, outcome: Outcome, code: str | None, reason: str | None, address: str | None
) -> None:
    await record(
        AuditEvent.of(
            session,
            source="auth",
            outcome=outcome,
            action="authenticate",
            request_id=current_request(),
            address=address,
            code=code,
            reason=reason,
        )
    )
