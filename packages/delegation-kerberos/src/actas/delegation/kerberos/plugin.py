"""The entry point: says that there is a kind ``kerberos``. The libraries are imported when the first module is made."""

from collections.abc import Iterable

from actas.core.hookspecs import hookimpl
from actas.core.protocols import DelegationModule, ModuleKind
from actas.delegation.kerberos.settings import KerberosSettings


@hookimpl
def actas_module_kinds() -> Iterable[ModuleKind]:
    """The kind ``kerberos``: services of a Kerberos realm, with tickets that the KDC makes out to the user."""
    return [
        ModuleKind(name="kerberos", settings=KerberosSettings, create=create, grants_tickets=True, by_name=True),
    ]


def create(name: str, settings: KerberosSettings) -> DelegationModule:
    """Make the module. It has no use for its ``name``: that stands in the audit and the tools already.

    Raises:
        ConfigurationError: the settings make no sense.
    """
    from actas.delegation.kerberos.module import KerberosDelegation

    return KerberosDelegation(settings)
