"""The suite for authorisers: a good one passes, and each rule is broken once to see it fail."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from actas.core import Action, Decision, NoParameters, Question
from actas.testing.authorizers import AuthorizerConformance, AuthorizerKit
from actas.testing.tokens import make_session

ALLOWED = Question(
    session=make_session("alice"),
    tool="read",
    module=None,
    action=Action(name="read", description="."),
    parameters=NoParameters(),
)
REFUSED = replace(ALLOWED, tool="write")


class Good:
    def __init__(self) -> None:
        self.open = False

    async def initialize(self) -> None:
        self.open = True

    async def decide(self, questions: Sequence[Question]) -> Sequence[Decision]:
        return [Decision.allow("reads") if each.tool == "read" else Decision.refuse("writes") for each in questions]

    async def close(self) -> None:
        self.open = False


class TestGood(AuthorizerConformance):
    @pytest.fixture
    def kit(self) -> AuthorizerKit:
        return AuthorizerKit(make=Good, allowed=ALLOWED, refused=REFUSED, plugin="actas.core.hookspecs")


class Reversed(Good):
    async def decide(self, questions: Sequence[Question]) -> Sequence[Decision]:
        return list(reversed(await super().decide(questions)))


class First(Good):
    async def decide(self, questions: Sequence[Question]) -> Sequence[Decision]:
        return (await super().decide(questions))[:1]


class Silent(Good):
    async def decide(self, questions: Sequence[Question]) -> Sequence[Decision]:
        return [replace(each, reason="") for each in await super().decide(questions)]


class Telling(Good):
    async def decide(self, questions: Sequence[Question]) -> Sequence[Decision]:
        token = questions[0].session.token
        return [Decision.allow(token.reveal() if token else "") for _ in questions]


class OnceOnly(Good):
    async def close(self) -> None:
        if not self.open:
            raise RuntimeError("closed already")
        await super().close()


class Shared(Good):
    """Keeps the question of one call where another call finds it."""

    async def decide(self, questions: Sequence[Question]) -> Sequence[Decision]:
        import asyncio

        self.questions = questions
        await asyncio.sleep(0)
        return await super().decide(self.questions)


class Lazy(Good):
    async def decide(self, questions: Sequence[Question]) -> Any:
        return iter(await super().decide(questions))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (Silent, "test_it_allows_and_refuses_and_says_why"),
        (Reversed, "test_there_is_one_decision_for_each_question_in_their_order"),
        (First, "test_it_can_be_asked_about_a_list"),
        (Shared, "test_it_answers_many_at_once_as_it_answers_one"),
        (Telling, "test_no_reason_holds_the_callers_token"),
        (OnceOnly, "test_it_may_be_closed_twice_and_without_having_been_started"),
        (Lazy, "test_in_its_place_it_decides_as_it_does_alone"),
    ],
)
async def test_each_rule_catches_who_breaks_it(make: Callable[[], Good], rule: str) -> None:
    kit = AuthorizerKit(make=make, allowed=ALLOWED, refused=REFUSED)
    with pytest.raises((AssertionError, RuntimeError)):
        await getattr(AuthorizerConformance(), rule)(kit)


def test_a_plug_in_that_imports_its_engine_is_caught() -> None:
    kit = AuthorizerKit(make=Good, allowed=ALLOWED, refused=REFUSED, plugin="json", heavy_imports=["json.decoder"])
    with pytest.raises(AssertionError):
        AuthorizerConformance().test_importing_the_plug_in_imports_nothing_heavy(kit)
