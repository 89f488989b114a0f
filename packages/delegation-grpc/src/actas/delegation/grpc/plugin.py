"""The entry point: says that there is a kind ``grpc``. grpcio and protobuf are imported when the first module is
made."""

from collections.abc import Iterable

from actas.core.hookspecs import hookimpl
from actas.core.protocols import CredentialUse, DelegationModule, ModuleKind
from actas.delegation.grpc.settings import GrpcSettings


@hookimpl
def actas_module_kinds() -> Iterable[ModuleKind]:
    """The kind ``grpc``: a service that takes bearer tokens, called with the user's own."""
    return [
        ModuleKind(
            name="grpc",
            settings=GrpcSettings,
            create=create,
            credential=CredentialUse.REQUIRED,
            bound_tokens=False,  # gRPC has no DPoP
        )
    ]


def create(name: str, settings: GrpcSettings) -> DelegationModule:
    """Make the module. It has no use for its ``name``: that stands in the audit and the tools already.

    Raises:
        ConfigurationError: the settings make no sense, or the descriptors cannot be used as they say.
    """
    from actas.delegation.grpc.module import GrpcDelegation

    return GrpcDelegation(settings)
