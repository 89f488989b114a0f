"""The entry point: says that there is a kind ``rest``. The client is imported when the first module is made."""

from collections.abc import Iterable

from actas.core.hookspecs import hookimpl
from actas.core.protocols import CredentialUse, DelegationModule, ModuleKind
from actas.delegation.rest.settings import RestSettings


@hookimpl
def actas_module_kinds() -> Iterable[ModuleKind]:
    """The kind ``rest``: a service that takes bearer tokens, called with the user's own."""
    return [ModuleKind(name="rest", settings=RestSettings, create=create, credential=CredentialUse.REQUIRED)]


def create(name: str, settings: RestSettings) -> DelegationModule:
    """Make the module. It has no use for its ``name``: that stands in the audit and the tools already.

    Raises:
        ConfigurationError: the settings make no sense, or the OpenAPI document cannot be used as they say.
    """
    from actas.delegation.rest.module import RestDelegation

    return RestDelegation(settings)
