"""The entry point: says that there is a kind ``sql``. The driver is imported when the first module is made."""

from collections.abc import Iterable

from actas.core.hookspecs import hookimpl
from actas.core.protocols import CredentialUse, DelegationModule, ModuleKind
from actas.delegation.sql.settings import SqlSettings


@hookimpl
def actas_module_kinds() -> Iterable[ModuleKind]:
    """The kind ``sql``: PostgreSQL, logged in to as the user."""
    optional = CredentialUse.OPTIONAL
    return [
        ModuleKind(name="sql", settings=SqlSettings, create=create, credential=optional, tickets=optional, by_name=True)
    ]


def create(name: str, settings: SqlSettings) -> DelegationModule:
    """Make the module. Its ``name`` is part of what its cursors are good for.

    Raises:
        ConfigurationError: the settings make no sense.
    """
    from actas.delegation.sql.module import SqlDelegation

    return SqlDelegation(settings, name)
