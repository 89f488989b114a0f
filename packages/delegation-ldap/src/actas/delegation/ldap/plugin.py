"""The entry point: says that there is a kind ``ldap``. ldap3 is imported when the first module is made."""

import importlib.util
from collections.abc import Iterable

from actas.core.errors import ConfigurationError
from actas.core.hookspecs import hookimpl
from actas.core.protocols import CredentialUse, DelegationModule, ModuleKind
from actas.delegation.ldap.settings import LdapSettings

_OF_KERBEROS = ("gssapi", "cryptography")
"""What ldap3 imports when somebody logs in with a ticket: for the ticket, and for the channel's binding to TLS."""


@hookimpl
def actas_module_kinds() -> Iterable[ModuleKind]:
    """The kind ``ldap``: a directory, as the user."""
    optional = CredentialUse.OPTIONAL
    return [ModuleKind(name="ldap", settings=LdapSettings, create=create, tickets=optional, by_name=True)]


def create(name: str, settings: LdapSettings) -> DelegationModule:
    """Make the module. It has no use for its ``name``: that stands in the audit and the tools already.

    Raises:
        ConfigurationError: the settings make no sense, or the extra ``kerberos`` is needed and not installed.
    """
    from actas.delegation.ldap.module import LdapDelegation

    missing = [name for name in _OF_KERBEROS if importlib.util.find_spec(name) is None]
    if settings.identity == "kerberos" and missing:
        raise ConfigurationError('identity: kerberos needs: pip install "actas-delegation-ldap[kerberos]"')
    return LdapDelegation(settings)
