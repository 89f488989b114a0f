"""What is hidden from a caller, as rights, ``can_access`` and authorisers have it: for all that is not a tool."""

from collections.abc import Sequence

from actas.core import Action, AuthorizerUnavailable, Pipeline, Question, Session
from actas.core.authorization import hidden_because


async def hidden(
    pipeline: Pipeline, session: Session, actions: Sequence[Action], *, source: str, always_ask: bool = False
) -> list[str | None]:
    """Why, for the operator, each is hidden from ``session``; None: it is not.

    To be asked about everything that could be meant before one is chosen: so an answer takes as long for what is
    hidden as for what is not there.

    Args:
        source: what they are, for the minutes.
        always_ask: ask authorisers also about what is hidden already.

    Raises:
        AuditUnavailable: an authoriser failed, and that cannot be recorded.
    """
    reasons = [hidden_because(session, action) for action in actions]
    if not pipeline.authority.authorizers:
        return reasons
    asked = [index for index, reason in enumerate(reasons) if reason is None or always_ask]
    decisions = await pipeline.authority.ask(
        [Question(session=session, tool=actions[index].name, module=None, action=actions[index]) for index in asked]
    )
    for index, decision in zip(asked, decisions, strict=True):
        if not decision.allowed and not decision.missing:  # what a step-up would help is shown
            reasons[index] = reasons[index] or decision.reason or "an authorizer said no"
    failed = next((each for each in decisions if each.code == AuthorizerUnavailable.code), None)
    if failed is not None:
        await pipeline.refuse(session, "list", AuthorizerUnavailable(detail=failed.reason), source=source)
    return reasons
