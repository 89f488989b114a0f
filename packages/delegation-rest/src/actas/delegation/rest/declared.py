"""All operations of a module: those of its table, of its document, and its own two; or all that is wrong with them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import get_args

from actas.core.errors import ConfigurationError
from actas.core.models import Action, Effect, NoParameters
from actas.delegation.rest.headers import HeaderRules
from actas.delegation.rest.headers import problems as header_problems
from actas.delegation.rest.openapi import RESERVED, Reader
from actas.delegation.rest.operations import (
    EFFECTS,
    Operation,
    Place,
    Request,
    Target,
    by_allow_list,
    by_places,
    schema,
)
from actas.delegation.rest.settings import Method, OperationSettings, RestSettings
from actas.http import base_of, network_problems
from actas.http.paths import AllowList, Template
from actas.http.query import never_a_parameter

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_WITH_BODY = ("POST", "PUT", "PATCH")
REQUEST, HEALTH = "request", "health"


def operations(settings: RestSettings) -> list[Operation]:
    """What the module can do.

    Raises:
        ConfigurationError: with everything that is wrong, each problem with its path.
    """
    problems = [*_plain_problems(settings), *header_problems(settings)]
    made = [each for each in (_from_table(settings, name, problems) for name in settings.operations) if each]
    if settings.openapi is not None:
        reader = Reader(settings, settings.openapi, HeaderRules(settings))
        made += reader.operations()
        problems += reader.problems
    made += [each for each in (_requests(settings, problems), _health(settings, problems)) if each]
    names = [each.action.name for each in made]
    problems += [f"operations: {name} is there twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    problems += _page_problems(settings, made)
    if problems:
        raise ConfigurationError(problems)
    return [replace(each, pages=settings.pages.get(each.action.name)) for each in made]


def _from_table(settings: RestSettings, name: str, problems: list[str]) -> Operation | None:
    written = settings.operations[name]
    path = f"operations.{name}"
    if name in RESERVED or not _NAME.fullmatch(name):
        problems.append(f"{path}: write names like get-customer; {', '.join(sorted(RESERVED))} are taken")
        return None
    if len(written.description.split()) < 2:
        problems.append(f"{path}.description: say in a sentence what it does; a model chooses by it")
    permission = _permission(settings, written.permission, path, problems)
    try:
        template = Template(written.path)
        places = _places(template, written)
    except ValueError as error:
        problems.append(f"{path}: {error}")
        return None
    properties = {key: _ANY_BODY if place.where == "body" else {"type": "string"} for key, place in places.items()}
    required = [key for key, place in places.items() if place.where == "path"]
    action = Action(
        name=name,
        description=written.description,
        parameters=schema(properties, required),
        permission=permission,
        scopes=frozenset(written.scopes),
        effect=written.effect or EFFECTS.get(written.method, Effect.DESTRUCTIVE),
    )
    return Operation(action, by_places(written.method, template, places))


_ANY_BODY = {"type": ["object", "array"], "description": "The JSON body."}


def _places(template: Template, written: OperationSettings) -> dict[str, Place]:
    places = {name: Place("path", name) for name in template.names}
    for name in written.query:
        if not name or name in places or never_a_parameter(name):
            raise ValueError(f"query: {name!r} is there already, or is no parameter that may be sent")
        places[name] = Place("query", name)
    if written.body if written.body is not None else written.method in _WITH_BODY:
        if written.method in ("GET", "HEAD") or "body" in places:
            raise ValueError("body: GET and HEAD have none, and no parameter may have that name besides")
        places["body"] = Place("body", "body")
    return places


def _requests(settings: RestSettings, problems: list[str]) -> Operation | None:
    if settings.requests is None:
        return None
    written = settings.requests
    permission = _permission(settings, written.permission, "requests", problems)
    try:
        if not written.allow:
            raise ValueError("name at least one method and path")
        allowed = AllowList(written.allow, get_args(Method))
    except ValueError as error:
        problems.append(f"requests.allow: {error}")
        return None
    reads = all(EFFECTS.get(method) is Effect.READ for method in allowed.methods)
    action = Action(
        name=REQUEST,
        tool="delegate",
        description=f"Send a request to the service as yourself. Allowed are: {'; '.join(written.allow)}.",
        parameters=Request,
        permission=permission,
        scopes=frozenset(written.scopes),
        effect=Effect.READ if reads else Effect.DESTRUCTIVE,
    )
    return Operation(action, by_allow_list(allowed))


def _health(settings: RestSettings, problems: list[str]) -> Operation | None:
    written = settings.health
    permission = _permission(settings, written.permission, "health", problems)
    try:
        template = Template(written.path)
        if template.names:
            raise ValueError("it has no parameters")
    except ValueError as error:
        problems.append(f"health.path: {error}")
        return None
    action = Action(
        name=HEALTH,
        description="Ask the service, as yourself, how it is.",
        parameters=NoParameters,
        permission=permission,
    )
    return Operation(action, lambda _: Target("GET", template.text))


def _permission(settings: RestSettings, own: str | None, path: str, problems: list[str]) -> str | None:
    permission = own or settings.permission
    if not permission:
        problems.append(f"{path}.permission: missing; set it here or for the whole module, nothing is open by itself")
    return permission


def _page_problems(settings: RestSettings, made: Sequence[Operation]) -> Iterator[str]:
    effects = {each.action.name: each.action.effect for each in made}
    for name, pages in settings.pages.items():
        if name not in effects or name in (REQUEST, HEALTH):
            yield f"pages.{name}: there is no such operation"
        elif effects[name] is not Effect.READ:
            yield f"pages.{name}: only what reads has pages"
        if not 1 <= pages.most <= 100:
            yield f"pages.{name}.most: must be 1 to 100"
        if not pages.parameter or never_a_parameter(pages.parameter):
            yield f"pages.{name}.parameter: is no parameter that may be sent"


def _plain_problems(settings: RestSettings) -> Iterator[str]:
    try:
        base_of(settings.base_url)
    except ValueError as error:
        yield f"base_url: {error}"
    for problem in network_problems(settings.networks):
        yield f"networks: {problem}"
    for name, value in vars(settings.limits).items():
        if not value > 0:
            yield f"limits.{name}: must be more than 0"
    if settings.limits.attempts > 10:
        yield "limits.attempts: 10 at most"
    if not settings.content_types or not all("/" in kind for kind in settings.content_types):
        yield "content_types: names at least one type such as application/json"
