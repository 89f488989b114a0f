"""The suite that every authoriser must pass. Its test names are the rules.

A plug-in's author writes::

    class TestOfficeHours(AuthorizerConformance):
        @pytest.fixture
        def kit(self) -> AuthorizerKit:
            return AuthorizerKit(make=OfficeHours, allowed=ALLOWED, refused=REFUSED)

where both are a :class:`actas.core.Question` about a call.
"""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from actas.core import Authority, Authorizer, Decision, NamedAuthorizer, Question, Secret
from actas.core.authority import ASK_TIMEOUT
from actas.testing.judging import expect

TOKEN = "eyJhbGciOiJub25lIn0.a-token-that-no-reason-may-hold"  # noqa: S105 -- opens nothing


@dataclass(frozen=True, kw_only=True)
class AuthorizerKit:
    """How to make an authoriser, and what to ask it."""

    make: Callable[[], Authorizer]
    """Makes a fresh one, not initialised, set up so that it works."""
    allowed: Question
    """A call that it allows."""
    refused: Question
    """A call that it refuses."""
    plugin: str | None = None
    """The Python module that the plug-in's entry point names."""
    heavy_imports: Sequence[str] = ()
    """What must not be imported with it: engines, clients."""


class AuthorizerConformance:
    """Inherit, give a ``kit``; each test is one rule."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        """The event loop that the server uses."""
        return "asyncio"

    async def test_it_allows_and_refuses_and_says_why(self, kit: AuthorizerKit) -> None:
        allowed, refused = await _ask(kit, kit.allowed), await _ask(kit, kit.refused)
        expect(allowed[0].allowed is True and refused[0].allowed is False, "it decides otherwise than the kit says")
        expect(
            bool(allowed[0].reason and refused[0].reason), "a decision without a reason: the operator wants to know why"
        )

    async def test_there_is_one_decision_for_each_question_in_their_order(self, kit: AuthorizerKit) -> None:
        mixed = await _ask(kit, kit.allowed, kit.refused, kit.allowed, kit.refused)
        expect([each.allowed for each in mixed] == [True, False, True, False], "the decisions are not in order")
        expect(list(await _ask(kit)) == [], "it decided although nothing was asked")

    async def test_it_can_be_asked_about_a_list(self, kit: AuthorizerKit) -> None:
        tools = [replace(kit.allowed, tool=f"tool-{number}", parameters=None) for number in range(50)]
        decisions = await _ask(kit, *tools)
        expect(len(decisions) == 50, f"{len(decisions)} decisions for 50 questions")
        expect(all(type(each.allowed) is bool for each in decisions), "allowed is True or False, nothing else")

    async def test_it_answers_many_at_once_as_it_answers_one(self, kit: AuthorizerKit) -> None:
        made = kit.make()
        await made.initialize()
        try:
            questions = [kit.allowed, kit.refused] * 20
            answers = await asyncio.gather(*(made.decide([each]) for each in questions))
        finally:
            await made.close()
        expect(
            [answer[0].allowed for answer in answers] == [True, False] * 20, "calls at once get each other's answers"
        )

    async def test_no_reason_holds_the_callers_token(self, kit: AuthorizerKit) -> None:
        for question in (kit.allowed, kit.refused):
            session = replace(question.session, token=Secret(TOKEN))
            for decision in await _ask(kit, replace(question, session=session)):
                expect(TOKEN not in repr(decision), "the token is in a reason, and would be in the audit")

    async def test_it_may_be_closed_twice_and_without_having_been_started(self, kit: AuthorizerKit) -> None:
        made = kit.make()
        await made.close()
        await made.initialize()
        await made.close()
        await made.close()

    async def test_in_its_place_it_decides_as_it_does_alone(self, kit: AuthorizerKit) -> None:
        authority = Authority(None, [NamedAuthorizer("under-test", kit.make())])
        await authority.initialize()
        try:
            decisions = await authority.ask([kit.allowed, kit.refused])
        finally:
            await authority.close()
        expect(decisions[0].allowed is True, f"what it allows was refused: {decisions[0].reason}")
        expect(decisions[1].code == "permission_denied", f"what it refuses became {decisions[1].code}")

    def test_importing_the_plug_in_imports_nothing_heavy(self, kit: AuthorizerKit) -> None:
        if kit.plugin is None:
            pytest.skip("the kit names no plug-in")
        heavy = {*kit.heavy_imports, "pydantic", "mcp"}
        program = f"import sys, {kit.plugin}\nassert not {heavy!r} & set(sys.modules), {heavy!r} & set(sys.modules)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603 -- our own interpreter
        expect(done.returncode == 0, done.stderr)


async def _ask(kit: AuthorizerKit, *questions: Question) -> Sequence[Decision]:
    made = kit.make()
    await made.initialize()
    try:
        async with asyncio.timeout(ASK_TIMEOUT):
            return await made.decide(questions)
    finally:
        await made.close()
