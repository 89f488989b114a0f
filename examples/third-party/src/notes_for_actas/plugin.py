"""What the entry point names. Imported before the settings are read, so it imports nothing that costs."""

from collections.abc import Iterable

from actas.core.hookspecs import hookimpl
from actas.core.protocols import DelegationModule, ModuleKind
from notes_for_actas.settings import NotesSettings


@hookimpl
def actas_module_kinds() -> Iterable[ModuleKind]:
    """The kind `notes`."""
    return [ModuleKind(name="notes", settings=NotesSettings, create=create)]


def create(name: str, settings: NotesSettings) -> DelegationModule:
    """A module with these settings."""
    from notes_for_actas.module import Notes

    return Notes(settings)
