"""Whether what an operator wrote makes sense."""

import re

from actas.core.errors import ConfigurationError
from actas.delegation.graphql.settings import GraphqlSettings, LimitSettings
from actas.http import network_problems, service_url

_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")


def check(settings: GraphqlSettings) -> None:
    """See whether ``settings`` make sense.

    Raises:
        ConfigurationError: with every problem, each with its path.
    """
    problems = [
        *_address(settings.url),
        *(f"networks: {problem}" for problem in network_problems(settings.networks)),
        *_bounds(settings.limits),
    ]
    if settings.operations is None and not settings.free_documents:
        problems.append("operations: missing, and free_documents is not set: there would be no tools")
    if settings.operations is not None and settings.schema_file is None:
        problems.append("schema_file: missing; tools from operations are made before the service is asked")
    permissions = settings.permissions
    if not permissions.read or not permissions.write or permissions.read == permissions.write:
        problems.append("permissions: read and write each need one of their own")
    if not all(_NAME.fullmatch(name) for name in settings.size_arguments):
        problems.append("size_arguments: one of them is no GraphQL name")
    if problems:
        raise ConfigurationError(problems)


def _address(url: str) -> list[str]:
    try:
        service_url(url)
    except ValueError as error:
        return [f"url: {error}"]
    return []


def _bounds(limits: LimitSettings) -> list[str]:
    return [f"limits.{name}: must be more than 0" for name, value in vars(limits).items() if not value > 0]
