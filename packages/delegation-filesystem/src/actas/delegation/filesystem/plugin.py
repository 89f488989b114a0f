"""The entry point: says that there is a kind ``filesystem``. What opens files is imported when one is made."""

import os
from collections.abc import Iterable

from actas.core.errors import ConfigurationError
from actas.core.hookspecs import hookimpl
from actas.core.protocols import DelegationModule, ModuleKind
from actas.delegation.filesystem.settings import FilesystemSettings


@hookimpl
def actas_module_kinds() -> Iterable[ModuleKind]:
    """The kind ``filesystem``: a folder for each user."""
    return [ModuleKind(name="filesystem", settings=FilesystemSettings, create=create, by_name=True)]


def create(name: str, settings: FilesystemSettings) -> DelegationModule:
    """Make the module. It has no use for its ``name``: that stands in the audit and the tools already.

    Raises:
        ConfigurationError: the settings make no sense, or this is not Linux.
    """
    if not hasattr(os, "O_PATH"):
        raise ConfigurationError(
            "kind: filesystem works on Linux only; other systems cannot name a file without opening it"
        )
    from actas.delegation.filesystem.module import FilesystemDelegation

    return FilesystemDelegation(settings)
