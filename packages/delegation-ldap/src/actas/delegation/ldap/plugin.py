"""The entry point: says that there is a kind ``ldap``. ldap3 is imported when the first module is made."""

import importlib.util
from collections.abc import Iterable

from actas.core.errors import ConfigurationError
from actas.core.hookspecs import hookimpl
from actas.core.protocols import CredentialUse, DelegationModule, ModuleKind
from actas.delegation.ldap.settings import LdapSettings


@hookimpl
def actas_module_kinds() -> Iterable[ModuleKind]:
    """The kind ``ldap``: a directory, as the user."""
    return [ModuleKind(name="ldap", settings=LdapSettings, create=create, tickets=CredentialUse.OPTIONAL)]


def create(name: str, settings: LdapSettings) -> DelegationModule:
    """Make the module. It has no use for its ``name``: that stands in the audit and the tools already.

    Raises:
        ConfigurationError: the settings make no sense, or the extra ``kerberos`` is needed and not installed.
    """
    from actas.delegation.ldap.module import LdapDelegation

    if settings.identity == "kerberos" and importlib.util.find_spec("gssapi") is None:
        raise ConfigurationError('identity: kerberos needs: pip install "actas-delegation-ldap[kerberos]"')
    return LdapDelegation(settings)
