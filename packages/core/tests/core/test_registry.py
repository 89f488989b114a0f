"""Modules are started, asked and stopped together, and none of them can harm another."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from actas.core import (
    Action,
    ConfigurationError,
    DelegationCall,
    DelegationRegistry,
    DelegationResult,
    DownstreamUnavailable,
    Health,
    Receipt,
    Session,
    UnknownAction,
)
from actas.core import registry as under_test

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Module:
    """Notes what is done to it, and raises, hangs or lies where it is told to."""

    def __init__(self, name: str = "m", log: list[str] | None = None, **faults: object) -> None:
        self.name = name
        self.log: list[str] = [] if log is None else log
        self.faults = faults
        self.actions: Sequence[Action] = (Action(name="read", description="Read."),)

    async def _do(self, step: str) -> object:
        self.log.append(f"{step} {self.name}")
        fault = self.faults.get(step)
        if fault == "hang":
            await asyncio.sleep(3600)
        if isinstance(fault, BaseException):
            raise fault
        return fault

    async def initialize(self) -> None:
        await self._do("initialize")

    def principal(self, session: Session) -> str:
        return session.username

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        return DelegationResult(data=None, receipt=Receipt(identity=call.session.username, method="in-process"))

    async def health_check(self) -> Health:
        lie = await self._do("health")
        return Health(healthy=True) if lie is None else lie  # type: ignore[return-value]  # the point

    async def destroy(self) -> None:
        await self._do("destroy")


def registry(*modules: Module) -> DelegationRegistry:
    made = DelegationRegistry()
    for module in modules:
        made.register(module.name, module)
    return made


def test_modules_are_found_by_the_name_they_were_given() -> None:
    first, second = Module("a"), Module("b")
    made = registry(first, second)
    assert made.get("a") is first
    assert made.names() == ["a", "b"]
    assert list(made.items()) == [("a", first), ("b", second)]
    assert made.action("b", "read") is second.actions[0]


def test_what_nobody_registered_is_unknown_without_telling_what_there_is() -> None:
    made = registry(Module("secret-module"))
    for ask in (lambda: made.get("x"), lambda: made.action("x", "read"), lambda: made.action("secret-module", "x")):
        with pytest.raises(UnknownAction) as caught:
            ask()
        assert "secret-module" not in str(caught.value)


def test_a_name_is_given_once() -> None:
    with pytest.raises(ConfigurationError, match=r"delegation\.modules\.a: .* registered already"):
        registry(Module("a"), Module("a"))


def test_what_is_no_module_is_refused_by_type() -> None:
    with pytest.raises(ConfigurationError, match=r"delegation\.modules\.a: object is no DelegationModule"):
        DelegationRegistry().register("a", object())  # type: ignore[arg-type]  # the point


def test_an_action_is_declared_once() -> None:
    module = Module("a")
    module.actions = (*module.actions, *module.actions)
    made = DelegationRegistry()
    with pytest.raises(ConfigurationError, match="read is declared twice"):
        made.register("a", module)
    assert made.names() == []


async def test_all_are_initialised_in_order_and_destroyed_in_reverse() -> None:
    log: list[str] = []
    made = registry(Module("a", log), Module("b", log))
    await made.initialize_all()
    await made.destroy_all()
    assert log == ["initialize a", "initialize b", "destroy b", "destroy a"]


async def test_where_one_does_not_start_the_others_are_released_and_its_path_is_named() -> None:
    log: list[str] = []
    error = DownstreamUnavailable("It does not answer.", detail="10.0.0.7 refused")
    made = registry(Module("a", log), Module("b", log, initialize=error), Module("c", log))
    with pytest.raises(ConfigurationError) as caught:
        await made.initialize_all()
    assert str(caught.value) == "delegation.modules.b: It does not answer."
    assert caught.value.detail == "10.0.0.7 refused"
    assert "initialize c" not in log
    assert "destroy a" in log


@pytest.mark.parametrize("fault", [RuntimeError("x"), KeyboardInterrupt()])
async def test_a_defect_at_the_start_releases_the_others_too(fault: BaseException) -> None:
    log: list[str] = []
    made = registry(Module("a", log), Module("b", log, initialize=fault))
    with pytest.raises(type(fault)):
        await made.initialize_all()
    assert "destroy a" in log


async def test_a_module_that_raises_hangs_or_lies_is_unhealthy_and_harms_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(under_test, "HEALTH_TIMEOUT", 0.05)
    made = registry(
        Module("good"),
        Module("ill", health=Health(healthy=False, message="no answer from the downstream")),
        Module("raises", health=RuntimeError("password=hunter2")),
        Module("cancels", health=asyncio.CancelledError()),
        Module("hangs", health="hang"),
        Module("lies", health=True),
    )
    health = await made.health_check_all()
    assert {name: each.healthy for name, each in health.items()} == {
        "good": True,
        "ill": False,
        "raises": False,
        "cancels": False,
        "hangs": False,
        "lies": False,
    }
    assert health["hangs"].message == "no answer within 0.05 s"
    assert health["raises"].message == health["lies"].message == "the health check failed"
    assert "health check of raises raised RuntimeError" in caplog.text
    assert "hunter2" not in caplog.text


async def test_only_the_modules_that_are_named_are_asked() -> None:
    log: list[str] = []
    made = registry(Module("a", log), Module("b", log))
    assert list(await made.health_check_all(["b"])) == ["b"]
    assert log == ["health b"]


async def test_whoever_waits_for_the_health_can_be_cancelled() -> None:
    task = asyncio.ensure_future(registry(Module("a", health="hang")).health_check_all())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_module_that_cannot_be_released_is_logged_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(under_test, "DESTROY_TIMEOUT", 0.05)
    log: list[str] = []
    made = registry(
        Module("a", log), Module("b", log, destroy=RuntimeError("password=hunter2")), Module("c", log, destroy="hang")
    )
    await made.destroy_all()
    assert log == ["destroy c", "destroy b", "destroy a"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "destroying b raised RuntimeError" in caplog.text
    assert "hunter2" not in caplog.text
