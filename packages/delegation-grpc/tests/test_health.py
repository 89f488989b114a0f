"""How the service is: by its own word where it has the health service, else by whether it answers."""

import grpc
import pytest
from grpc_gateway import gateway_to
from grpc_health.v1 import health_pb2
from grpc_service import Service

from actas.core import ActasError
from actas.delegation.grpc.settings import HealthSettings
from actas.testing.idp import IdentityProvider

pytestmark = pytest.mark.anyio


async def test_the_service_says_how_it_is(service: Service) -> None:
    async with gateway_to(service) as gateway:
        assert (await gateway.module.health_check()).healthy
        assert await gateway.call("health") == {"status": "SERVING"}
        service.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        health = await gateway.module.health_check()
        assert not health.healthy and "not serving" in health.message
        assert await gateway.call("health") == {"status": "NOT_SERVING"}


async def test_one_of_its_services_may_be_asked_about(service: Service) -> None:
    service.health.set("shop.v1.Orders", health_pb2.HealthCheckResponse.NOT_SERVING)
    async with gateway_to(service, health=HealthSettings(service="shop.v1.Orders")) as gateway:
        assert not (await gateway.module.health_check()).healthy
    async with gateway_to(service, health=HealthSettings(service="nobody")) as gateway:
        assert (await gateway.module.health_check()).healthy, "it answers; it does not know that one"
        with pytest.raises(ActasError) as caught:
            await gateway.call("health")
        assert caught.value.code == "grpc_not_found"


async def test_without_the_health_service_an_answer_is_enough(provider: IdentityProvider) -> None:
    with Service(provider, with_health=False) as service:
        async with gateway_to(service) as gateway:
            assert (await gateway.module.health_check()).healthy
            assert await gateway.call("health") == {"status": "UNIMPLEMENTED"}
    assert service.seen == []


async def test_the_servers_own_check_sends_no_token(provider: IdentityProvider) -> None:
    seen: list[dict[str, str]] = []

    class Watching(grpc.ServerInterceptor):
        def intercept_service(self, continuation, handler_call_details):  # type: ignore[no-untyped-def]
            seen.append({key: value for key, value in handler_call_details.invocation_metadata})
            return continuation(handler_call_details)

    with Service(provider, interceptors=[Watching()]) as service:
        async with gateway_to(service, identity_metadata={"x-user": "subject"}) as gateway:
            await gateway.module.health_check()
            await gateway.call("health")
    unknown, alice = seen
    assert not {"authorization", "x-user"} & set(unknown) and alice["x-user"] == "alice"
    assert alice["authorization"].startswith("Bearer ey")


async def test_what_is_no_answer_of_a_health_service_is_an_error_of_ours(provider: IdentityProvider) -> None:
    class Nonsense(grpc.ServerInterceptor):
        def intercept_service(self, continuation, handler_call_details):  # type: ignore[no-untyped-def]
            return grpc.unary_unary_rpc_method_handler(lambda request, context: b"\xff\xff\xff")

    with Service(provider, interceptors=[Nonsense()]) as service:
        async with gateway_to(service) as gateway:
            assert not (await gateway.module.health_check()).healthy
            with pytest.raises(ActasError) as caught:
                await gateway.call("health")
            assert caught.value.code == "grpc_unexpected_answer"
