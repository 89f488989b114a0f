"""Asking a service for its descriptors: by the standard reflection service, within bounds, and with no user's token.

What it tells is not believed further than the allow-list goes: it says how the methods that are named there are called,
and adds none.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import grpc
import grpc.aio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from actas.core.errors import ConfigurationError, DownstreamUnavailable
from actas.delegation.grpc.descriptors import LARGEST, Descriptors, made
from actas.delegation.grpc.settings import ReflectionSettings

# The two versions differ in their names only.
_VERSIONS = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
_AWAY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


async def reflected(channel: grpc.aio.Channel, methods: Iterable[str], settings: ReflectionSettings) -> Descriptors:
    """What the service says of the services that ``methods`` belong to.

    Raises:
        DownstreamUnavailable: it does not answer, or not in time.
        ConfigurationError: it does not tell, or what it tells makes no sense.
    """
    services = sorted({name.partition("/")[0] for name in methods})
    try:
        async with asyncio.timeout(settings.seconds):
            for version in _VERSIONS:
                files = await _Talk(channel, version, settings).files(services)
                if files is not None:
                    return made(files)
    except TimeoutError:
        raise DownstreamUnavailable(detail="reflection did not end in time") from None
    except ValueError as error:
        raise ConfigurationError(f"reflection: {error}") from None
    raise ConfigurationError("reflection: the service does not have it; name a file in descriptors")


class _Talk:
    """One conversation: a question, an answer, the next question."""

    def __init__(self, channel: grpc.aio.Channel, version: str, settings: ReflectionSettings) -> None:
        self._open: Any = channel.stream_stream(  # Any: the library's multi-callables have types for messages only
            f"/{version}.ServerReflection/ServerReflectionInfo"
        )
        self._settings = settings
        self._files: dict[str, bytes] = {}
        self._size = 0

    async def files(self, services: Iterable[str]) -> list[FileDescriptorProto] | None:
        """The files with ``services`` and all that they import; None where this version is not there.

        Raises:
            ValueError: what it tells makes no sense, or is too much.
        """
        metadata = tuple((name, secret.reveal()) for name, secret in self._settings.metadata.items())
        call = self._open(metadata=metadata, timeout=self._settings.seconds)
        try:
            for service in services:
                await self._ask(call, ServerReflectionRequest(file_containing_symbol=service), service)
            parsed: dict[str, FileDescriptorProto] = {}
            while missing := [name for name in self._files if name not in parsed]:
                for name in missing:
                    parsed[name] = FileDescriptorProto.FromString(self._files[name])
                    for needed in parsed[name].dependency:
                        if needed not in self._files:
                            await self._ask(call, ServerReflectionRequest(file_by_filename=needed), needed)
            return list(parsed.values())
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return None
            if error.code() in _AWAY:
                raise DownstreamUnavailable(detail=f"reflection: {error.code().name}") from None
            raise ValueError(f"the service answered with {error.code().name}") from None
        except DecodeError:
            raise ValueError("what the service told is no descriptor") from None
        finally:
            call.cancel()

    async def _ask(self, call: Any, request: ServerReflectionRequest, what: str) -> None:  # Any: as above
        await call.write(request.SerializeToString())
        raw: object = await call.read()
        if raw is grpc.aio.EOF:
            raise ValueError("the service ended the conversation")
        answer = ServerReflectionResponse.FromString(cast("bytes", raw))
        if not answer.HasField("file_descriptor_response"):
            raise ValueError(f"the service does not tell about {what!r}")
        for file in answer.file_descriptor_response.file_descriptor_proto:
            name = FileDescriptorProto.FromString(file).name
            if self._files.setdefault(name, file) != file:
                raise ValueError(f"the service told about the file {name!r} twice, and not the same")
            self._size += len(file)
        if what not in self._files and request.HasField("file_by_filename"):
            raise ValueError(f"the service does not tell about {what!r}")
        if len(self._files) > self._settings.files or self._size > LARGEST:
            raise ValueError("the service told too much")
