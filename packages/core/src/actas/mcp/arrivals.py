"""What the minutes say of those who come: known, known and admitted to nothing, or not known at all."""

from actas.core import Audit, AuditEvent, Outcome, Session, SessionRejected
from actas.core.pipeline import current_request


async def record_failure(audit: Audit, code: str, reason: str | None, outcome: Outcome = Outcome.REFUSED) -> None:
    """Somebody came whom nobody knows. Raises AuditUnavailable as any record does."""
    await audit.record(
        AuditEvent(
            source="auth",
            outcome=outcome,
            action="authenticate",
            request_id=current_request(),
            code=code,
            reason=reason,
        )
    )


async def record_session(audit: Audit, session: Session) -> None:
    """Somebody came who is known. Admitted to nothing is another event than not known. Raises AuditUnavailable."""
    await audit.record(
        AuditEvent.of(
            session,
            source="auth",
            outcome=Outcome.REFUSED if session.rejected else Outcome.SUCCESS,
            action="authenticate",
            request_id=current_request(),
            code=SessionRejected.code if session.rejected else None,
            reason=session.rejection_reason,
        )
    )
