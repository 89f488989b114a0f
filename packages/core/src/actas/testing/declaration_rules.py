"""The rules of the conformance suite on what a module declares."""

import re
from collections.abc import Sequence
from dataclasses import is_dataclass, replace

import pytest

from actas.core import Action, CredentialUse, DelegationModule, Effect, JsonSchema, NoParameters
from actas.mcp.schema import check_declaration
from actas.testing.declarations import (
    could_carry_identity,
    dataclasses_in,
    field_types,
    imports_of,
    kinds_of,
    plain_secrets,
    undocumented_fields,
)
from actas.testing.judging import expect
from actas.testing.module_kit import ModuleKit, bounded, running

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_NOT_A_PLUGINS = ("actas.mcp", "actas.oauth", "actas.cli", "actas.testing")


class DeclarationRules:
    """Actions, parameters, settings, imports. Inherited through ModuleConformance."""

    pytestmark = pytest.mark.anyio

    def test_it_satisfies_the_protocol(self, kit: ModuleKit) -> None:
        module: object = kit.make()
        is_one = isinstance(module, DelegationModule)  # pyright: ignore[reportUnnecessaryIsInstance] -- foreign code
        expect(is_one, f"{type(module).__name__} lacks a member of DelegationModule")

    async def test_each_action_has_a_name_and_a_description_that_a_model_can_use(self, kit: ModuleKit) -> None:
        async with running(kit) as module:
            names = [action.name for action in module.actions]
            expect(bool(names), "a module without actions does nothing")
            expect(len(set(names)) == len(names), f"an action's name is used twice: {names}")
            for action in module.actions:
                for name in (action.name, action.tool or action.name):
                    expect(_NAME.fullmatch(name) is not None, f"{name!r}: write names like 'table-details'")
                expect(len(action.description.split()) >= 2, f"{action.name} has no description for a model")
                expect(isinstance(action.effect, Effect), f"{action.name}: effect is no Effect")  # pyright: ignore[reportUnnecessaryIsInstance] -- foreign code
                expect(action.timeout is None or action.timeout > 0, f"{action.name}: a timeout is more than 0 s")

    async def test_its_actions_stay_the_same_for_its_whole_life(self, kit: ModuleKit) -> None:
        module = kit.make()
        before = list(module.actions)
        try:
            await bounded(module.initialize(), kit.patience, "initialize()")
            during = list(module.actions)
        finally:
            await bounded(module.destroy(), kit.grace, "destroy()")
        expect(before == during == list(module.actions), "the actions changed between start and end")
        again = list(kit.make().actions)
        expect(_plain(before) == _plain(again), "two modules of one making have different actions")

    def test_every_parameter_has_a_docstring_that_a_model_reads(self, kit: ModuleKit) -> None:
        for action in kit.make().actions:
            declared = action.parameters
            if isinstance(declared, JsonSchema):
                check_declaration(declared)  # somebody else's words: that they are a schema is all we can ask
                continue
            expect(is_dataclass(declared), f"the parameters of {action.name} are no dataclass")
            missing = undocumented_fields(declared)
            expect(not missing, f"{action.name}: no docstring under {', '.join(missing)}")

    def test_no_parameter_could_carry_an_identity(self, kit: ModuleKit) -> None:
        for action in kit.make().actions:
            declared = action.parameters
            if isinstance(declared, JsonSchema):
                continue  # the downstream's own: whom they name is its business, who acts is said by the credential
            names = [name for each in dataclasses_in(declared) for name in field_types(each)]
            carriers = [name for name in names if could_carry_identity(name)]
            expect(not carriers, f"{action.name}: who acts is the session's to say, not {', '.join(carriers)}'s")

    def test_its_settings_are_a_dataclass_with_documented_fields(self, kit: ModuleKit) -> None:
        if kit.settings is None:
            pytest.skip("the kit names no settings")
        expect(is_dataclass(kit.settings), f"{kit.settings.__name__} is no dataclass")
        missing = undocumented_fields(kit.settings)
        expect(not missing, f"no docstring under {', '.join(missing)}: an operator reads it")

    def test_a_setting_that_holds_a_secret_cannot_be_printed(self, kit: ModuleKit) -> None:
        if kit.settings is None:
            pytest.skip("the kit names no settings")
        plain = plain_secrets(kit.settings)
        expect(not plain, f"{', '.join(plain)}: whatever prints the settings prints it; make it an actas.core.Secret")

    def test_the_plugin_offers_the_kind_that_was_tried(self, kit: ModuleKit) -> None:
        if kit.plugin is None:
            pytest.skip("the kit names no plug-in module")
        kinds = kinds_of(kit.plugin)
        expect(bool(kinds), f"{kit.plugin} offers no kind of module: is actas_module_kinds() marked with @hookimpl?")
        fitting = [kind for kind in kinds if kit.settings in (None, kind.settings)]
        expect(bool(fitting), f"{kit.plugin} offers kinds with other settings than the kit's")
        for kind in fitting:
            expect(_NAME.fullmatch(kind.name) is not None, f"{kind.name!r}: write kinds like 'table-store'")
            for what, use, given in (
                ("credential", kind.credential, kit.credentials is not None),
                ("ticket", kind.tickets, kit.granter is not None),
            ):
                lie = use is CredentialUse.NEVER and given
                expect(not lie, f"{kind.name} says that it never uses a {what}, and is tried with some")
                lack = use is CredentialUse.REQUIRED and not given
                expect(not lack, f"{kind.name} says that it needs a {what}, and the kit has none")

    def test_importing_the_plugin_imports_no_driver_and_nothing_of_the_server(self, kit: ModuleKit) -> None:
        if kit.plugin is None:
            pytest.skip("the kit names no plug-in module")
        loaded = imports_of(kit.plugin, [*kit.heavy_imports, *_NOT_A_PLUGINS])
        expect(not loaded, f"{kit.plugin} imports {', '.join(loaded)}: import it in create()")


def _plain(actions: Sequence[Action]) -> list[tuple[Action, object]]:
    """The actions so that two schemas that say the same are the same."""
    return [
        (replace(each, parameters=NoParameters), each.parameters.document)
        if isinstance(each.parameters, JsonSchema)
        else (each, None)
        for each in actions
    ]
