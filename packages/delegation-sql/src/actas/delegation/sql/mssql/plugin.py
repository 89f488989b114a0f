"""The entry point: says that there is a kind ``mssql``. The driver is imported when the first module is made."""

from collections.abc import Iterable

from actas.core.errors import ConfigurationError
from actas.core.hookspecs import hookimpl
from actas.core.protocols import CredentialUse, DelegationModule, ModuleKind
from actas.delegation.sql.mssql.settings import MssqlSettings


@hookimpl
def actas_module_kinds() -> Iterable[ModuleKind]:
    """The kind ``mssql``: SQL Server, as the user."""
    optional = CredentialUse.OPTIONAL
    return [ModuleKind(name="mssql", settings=MssqlSettings, create=create, tickets=optional, by_name=True)]


def create(name: str, settings: MssqlSettings) -> DelegationModule:
    """Make the module. It has no use for its ``name``: that stands in the audit and the tools already.

    Raises:
        ConfigurationError: the settings make no sense, or the extra ``mssql`` is not installed.
    """
    try:
        from actas.delegation.sql.mssql.module import MssqlDelegation
    except ModuleNotFoundError as error:
        if error.name not in ("pymssql", "sqlglot"):
            raise
        raise ConfigurationError('modules of kind mssql need: pip install "actas[mssql]"') from None

    return MssqlDelegation(settings)
