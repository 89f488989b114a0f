"""Descriptors: a pool of a module's own, filled from a file or from what a service told; nothing of this process's."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from actas.core.errors import ConfigurationError
from actas.delegation.grpc.comments import comments

LARGEST = 16 * 1024 * 1024
"""Bytes of all descriptors together."""
WELL_KNOWN: Mapping[str, bytes] = {
    module.DESCRIPTOR.name: module.DESCRIPTOR.serialized_pb
    for module in (
        any_pb2,
        api_pb2,
        descriptor_pb2,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        source_context_pb2,
        struct_pb2,
        timestamp_pb2,
        type_pb2,
        wrappers_pb2,
    )
}
"""Files that the library brings, by name."""


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What a service can do, as its descriptors say."""

    pool: DescriptorPool
    services: tuple[ServiceDescriptor, ...]
    """In the order of the files."""
    comments: Mapping[str, str]
    """What was written above a method or a field, by its full name."""

    def method(self, name: str) -> MethodDescriptor | None:
        """The method called ``shop.v1.Orders/GetOrder``; None where there is none."""
        service, _, method = name.partition("/")
        for each in self.services:
            if each.full_name == service:
                return each.methods_by_name.get(method)
        return None

    def methods(self) -> list[str]:
        """All of them."""
        return [f"{each.full_name}/{name}" for each in self.services for name in each.methods_by_name]


def from_file(path: str) -> Descriptors:
    """What the ``FileDescriptorSet`` in the file at ``path`` describes.

    Raises:
        ConfigurationError: it cannot be read, or is none that makes sense.
    """
    try:
        file = Path(path)
        if file.stat().st_size > LARGEST:
            raise ConfigurationError(f"descriptors: {path} is larger than {LARGEST} bytes")
        files = FileDescriptorSet.FromString(file.read_bytes()).file
    except OSError as error:
        raise ConfigurationError(f"descriptors: {path} cannot be read: {error.strerror}") from None
    except DecodeError:
        raise ConfigurationError(
            f"descriptors: {path} is no FileDescriptorSet: make one with protoc --descriptor_set_out"
        ) from None
    try:
        return made(files)
    except ValueError as error:
        raise ConfigurationError(f"descriptors: {path}: {error}") from None


def made(files: Iterable[FileDescriptorProto]) -> Descriptors:
    """What ``files``, in any order, describe together.

    Raises:
        ValueError: an import is missing, a name is there twice, or something in them makes no sense.
    """
    by_name: dict[str, FileDescriptorProto] = {}
    for file in files:
        if file.name in by_name:
            raise ValueError(f"the file {file.name!r} is there twice")
        by_name[file.name] = file
    pool = DescriptorPool()
    for name in _in_order(by_name):
        # The well-known types are the library's own: what they are in JSON depends on what they are.
        serialized = WELL_KNOWN.get(name)
        if serialized is None:
            if name not in by_name:
                raise ValueError(f"{name!r} is imported and not there: --include_imports was left out")
            if by_name[name].package == "google.protobuf":
                raise ValueError(f"the file {name!r} claims the package google.protobuf")
            serialized = by_name[name].SerializeToString()
        try:
            pool.AddSerializedFile(serialized)
        except TypeError:
            raise ValueError(f"the file {name!r} does not fit the others: a name is there twice, or missing") from None
    services = tuple(
        service
        for name in by_name
        if name not in WELL_KNOWN
        for service in pool.FindFileByName(name).services_by_name.values()
    )
    return Descriptors(pool, services, comments(by_name.values()))


def _in_order(files: Mapping[str, FileDescriptorProto]) -> list[str]:
    """The names of ``files`` and of what they import, each behind its own imports; where those go in a circle, the pool
    finds that one is missing."""
    order: dict[str, None] = {}
    entered: set[str] = set()
    waiting: list[tuple[str, bool]] = [(name, False) for name in reversed(list(files))]
    while waiting:
        name, left = waiting.pop()
        if left:
            order[name] = None
        elif name not in entered:
            entered.add(name)
            waiting.append((name, True))
            if name in files and name not in WELL_KNOWN:
                waiting += [(each, False) for each in files[name].dependency]
    return list(order)
