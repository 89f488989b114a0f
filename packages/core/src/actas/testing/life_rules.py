"""The rules of the conformance suite on a module's life: start, health, outages, end."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from actas.core import DelegationModule, DownstreamUnavailable
from actas.mcp.schema import validate_parameters
from actas.testing.attacks import Resources, resources
from actas.testing.judging import ended, expect, own, safe, told
from actas.testing.module_kit import ModuleKit, a_call, ask, bounded, declared, running

_MOMENT = 0.1
"""Seconds between two looks, and until something runs."""


class LifeRules:
    """Health, outages, what is left behind. Inherited through ModuleConformance."""

    pytestmark = pytest.mark.anyio

    async def test_its_health_is_told_in_time_before_during_and_after(self, kit: ModuleKit) -> None:
        module = kit.make()
        told(await bounded(module.health_check(), kit.grace, "health_check() before initialize()"))
        async with running(kit) as module:
            health = await bounded(module.health_check(), kit.grace, "health_check()")
            told(health)
            expect(health.healthy, f"it works and says that it does not: {health.message}")
        told(await bounded(module.health_check(), kit.grace, "health_check() after destroy()"))

    async def test_a_dead_downstream_is_told_as_it_is(self, kit: ModuleKit) -> None:
        if kit.make_dead is None:
            pytest.skip("the kit has no dead downstream")
        module = kit.make_dead()
        try:
            try:
                await bounded(module.initialize(), kit.patience, "initialize() on a dead downstream")
            except Exception as error:
                safe(error, "initialize() on a dead downstream")
            health = await bounded(module.health_check(), kit.grace, "health_check() of a dead downstream")
            told(health)
            expect(not health.healthy, "the downstream is dead and the module calls itself healthy")
            for action in module.actions:
                try:
                    await ask(kit, module, kit.users()[0], action)
                except Exception as error:
                    safe(error, f"{action.name} on a dead downstream")
                else:
                    raise AssertionError(f"{action.name} gave a result though the downstream is dead")
        finally:
            await bounded(module.destroy(), kit.grace, "destroy() on a dead downstream")

    async def test_a_downstream_that_goes_away_is_told_and_one_that_comes_back_is_used(self, kit: ModuleKit) -> None:
        if kit.outage is None:
            pytest.skip("the kit has no outage")
        alice, _ = kit.users()
        async with running(kit) as module:
            await ask(kit, module, alice, module.actions[0])
            with kit.outage():
                health = await bounded(module.health_check(), kit.grace, "health_check() in an outage")
                told(health)
                expect(not health.healthy, "the downstream went away and the module calls itself healthy")
                for action in module.actions:
                    try:
                        own(module, alice, await ask(kit, module, alice, action))  # it may have kept an answer
                    except AssertionError:
                        raise
                    except Exception as error:
                        safe(error, f"{action.name} in an outage")
            await _well_again(kit, module)
            for session in kit.users():
                for action in module.actions:
                    own(module, session, await ask(kit, module, session, action))

    async def test_a_start_that_fails_leaves_nothing_behind_and_may_be_tried_again(self, kit: ModuleKit) -> None:
        if kit.make_dead is None:
            pytest.skip("the kit has no dead downstream")
        make_dead = kit.make_dead

        async def live() -> None:
            module = make_dead()
            try:
                for _ in range(3):
                    await _started(kit, module)
            finally:
                await bounded(module.destroy(), kit.grace, "destroy() on a dead downstream")

        await live()  # what is made once and kept is there from now on
        await _leaves_nothing(kit, live)

    async def test_it_starts_when_the_downstream_is_there_at_last(self, kit: ModuleKit) -> None:
        if kit.outage is None:
            pytest.skip("the kit has no outage")
        module = kit.make()
        try:
            with kit.outage():
                await _started(kit, module)
            until = time.monotonic() + kit.patience
            while not await _started(kit, module):
                expect(time.monotonic() < until, "the downstream is there at last and initialize() does not notice")
                await asyncio.sleep(_MOMENT)
            await _well_again(kit, module)
            for session in kit.users():
                own(module, session, await ask(kit, module, session, module.actions[0]))
        finally:
            await bounded(module.destroy(), kit.grace, "destroy()")

    async def test_two_of_its_kind_live_side_by_side_and_one_may_go(self, kit: ModuleKit) -> None:
        async with running(kit) as stays:
            async with running(kit) as goes:
                for session in kit.users():
                    for module in (stays, goes):
                        own(module, session, await ask(kit, module, session, module.actions[0]))
            told(await bounded(stays.health_check(), kit.grace, "health_check()"))
            for session in kit.users():
                for action in stays.actions:
                    own(stays, session, await ask(kit, stays, session, action))

    async def test_destroy_may_be_called_twice_and_without_initialize(self, kit: ModuleKit) -> None:
        await bounded(kit.make().destroy(), kit.grace, "destroy() without initialize()")
        async with running(kit) as module:
            await ask(kit, module, kit.users()[0], module.actions[0])
            await bounded(module.destroy(), kit.grace, "destroy()")

    async def test_destroy_releases_tasks_threads_processes_and_descriptors(self, kit: ModuleKit) -> None:
        async def live() -> None:
            async with running(kit) as module:
                for session in kit.users():
                    await ask(kit, module, session, module.actions[0])

        async def lives() -> None:
            for _ in range(3):
                await live()

        await live()  # what is made once and kept, such as a loop's own threads, is there from now on
        await _leaves_nothing(kit, lives)

    async def test_it_can_be_destroyed_during_a_call_which_then_leaves_nothing_behind(self, kit: ModuleKit) -> None:
        if kit.slow is None:
            pytest.skip("the kit has no slow action")
        name, given = kit.slow
        alice, bob = kit.users()

        async def live() -> None:
            async with running(kit) as module:
                await ask(kit, module, bob, module.actions[0])
                action = declared(module, name)
                slow = await a_call(kit, alice, action, validate_parameters(action, given))
                call = asyncio.ensure_future(module.delegate(slow))
                await asyncio.sleep(_MOMENT)
                try:
                    await bounded(module.destroy(), kit.grace, "destroy() during a call")
                finally:
                    call.cancel()
                await ended(call, kit.grace, f"{action.name}, cancelled after destroy(),")
                error = None if call.cancelled() else call.exception()
                if isinstance(error, Exception):
                    safe(error, f"{action.name} during destroy()")

        await live()  # what is made once and kept is there from now on
        await _leaves_nothing(kit, live)


async def _leaves_nothing(kit: ModuleKit, live: Callable[[], Awaitable[None]]) -> None:
    """Nothing may be left, or not for long; what is left once and not again was made once and kept."""
    left: list[str] = []
    for _ in range(2):
        before = resources()
        await live()
        left = await _left(kit, before)
        if not left:
            return
    raise AssertionError(f"after destroy() there are still {', '.join(left)}")


async def _left(kit: ModuleKit, before: Resources) -> list[str]:
    """What there is beyond ``before``, in words, once the module's grace is over."""
    left: list[str] = []
    for _ in range(20):
        left = resources().beyond(before)
        if not left:
            break
        await asyncio.sleep(kit.grace / 20)
    return left


async def _well_again(kit: ModuleKit, module: DelegationModule) -> None:
    """Wait until it says so, by itself."""
    until = time.monotonic() + kit.patience
    while not (await bounded(module.health_check(), kit.grace, "health_check() after an outage")).healthy:
        expect(time.monotonic() < until, "the downstream came back and the module does not notice")
        await asyncio.sleep(_MOMENT)


async def _started(kit: ModuleKit, module: DelegationModule) -> bool:
    """Whether it started; where it did not, it must say so in the one way after which the server tries again."""
    try:
        await bounded(module.initialize(), kit.patience, "initialize() without a downstream")
    except DownstreamUnavailable as error:
        safe(error, "initialize() without a downstream")
        return False
    except AssertionError:
        raise
    except Exception as error:
        name = type(error).__name__
        raise AssertionError(
            f"initialize() raised {name}: after DownstreamUnavailable alone it is tried again"
        ) from None
    return True
