"""The authoriser: one set of policies, asked in this process. What no policy permits is refused."""

import re
import time
from collections.abc import Callable, Sequence
from itertools import groupby

from cedarpy import Entities

from actas.core.models import Decision, Question, Session
from actas.policy.cedar.engine import Answer, entities_of, evaluate
from actas.policy.cedar.entities import Untellable, principal, request, resource
from actas.policy.cedar.policies import Policies

_FAILED = re.compile(r"policy `(\w+)`")
_WHY = re.compile(r"does not have the attribute `[^`]*`|expected [\w ]+, got [\w ]+")
"""What may be repeated of the engine's message: the rest can hold values."""

_MOST_PRINCIPALS = 1024
"""Sessions that are kept as the engine knows them."""


class CedarAuthorizer:
    """Decides by policies.

    Args:
        policies: the whole set.
        clock: seconds since the epoch.
    """

    def __init__(self, policies: Policies, *, clock: Callable[[], float] = time.time) -> None:
        self._policies = policies
        self._clock = clock
        self._principals: dict[int, tuple[Session, Entities]] = {}

    async def initialize(self) -> None:
        """Nothing: the policies were read when this was made."""

    async def close(self) -> None:
        """Nothing."""

    async def decide(self, questions: Sequence[Question]) -> Sequence[Decision]:
        """One decision for each question; those about one session are put to the engine together."""
        decisions: list[Decision] = []
        for _, group in groupby(questions, key=lambda question: id(question.session)):
            decisions += self._decide(list(group))
        return decisions

    def _decide(self, questions: list[Question]) -> list[Decision]:
        now = self._clock()
        try:
            known = entities_of([resource(each) for each in questions], self._principal(questions[0].session))
            requests = [request(each, now) for each in questions]
        except Untellable as error:
            return [Decision.refuse(f"Cedar cannot be told of it: {error}")] * len(questions)
        except ValueError:  # the engine's own, whose text may hold what it could not read
            return [Decision.refuse("the engine did not understand the session")] * len(questions)
        return [self._decision(answer) for answer in evaluate(requests, self._policies.parsed, known)]

    def _principal(self, session: Session) -> Entities:
        """Parsing it is half the cost of a decision, and a session makes many."""
        kept = self._principals.get(id(session))
        if kept is not None and kept[0] is session:
            return kept[1]
        made = entities_of([principal(session)])
        if len(self._principals) >= _MOST_PRINCIPALS:
            del self._principals[next(iter(self._principals))]
        self._principals[id(session)] = (session, made)
        return made

    def _decision(self, answer: Answer) -> Decision:
        if answer.errors:
            # The engine skips a policy that it cannot evaluate, also one that forbids. That must not let anybody in.
            return Decision.refuse("; ".join(self._error(each) for each in answer.errors[:3]))
        names = ", ".join(self._named(policy, answer.policies[policy]) for policy in sorted(answer.policies))
        if answer.allowed:
            return Decision.allow(f"permitted by {names}")
        return Decision.refuse(f"forbidden by {names}" if names else "no policy permits it")

    def _named(self, policy: str, annotation: str | None) -> str:
        place = self._policies.places.get(policy, policy)
        return f"{annotation} ({place})" if annotation else place

    def _error(self, message: str) -> str:
        which, why = _FAILED.search(message), _WHY.search(message)
        if which is None:
            return "the engine did not understand the request"
        place = self._policies.places.get(which[1], which[1])
        return f"the policy at {place} cannot be evaluated" + (f": {why[0]}" if why else "")
