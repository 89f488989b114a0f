"""Between JSON and messages, by protobuf's own ``json_format``; bounded before, and stricter than it about names."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, EncodeError, Message
from google.protobuf.message_factory import GetMessageClass

from actas.core.errors import InvalidParameters, LimitExceeded
from actas.delegation.grpc.failures import AnswerTooLarge, UnexpectedAnswer
from actas.delegation.grpc.schemas import is_map, well_known
from actas.delegation.grpc.settings import LimitSettings

_FREE = frozenset({"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"})


@dataclass(frozen=True, slots=True)
class _Place:
    """What may stand under one name of a message."""

    form: Literal["one", "list", "map"]
    message: Descriptor | None
    """What each of them is; None for what has no names within."""
    free: bool = False
    """Any JSON will do."""
    text: bool = False
    """Only text will do: protobuf takes numbers for enums, and cuts them until they fit."""


_Shape = Mapping[str, _Place]


class _Misfit(Exception):
    """Parameters that cannot be the message."""


class Codec:
    """Converts the messages of one service. Keeps what it found out about their types."""

    def __init__(self, pool: DescriptorPool, limits: LimitSettings) -> None:
        self._pool = pool
        self._limits = limits
        self._shapes: dict[str, _Shape] = {}

    def encoded(self, kind: type[Message], parameters: Mapping[str, object]) -> bytes:
        """The message of the type ``kind`` that ``parameters`` are, as it is sent.

        Raises:
            InvalidParameters: they are none.
            LimitExceeded: they are too much.
        """
        limits = self._limits
        try:
            _Fitting(self, limits).message(parameters, cast("Descriptor", kind.DESCRIPTOR), 1)
            message = json_format.ParseDict(cast("dict[str, object]", parameters), kind(), descriptor_pool=self._pool)
            raw = message.SerializeToString()
        except OverflowError:
            raise LimitExceeded(
                "The parameters are too large or too deeply nested. Send less.", detail="limits.values, limits.depth"
            ) from None
        except _Misfit as misfit:
            raise InvalidParameters(detail=f"no such message: {misfit}") from None
        except (json_format.ParseError, EncodeError, ValueError, TypeError, RecursionError) as error:
            # Its text repeats what was sent.
            raise InvalidParameters(detail=f"no such message: {type(error).__name__} from protobuf") from None
        if len(raw) > limits.request_bytes:
            raise LimitExceeded("The parameters are too large. Send less.", detail="limits.request_bytes")
        return raw

    def shape(self, message: Descriptor) -> _Shape:
        """What may stand under the names of ``message``."""
        found = self._shapes.get(message.full_name)
        if found is None:
            found = self._shapes[message.full_name] = {each.json_name: _place(each) for each in message.fields}
        return found

    def answer(self, kind: type[Message], token: str) -> "Answer":
        """What the answer to one call, that was made with ``token``, is read with."""
        return Answer(kind, token, self._pool, self._limits)


class Answer:
    """Reads the messages of one call's answer; what they are together is bounded."""

    def __init__(self, kind: type[Message], token: str, pool: DescriptorPool, limits: LimitSettings) -> None:
        self._kind, self._token, self._pool = kind, token.encode(), pool
        self._values, self._deepest = limits.values, limits.depth
        self.bytes = 0
        """Of all messages so far."""

    def read(self, raw: bytes) -> object:
        """One message as JSON. Fields without presence are always there, so that nobody takes 0 for unknown.

        Raises:
            UnexpectedAnswer: it is not what the descriptors say, or repeats the token.
            AnswerTooLarge: it has too many values, which in memory are a hundred times as large as here, or levels.
        """
        self.bytes += len(raw)
        if self._token in raw:
            raise UnexpectedAnswer(detail="the service sent the user's token back")
        try:
            message = self._kind.FromString(raw)
            self._count(message)  # however short it is: two bytes are a message, of which each field is printed
            made: object = json_format.MessageToDict(
                message, always_print_fields_with_no_presence=True, descriptor_pool=self._pool
            )
        except (DecodeError, json_format.Error, ValueError, TypeError, RecursionError) as error:
            raise UnexpectedAnswer(detail=f"no such message: {type(error).__name__} from protobuf") from None
        if _deeper(made, self._deepest):
            raise AnswerTooLarge(detail="limits.depth")
        return made

    def _count(self, message: Message) -> None:
        waiting = [message]
        wrapped: list[tuple[Message, int]] = []
        wrappers = 0
        while waiting or wrapped:
            each, wrappers = (waiting.pop(), wrappers) if waiting else wrapped.pop()
            descriptor = cast("Descriptor", each.DESCRIPTOR)
            self._take(1 + len(descriptor.fields))
            if descriptor.full_name == "google.protobuf.Any":
                if not each.ListFields():
                    continue
                if wrappers == self._deepest:
                    raise RecursionError  # json_format would get no further either
                wrapped.append((self._unwrapped(cast("AnyMessage", each)), wrappers + 1))
                continue
            for field, value in each.ListFields():
                if is_map(field):
                    self._take(len(value))
                    if isinstance(next(iter(value.values())), Message):
                        waiting.extend(value.values())
                elif field.is_repeated:
                    self._take(len(value))
                    if field.message_type is not None:
                        waiting.extend(value)
                elif field.message_type is not None:
                    waiting.append(value)

    def _unwrapped(self, wrapping: AnyMessage) -> Message:
        """What ``json_format`` makes of it. An empty one takes no bytes, and each field of it is printed all the same.

        Raises:
            DecodeError, TypeError: it is none of a type that is known.
        """
        try:
            kind = self._pool.FindMessageTypeByName(wrapping.type_url.rpartition("/")[2])
        except KeyError:
            raise TypeError("an unknown type") from None
        return GetMessageClass(kind).FromString(wrapping.value)

    def _take(self, values: int) -> None:
        self._values -= values
        if self._values < 0:
            raise AnswerTooLarge(detail="limits.values")


def _deeper(value: object, most: int) -> bool:
    """Whether there are objects and lists in one another beyond ``most``."""
    level: list[object] = [value]
    for _ in range(most):
        inside: list[object] = []
        for each in level:
            if isinstance(each, Mapping):
                inside += cast("Mapping[str, object]", each).values()
            elif isinstance(each, list):
                inside += cast("list[object]", each)
        level = [each for each in inside if isinstance(each, (Mapping, list))]
        if not level:
            return False
    return True


class _Fitting:
    """One look at parameters: are they what the message has names for, and not too much?"""

    def __init__(self, codec: Codec, limits: LimitSettings) -> None:
        self._codec = codec
        self._left = limits.values
        self._deepest = limits.depth

    def message(self, value: object, message: Descriptor, depth: int) -> None:
        self._take(depth)
        if not isinstance(value, Mapping):
            raise _Misfit(f"{message.full_name} must be an object")
        shape = self._codec.shape(message)
        for name, each in cast("Mapping[str, object]", value).items():
            place = shape.get(name)
            if place is None:
                raise _Misfit(f"{message.full_name} has a key that is not known")
            self._filled(each, place, depth + 1)

    def _filled(self, value: object, place: _Place, depth: int) -> None:
        if place.form == "one":
            self._one(value, place, depth)
            return
        self._take(depth)
        if place.form == "list":
            if not isinstance(value, list):
                raise _Misfit("a list is needed")
            items = cast("list[object]", value)
        else:
            if not isinstance(value, Mapping):
                raise _Misfit("an object is needed")
            items = list(cast("Mapping[object, object]", value).values())
        for item in items:
            self._one(item, place, depth + 1)

    def _one(self, value: object, place: _Place, depth: int) -> None:
        if place.free:
            self._free(value, depth)
        elif place.message is not None:
            self.message(value, place.message, depth)
        else:
            self._take(depth)
            if value is None or isinstance(value, (Mapping, list)) or (place.text and not isinstance(value, str)):
                raise _Misfit("a single value is needed")

    def _free(self, value: object, depth: int) -> None:
        self._take(depth)
        if isinstance(value, Mapping):
            for each in cast("Mapping[object, object]", value).values():
                self._free(each, depth + 1)
        elif isinstance(value, list):
            for each in cast("list[object]", value):
                self._free(each, depth + 1)
        elif isinstance(value, float) and not math.isfinite(value):
            raise _Misfit("a number that JSON does not have")

    def _take(self, depth: int) -> None:
        self._left -= 1
        if self._left < 0 or depth > self._deepest:
            raise OverflowError


def _place(field: FieldDescriptor) -> _Place:
    form: Literal["one", "list", "map"] = "one"
    if is_map(field):
        form, field = "map", cast("Descriptor", field.message_type).fields_by_name["value"]
    elif field.is_repeated:
        form = "list"
    message = field.message_type
    if message is not None and well_known(message):
        return _Place(
            form, message if message.full_name == "google.protobuf.Empty" else None, message.full_name in _FREE
        )
    # A null is a value of this one enum, and of nothing else.
    enum = None if field.enum_type is None else field.enum_type.full_name
    null = enum == "google.protobuf.NullValue"
    return _Place(form, message, free=null, text=enum is not None and not null)
