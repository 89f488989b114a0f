"""The road: every outcome recorded once, nothing private said, and no module taken on trust."""

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import anyio
import pytest

from actas.core import (
    ActasError,
    Action,
    Actor,
    Audit,
    AuditEvent,
    AuditUnavailable,
    DelegationCall,
    DelegationRefused,
    DelegationRegistry,
    DelegationResult,
    DelegationTimeout,
    DownstreamUnavailable,
    Health,
    IdentityMismatch,
    InsufficientScope,
    InternalError,
    InvalidParameters,
    JsonSchema,
    MemorySink,
    NullSink,
    OnAuditFailure,
    Outcome,
    PermissionDenied,
    Pipeline,
    PrincipalUnavailable,
    Receipt,
    Secret,
    Session,
    SessionExpired,
    SessionRejected,
    UnknownAction,
)
from actas.core.audit import to_json
from actas.core.models import new_id
from actas.core.pipeline import construct, request_id

pytestmark = pytest.mark.anyio

TOKEN = "eyJ-the-callers-own-token"
PASSWORD = "hunter2"
ADDRESS = "10.0.0.7 refused the login"
SESSION = Session(
    issuer="https://idp.example",
    subject="u-1",
    username="alice",
    provider="main",
    role="user",
    permissions=frozenset({"sql:read"}),
    scopes=frozenset({"read"}),
    client_id="desktop",
    actors=(Actor(subject="agent"),),
    token=Secret(TOKEN),
)


@dataclass(frozen=True)
class Query:
    sql: str = "select 1"
    """What to ask."""


READ = Action(
    name="read", description="Read.", parameters=Query, permission="sql:read", scopes=frozenset({"read"}), timeout=2.0
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def honest(call: DelegationCall) -> DelegationResult:
    return DelegationResult(data=[1], receipt=Receipt(identity=call.session.username, method="login:peer"))


def username(session: Session) -> str:
    return session.username


class Module:
    """Does what the test says: ``step`` for delegate, ``name`` for principal."""

    def __init__(
        self,
        step: Callable[[DelegationCall], Awaitable[Any]] = honest,
        name: Callable[[Session], Any] = username,
    ) -> None:
        self.actions = (READ,)
        self.step = step
        self.name = name
        self.calls: list[DelegationCall] = []

    async def initialize(self) -> None: ...

    def principal(self, session: Session) -> str:
        return self.name(session)  # type: ignore[no-any-return]  # whatever the test says

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        self.calls.append(call)
        return await self.step(call)  # type: ignore[no-any-return]  # whatever the test says

    async def health_check(self) -> Health:
        return Health(healthy=True)

    async def destroy(self) -> None: ...


@dataclass
class Road:
    module: Module
    sink: MemorySink
    pipeline: Pipeline

    async def __call__(self, session: Session = SESSION, sql: object = "select 1") -> DelegationResult:
        return await self.pipeline.delegate(session, "sql", "read", {"sql": sql}, tool="sql-read")

    def only(self) -> AuditEvent:
        (event,) = self.sink.entries()
        return event


def road(*args: Any, **options: Any) -> Road:  # Any: what Module and Pipeline take
    module, sink, registry = Module(*args), MemorySink(), DelegationRegistry()
    registry.register("sql", module)
    return Road(module, sink, Pipeline(registry, Audit(sink), **options))


def printed(error: BaseException) -> str:
    """Everything that a log could make of ``error``."""
    return "".join([str(error), repr(error), *traceback.format_exception(error)])


def test_a_pipeline_that_checks_no_json_schema_takes_no_parameters_by_one() -> None:
    action = Action(name="x", description="", parameters=JsonSchema({"type": "object"}))
    with pytest.raises(InvalidParameters):
        construct(action, {})


async def test_a_call_that_goes_well_gives_the_result_and_one_event() -> None:
    there = road()
    token = request_id.set("r-1")
    result = await there()
    request_id.reset(token)
    event = there.only()
    assert result.data == [1]
    assert event.receipt == result.receipt == Receipt(identity="alice", method="login:peer")
    assert (event.source, event.outcome, event.action, event.tool) == (
        "delegation:sql",
        Outcome.SUCCESS,
        "read",
        "sql-read",
    )
    assert (event.issuer, event.subject, event.username) == ("https://idp.example", "u-1", "alice")
    assert (event.role, event.client_id, event.actors) == ("user", "desktop", ("agent",))
    assert (event.session_id, event.request_id) == (SESSION.session_id, "r-1")
    assert (event.code, event.reason) == (None, None)
    assert event.duration_ms is not None
    assert 0 <= event.duration_ms < 2000


async def test_the_module_gets_the_session_the_validated_parameters_and_the_deadline() -> None:
    there = road()
    before = time.monotonic()
    await there(sql="select 2")
    (call,) = there.module.calls
    assert call.session is SESSION
    assert call.action is READ
    assert call.parameters == Query(sql="select 2")
    assert before + 2 <= call.deadline <= time.monotonic() + 2


async def test_the_steps_come_in_their_order_and_each_refusal_stops_the_rest() -> None:
    steps: list[str] = []

    def validator(action: Action, parameters: Mapping[str, object]) -> object:
        steps.append("validate")
        return construct(action, parameters)

    def name(session: Session) -> str:
        steps.append("principal")
        return session.username

    async def step(call: DelegationCall) -> DelegationResult:
        steps.append("delegate")
        return await honest(call)

    there = road(step, name, validator=validator)
    await there()
    assert steps == ["validate", "principal", "delegate"]
    steps.clear()
    with pytest.raises(PermissionDenied):
        await there(replace(SESSION, permissions=frozenset()))
    assert steps == []
    with pytest.raises(InvalidParameters):
        await there.pipeline.delegate(SESSION, "sql", "read", {"user": "bob"})
    assert steps == ["validate"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rejected": True, "rejection_reason": "no role"}, SessionRejected),
        ({"expires_at": 1.0}, SessionExpired),
        ({"permissions": frozenset[str]()}, PermissionDenied),
        ({"scopes": frozenset[str]()}, InsufficientScope),
    ],
)
async def test_a_session_that_may_not_is_refused_and_recorded(
    change: dict[str, Any], expected: type[ActasError]
) -> None:
    there = road()
    with pytest.raises(expected):
        await there(replace(SESSION, **change))
    event = there.only()
    assert (event.outcome, event.code) == (Outcome.REFUSED, expected.code)
    assert event.reason
    assert there.module.calls == []


async def test_an_unknown_module_or_action_is_refused_and_recorded() -> None:
    there = road()
    for module, action in (("nosql", "read"), ("sql", "drop")):
        there.sink.clear()
        with pytest.raises(UnknownAction):
            await there.pipeline.delegate(SESSION, module, action, {}, tool="t")
        event = there.only()
        assert (event.outcome, event.code) == (Outcome.REFUSED, "unknown_action")
        assert (event.source, event.action, event.tool) == (f"delegation:{module}", action, "t")


@pytest.mark.parametrize("parameters", [{"user": "hunter2"}, {"sql": "a", "hunter2": 1}, {1: 2}])
async def test_parameters_that_do_not_fit_are_refused_without_their_values(parameters: dict[Any, object]) -> None:
    there = road()
    with pytest.raises(InvalidParameters) as caught:
        await there.pipeline.delegate(SESSION, "sql", "read", parameters)
    assert PASSWORD not in printed(caught.value)
    assert there.only().code == "invalid_parameters"
    assert PASSWORD not in to_json(there.only())


async def test_our_own_error_keeps_its_code_and_says_nothing_of_its_detail_or_cause() -> None:
    async def step(call: DelegationCall) -> None:
        try:
            raise OSError(f"FATAL: password {PASSWORD} wrong for {call.session.token and call.session.token.reveal()}")
        except OSError as error:
            raise DownstreamUnavailable(detail=ADDRESS) from error

    there = road(step)
    with pytest.raises(DownstreamUnavailable) as caught:
        await there()
    assert not [word for word in (ADDRESS, PASSWORD, TOKEN) if word in printed(caught.value)]
    event = there.only()
    assert (event.outcome, event.code) == (Outcome.FAILED, "downstream_unavailable")
    assert event.reason == ADDRESS


async def test_a_plug_ins_own_error_is_recorded_with_its_own_code() -> None:
    class NoSuchTable(DelegationRefused):
        code = "sql.no_such_table"

    async def step(call: DelegationCall) -> None:
        raise NoSuchTable

    there = road(step)
    with pytest.raises(NoSuchTable):
        await there()
    assert (there.only().outcome, there.only().code) == (Outcome.REFUSED, "sql.no_such_table")


async def test_a_receipt_of_another_identity_throws_the_result_away() -> None:
    for identity in ("bob", "Alice", "alice ", "", None, 7):

        async def step(call: DelegationCall, identity: Any = identity) -> DelegationResult:
            return DelegationResult(data="bob's salary", receipt=Receipt(identity=identity, method="m"))

        there = road(step)
        with pytest.raises(IdentityMismatch) as caught:
            await there()
        assert "salary" not in printed(caught.value)
        assert "bob" not in printed(caught.value)
        event = there.only()
        assert (event.outcome, event.code, event.receipt) == (Outcome.REFUSED, "identity_mismatch", None)
        assert "salary" not in to_json(event)


async def test_an_identity_that_calls_itself_equal_to_everything_is_not_believed() -> None:
    class Anybody:
        def __eq__(self, other: object) -> bool:
            return True

        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = None  # type: ignore[assignment]

    async def step(call: DelegationCall) -> DelegationResult:
        identity: Any = Anybody()
        return DelegationResult(data=1, receipt=Receipt(identity=identity, method="m"))

    with pytest.raises(IdentityMismatch):
        await road(step)()


@pytest.mark.parametrize(
    "answer",
    [None, [1], "alice", DelegationResult(data=1, receipt=None)],  # type: ignore[arg-type]  # the point
)
async def test_without_a_receipt_there_is_no_result(answer: object) -> None:
    async def step(call: DelegationCall) -> object:
        return answer

    there = road(step)
    with pytest.raises(InternalError):
        await there()
    assert (there.only().outcome, there.only().code) == (Outcome.FAILED, "internal")


@pytest.mark.parametrize("name", ["", None, 7, b"alice"])
async def test_without_a_principal_nothing_is_carried_out(name: object) -> None:
    def give(session: Session) -> object:
        return name

    there = road(honest, give)
    with pytest.raises(PrincipalUnavailable):
        await there()
    assert there.module.calls == []
    assert (there.only().outcome, there.only().code) == (Outcome.REFUSED, "principal_unavailable")


async def test_a_principal_that_the_module_refuses_is_recorded() -> None:
    def name(session: Session) -> str:
        raise PrincipalUnavailable(detail="no legacy name")

    there = road(honest, name)
    with pytest.raises(PrincipalUnavailable):
        await there()
    assert there.module.calls == []
    assert there.only().reason == "no legacy name"


class Panic(BaseException):
    """What extensions written in Rust raise."""


@pytest.mark.parametrize(
    "defect",
    [
        ValueError(f"{PASSWORD} {TOKEN}"),
        TimeoutError(f"{PASSWORD} {TOKEN}"),
        ExceptionGroup(PASSWORD, [ValueError(TOKEN)]),
        SystemExit(f"{PASSWORD} {TOKEN}"),
        asyncio.CancelledError(f"{PASSWORD} {TOKEN}"),
        Panic(f"{PASSWORD} {TOKEN}"),
    ],
    ids=lambda defect: type(defect).__name__,
)
@pytest.mark.parametrize("where", ["delegate", "principal", "validator", "tool"])
async def test_a_defect_becomes_an_internal_error_and_its_text_reaches_nobody(
    defect: BaseException, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def fail(*_: object) -> Any:  # Any: it never returns
        raise defect.with_traceback(None)

    async def step(call: DelegationCall) -> None:
        fail()

    there = road(
        step if where == "delegate" else honest,
        fail if where == "principal" else username,
        validator=fail if where == "validator" else construct,
    )
    with pytest.raises(InternalError) as caught:
        if where == "tool":
            await there.pipeline.call(SESSION, READ, {}, step)
        else:
            await there()
    event = there.only()
    told = printed(caught.value) + repr(caught.value.detail) + repr(event) + to_json(event) + caplog.text
    assert PASSWORD not in told
    assert TOKEN not in told
    assert (event.outcome, event.code) == (Outcome.FAILED, "internal")
    assert event.reason == f"{type(defect).__name__} in read"
    assert f"raised {type(defect).__qualname__}" in caplog.text
    assert "in fail" in caplog.text


async def test_an_interrupt_from_the_keyboard_goes_through() -> None:
    async def step(call: DelegationCall) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await road(step)()


async def _hang(call: DelegationCall) -> None:
    try:
        raise ValueError(f"{PASSWORD}: trying again")
    except ValueError:
        await asyncio.sleep(3600)


async def _hang_and_complain(call: DelegationCall) -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        raise RuntimeError(PASSWORD)


@pytest.mark.parametrize("hang", [_hang, _hang_and_complain])
async def test_a_module_that_hangs_is_stopped_at_the_deadline(hang: Any) -> None:
    there = road(hang)
    registry, module = DelegationRegistry(), Module(hang)
    module.actions = (replace(READ, timeout=0.05),)
    registry.register("sql", module)
    pipeline = Pipeline(registry, Audit(there.sink))
    with anyio.fail_after(5):
        with pytest.raises(DelegationTimeout) as caught:
            await pipeline.delegate(SESSION, "sql", "read", {})
    assert PASSWORD not in printed(caught.value)
    assert (there.only().outcome, there.only().code) == (Outcome.FAILED, "timeout")
    assert there.only().reason == "read did not end within 0.05 s"


async def test_an_action_without_a_time_of_its_own_takes_the_pipelines() -> None:
    action = replace(READ, timeout=None)
    there = road(timeout=0.05)
    with anyio.fail_after(5):
        with pytest.raises(DelegationTimeout):
            await there.pipeline.call(SESSION, action, {}, _hang)
    assert there.only().code == "timeout"


async def test_a_time_of_zero_is_a_time_and_not_the_default() -> None:
    there = road(timeout=30.0)
    with anyio.fail_after(5):
        with pytest.raises(DelegationTimeout):
            await there.pipeline.call(SESSION, replace(READ, timeout=0.0), {}, _hang)


async def test_a_cancelled_call_is_recorded_and_the_cancellation_goes_on() -> None:
    there = road(_hang)
    task = asyncio.ensure_future(there())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (there.only().outcome, there.only().code) == (Outcome.CANCELLED, None)


class SlowSink(MemorySink):
    async def write(self, event: AuditEvent) -> None:
        await asyncio.sleep(0.02)
        await super().write(event)


@pytest.mark.parametrize(("step", "outcome"), [(_hang, Outcome.CANCELLED), (honest, Outcome.SUCCESS)])
async def test_a_sink_that_takes_its_time_still_gets_the_event_of_a_cancelled_call(step: Any, outcome: Outcome) -> None:
    there = road(step)
    there.sink = SlowSink()
    there.pipeline.audit = Audit(there.sink)
    with anyio.move_on_after(0.01) as scope:  # cancels again and again, as servers built on anyio do
        await there()
    assert scope.cancelled_caught
    await asyncio.sleep(0.1)
    assert there.only().outcome is outcome


class FullDisk:
    def __init__(self) -> None:
        self.full, self.events = True, list[AuditEvent]()

    async def write(self, event: AuditEvent) -> None:
        if self.full:
            raise OSError("no space left on device")
        self.events.append(event)

    async def close(self) -> None: ...


class BrokenSink:
    def __init__(self) -> None:
        self.asked = 0

    async def write(self, event: AuditEvent) -> None:
        self.asked += 1
        raise OSError(f"no space left, {PASSWORD}")

    async def close(self) -> None: ...


async def _refuse(call: DelegationCall) -> None:
    raise DelegationRefused


async def test_nothing_more_is_done_until_events_can_be_written_again(caplog: pytest.LogCaptureFixture) -> None:
    there, sink = road(), FullDisk()
    there.pipeline.audit = Audit(sink, OnAuditFailure.REFUSE)
    for _ in range(3):
        with pytest.raises(AuditUnavailable):
            await there()
    assert len(there.module.calls) == 1  # the one whose event was the first that could not be written
    sink.full = False
    assert (await there()).data == [1]
    assert [event.action for event in sink.events] == ["resume", "read"]


@pytest.mark.parametrize("step", [honest, _refuse], ids=["success", "refusal"])
async def test_what_cannot_be_recorded_is_refused_or_alerted(step: Any, caplog: pytest.LogCaptureFixture) -> None:
    there, sink = road(step), BrokenSink()
    there.pipeline.audit = Audit(sink, OnAuditFailure.REFUSE)
    with pytest.raises(AuditUnavailable) as caught:
        await there()
    assert PASSWORD not in printed(caught.value) + caplog.text
    there.pipeline.audit = Audit(sink, OnAuditFailure.ALERT)
    if step is honest:
        assert (await there()).data == [1]
    else:
        with pytest.raises(DelegationRefused):
            await there()
    assert sink.asked == 2
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.ERROR]


async def test_a_tool_of_ones_own_takes_the_same_road() -> None:
    async def add(call: DelegationCall) -> object:
        return {"sum": 3}

    there = road()
    result = await there.pipeline.call(SESSION, READ, {"sql": "x"}, add)
    assert result == DelegationResult(data={"sum": 3}, receipt=Receipt(identity="u-1", method="in-process"))
    assert (there.only().source, there.only().tool, there.only().receipt) == ("tool", "read", result.receipt)
    with pytest.raises(PermissionDenied):
        await there.pipeline.call(replace(SESSION, permissions=frozenset()), READ, {}, add)
    assert len(there.sink.entries()) == 2


async def test_a_tool_that_delegates_is_recorded_as_both_and_tells_whom_the_downstream_saw() -> None:
    there = road()

    async def tool(call: DelegationCall) -> object:
        return await there.pipeline.delegate(call.session, "sql", "read", {})

    result = await there.pipeline.call(SESSION, replace(READ, name="report"), {}, tool)
    assert result.receipt == Receipt(identity="u-1", method="in-process", details={"via": "login:peer", "as": "alice"})
    assert [(event.source, event.outcome) for event in there.sink.entries()] == [
        ("delegation:sql", Outcome.SUCCESS),
        ("tool", Outcome.SUCCESS),
    ]


async def test_a_module_cannot_write_over_what_the_road_says_of_it() -> None:
    async def step(call: DelegationCall) -> DelegationResult:
        details = {"as": "admin", "via": "magic", "session_user": "alice"}
        return DelegationResult(data=1, receipt=Receipt(identity="alice", method="login:peer", details=details))

    there = road(step)

    async def tool(call: DelegationCall) -> object:
        return await there.pipeline.delegate(call.session, "sql", "read", {})

    result = await there.pipeline.call(SESSION, READ, {}, tool)
    assert result.receipt.details == {"via": "login:peer", "as": "alice", "session_user": "alice"}


async def test_a_refusal_inside_a_tool_keeps_its_code_and_is_recorded_as_both() -> None:
    there = road(_refuse)

    async def tool(call: DelegationCall) -> object:
        return await there.pipeline.delegate(call.session, "sql", "read", {})

    with pytest.raises(DelegationRefused):
        await there.pipeline.call(SESSION, READ, {}, tool)
    assert [(event.source, event.code) for event in there.sink.entries()] == [
        ("delegation:sql", "delegation_refused"),
        ("tool", "delegation_refused"),
    ]


async def test_a_refusal_from_before_the_road_is_recorded_too() -> None:
    there = road()
    await there.pipeline.refuse(SESSION, "drop", UnknownAction(detail="hidden"), tool="sql-drop")
    event = there.only()
    assert (event.source, event.action, event.tool, event.code, event.reason) == (
        "tool",
        "drop",
        "sql-drop",
        "unknown_action",
        "hidden",
    )


async def test_with_the_null_sink_the_road_is_the_same() -> None:
    there = road()
    pipeline = Pipeline(there.pipeline.registry, Audit(NullSink()))
    assert (await pipeline.delegate(SESSION, "sql", "read", {})).data == [1]
    assert there.sink.entries() == []


async def test_many_calls_at_once_each_get_their_own_identity_and_request_id() -> None:
    async def step(call: DelegationCall) -> DelegationResult:
        await asyncio.sleep(0)
        return await honest(call)

    there = road(step)

    async def one(number: int) -> None:
        request_id.set(f"r-{number}")
        session = replace(SESSION, username=f"user-{number}", subject=f"u-{number}")
        assert (await there(session)).receipt.identity == f"user-{number}"

    await asyncio.gather(*(one(number) for number in range(100)))
    events = there.sink.entries()
    assert {(event.request_id, event.username) for event in events} == {(f"r-{n}", f"user-{n}") for n in range(100)}
    assert len(events) == 100


def test_request_ids_are_not_repeated() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000
