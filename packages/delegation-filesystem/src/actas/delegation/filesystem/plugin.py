"""The entry point: says that there is a kind ``filesystem``. What opens files is imported when one is made."""

from collections.abc import Iterable

from actas.core.hookspecs import hookimpl
from actas.core.protocols import DelegationModule, ModuleKind
from actas.delegation.filesystem.settings import FilesystemSettings


@hookimpl
def actas_module_kinds() -> Iterable[ModuleKind]:
    """The kind ``filesystem``: a folder for each user."""
    return [ModuleKind(name="filesystem", settings=FilesystemSettings, create=create)]


def create(name: str, settings: FilesystemSettings) -> DelegationModule:
    """Make the module. It has no use for its ``name``: that stands in the audit and the tools already.

    Raises:
        ConfigurationError: the settings make no sense.
    """
    from actas.delegation.filesystem.module import FilesystemDelegation

    return FilesystemDelegation(settings)
