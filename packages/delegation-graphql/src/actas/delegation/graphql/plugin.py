"""The entry point: says that there is a kind ``graphql``. graphql-core is imported when the first module is made."""

from collections.abc import Iterable

from actas.core.hookspecs import hookimpl
from actas.core.protocols import CredentialUse, DelegationModule, ModuleKind
from actas.delegation.graphql.settings import GraphqlSettings


@hookimpl
def actas_module_kinds() -> Iterable[ModuleKind]:
    """The kind ``graphql``: a GraphQL service, asked with a token exchanged for the caller's."""
    return [ModuleKind(name="graphql", settings=GraphqlSettings, create=create, credential=CredentialUse.REQUIRED)]


def create(name: str, settings: GraphqlSettings) -> DelegationModule:
    """Make the module. It has no use for its ``name``: that stands in the audit and the tools already.

    Raises:
        ConfigurationError: the settings make no sense, or what they name cannot be read.
    """
    from actas.delegation.graphql.module import GraphqlDelegation

    return GraphqlDelegation(settings)
