"""A module's tickets on the road: whose they are, how long they may take, and new ones for refused ones."""

import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from actas.core import (
    Action,
    Audit,
    ConfigurationError,
    CredentialRejected,
    DelegationCall,
    DelegationRefused,
    DelegationRegistry,
    DelegationResult,
    DownstreamUnavailable,
    Health,
    MemorySink,
    Pipeline,
    Receipt,
    Secret,
    Session,
)
from actas.core.latecomer import Latecomer, LateGranter

pytestmark = pytest.mark.anyio

ALICE = Session(
    issuer="https://idp.example", subject="alice", username="alice", provider="main", token=Secret("the-callers-own")
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Paper:
    """A ticket that opens nothing."""

    def __init__(self, principal: str, target: str) -> None:
        self.principal, self.target, self.expires_at = principal, target, 2e9

    def gss_credentials(self) -> object:
        raise NotImplementedError

    def cache_file(self) -> AbstractContextManager[Path]:
        raise NotImplementedError


class Lender:
    """Grants numbered tickets; another one after each that was discarded."""

    actions = ()

    def __init__(self) -> None:
        self.number = 1
        self.deadlines: list[float] = []
        self.away = False

    async def initialize(self) -> None:
        if self.away:
            raise DownstreamUnavailable

    def principal(self, session: Session) -> str:
        return session.subject

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        raise NotImplementedError

    async def health_check(self) -> Health:
        return Health(healthy=True)

    async def destroy(self) -> None: ...

    async def ticket(self, session: Session, target: str, *, deadline: float) -> Paper:
        if "forbidden" in target:
            raise DelegationRefused(detail="not on the list")
        self.deadlines.append(deadline)
        return Paper(f"{session.subject}-{self.number}", target)

    async def discard(self, session: Session, target: str) -> None:
        self.number += 1


class Presenter:
    """Presents a ticket, or none where ``target`` is empty."""

    actions = (Action(name="act", description="Act."),)

    def __init__(self) -> None:
        self.target = "postgres/db.example.com"
        self.presented: list[str] = []
        self.calls = 0
        self.refused: set[str] = set()

    async def initialize(self) -> None: ...

    def principal(self, session: Session) -> str:
        return session.subject

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        self.calls += 1
        if self.target:
            assert call.tickets is not None
            ticket = await call.tickets.obtain(self.target)
            self.presented.append(ticket.principal)
            if ticket.principal in self.refused:
                raise CredentialRejected
        elif self.refused:
            raise CredentialRejected
        return DelegationResult(data=self.presented[-1:], receipt=Receipt(identity="alice", method="ticket"))

    async def health_check(self) -> Health:
        return Health(healthy=True)

    async def destroy(self) -> None: ...


@pytest.fixture
def lender() -> Lender:
    return Lender()


@pytest.fixture
def presenter() -> Presenter:
    return Presenter()


@pytest.fixture
def pipeline(lender: Lender, presenter: Presenter) -> Pipeline:
    registry = DelegationRegistry()
    registry.register("corp", lender)
    registry.register("db", presenter, granter=lender)
    return Pipeline(registry, Audit(MemorySink()), timeout=5)


async def test_a_module_presents_the_ticket_of_the_sessions_user(
    pipeline: Pipeline, lender: Lender, presenter: Presenter
) -> None:
    before = time.monotonic()
    assert (await pipeline.delegate(ALICE, "db", "act", {})).data == ["alice-1"]
    (deadline,) = lender.deadlines
    assert before + 4 < deadline <= time.monotonic() + 5, "it may take as long as the call, and no longer"


async def test_a_ticket_that_its_target_refuses_is_forgotten_and_another_one_tried_once(
    pipeline: Pipeline, presenter: Presenter
) -> None:
    presenter.refused = {"alice-1"}
    assert (await pipeline.delegate(ALICE, "db", "act", {})).data == ["alice-2"]
    presenter.refused = {f"alice-{number}" for number in range(9)}
    presenter.presented.clear()
    with pytest.raises(CredentialRejected):
        await pipeline.delegate(ALICE, "db", "act", {})
    assert len(presenter.presented) == 2


async def test_where_no_ticket_was_presented_nothing_is_tried_again(
    pipeline: Pipeline, lender: Lender, presenter: Presenter
) -> None:
    presenter.target, presenter.refused = "", {"anybody"}
    with pytest.raises(CredentialRejected):
        await pipeline.delegate(ALICE, "db", "act", {})
    assert (lender.number, presenter.calls) == (1, 1)


async def test_what_the_lender_refuses_is_the_calls_refusal(pipeline: Pipeline, presenter: Presenter) -> None:
    presenter.target = "cifs/forbidden.example.com"
    with pytest.raises(DelegationRefused):
        await pipeline.delegate(ALICE, "db", "act", {})


async def test_a_lender_that_has_not_started_lends_nothing(lender: Lender, presenter: Presenter) -> None:
    lender.away = True
    late = LateGranter("corp", lender)
    await late.initialize()
    registry = DelegationRegistry()
    registry.register("db", presenter, granter=late)
    try:
        with pytest.raises(DownstreamUnavailable):
            await Pipeline(registry, Audit(MemorySink())).delegate(ALICE, "db", "act", {})
    finally:
        await late.destroy()
    await late.discard(ALICE, "nobody's")
    assert lender.number == 2


def test_who_lends_no_tickets_cannot_stand_for_one_who_does(presenter: Presenter) -> None:
    assert Latecomer("db", presenter)
    with pytest.raises(ConfigurationError, match=r"delegation\.modules\.db: Presenter is no TicketGranter"):
        LateGranter("db", presenter)
