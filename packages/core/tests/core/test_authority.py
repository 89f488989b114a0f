"""Who decides: reasons for everything, authorisers that can only restrict, and none taken on trust."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from actas.core import (
    ActasError,
    Action,
    Audit,
    Authority,
    Authorizer,
    AuthorizerUnavailable,
    ConfigurationError,
    Decision,
    DelegationCall,
    DelegationRegistry,
    InsufficientScope,
    MemorySink,
    NamedAuthorizer,
    Outcome,
    PermissionDenied,
    Permissions,
    Pipeline,
    Question,
    Secret,
    Session,
)
from actas.core import authority as module

pytestmark = pytest.mark.anyio

SESSION = Session(
    issuer="https://idp.example",
    subject="u-1",
    username="alice",
    provider="main",
    role="user",
    custom_roles=("auditor",),
    permissions=frozenset({"sql:read", "sql:look"}),
    scopes=frozenset({"read"}),
    token=Secret("the-callers-token"),
)
SECRET = "hunter" + "2"
PERMISSIONS = Permissions(user=["sql:read"], custom={"auditor": ["sql:read", "sql:look"]})
READ = Action(name="read", description="Read.", permission="sql:read", scopes=frozenset({"read"}))

Answer = Callable[[Sequence[Question]], Awaitable[Any]]  # Any: an authoriser may answer anything


class Voice:
    """An authoriser that does what the test says."""

    def __init__(self, answer: Answer | None = None, **decision: Any) -> None:
        self.answer, self.decision = answer, decision or {"allowed": True, "reason": "fine"}
        self.asked: list[Question] = []
        self.closed = 0
        self.broken: Exception | None = None

    async def initialize(self) -> None:
        if self.broken:
            raise self.broken

    async def decide(self, questions: Sequence[Question]) -> Sequence[Decision]:
        self.asked += questions
        if self.answer is not None:
            return await self.answer(questions)  # type: ignore[no-any-return]  # whatever the test says
        return [Decision(**self.decision) for _ in questions]

    async def close(self) -> None:
        self.closed += 1


def refusing(reason: str = "not on Sundays", **more: Any) -> Voice:
    return Voice(allowed=False, reason=reason, **more)


def having(*voices: Voice) -> Authority:
    return Authority(PERMISSIONS, [NamedAuthorizer(f"v{number}", voice) for number, voice in enumerate(voices)])


def question(action: Action = READ, session: Session = SESSION, parameters: object = None) -> Question:
    return Question(session=session, tool="sql-read", module="sql", action=action, parameters=parameters)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (READ, "permission sql:read by role user, auditor; scope read"),
        (replace(READ, permission="sql:look"), "permission sql:look by role auditor; scope read"),
        (Action(name="a", description=""), "open to every admitted session"),
        (Action(name="a", description="", roles=frozenset({"auditor", "x"})), "role auditor"),
        (Action(name="a", description="", can_access=lambda _: True), "can_access"),
    ],
)
def test_what_is_allowed_says_why(action: Action, reason: str) -> None:
    decision = Authority(PERMISSIONS).decide(SESSION, action, now=0)
    assert decision == Decision.allow(reason)


def test_a_permission_that_no_role_explains_is_named_alone() -> None:
    assert Authority().decide(SESSION, READ, now=0).reason == "permission sql:read; scope read"


@pytest.mark.parametrize(
    ("session", "action", "code", "reason"),
    [
        (replace(SESSION, rejected=True), READ, "session_rejected", "the session is rejected"),
        (replace(SESSION, rejected=True, rejection_reason="no role"), READ, "session_rejected", "no role"),
        (replace(SESSION, expires_at=0.0), READ, "session_expired", "the token expired after it was verified"),
        (SESSION, replace(READ, permission="x"), "permission_denied", "needs the permission x"),
        (SESSION, replace(READ, roles=frozenset({"b", "a"})), "permission_denied", "needs one of the roles a, b"),
        (SESSION, replace(READ, can_access=lambda _: False), "permission_denied", "can_access said no"),
        (SESSION, replace(READ, scopes=frozenset({"read", "z"})), "insufficient_scope", "needs read z"),
    ],
)
def test_what_is_refused_says_why(session: Session, action: Action, code: str, reason: str) -> None:
    decision = Authority(PERMISSIONS).decide(session, action, now=1.0)
    assert (decision.allowed, decision.code, decision.reason) == (False, code, reason)
    with pytest.raises(ActasError) as caught:
        Authority(PERMISSIONS).authorize(session, action, now=1.0)
    assert (caught.value.code, caught.value.detail) == (code, reason)
    assert reason not in str(caught.value)


def test_a_decision_tells_all_scopes_needed_and_those_that_are_missing() -> None:
    decision = Authority().decide(SESSION, replace(READ, scopes=frozenset({"read", "z"})), now=0)
    assert (decision.scopes, decision.missing) == ({"read", "z"}, {"z"})


def test_any_one_of_the_roles_will_do_the_primary_or_a_custom_one() -> None:
    for roles in ({"user"}, {"auditor"}, {"nobody", "auditor"}):
        assert Authority().decide(SESSION, Action(name="a", description="", roles=frozenset(roles)), now=0).allowed


@pytest.mark.parametrize("answer", [None, 1, "yes", [1], object(), Decision.allow("x")])
def test_only_true_is_a_yes_of_can_access(answer: object, caplog: pytest.LogCaptureFixture) -> None:
    action = replace(READ, can_access=lambda _: answer)  # type: ignore[arg-type,return-value]  # on purpose
    decision = Authority().decide(SESSION, action, now=0)
    assert not decision.allowed
    assert decision.reason == f"can_access answered with a {type(answer).__name__}"
    assert "not True or False" in caplog.text


def test_what_can_access_raises_is_a_no_and_its_text_goes_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    def broken(session: Session) -> bool:
        raise RuntimeError(SECRET)

    decision = Authority().decide(SESSION, replace(READ, can_access=broken), now=0)
    assert (decision.allowed, decision.reason) == (False, "can_access raised RuntimeError")
    assert "RuntimeError" in caplog.text and "hunter2" not in caplog.text


def test_reasons_are_remembered_in_bounded_memory_and_never_mixed_up() -> None:
    authority = Authority(PERMISSIONS)
    for number in range(1500):
        action = Action(name="a", description="", permission=f"p{number % 700}")
        session = replace(SESSION, permissions=frozenset({f"p{number % 700}"}))
        assert authority.decide(session, action, now=0).reason == f"permission p{number % 700}"
    assert len(authority._grants) <= 512


async def test_all_authorisers_must_allow_and_each_is_in_the_reason() -> None:
    first, second = Voice(), Voice(allowed=True, reason="open hours")
    granted = await having(first, second).confirm(Decision.allow("permission x"), question())
    assert granted == Decision.allow("permission x; v0: fine; v1: open hours")
    with pytest.raises(PermissionDenied) as caught:
        await having(first, refusing()).confirm(granted, question())
    assert caught.value.detail == "v0: fine; v1: not on Sundays"
    assert "Sundays" not in str(caught.value)


async def test_nobody_is_asked_after_a_refusal_and_only_about_what_is_still_open() -> None:
    async def odd(questions: Sequence[Question]) -> list[Decision]:
        return [Decision.allow("") if each.tool == "b" else Decision.refuse("no") for each in questions]

    second = Voice()
    questions = [replace(question(), tool=name) for name in "abc"]
    decisions = await having(Voice(odd), second).ask(questions)
    assert [decision.allowed for decision in decisions] == [False, True, False]
    assert [each.tool for each in second.asked] == ["b"]
    third = Voice()
    assert not (await having(refusing(), third).ask([question()]))[0].allowed
    assert third.asked == []


async def test_without_authorisers_nothing_is_added() -> None:
    granted = Decision.allow("permission x")
    assert await Authority().confirm(granted, question()) is granted


async def test_an_authoriser_can_ask_for_a_step_up_that_names_the_actions_scopes_too() -> None:
    voice = refusing("needs mfa", code="insufficient_scope", scopes=frozenset({"mfa"}))
    with pytest.raises(InsufficientScope) as caught:
        await having(voice).confirm(Decision.allow(""), question())
    assert caught.value.scopes == {"read", "mfa"}
    assert caught.value.detail == "v0: needs mfa"


@pytest.mark.parametrize("scopes", [frozenset[str](), frozenset({"read"})])
async def test_a_step_up_that_would_change_nothing_is_a_plain_refusal(scopes: frozenset[str]) -> None:
    with pytest.raises(PermissionDenied):
        await having(refusing(code="insufficient_scope", scopes=scopes)).confirm(Decision.allow(""), question())


@pytest.mark.parametrize("code", ["session_rejected", "session_expired", "authorizer_unavailable", "odd", None])
async def test_an_authoriser_cannot_pass_its_refusal_off_as_something_else(code: str | None) -> None:
    with pytest.raises(PermissionDenied):
        await having(refusing(code=code)).confirm(Decision.allow(""), question())


async def _raises(questions: Sequence[Question]) -> Any:
    raise RuntimeError(SECRET)


async def _cancels(questions: Sequence[Question]) -> Any:
    raise asyncio.CancelledError


async def _hangs(questions: Sequence[Question]) -> Any:
    await asyncio.sleep(30)


class _NoText:
    def __str__(self) -> str:
        raise RuntimeError


def _says(*answers: Any) -> Answer:
    async def say(questions: Sequence[Question]) -> Any:
        return answers[0] if len(answers) == 1 else list(answers)

    return say


BROKEN: list[tuple[Answer, str]] = [
    (_raises, "raised RuntimeError"),
    (_cancels, "raised CancelledError"),
    (_hangs, "no answer within"),
    (_says(None), "did not answer with a decision for each question"),
    (_says(True), "did not answer with a decision for each question"),
    (_says([]), "did not answer with a decision for each question"),
    (_says(Decision.allow(""), Decision.allow("")), "did not answer with a decision for each question"),
    (_says([True]), "raised TypeError"),
    (_says([Decision.allow(_NoText())]), "raised RuntimeError"),  # type: ignore[arg-type]  # on purpose
    (_says([Decision(allowed=False, reason="", scopes=5)]), "raised TypeError"),  # type: ignore[arg-type]  # on purpose
]


@pytest.mark.parametrize(("answer", "told"), BROKEN)
async def test_an_authoriser_that_fails_has_refused(
    answer: Answer, told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "ASK_TIMEOUT", 0.02)
    with pytest.raises(AuthorizerUnavailable) as caught:
        await having(Voice(answer)).confirm(Decision.allow(""), question())
    assert told in str(caught.value.detail)
    assert "hunter2" not in caplog.text + str(caught.value) + str(caught.value.detail)


@pytest.mark.parametrize("allowed", [1, "yes", None, [True]])
async def test_only_true_is_a_yes_of_an_authoriser(allowed: Any) -> None:
    with pytest.raises(PermissionDenied):
        await having(Voice(allowed=allowed, reason="")).confirm(Decision.allow(""), question())


async def test_a_cancelled_call_is_cancelled_and_not_refused() -> None:
    task = asyncio.create_task(having(Voice(_hangs)).ask([question()]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_operator_hears_every_authoriser_also_after_a_refusal() -> None:
    verdicts = await having(refusing(), Voice(), Voice(_raises)).verdicts(question())
    assert {name: decision.allowed for name, decision in verdicts.items()} == {"v0": False, "v1": True, "v2": False}


async def test_authorisers_start_together_and_one_that_cannot_names_its_place() -> None:
    good, bad = Voice(), Voice()
    bad.broken = ConfigurationError("policies: none")
    authority = Authority(None, [NamedAuthorizer("a", good), NamedAuthorizer("b", bad, "auth.authorizers[1]")])
    with pytest.raises(ConfigurationError) as caught:
        await authority.initialize()
    assert caught.value.problems == ("auth.authorizers[1]: policies: none",)
    assert (good.closed, bad.closed) == (1, 1)
    bad.broken = RuntimeError("a defect")
    with pytest.raises(RuntimeError):
        await authority.initialize()
    assert (good.closed, bad.closed) == (2, 2)
    bad.broken = None
    await authority.initialize()


async def test_closing_goes_on_where_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Voice):
        async def close(self) -> None:
            raise RuntimeError(SECRET)

    first, last = Voice(), Broken()
    await having(first, last).close()
    assert first.closed == 1
    assert "v1" in caplog.text and "hunter2" not in caplog.text


def test_an_authoriser_needs_to_inherit_nothing() -> None:
    assert isinstance(Voice(), Authorizer)


# On the road


async def said(call: DelegationCall) -> object:
    return "done"


def road(*voices: Voice, **options: Any) -> tuple[Pipeline, MemorySink]:
    sink = MemorySink()
    return Pipeline(DelegationRegistry(), Audit(sink), authority=having(*voices), **options), sink


async def test_the_minutes_say_why_a_call_was_allowed() -> None:
    pipeline, sink = road(Voice())
    await pipeline.call(SESSION, READ, {}, said)
    (event,) = sink.entries()
    assert (event.outcome, event.reason) == (Outcome.SUCCESS, None)
    assert event.granted_by == "permission sql:read by role user, auditor; scope read; v0: fine"


async def test_the_minutes_say_why_it_was_allowed_also_where_it_failed_afterwards() -> None:
    async def fails(call: DelegationCall) -> object:
        raise RuntimeError

    pipeline, sink = road()
    with pytest.raises(ActasError):
        await pipeline.call(SESSION, READ, {}, fails)
    (event,) = sink.entries()
    assert (event.code, event.granted_by) == ("internal", "permission sql:read by role user, auditor; scope read")


async def test_an_authoriser_refuses_before_anything_is_done_and_the_minutes_say_why() -> None:
    done: list[str] = []

    async def act(call: DelegationCall) -> object:
        done.append("act")
        return None

    pipeline, sink = road(refusing())
    with pytest.raises(PermissionDenied):
        await pipeline.call(SESSION, READ, {}, act)
    (event,) = sink.entries()
    assert (event.outcome, event.code, event.reason, event.granted_by) == (
        Outcome.REFUSED,
        "permission_denied",
        "v0: not on Sundays",
        None,
    )
    assert done == []


async def test_an_authoriser_is_asked_with_validated_parameters_and_never_about_what_is_refused_already() -> None:
    voice = Voice()
    pipeline, _ = road(voice)
    for session in (replace(SESSION, permissions=frozenset()), replace(SESSION, scopes=frozenset())):
        with pytest.raises(ActasError):
            await pipeline.call(session, READ, {}, said)
    with pytest.raises(ActasError):
        await pipeline.call(SESSION, READ, {"unknown": 1}, said)
    assert voice.asked == []
    await pipeline.call(SESSION, READ, {}, said)
    (asked,) = voice.asked
    assert isinstance(asked.parameters, READ.parameters)
    assert (asked.tool, asked.module, asked.session) == ("read", None, SESSION)


async def test_authorisers_have_no_longer_than_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, sink = road(Voice(_hangs), timeout=0.02)
    with pytest.raises(AuthorizerUnavailable):
        await pipeline.call(SESSION, READ, {}, said)
    (event,) = sink.entries()
    assert (event.outcome, event.code) == (Outcome.REFUSED, "authorizer_unavailable")
