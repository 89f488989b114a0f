"""The allow-list, and what each method on it becomes: a tool."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import cast

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from actas.core.models import Action, Effect, JsonSchema
from actas.core.naming import hyphenated, words
from actas.delegation.grpc import schemas
from actas.delegation.grpc.descriptors import Descriptors
from actas.delegation.grpc.settings import GrpcSettings, MethodSettings

METHOD = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*\.)*[A-Za-z_][A-Za-z0-9_]*/[A-Za-z_][A-Za-z0-9_]*")
"""`package.Service/Method`."""
NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_FREE = JsonSchema({"type": "object", "description": "The method's request. Ask the tool describe for its schema."})


@dataclass(frozen=True, slots=True)
class Signature:
    """What a method takes and gives."""

    request: type[Message]
    response: type[Message]
    streams: bool
    """Whether it answers with any number of messages."""
    schema: Mapping[str, object]
    """Of its parameters."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method that may be called."""

    name: str
    """`shop.v1.Orders/GetOrder`."""
    action: Action
    idempotent: bool
    seconds: float
    items: int


def chosen(settings: GrpcSettings, known: Sequence[str]) -> Iterator[str]:
    """The names among ``known`` that the allow-list has.

    Raises:
        ValueError: a pattern fits nothing.
    """
    for setting, patterns in (("allow", settings.allow), ("exclude", settings.exclude)):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in known):
                raise ValueError(f"{setting}: {pattern!r} fits no method of the descriptors")
    for name in known:
        if any(fnmatchcase(name, pattern) for pattern in settings.allow) and not any(
            fnmatchcase(name, pattern) for pattern in settings.exclude
        ):
            yield name


def signature(name: str, descriptors: Descriptors) -> Signature:
    """What the method called ``name`` takes and gives.

    Raises:
        ValueError: it is not there, or none that can be called here; says why.
    """
    method = descriptors.method(name)
    if method is None:
        raise ValueError("the descriptors have no such method")
    if method.client_streaming:
        raise ValueError("it takes a stream of messages, and a tool is called once: exclude it")
    request, response = method.input_type, method.output_type
    schema = schemas.parameters(request, descriptors.comments)
    return Signature(GetMessageClass(request), GetMessageClass(response), method.server_streaming, schema)


def method(name: str, settings: GrpcSettings, descriptors: Descriptors | None) -> Method:
    """The method called ``name``; with a schema of its own where there are descriptors.

    Raises:
        ValueError: it cannot become a tool; says why.
    """
    written = settings.methods.get(name, MethodSettings())
    permission = written.permission or settings.permission
    if not permission:
        raise ValueError("no permission: give it one, or the module")
    tool = written.tool or hyphenated(words(name.partition("/")[2]))
    if not NAME.fullmatch(tool):
        raise ValueError("tool: write names like get-order")
    found, said, level = None, None, None
    if descriptors is not None:
        found = signature(name, descriptors)
        said = descriptors.comments.get(name.replace("/", "."))
        level = _level(cast("MethodDescriptor", descriptors.method(name)))
    action = Action(
        name=tool,
        description=written.description or said or "",
        parameters=_FREE if found is None else JsonSchema(found.schema),
        permission=permission,
        scopes=frozenset(written.scopes),
        effect=written.effect or _EFFECTS.get(level, Effect.DESTRUCTIVE),
    )
    if len(action.description.split()) < 2:
        own = " ".join(words(name.partition("/")[2])).capitalize()
        action = replace(action, description=f"{action.description or own} ({name}).")
    return Method(
        name=name,
        action=action,
        idempotent=level in _EFFECTS if written.idempotent is None else written.idempotent,
        seconds=settings.limits.seconds if written.seconds is None else written.seconds,
        items=settings.limits.items if written.items is None else written.items,
    )


_EFFECTS: Mapping[int | None, Effect] = {
    MethodOptions.NO_SIDE_EFFECTS: Effect.READ,
    MethodOptions.IDEMPOTENT: Effect.WRITE,
}


def _level(method: MethodDescriptor) -> int:
    return method.GetOptions().idempotency_level
