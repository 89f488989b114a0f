"""Resources: data that a client reads by URI, as the user who reads it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, cast

from mcp.server.mcpserver.resources.templates import DEFAULT_RESOURCE_SECURITY
from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate

from actas.core import Action, ConfigurationError, DelegationCall, DelegationResult, NoParameters, Pipeline
from actas.mcp.completion import Completer, checked

ResourceFunction = Callable[[DelegationCall, Pipeline], Awaitable[object]]
"""Reads a resource. Gets the call, whose parameters are the template's variables, and the pipeline to delegate with;
returns text, bytes, other JSON data or a :class:`DelegationResult`."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource, or, where its URI has ``{variables}``, a template of many.

    ``function`` gets the call and the pipeline, and returns what is read.

    Raises:
        ConfigurationError: the URI is none, or its variables are not the fields of the action's parameters.
    """

    uri: str
    """A URI, or a template of some (RFC 6570). A variable holds no path: ``..`` and the like do not fit."""
    action: Action
    """Name, description, permission, scopes, and the template's variables as parameters."""
    function: ResourceFunction
    mime_type: str | None = None
    """Of what is read; where None, text is ``text/plain``, bytes ``application/octet-stream``, else JSON."""
    completions: Mapping[str, Completer] = field(default_factory=dict[str, Completer])
    """For variables of the template: what suggests values for them."""
    template: UriTemplate | None = field(init=False, compare=False, default=None)
    """The template, taken apart; None for a single resource."""

    def __post_init__(self) -> None:
        origin = f"the resource {self.action.name}"
        scheme, colon, rest = self.uri.partition(":")
        if not colon or not rest or not scheme.isascii() or not scheme.replace("+", "").isalnum():
            raise ConfigurationError(f"{origin}: {self.uri!r} is no URI: it needs a scheme, as in orders://mine")
        if not {"{", "}"}.isdisjoint(self.uri):
            try:
                object.__setattr__(self, "template", UriTemplate.parse(self.uri))
            except InvalidUriTemplate as error:
                raise ConfigurationError(f"{origin}: {self.uri!r} is no template that is understood here") from error
        _check_variables(origin, self.action, () if self.template is None else self.template.variable_names)
        checked(origin, self.action, self.completions)

    def variables(self, uri: str) -> Mapping[str, object] | None:
        """The template's variables in ``uri``; None where this is not its URI."""
        if self.template is None:
            return {} if uri == self.uri else None
        found = self.template.match(uri)
        return found if found is not None and DEFAULT_RESOURCE_SECURITY.validate(found) is None else None


def _check_variables(origin: str, action: Action, variables: Iterable[str]) -> None:
    declared = fields(cast("Any", action.parameters))  # Any: a dataclass
    needed = {each.name for each in declared if each.default is MISSING and each.default_factory is MISSING}
    names, variables = {each.name for each in declared}, set(variables)
    if not variables <= names or not needed <= variables:
        raise ConfigurationError(
            f"{origin}: the template has the variables {sorted(variables)} and the parameters the fields "
            f"{sorted(names)}: each variable needs its field, and each field its variable or a default"
        )


def create_delegation_resource(
    uri: str,
    name: str,
    description: str,
    *,
    module: str,
    action: str,
    arguments: Mapping[str, object] | Callable[[DelegationCall], Mapping[str, object]],
    parameters: type = NoParameters,
    permission: str | None = None,
    scopes: Iterable[str] = (),
    mime_type: str | None = None,
) -> Resource:
    """A resource that is read by delegating to a module.

    The caller needs both ``permission`` and what the module's action asks for.

    Args:
        arguments: what the action gets: fixed, or made from the call (``call.parameters`` has the template's
            variables, ``call.session`` is the caller).
    """
    own = Action(
        name=name, description=description, parameters=parameters, permission=permission, scopes=frozenset(scopes)
    )

    async def read(call: DelegationCall, pipeline: Pipeline) -> DelegationResult:
        made = arguments(call) if callable(arguments) else arguments
        return await pipeline.delegate(call.session, module, action, made, tool=name)

    return Resource(uri, own, read, mime_type)
