"""What is written above methods and fields, where the descriptors have it (``--include_source_info``)."""

import re
from collections.abc import Iterable, Iterator

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

_LONGEST = 500
"""Characters of one comment."""
_MESSAGE, _SERVICE = 4, 6  # fields of FileDescriptorProto
_FIELD, _NESTED = 2, 3  # of DescriptorProto
_METHOD = 2  # of ServiceDescriptorProto

_Path = tuple[int, ...]


def comments(files: Iterable[FileDescriptorProto]) -> dict[str, str]:
    """The comments above methods, messages and fields, by full name: one line each, without what no model should read
    as more than a remark."""
    found: dict[str, str] = {}
    for file in files:
        names = dict(_named(file))
        for location in file.source_code_info.location:
            name = names.get(tuple(location.path))
            text = words(location.leading_comments or location.trailing_comments)
            if name is not None and text:
                found[name] = text
    return found


def words(text: str) -> str:
    """``text`` in one line, without control characters, cut where it is too long."""
    plain = " ".join(re.sub(r"[^\S ]|[\x00-\x1f\x7f-\x9f]", " ", text).split())
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"


def _named(file: FileDescriptorProto) -> Iterator[tuple[_Path, str]]:
    prefix = f"{file.package}." if file.package else ""
    for index, service in enumerate(file.service):
        for number, method in enumerate(service.method):
            yield (_SERVICE, index, _METHOD, number), f"{prefix}{service.name}.{method.name}"
    waiting: list[tuple[_Path, str, DescriptorProto]] = [
        ((_MESSAGE, index), f"{prefix}{each.name}", each) for index, each in enumerate(file.message_type)
    ]
    while waiting:
        path, name, message = waiting.pop()
        yield path, name
        for number, field in enumerate(message.field):
            yield (*path, _FIELD, number), f"{name}.{field.name}"
        waiting += [
            ((*path, _NESTED, number), f"{name}.{each.name}", each) for number, each in enumerate(message.nested_type)
        ]
