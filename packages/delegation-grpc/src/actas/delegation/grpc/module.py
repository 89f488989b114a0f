"""The delegation module: parameters, a message, the user's own token, a deadline, an answer, a receipt."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import cast

from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1.health_pb2 import HealthCheckRequest

from actas.core.errors import (
    DownstreamUnavailable,
    InvalidParameters,
    PrincipalUnavailable,
    UnknownAction,
)
from actas.core.models import Action, DelegationCall, DelegationResult, Health, Receipt, Session
from actas.core.progress import note
from actas.core.shares import Shares
from actas.core.subjects import subject
from actas.delegation.grpc.channels import Channels
from actas.delegation.grpc.declared import HEALTH, Describe, declared, signed
from actas.delegation.grpc.failures import UnexpectedAnswer, Unimplemented
from actas.delegation.grpc.identity import Identity, Metadata, bearer
from actas.delegation.grpc.messages import Answer, Codec
from actas.delegation.grpc.methods import Method, Signature
from actas.delegation.grpc.reflection import reflected
from actas.delegation.grpc.settings import GrpcSettings
from actas.delegation.grpc.upstream import HEALTH as HEALTH_METHOD
from actas.delegation.grpc.upstream import Upstream, is_serving

_LARGE = 16_384
"""Bytes of a message."""


class GrpcDelegation:
    """One gRPC service, called with the token that was exchanged for the caller's.

    Raises:
        ConfigurationError: the settings make no sense, or the descriptors cannot be used as they say.
    """

    def __init__(self, settings: GrpcSettings) -> None:
        made = declared(settings)
        self._settings = settings
        self._methods = made.methods
        self._actions = made.actions
        self._signatures = made.signatures
        self._codec = Codec(DescriptorPool() if made.descriptors is None else made.descriptors.pool, settings.limits)
        self._identity = Identity(settings)
        self._shares = Shares(settings.limits.calls_per_user)
        self._upstream = Upstream(Channels(settings, [each.name for each in made.methods.values() if each.idempotent]))

    @property
    def actions(self) -> Sequence[Action]:
        """One for each method of the allow-list; ``describe`` where descriptors come by reflection; ``health``."""
        return self._actions

    async def initialize(self) -> None:
        """Ask the service for its descriptors, where no file has them. Else nothing: a service that does not answer
        stops no start; it shows in :meth:`health_check`.

        Raises:
            DownstreamUnavailable: it does not answer.
            ConfigurationError: it does not tell, or methods are missing or cannot be called.
        """
        reflection = self._settings.reflection
        if reflection is None or self._signatures:
            return
        names = [each.name for each in self._methods.values()]
        descriptors = await reflected(self._upstream.channel(), names, reflection)
        self._codec = Codec(descriptors.pool, self._settings.limits)
        self._signatures = await asyncio.to_thread(signed, names, descriptors)

    def principal(self, session: Session) -> str:
        """The session's subject: the exchange proved that the token is about it."""
        return subject(session)

    async def health_check(self) -> Health:
        """Ask the health service without any token; where there is none, any answer will do. 4 s at most."""
        try:
            serving = await self._upstream.health(self._settings.health.service)
        except (DownstreamUnavailable, UnexpectedAnswer):
            return Health(healthy=False, message="The service does not answer.")
        if serving is False:
            return Health(healthy=False, message="The service says that it is not serving.")
        return Health(healthy=True)

    async def destroy(self) -> None:
        """Close all connections."""
        await self._upstream.close()

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        """Make the call as ``principal(call.session)``.

        Raises:
            InvalidParameters, PrincipalUnavailable, TokenNotPlain: nothing was sent.
            CredentialRejected: the service did not take the token, and did nothing.
            DelegationError: as :mod:`.failures` has it.
        """
        who = self.principal(call.session)
        if isinstance(call.parameters, Describe):
            return DelegationResult(
                data=self._described(call.parameters.tool), receipt=Receipt(identity=who, method="in-process")
            )
        if call.credential is None:
            raise PrincipalUnavailable(detail="there is no exchanged token: token_exchange is not configured")
        token = bearer(call.credential)
        metadata = self._identity.metadata(call.session, call.request_id)
        if call.action.name == HEALTH:
            data = await self._health(call, metadata, token)
        else:
            data = await self._called(call, metadata, token)
        details = {"token_subject": call.credential.subject, "status": "OK"}
        return DelegationResult(data=data, receipt=Receipt(identity=who, method="token:exchange", details=details))

    async def _called(self, call: DelegationCall, metadata: Metadata, token: str) -> object:
        method = self._methods.get(call.action.name)
        if method is None:
            raise UnknownAction
        signature = self._signature(method)
        parameters = call.parameters
        if not isinstance(parameters, Mapping):
            raise InvalidParameters(detail="the parameters of a method are a mapping")
        message = self._codec.encoded(signature.request, cast("Mapping[str, object]", parameters))
        # Waiting for a share is bounded by the pipeline; the call itself by the deadline that gRPC keeps.
        async with self._shares.one_of(call.session):
            deadline = min(call.deadline, time.monotonic() + method.seconds)
            if signature.streams:
                return await self._streamed(call, method, signature, message, metadata, token, deadline)
            raw = await self._upstream.ask(
                method.name, message, metadata, token, deadline=deadline, request_id=call.request_id
            )
        answer = self._codec.answer(signature.response, token)
        return {"response": await _read(answer, raw)}

    async def _streamed(
        self,
        call: DelegationCall,
        method: Method,
        signature: Signature,
        message: bytes,
        metadata: Metadata,
        token: str,
        deadline: float,
    ) -> dict[str, object]:
        """The messages of a stream, as far as limits allow; ``truncated`` says that there are more."""
        answer = self._codec.answer(signature.response, token)
        items: list[object] = []
        stream = self._upstream.stream(
            method.name, message, metadata, token, deadline=deadline, request_id=call.request_id
        )
        async with aclosing(stream):
            async for raw in stream:
                if len(items) == method.items or answer.bytes + len(raw) > self._settings.limits.response_bytes:
                    return {"responses": items, "truncated": True}
                items.append(await _read(answer, raw))
                note(f"{len(items)} messages so far.")
        return {"responses": items, "truncated": False}

    async def _health(self, call: DelegationCall, metadata: Metadata, token: str) -> object:
        request = HealthCheckRequest(service=self._settings.health.service).SerializeToString()
        deadline = min(call.deadline, time.monotonic() + self._settings.limits.seconds)
        try:
            raw = await self._upstream.ask(
                HEALTH_METHOD, request, metadata, token, deadline=deadline, request_id=call.request_id
            )
        except Unimplemented:
            return {"status": "UNIMPLEMENTED"}
        return {"status": "SERVING" if is_serving(raw) else "NOT_SERVING"}

    def _signature(self, method: Method) -> Signature:
        found = self._signatures.get(method.name)
        if found is None:
            raise DownstreamUnavailable(detail="the descriptors are not known: the module was not initialised")
        return found

    def _described(self, tool: str) -> dict[str, object]:
        method = self._methods.get(tool)
        if method is None:
            raise InvalidParameters("tool: there is no such tool with a method behind it.")
        signature = self._signature(method)
        return {"method": method.name, "streams": signature.streams, "parameters": dict(signature.schema)}


async def _read(answer: Answer, raw: bytes) -> object:
    """``raw`` as JSON; a large one, which takes as long as hundreds of calls, beside the event loop that all are on."""
    if len(raw) < _LARGE:
        return answer.read(raw)
    return await asyncio.to_thread(answer.read, raw)
