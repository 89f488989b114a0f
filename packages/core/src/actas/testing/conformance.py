"""The suite that every delegation module must pass. Its test names are the rules.

A plug-in's author writes, with the `anyio` plug-in of pytest that this package brings::

    class TestGreeter(ModuleConformance):
        @pytest.fixture
        def kit(self) -> ModuleKit:
            return ModuleKit(make=Greeter, alice=ALICE, bob=BOB, parameters={"greet": {"greeting": "Hello"}})
"""

import asyncio
import logging
import traceback
from dataclasses import replace

import pytest

from actas.core import (
    ActasError,
    DelegationCall,
    DelegationResult,
    DelegationTimeout,
    Outcome,
)
from actas.core.audit import to_json
from actas.mcp.schema import validate_parameters
from actas.testing.attacks import HOSTILE_NAMES, MARKER, planted
from actas.testing.declaration_rules import DeclarationRules
from actas.testing.identity_rules import IdentityRules
from actas.testing.judging import ended, expect, only, own, safe
from actas.testing.life_rules import LifeRules
from actas.testing.module_kit import (
    NAME,
    TOKEN,
    ModuleKit,
    a_call,
    ask,
    bounded,
    declared,
    harmless,
    road_to,
    running,
)

__all__ = ["ModuleConformance", "ModuleKit"]

_MOMENTS = (0.0, 0.001, 0.01, 0.1)
"""Seconds after which a call is cancelled."""


class ModuleConformance(DeclarationRules, IdentityRules, LifeRules):
    """Inherit, give a ``kit``; each test is one rule. Rules that the kit has nothing for are skipped by name."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        """The event loop that the server uses."""
        return "asyncio"

    # When time is up

    async def test_the_deadline_is_honoured_and_the_next_call_is_good(self, kit: ModuleKit) -> None:
        if kit.slow is None:
            pytest.skip("the kit has no slow action")
        name, parameters = kit.slow
        alice, bob = kit.users()
        async with running(kit) as module:
            quick = replace(declared(module, name), timeout=0.5)
            road, _ = road_to(module, timeout=0.5)
            given = await a_call(kit, alice, quick, parameters)

            async def step(call: DelegationCall) -> DelegationResult:
                return await module.delegate(replace(call, credential=given.credential, tickets=given.tickets))

            slowly = asyncio.ensure_future(road.call(alice, quick, parameters, step))
            await ended(slowly, 0.5 + kit.grace, f"{name} past its deadline")
            error = slowly.exception()
            expect(
                isinstance(error, DelegationTimeout), f"{name}, stopped at its deadline, gave {type(error).__name__}"
            )
            for session in (bob, alice):
                own(module, session, await ask(kit, module, session, module.actions[0]))

    @pytest.mark.parametrize("moment", _MOMENTS)
    async def test_a_cancelled_call_ends_and_the_next_one_is_good(self, kit: ModuleKit, moment: float) -> None:
        alice, bob = kit.users()
        async with running(kit) as module:
            tried = [(action, harmless(kit, action)) for action in module.actions]
            if kit.slow is not None:
                slow = declared(module, kit.slow[0])
                tried.append((slow, validate_parameters(slow, kit.slow[1])))
            for action, parameters in tried:
                call = asyncio.ensure_future(module.delegate(await a_call(kit, alice, action, parameters)))
                await asyncio.sleep(moment)
                if call.cancel():
                    await ended(call, kit.grace, f"the cancelled {action.name}")
                    expect(call.cancelled(), f"{action.name} swallowed the cancellation")
                for session in (bob, alice):
                    own(module, session, await ask(kit, module, session, action))

    # What it says

    @pytest.mark.parametrize(
        "text", [MARKER, f"{MARKER}\x00", f"'\"; {MARKER} --", MARKER * 10_000], ids=["odd", "NUL", "quotes", "160 kB"]
    )
    async def test_errors_are_ours_with_messages_that_say_nothing_private(self, kit: ModuleKit, text: str) -> None:
        alice, _ = kit.users()
        async with running(kit) as module:
            for action in module.actions:
                try:
                    await ask(kit, module, alice, action, planted(harmless(kit, action), text))
                except Exception as error:
                    safe(error, f"{action.name} with odd parameters")
                own(module, alice, await ask(kit, module, alice, action))

    async def test_a_destroyed_module_answers_with_our_errors(self, kit: ModuleKit) -> None:
        alice, _ = kit.users()
        async with running(kit) as module:
            actions = list(module.actions)
        for action in actions:
            try:
                own(module, alice, await ask(kit, module, alice, action))
            except AssertionError:
                raise
            except Exception as error:
                safe(error, f"{action.name} after destroy()")
        await bounded(module.destroy(), kit.grace, "destroy() once more")

    async def test_the_token_is_in_no_log_no_repr_no_output_and_no_result(
        self, kit: ModuleKit, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        caplog.set_level(logging.DEBUG)
        secrets = await kit.secrets()
        seen: list[str] = []
        async with running(kit) as module:
            for session in kit.users():
                for action in module.actions:
                    seen.append(repr(await ask(kit, module, session, action)))
                    try:
                        seen.append(
                            repr(await ask(kit, module, session, action, planted(harmless(kit, action), MARKER)))
                        )
                    except ActasError as error:
                        seen += [f"{error!r} {error} {error.detail}", *traceback.format_exception(error)]
            seen += [repr(module), repr(getattr(module, "__dict__", None)), repr(await module.health_check())]
        seen += [repr(vars(record)) for record in caplog.records]
        seen += [caplog.text, *capfd.readouterr()]
        told_of = [number for number, secret in enumerate(secrets) if any(secret in each for each in seen)]
        expect(0 not in told_of, "the caller's token was printed, logged or returned")
        expect(not told_of, "a token that was exchanged for the caller's was printed, logged or returned")

    # On the road

    async def test_a_call_through_the_pipeline_is_recorded_exactly_once(self, kit: ModuleKit) -> None:
        async with running(kit) as module:
            road, sink = road_to(module, kit.patience, kit.credentials, kit.granter)
            for session in kit.users():
                for action in module.actions:
                    sink.clear()
                    result = await road.delegate(session, NAME, action.name, kit.parameters[action.name])
                    event = only(sink.entries(), action.name)
                    expect(
                        event.outcome is Outcome.SUCCESS, f"{action.name} went well and was recorded as {event.outcome}"
                    )
                    expect(event.subject == session.subject, "the event names another user")
                    expect(event.receipt == result.receipt, "the event has another receipt than the result")
                    expect(TOKEN not in to_json(event), "the caller's token is in the minutes")

    async def test_a_refusal_on_the_pipeline_is_recorded_exactly_once(self, kit: ModuleKit) -> None:
        alice, _ = kit.users()
        refused = [
            replace(alice, rejected=True),
            replace(alice, expires_at=1.0),
            kit.rename(alice, HOSTILE_NAMES["quote and semicolon"]),
        ]
        async with running(kit) as module:
            road, sink = road_to(module, kit.patience, kit.credentials, kit.granter)
            for action in module.actions:
                for session in refused:
                    sink.clear()
                    with pytest.raises(ActasError) as caught:
                        await road.delegate(session, NAME, action.name, kit.parameters[action.name])
                    event = only(sink.entries(), action.name)
                    recorded = (event.outcome, event.code)
                    expect(recorded == (Outcome.REFUSED, caught.value.code), f"a refusal was recorded as {recorded}")

    async def test_what_the_downstream_denies_is_refused_and_recorded_as_that(self, kit: ModuleKit) -> None:
        if kit.denied is None:
            pytest.skip("the kit has nothing that the downstream denies")
        name, parameters = kit.denied
        alice, bob = kit.users()
        async with running(kit) as module:
            declared(module, name)
            road, sink = road_to(module, kit.patience, kit.credentials, kit.granter)
            await road.delegate(bob, NAME, name, parameters)
            sink.clear()
            try:
                await road.delegate(alice, NAME, name, parameters)
            except ActasError as error:
                safe(error, f"{name}, which the downstream denies,")
            else:
                raise AssertionError(f"{name} gave alice what only bob may have")
            event = only(sink.entries(), name)
            expect(
                event.outcome is Outcome.REFUSED, f"{name} was denied by the downstream and recorded as {event.outcome}"
            )
