"""From an OpenAPI document to operations. What of it cannot be carried is a problem that says so, never left out."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import cast

from actas.core import naming
from actas.core.models import Action, Effect
from actas.delegation.rest.answers import is_json
from actas.delegation.rest.document import Document, items, table, words
from actas.delegation.rest.headers import HeaderRules
from actas.delegation.rest.operations import EFFECTS, JSON, Operation, Place, by_places, schema
from actas.delegation.rest.schemas import Schemas
from actas.delegation.rest.settings import ChangeSettings, OpenApiSettings, RestSettings
from actas.http.paths import Template
from actas.http.query import Style, never_a_parameter

METHODS = ("get", "post", "put", "patch", "delete")
RESERVED = frozenset({"delegate", "health", "request"})
"""Names of our own actions and tools."""
_MOST = 500
"""Operations; nobody finds one among more."""
_LARGEST, _LARGEST_TOGETHER = 100_000, 5_000_000
"""Characters of one operation's parameters, and of all that are taken: each model reads those that it sees."""
_LONGEST_DESCRIPTION = 1000
_ANYTHING: Mapping[str, object] = {}
"""A schema that everything fits."""
_IGNORED_HEADERS = frozenset({"accept", "authorization", "content-type"})
"""As the specification has it (OpenAPI 3.1, Parameter Object)."""
_STYLES: Mapping[tuple[str, bool], Style] = {
    ("form", True): "repeated",
    ("form", False): "comma",
    ("spaceDelimited", False): "space",
    ("spaceDelimited", True): "repeated",
    ("pipeDelimited", False): "pipe",
    ("pipeDelimited", True): "repeated",
    ("deepObject", True): "deep",
    ("deepObject", False): "deep",
}


@dataclass(frozen=True)
class Found:
    """An operation of the document."""

    name: str
    id: str
    method: str
    path: str
    tags: tuple[str, ...]
    text: Mapping[str, object]
    shared: list[object]
    """Parameters of the whole path."""

    @property
    def request(self) -> str:
        """Method and path, as the settings have them."""
        return f"{self.method.upper()} {self.path}"

    def called(self, pattern: str) -> bool:
        """Whether ``pattern`` means this one."""
        names = (self.name, self.id, self.request, *(f"tag:{tag}" for tag in self.tags))
        return any(fnmatchcase(name, pattern) for name in names)


class Reader:
    """Makes operations of the document that ``settings`` name; :attr:`problems` has what is wrong, with paths."""

    def __init__(self, settings: RestSettings, openapi: OpenApiSettings, headers: HeaderRules) -> None:
        self._settings = settings
        self._openapi = openapi
        self._headers = headers
        self._given = {name.lower() for name in (*settings.headers, *settings.identity_headers)}
        self.problems: list[str] = []

    def operations(self) -> list[Operation]:
        """Those that are chosen, in the document's order."""
        try:
            document = Document(self._openapi.document)
            found = list(_found(document))
        except ValueError as error:
            self.problems.append(f"openapi.document: {error}")
            return []
        chosen = self._chosen(found)
        if len(chosen) > _MOST:
            self.problems.append(f"openapi.include: {len(chosen)} operations are too many; choose {_MOST} at most")
            return []
        made: list[Operation] = []
        size = 0
        for each in self._named_apart(chosen):
            try:
                operation, characters = self._operation(document, each)
            except ValueError as error:
                self.problems.append(f"openapi: {each.name} ({each.request}): {error}; or put it into exclude")
                continue
            made.append(operation)
            size += characters
        if size > _LARGEST_TOGETHER:
            self.problems.append(
                f"openapi.include: the parameters of all operations are {size} characters; choose fewer"
            )
        return made

    def _named_apart(self, chosen: list[Found]) -> list[Found]:
        """One of each name; where there are more, nobody could tell them apart."""
        by_name: dict[str, list[Found]] = {}
        for each in chosen:
            by_name.setdefault(each.name, []).append(each)
        for name, same in by_name.items():
            if len(same) > 1:
                requests = ", ".join(each.request for each in same)
                self.problems.append(
                    f"openapi: {name} would be the name of {requests}; give them operationIds that differ, or put all"
                    " but one into exclude, by method and path"
                )
        return [same[0] for same in by_name.values()]

    def _chosen(self, found: list[Found]) -> list[Found]:
        lists = {"include": self._openapi.include, "exclude": self._openapi.exclude}
        for setting, patterns in lists.items():
            for pattern in patterns:
                if not any(each.called(pattern) for each in found):
                    self.problems.append(f"openapi.{setting}: {pattern!r} fits no operation of the document")
        chosen = [
            each
            for each in found
            if (not self._openapi.include or any(each.called(pattern) for pattern in self._openapi.include))
            and not any(each.called(pattern) for pattern in self._openapi.exclude)
        ]
        for name in self._openapi.operations:
            if not any(name in (each.name, each.id) for each in chosen):
                self.problems.append(f"openapi.operations.{name}: no operation that is taken has this name")
        for tag in self._openapi.tags:
            if not any(tag in each.tags for each in chosen):
                self.problems.append(f"openapi.tags.{tag}: no operation that is taken has this tag")
        return chosen

    def _operation(self, document: Document, found: Found) -> tuple[Operation, int]:
        """The operation, and how many characters its parameters are."""
        changed = self._openapi.operations
        change = changed.get(found.name) or changed.get(found.id) or ChangeSettings()
        template, schemas = Template(found.path), Schemas(document)
        places: dict[str, Place] = {}
        properties: dict[str, object] = {}
        required: list[str] = []
        for parameter in _parameters(document, found):
            place = self._place(parameter)
            if place is None:
                continue
            name = _free_name(place, places)
            places[name], properties[name] = place, _described(parameter, schemas)
            if parameter.get("required") is True or place.where == "path":
                required.append(name)
        if missing := set(template.names) - {place.name for place in places.values() if place.where == "path"}:
            raise ValueError(f"the path's {', '.join(sorted(missing))} is not described")
        content_type = JSON
        body = table(found.text.get("requestBody"))
        if body and (sent := _body(document.table(body))) is not None:
            if found.method == "get":
                raise ValueError("a GET with a body means something else to each server")
            content_type, media, needed = sent
            name = _free_name(Place("body", "body"), places)
            places[name], properties[name] = Place("body", "body"), schemas.converted(media.get("schema", _ANYTHING))
            required += [name] if needed else []
        more = {"$defs": schemas.definitions} if schemas.definitions else {}
        described = schema(properties, required, **more)
        size = len(json.dumps(described.document))
        if size > _LARGEST:
            raise ValueError(f"its parameters are {size} characters, which no model should read; {_LARGEST} at most")
        action = Action(
            name=found.name,
            description=change.description or _description(found),
            parameters=described,
            permission=self._permission(found, change),
            scopes=frozenset(change.scopes),
            effect=change.effect or EFFECTS.get(found.method.upper(), Effect.DESTRUCTIVE),
        )
        return Operation(action, by_places(found.method.upper(), template, places, content_type)), size

    def _permission(self, found: Found, change: ChangeSettings) -> str:
        by_tag = {self._openapi.tags[tag] for tag in found.tags if tag in self._openapi.tags}
        if change.permission is None and len(by_tag) > 1:
            raise ValueError("its tags ask for different permissions; say which in openapi.operations")
        permission = change.permission or next(iter(by_tag), None) or self._settings.permission
        if not permission:
            raise ValueError("no permission: set one for its tag, in openapi.operations, or for the whole module")
        return permission

    def _place(self, parameter: Mapping[str, object]) -> Place | None:
        """Where a parameter goes; None for one that is not the caller's to give."""
        name, where = parameter.get("name"), parameter.get("in")
        if not isinstance(name, str) or not name:
            raise ValueError("a parameter has no name")
        needed = parameter.get("required") is True
        match where:
            case "path":
                if parameter.get("style", "simple") != "simple" or "content" in parameter:
                    raise ValueError(f"the path parameter {name} has a style that is not supported")
                return Place("path", name)
            case "query":
                if never_a_parameter(name):
                    raise ValueError(f"the query parameter {name} would change who calls, or what with")
                return Place("query", name, _style(parameter, name))
            case "header":
                if name.lower() in _IGNORED_HEADERS or name.lower() in self._given:
                    return None
                if self._headers.allows(name):
                    return Place("header", name)
            case _:
                pass  # a cookie
        if needed:
            raise ValueError(f"it needs the {where} parameter {name}: callers may not give it (caller_headers)")
        return None


def _found(document: Document) -> Iterator[Found]:
    for path, value in table(document.root.get("paths")).items():
        item = document.table(value)
        for method in METHODS:
            if method not in item:
                continue
            text = document.table(item[method])
            operation_id = text.get("operationId")
            identifier = operation_id if isinstance(operation_id, str) else ""
            tags = tuple(tag for tag in items(text.get("tags")) if isinstance(tag, str))
            name = name_of(identifier, method, path)
            yield Found(name, identifier, method, path, tags, text, items(item.get("parameters")))


def name_of(identifier: str, method: str, path: str) -> str:
    """``getCustomerById`` becomes ``get-customer-by-id``; without an identifier, method and path say it."""
    plain = re.sub(r"\{([^{}]*)\}", r" by \1 ", path)
    parts = naming.words(identifier or f"{method} {plain}")
    if not parts or not parts[0][0].isalpha() or "-".join(parts) in RESERVED:
        parts.insert(0, method)
    return naming.hyphenated(parts)


def _parameters(document: Document, found: Found) -> list[Mapping[str, object]]:
    """The path's and the operation's own, which win."""
    every: dict[tuple[object, object], Mapping[str, object]] = {}
    for raw in (*found.shared, *items(found.text.get("parameters"))):
        parameter = document.table(raw)
        every[str(parameter.get("in")), str(parameter.get("name"))] = parameter
    return list(every.values())


def _style(parameter: Mapping[str, object], name: str) -> Style:
    if "content" in parameter:
        if not all(is_json(kind) for kind in table(parameter["content"])):
            raise ValueError(f"the query parameter {name} has a content type that is not supported")
        return "json"
    style = parameter.get("style", "form")
    made = _STYLES.get((str(style), parameter.get("explode", style == "form") is True))
    if made is None:
        raise ValueError(f"the query parameter {name} has a style that is not supported")
    return made


def _free_name(place: Place, taken: Mapping[str, Place]) -> str:
    """What a model calls it: as the document does, as far as tools may have such names."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", place.name)[:64]
    for name in (plain, f"{place.where}_{plain}"[:64]):
        if name not in taken:
            return name
    raise ValueError(f"two parameters would be called {plain}")


def _described(parameter: Mapping[str, object], schemas: Schemas) -> object:
    raw = parameter.get("schema")
    if raw is None:
        raw = next((table(media).get("schema") for media in table(parameter.get("content")).values()), None)
    made = schemas.converted(_ANYTHING if raw is None else raw)
    said = words(parameter.get("description"), _LONGEST_DESCRIPTION)
    return {**cast("dict[str, object]", made), "description": said} if said and isinstance(made, dict) else made


def _body(body: Mapping[str, object]) -> tuple[str, Mapping[str, object], bool] | None:
    """Content type, media type object, and whether it must be sent; None where there is no body."""
    content = table(body.get("content"))
    if not content:
        return None
    for kind, media in content.items():
        if is_json(kind.partition(";")[0].strip().lower()):
            return kind.partition(";")[0].strip().lower(), table(media), body.get("required") is True
    raise ValueError("its body is no JSON")


def _description(found: Found) -> str:
    said = [words(found.text.get(key), _LONGEST_DESCRIPTION) for key in ("summary", "description")]
    text = ". ".join(each.rstrip(".") for each in dict.fromkeys(said) if each)
    if len(text.split()) < 2:
        return f"{text} ({found.method.upper()} {found.path})".strip()
    return words(f"{text}.", _LONGEST_DESCRIPTION)
