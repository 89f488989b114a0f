"""A module's credential on the road: had before it acts, never the caller's own, exchanged anew once."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from actas.core import (
    Action,
    Audit,
    Credential,
    CredentialRejected,
    DelegationCall,
    DelegationRefused,
    DelegationRegistry,
    DelegationResult,
    DelegationTimeout,
    Health,
    MemorySink,
    Pipeline,
    Receipt,
    Secret,
    Session,
)
from actas.core.errors import PermissionDenied

pytestmark = pytest.mark.anyio

SESSION = Session(
    issuer="https://idp.example",
    subject="alice",
    username="alice",
    provider="main",
    permissions=frozenset({"use"}),
    token=Secret("the-callers-own"),
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Source:
    """Gives numbered credentials; the same one until it is discarded."""

    def __init__(self) -> None:
        self.number = 1
        self.obtained: list[str] = []
        self.refuses: Exception | None = None
        self.hangs = False
        self.stubborn = False

    async def obtain(self, session: Session) -> Credential:
        if self.hangs:
            await asyncio.Event().wait()
        if self.refuses is not None:
            raise self.refuses
        self.obtained.append(session.subject)
        return Credential(token=Secret(f"exchanged-{self.number}"), subject=session.subject, expires_at=2e9)

    async def discard(self, session: Session, refused: Credential) -> None:
        if not self.stubborn:
            self.number += 1


Step = Callable[[DelegationCall], Awaitable[None]]


class Module:
    """Acts with its credential; ``step`` does what the test says."""

    def __init__(self) -> None:
        self.actions = (
            Action(name="act", description="Act.", permission="use", timeout=0.5),
            Action(name="forbidden", description="Not for her.", permission="other"),
        )
        self.tokens: list[str | None] = []
        self.refused: set[str] = set()

    async def initialize(self) -> None: ...

    def principal(self, session: Session) -> str:
        return session.subject

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        token = None if call.credential is None else call.credential.token.reveal()
        self.tokens.append(token)
        if token in self.refused:
            raise CredentialRejected(detail="401")
        return DelegationResult(data=token, receipt=Receipt(identity=call.session.subject, method="token:exchange"))

    async def health_check(self) -> Health:
        return Health(healthy=True)

    async def destroy(self) -> None: ...


@pytest.fixture
def module() -> Module:
    return Module()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
def pipeline(module: Module, source: Source, sink: MemorySink) -> Pipeline:
    registry = DelegationRegistry()
    registry.register("with", module, credentials=source)
    registry.register("without", Module())
    return Pipeline(registry, Audit(sink))


async def test_a_module_acts_with_the_exchanged_token_and_never_the_callers(pipeline: Pipeline, module: Module) -> None:
    result = await pipeline.delegate(SESSION, "with", "act", {})
    assert result.data == "exchanged-1" and module.tokens == ["exchanged-1"]


async def test_a_module_without_an_exchange_gets_no_token_at_all(pipeline: Pipeline) -> None:
    assert (await pipeline.delegate(SESSION, "without", "act", {})).data is None


async def test_where_none_can_be_had_the_module_is_not_called(
    pipeline: Pipeline, module: Module, source: Source, sink: MemorySink
) -> None:
    source.refuses = DelegationRefused(detail="the provider said no")
    with pytest.raises(DelegationRefused):
        await pipeline.delegate(SESSION, "with", "act", {})
    assert module.tokens == []
    (event,) = sink.entries()
    assert (event.code, event.reason) == ("delegation_refused", "the provider said no")


async def test_nothing_is_exchanged_for_a_call_that_is_not_allowed(pipeline: Pipeline, source: Source) -> None:
    with pytest.raises(PermissionDenied):
        await pipeline.delegate(SESSION, "with", "forbidden", {})
    assert source.obtained == []


async def test_a_token_that_the_downstream_refuses_is_exchanged_anew_once(
    pipeline: Pipeline, module: Module, source: Source, sink: MemorySink
) -> None:
    module.refused = {"exchanged-1"}
    assert (await pipeline.delegate(SESSION, "with", "act", {})).data == "exchanged-2"
    assert module.tokens == ["exchanged-1", "exchanged-2"]
    assert [event.outcome for event in sink.entries()] == ["success"]
    module.tokens.clear()
    module.refused = {f"exchanged-{number}" for number in range(20)}
    with pytest.raises(CredentialRejected):
        await pipeline.delegate(SESSION, "with", "act", {})
    assert len(module.tokens) == 2


async def test_the_same_token_is_not_tried_twice(pipeline: Pipeline, module: Module, source: Source) -> None:
    module.refused, source.stubborn = {"exchanged-1"}, True
    with pytest.raises(CredentialRejected):
        await pipeline.delegate(SESSION, "with", "act", {})
    assert module.tokens == ["exchanged-1"]


async def test_the_exchange_counts_against_the_calls_time(pipeline: Pipeline, module: Module, source: Source) -> None:
    source.hangs = True
    with pytest.raises(DelegationTimeout):
        await pipeline.delegate(SESSION, "with", "act", {})
    assert module.tokens == []


def test_a_call_that_holds_a_credential_is_the_same_call() -> None:
    credential = Credential(token=Secret("exchanged"), subject="alice", expires_at=2e9)
    fields = {each.name: object() for each in dataclasses.fields(DelegationCall)}
    call = DelegationCall(**{**fields, "credential": None})  # type: ignore[arg-type] -- any objects will do
    assert call.holding(credential) == dataclasses.replace(call, credential=credential)
