"""The rules of the conformance suite on whom a module acts as."""

import asyncio
from dataclasses import replace

import pytest

from actas.core import ActasError, Action, DelegationModule, DelegationResult, LimitExceeded, Session
from actas.testing.attacks import HOSTILE_NAMES, io_during, planted
from actas.testing.judging import expect, own, principal, refusing
from actas.testing.module_kit import ModuleKit, ask, declared, harmless, running

_PAIRS = 24
"""Calls of each user, when they are interleaved."""
_AT_ONCE = 8


class IdentityRules:
    """Principals, receipts, interleaving. Inherited through ModuleConformance."""

    pytestmark = pytest.mark.anyio

    async def test_alice_and_bob_each_get_a_receipt_of_their_own_identity(self, kit: ModuleKit) -> None:
        async with running(kit) as module:
            for name in kit.parameters:
                declared(module, name)
            for action in module.actions:
                for session in kit.users():
                    own(module, session, await ask(kit, module, session, action))

    async def test_a_principal_is_pure_and_stable_and_differs_between_users(self, kit: ModuleKit) -> None:
        alice, bob = kit.users()
        async with running(kit) as module:
            first = principal(module, alice), principal(module, bob)
            expect(first[0] != first[1], "alice and bob have the same principal")
            doings = io_during(lambda: [(principal(module, alice), principal(module, bob)) for _ in range(100)])
            expect(not doings.events, f"principal() does I/O: {', '.join(sorted(doings.events))}")
            expect(set(doings.answer) == {first}, "principal() gives one session several names")
            again = replace(alice, token=None, session_id="another")
            expect(principal(module, again) == first[0], "the principal depends on the token or the session's id")
            await ask(kit, module, bob, module.actions[0])
            expect(principal(module, alice) == first[0], "alice's principal changed when bob made a call")

    @pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
    async def test_a_hostile_name_has_no_principal_and_no_way_in(self, kit: ModuleKit, name: str) -> None:
        hostile = kit.rename(kit.users()[0], name)
        async with running(kit) as module:
            with refusing("principal() accepts the name"):
                module.principal(hostile)
            for action in module.actions:
                with refusing(f"delegate() of {action.name} accepts the name"):
                    await ask(kit, module, hostile, action)

    async def test_parameters_cannot_choose_the_identity(self, kit: ModuleKit) -> None:
        alice, bob = kit.users()
        async with running(kit) as module:
            for action in module.actions:
                for name in {principal(module, bob), bob.subject, bob.username}:
                    parameters = planted(harmless(kit, action), name)
                    try:
                        result = await ask(kit, module, alice, action, parameters)
                    except ActasError:
                        continue
                    own(module, alice, result)

    async def test_interleaved_calls_of_two_users_never_mix(self, kit: ModuleKit) -> None:
        users = kit.users()
        async with running(kit) as module:
            for action in module.actions:
                alone = [[(await ask(kit, module, user, action)).data for _ in range(2)] for user in users]
                telling = all(one == other for one, other in alone) and alone[0] != alone[1]
                slots = asyncio.Semaphore(_AT_ONCE)
                made = await asyncio.gather(
                    *(_in_turn(slots, kit, module, users[turn % 2], action) for turn in range(_PAIRS * 2))
                )
                for turn, result in enumerate(made):
                    if result is not None:
                        own(module, users[turn % 2], result)
                        mixed = telling and result.data != alone[turn % 2][0]
                        expect(not mixed, f"{action.name}: interleaved, a user got other data than alone")
                for turn, who in enumerate(("alice", "bob")):
                    expect(any(made[turn::2]), f"none of {who}'s interleaved calls of {action.name} was carried out")


async def _in_turn(
    slots: asyncio.Semaphore, kit: ModuleKit, module: DelegationModule, session: Session, action: Action
) -> DelegationResult | None:
    """None where the module said that it was too much at once, as it may."""
    async with slots:
        try:
            return await ask(kit, module, session, action)
        except LimitExceeded:
            return None
