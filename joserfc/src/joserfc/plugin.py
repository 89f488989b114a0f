"""The entry point. It is imported as soon as a configuration names the kind, so it imports no driver."""

from collections.abc import Iterable

from actas.core.hookspecs import hookimpl
from actas.core.protocols import DelegationModule, ModuleKind

from joserfc.settings import JoserfcSettings


@hookimpl
def actas_module_kinds() -> Iterable[ModuleKind]:
    """The kind of module that this distribution offers."""
    return [ModuleKind(name="joserfc", settings=JoserfcSettings, create=create)]


def create(name: str, settings: JoserfcSettings) -> DelegationModule:
    """Make the module that a configuration calls ``name``."""
    from joserfc.module import Joserfc

    return Joserfc(settings)
