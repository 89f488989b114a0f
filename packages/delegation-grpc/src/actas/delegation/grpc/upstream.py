"""The service: one channel, a deadline for each call, and the token beside it."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from actas.core.errors import DelegationTimeout, DownstreamUnavailable
from actas.delegation.grpc.channels import Channels
from actas.delegation.grpc.failures import UnexpectedAnswer, from_status
from actas.delegation.grpc.identity import Metadata

HEALTH = "grpc.health.v1.Health/Check"
_PROBE_SECONDS = 4.0
_DEAD = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


class Upstream:
    """The service behind ``channels``. Messages are bytes here."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._channel: grpc.aio.Channel | None = None
        self._unary: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {}
        self._streams: dict[str, grpc.aio.UnaryStreamMultiCallable[bytes, bytes]] = {}
        self._closed = False

    def channel(self) -> grpc.aio.Channel:
        """The one channel; connections are made when there is something to send.

        Raises:
            DownstreamUnavailable: it was closed.
        """
        if self._closed:
            raise DownstreamUnavailable(detail="the channel was closed")
        if self._channel is None:
            self._channel = self._channels.channel()
        return self._channel

    async def ask(
        self, method: str, message: bytes, metadata: Metadata, token: str, *, deadline: float, request_id: str
    ) -> bytes:
        """The one answer to ``message``.

        Args:
            deadline: on :func:`time.monotonic`'s clock.

        Raises:
            ActasError: as :mod:`.failures` has it.
        """
        callee = self._unary.get(method)
        if callee is None:
            callee = self._unary[method] = self.channel().unary_unary(f"/{method}")
        try:
            sent, credentials = self._with(metadata, token)
            return await callee(message, timeout=_left(deadline), metadata=sent, credentials=credentials)
        except grpc.aio.AioRpcError as error:
            raise from_status(error.code(), request_id) from None
        except asyncio.CancelledError:
            self._unless_closed()
            raise

    async def stream(
        self, method: str, message: bytes, metadata: Metadata, token: str, *, deadline: float, request_id: str
    ) -> AsyncGenerator[bytes]:
        """The answers to ``message``, one by one. When this is closed, the call is cancelled."""
        callee = self._streams.get(method)
        if callee is None:
            callee = self._streams[method] = self.channel().unary_stream(f"/{method}")
        sent, credentials = self._with(metadata, token)
        call = callee(message, timeout=_left(deadline), metadata=sent, credentials=credentials)
        try:
            while (answer := await call.read()) is not grpc.aio.EOF:
                yield cast("bytes", answer)
        except grpc.aio.AioRpcError as error:
            raise from_status(error.code(), request_id) from None
        except asyncio.CancelledError:
            self._unless_closed()
            raise
        finally:
            call.cancel()
            await call.code()  # when this is known, nothing of the call is left

    async def health(self, service: str) -> bool | None:
        """What the health service says to somebody without any token; None where there is none, or it does not tell.

        Raises:
            DownstreamUnavailable: nobody answers. 4 s at most.
            UnexpectedAnswer: what comes is no answer.
        """
        callee: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel().unary_unary(f"/{HEALTH}")
        request = HealthCheckRequest(service=service).SerializeToString()
        try:
            raw = await callee(request, timeout=_PROBE_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() in _DEAD:
                raise DownstreamUnavailable(detail=error.code().name) from None
            return None
        return is_serving(raw)

    async def close(self) -> None:
        """Close the channel; what runs on it is cancelled. May be called twice."""
        self._closed = True
        channel, self._channel = self._channel, None
        self._unary.clear()
        self._streams.clear()
        if channel is not None:
            await channel.close()

    def _with(self, metadata: Metadata, token: str) -> tuple[Metadata, grpc.CallCredentials | None]:
        """The token: as call credentials, which gRPC sends over TLS only; on the loopback as metadata."""
        if self._channels.credentials is None:
            return (*metadata, ("authorization", f"Bearer {token}")), None
        return metadata, grpc.access_token_call_credentials(token)

    def _unless_closed(self) -> None:
        """Closing the channel cancels calls; their tasks nobody asked to stop."""
        task = asyncio.current_task()
        if self._closed and task is not None and not task.cancelling():
            raise DownstreamUnavailable(detail="the channel was closed") from None


def is_serving(raw: bytes) -> bool:
    """What the health service says. Raises UnexpectedAnswer."""
    try:
        return HealthCheckResponse.FromString(raw).status == HealthCheckResponse.SERVING
    except DecodeError:
        raise UnexpectedAnswer(detail="the health service's answer is none") from None


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise DelegationTimeout(detail="no time was left to send it")
    return left
