"""The entry point: says that there is a kind ``cedar``. The engine is imported when an authoriser is made."""

from collections.abc import Iterable

from actas.core.hookspecs import hookimpl
from actas.core.protocols import Authorizer, AuthorizerKind
from actas.policy.cedar.settings import CedarSettings


@hookimpl
def actas_authorizer_kinds() -> Iterable[AuthorizerKind]:
    """The kind ``cedar``: policies from files, evaluated in this process."""
    return [AuthorizerKind(name="cedar", settings=CedarSettings, create=create)]


def create(settings: CedarSettings) -> Authorizer:
    """Read the policies and make the authoriser.

    Raises:
        ConfigurationError: a file cannot be read, or what stands in it is no policy; says file and line.
    """
    from actas.policy.cedar.authorizer import CedarAuthorizer
    from actas.policy.cedar.policies import read_policies

    return CedarAuthorizer(read_policies(settings.policies))
