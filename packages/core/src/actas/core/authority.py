"""The one place that decides about a session and an action: permissions, roles, scopes, then the authorisers.

::

    rejected? expired? ─▶ permission, roles, can_access ─▶ scopes ─▶ each authoriser ─▶ Decision

Every decision carries its reason, for the audit. An authoriser can only restrict, and one that does not
answer in time, or not well, has refused.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from actas.core.authorization import error_of, grounds, objection
from actas.core.errors import ActasError, AuthorizerUnavailable, InsufficientScope, places, under
from actas.core.models import Action, Decision, Question, Session
from actas.core.protocols import Authorizer
from actas.core.roles import Permissions

logger = logging.getLogger(__name__)

ASK_TIMEOUT = 2.0
"""Seconds in which an authoriser has to answer."""
CLOSE_TIMEOUT = 10.0
"""Seconds that one authoriser may take to release what it holds."""
_MOST_GRANTS = 512
"""Reasons to allow that are remembered."""

_GrantKey = tuple[int, str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class NamedAuthorizer:
    """An ``authorizer``, and the ``name`` to call it by in reasons."""

    name: str
    authorizer: Authorizer
    path: str = "auth.authorizers"
    """Where the configuration has it, for error messages."""


class Authority:
    """Decides.

    Args:
        permissions: which role gives which permission, to name it as the reason.
        authorizers: who else must allow, asked in this order.
    """

    def __init__(self, permissions: Permissions | None = None, authorizers: Iterable[NamedAuthorizer] = ()) -> None:
        self._permissions = permissions or Permissions()
        self.authorizers: tuple[NamedAuthorizer, ...] = tuple(authorizers)
        self._grants: dict[_GrantKey, tuple[Action, Decision]] = {}

    def decide(self, session: Session, action: Action, *, now: float) -> Decision:
        """Whether ``session`` may carry out ``action`` at ``now`` (seconds since the epoch), as far as we know it."""
        return objection(session, action, now=now) or self._granted(session, action)

    def authorize(self, session: Session, action: Action, *, now: float) -> Decision:
        """:meth:`decide`, and raise what it refuses.

        Raises:
            SessionRejected, SessionExpired, PermissionDenied, InsufficientScope: in this order.
        """
        decision = self.decide(session, action, now=now)
        if not decision.allowed:
            raise error_of(decision)
        return decision

    def _granted(self, session: Session, action: Action) -> Decision:
        """The same few decisions again and again: a call pays for a look-up, by the action's identity."""
        key = (id(action), session.role, session.custom_roles)
        known = self._grants.get(key)
        if known is not None and known[0] is action:
            return known[1]
        if len(self._grants) >= _MOST_GRANTS:
            self._grants.clear()
        decision = Decision.allow(grounds(action, self._permissions, (session.role, *session.custom_roles)))
        self._grants[key] = (action, decision)
        return decision

    async def confirm(self, granted: Decision, question: Question) -> Decision:
        """Ask the authorisers about a call that is ``granted`` so far. The decision has their reasons too.

        Raises:
            PermissionDenied, InsufficientScope, AuthorizerUnavailable: one of them refused.
        """
        (decision,) = await self.ask([question])
        if not decision.allowed:
            raise error_of(decision)
        return Decision.allow(f"{granted.reason}; {decision.reason}") if decision.reason else granted

    async def ask(self, questions: Sequence[Question]) -> list[Decision]:
        """What the authorisers say to each question; the first that refuses is the last to be asked. Never raises."""
        decisions = [Decision.allow("")] * len(questions)
        for each in self.authorizers:
            open_ones = [index for index, decision in enumerate(decisions) if decision.allowed]
            if not open_ones:
                break
            answers = await _asked(each, [questions[index] for index in open_ones])
            for index, answer in zip(open_ones, answers, strict=True):
                before = decisions[index].reason
                told = f"{before}; {answer.reason}" if before else answer.reason
                decisions[index] = replace(answer, reason=told)
        return decisions

    async def verdicts(self, question: Question) -> Mapping[str, Decision]:
        """What every authoriser says, whatever those before it said: for the operator. Never raises."""
        return {each.name: (await _asked(each, [question]))[0] for each in self.authorizers}

    async def initialize(self) -> None:
        """Start every authoriser; where one fails, close those that were started and raise its error."""
        for each in self.authorizers:
            try:
                await each.authorizer.initialize()
            except ActasError as error:
                await self.close()
                raise under(each.path, error) from error
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """Close every authoriser, the last first. One that fails or hangs is logged, the others go on."""
        for each in reversed(self.authorizers):
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await each.authorizer.close()
            except Exception as error:  # the others must be released all the same
                logger.error("closing the authorizer %s raised %s", each.name, places(error))


async def _asked(each: NamedAuthorizer, questions: list[Question]) -> list[Decision]:
    """The answers of one authoriser, or as many refusals. It is foreign code: nothing is taken on trust."""
    try:
        async with asyncio.timeout(ASK_TIMEOUT):
            answers: object = await each.authorizer.decide(questions)
        if not isinstance(answers, list | tuple) or len(cast("Sequence[object]", answers)) != len(questions):
            return _unavailable(each, "did not answer with a decision for each question", questions)
        pairs = zip(cast("Sequence[object]", answers), questions, strict=True)
        return [_checked(each, answer, question) for answer, question in pairs]
    except TimeoutError:
        return _unavailable(each, f"no answer within {ASK_TIMEOUT:g} s", questions)
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and _cancelled():
            raise
        logger.error("the authorizer %s raised %s", each.name, places(error))
        return _unavailable(each, f"raised {type(error).__name__}", questions)


def _checked(each: NamedAuthorizer, answer: object, question: Question) -> Decision:
    if not isinstance(answer, Decision):
        raise TypeError("an authorizer answers with decisions")
    reason = f"{each.name}: {answer.reason}"
    if answer.allowed is True:
        return Decision.allow(reason)
    # All that the call needs, the action's own among them, or stepping up would lead to another challenge.
    needed = frozenset(answer.scopes) | question.action.scopes
    if answer.code == InsufficientScope.code and not needed <= question.session.scopes:
        return replace(Decision.step_up(needed, question.session.scopes), reason=reason)
    return Decision.refuse(reason)


def _unavailable(each: NamedAuthorizer, why: str, questions: list[Question]) -> list[Decision]:
    return [Decision.refuse(f"{each.name}: {why}", code=AuthorizerUnavailable.code)] * len(questions)


def _cancelled() -> bool:
    """Whether somebody asked this task to stop; an authoriser can raise CancelledError without."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
