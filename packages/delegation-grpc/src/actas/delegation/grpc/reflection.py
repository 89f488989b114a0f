"""Asking a service for its descriptors: by the standard reflection service, within bounds, and with no user's token.

What it tells is not believed further than the allow-list goes: it says how the methods that are named there are called,
and adds none.
"""

import asyncio
from collections.abc import Iterable

import grpc
import grpc.aio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from actas.core.errors import ConfigurationError, DownstreamUnavailable
from actas.delegation.grpc.descriptors import LARGEST, WELL_KNOWN, Descriptors, made
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
                    # Beside the event loop: they may take seconds, and who tells nonsense is asked again every minute.
                    return await asyncio.to_thread(made, files)
    except TimeoutError:
        raise DownstreamUnavailable(detail="reflection did not end in time") from None
    except ValueError as error:
        raise ConfigurationError(f"reflection: {error}") from None
    raise ConfigurationError("reflection: the service does not have it; name a file in descriptors")


class _Talk:
    """Questions and answers. Each question is a call of its own: where one conversation is refused while something is
    being written, the library does not tell why."""

    def __init__(self, channel: grpc.aio.Channel, version: str, settings: ReflectionSettings) -> None:
        self._open: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
            f"/{version}.ServerReflection/ServerReflectionInfo"
        )
        self._settings = settings
        self._metadata = tuple((name, secret.reveal()) for name, secret in settings.metadata.items())
        self._files: dict[str, FileDescriptorProto] = {}
        self._size = 0

    async def files(self, services: Iterable[str]) -> list[FileDescriptorProto] | None:
        """The files with ``services`` and all that they import; None where this version is not there.

        Raises:
            ValueError: what it tells makes no sense, or is too much.
        """
        try:
            for service in services:
                await self._ask(ServerReflectionRequest(file_containing_symbol=service), service)
            while missing := self._missing():
                await self._ask(ServerReflectionRequest(file_by_filename=missing), missing)
                if missing not in self._files:
                    raise ValueError(f"the service does not tell about {missing!r}")
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return None
            if error.code() in _AWAY:
                raise DownstreamUnavailable(detail=f"reflection: {error.code().name}") from None
            raise ValueError(f"the service answered with {error.code().name}") from None
        except DecodeError:
            raise ValueError("what the service told is no descriptor") from None
        return list(self._files.values())

    def _missing(self) -> str | None:
        needed = (name for file in self._files.values() for name in file.dependency)
        return next((name for name in needed if name not in self._files and name not in WELL_KNOWN), None)

    async def _ask(self, request: ServerReflectionRequest, what: str) -> None:
        call = self._open(request.SerializeToString(), metadata=self._metadata, timeout=self._settings.seconds)
        try:
            raw = await call.read()
        finally:
            call.cancel()
            await call.code()  # when this is known, nothing of the call is left
        if not isinstance(raw, bytes):
            raise ValueError("the service ended the conversation")
        answer = ServerReflectionResponse.FromString(raw)
        if not answer.HasField("file_descriptor_response"):
            raise ValueError(f"the service does not tell about {what!r}")
        for each in answer.file_descriptor_response.file_descriptor_proto:
            self._size += len(each)
            file = FileDescriptorProto.FromString(each)
            if self._files.setdefault(file.name, file) != file:
                raise ValueError(f"the service told about the file {file.name!r} twice, and not the same")
        if len(self._files) > self._settings.files or self._size > LARGEST:
            raise ValueError("the service told too much")
