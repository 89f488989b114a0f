"""Calls of one user and of several, as a real service sees them."""

import asyncio
import time
from dataclasses import replace

import grpc
import pytest
from grpc_gateway import ALICE, BOB, Gateway, gateway_to, settings_for, until
from grpc_protos import message
from grpc_service import SECRETS, Service, failing

from actas.core import (
    ActasError,
    Action,
    Credential,
    CredentialRejected,
    DelegationCall,
    DelegationTimeout,
    InvalidParameters,
    Outcome,
    PrincipalUnavailable,
    Secret,
    UnknownAction,
)
from actas.delegation.grpc.failures import TokenNotPlain
from actas.delegation.grpc.module import GrpcDelegation
from actas.delegation.grpc.settings import LimitSettings, MethodSettings

pytestmark = pytest.mark.anyio


class Key:
    """A key that a token could be bound to."""

    def prove(self, method: str, url: str, token: Secret) -> str:
        raise AssertionError("gRPC has no proofs")

    def heed(self, url: str, nonce: str) -> None: ...


ORDERS = "shop.v1.Orders"


async def test_the_service_sees_the_user_and_answers_him(gateway: Gateway, service: Service) -> None:
    for session in (ALICE, BOB, ALICE):
        order = await gateway.response("get-order", session, orderId="9007199254740993")
        assert order == {
            "orderId": "9007199254740993", "item": "desk", "count": 0, "buyer": session.subject, "blob": "",
        }  # fmt: skip
    assert [seen.subject for seen in service.seen] == ["alice", "bob", "alice"]


async def test_the_receipt_says_about_whom_the_token_was(gateway: Gateway) -> None:
    await gateway.call("get-order", orderId=7)
    (event,) = gateway.sink.entries()
    assert event.receipt is not None and event.receipt.method == "token:exchange"
    assert event.receipt.details == {"token_subject": "alice", "status": "OK"}


async def test_fifty_users_at_once_never_get_each_others_answers_or_metadata(service: Service) -> None:
    async with gateway_to(service, identity_metadata={"x-user": "username"}) as gateway:

        async def one(name: str) -> None:
            session = replace(ALICE, subject=name, username=name)
            for _ in range(3):
                me = await gateway.response("who-am-i", session)
                assert me["subject"] == me["metadata"]["x-user"] == name
                stream = await gateway.call("watch-orders", session, count=3)
                assert {order["buyer"] for order in stream["responses"]} == {name}

        await asyncio.gather(*(one(f"user-{number}") for number in range(50)))
    assert len({seen.value("authorization") for seen in service.seen}) == 50
    for seen in service.seen:
        assert seen.value("x-user") == seen.subject, "no call has two identities"


async def test_a_users_own_calls_wait_for_each_other_and_for_nobody_elses(service: Service) -> None:
    async with gateway_to(service, limits=LimitSettings(seconds=5, calls_per_user=2)) as gateway:
        slow = [asyncio.ensure_future(gateway.call("wait", seconds=1.5)) for _ in range(4)]
        await until(lambda: len(service.calls(f"{ORDERS}/Wait")) == 2)
        await gateway.call("who-am-i", BOB)
        assert len(service.calls(f"{ORDERS}/Wait")) == 2
        await asyncio.gather(*slow)
    assert len(service.calls(f"{ORDERS}/Wait")) == 4


async def test_the_service_hears_of_the_deadline_and_of_the_request(gateway: Gateway, service: Service) -> None:
    await gateway.call("who-am-i")
    (seen,) = service.seen
    assert seen.remaining is not None and 1 < seen.remaining <= 3


async def test_a_shorter_time_of_the_method_wins(service: Service) -> None:
    methods = {f"{ORDERS}/Wait": MethodSettings(seconds=0.3)}
    async with gateway_to(service, methods=methods) as gateway:
        with pytest.raises(DelegationTimeout):
            await gateway.call("wait", seconds=20)
        (seen,) = service.seen
        assert seen.remaining is not None and seen.remaining <= 0.3
        assert await asyncio.to_thread(seen.cancelled.wait, 5), "the service is told to stop"


async def test_a_cancelled_call_is_cancelled_at_the_service(gateway: Gateway, service: Service) -> None:
    for action, parameters in (("wait", {"seconds": 20}), ("watch-orders", {"count": 1000, "pause": 0.05})):
        service.seen.clear()
        call = asyncio.ensure_future(gateway.call(action, **parameters))
        await until(lambda: service.seen and service.seen[0].request)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(service.seen[0].cancelled.wait, 5)
        assert gateway.sink.entries()[-1].outcome is Outcome.CANCELLED


async def test_destroying_the_module_ends_what_runs_with_an_error_of_ours(service: Service) -> None:
    async with gateway_to(service) as gateway:
        calls = [
            asyncio.ensure_future(gateway.call("wait", seconds=20)),
            asyncio.ensure_future(gateway.call("watch-orders", count=1000, pause=0.05)),
        ]
        await until(lambda: len(service.seen) == 2)
        await gateway.module.destroy()
        for call in calls:
            with pytest.raises(ActasError) as caught:
                await call
            assert caught.value.code == "downstream_unavailable"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("UNAUTHENTICATED", "credential_rejected"),
        ("PERMISSION_DENIED", "grpc_permission_denied"),
        ("INVALID_ARGUMENT", "grpc_invalid_request"),
        ("OUT_OF_RANGE", "grpc_invalid_request"),
        ("NOT_FOUND", "grpc_not_found"),
        ("ALREADY_EXISTS", "grpc_conflict"),
        ("FAILED_PRECONDITION", "grpc_conflict"),
        ("ABORTED", "grpc_conflict"),
        ("RESOURCE_EXHAUSTED", "grpc_busy"),
        ("UNIMPLEMENTED", "grpc_unimplemented"),
        ("UNAVAILABLE", "downstream_unavailable"),
        ("DEADLINE_EXCEEDED", "timeout"),
        ("INTERNAL", "grpc_service_failed"),
        ("UNKNOWN", "grpc_service_failed"),
        ("DATA_LOSS", "grpc_service_failed"),
        ("CANCELLED", "grpc_service_failed"),
    ],
)
async def test_a_status_becomes_an_error_of_ours_without_a_word_of_the_services(
    gateway: Gateway, service: Service, status: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    for method, action in (("PlaceOrder", "place-order"), ("WatchOrders", "watch-orders")):
        service.behaviours[f"{ORDERS}/{method}"] = failing(grpc.StatusCode[status])
        with pytest.raises(ActasError) as caught:
            await gateway.call(action)
        assert caught.value.code == code
        told = f"{caught.value!r} {caught.value.message} {caught.value.detail} {gateway.sink.entries()!r} {caplog.text}"
        assert "hunter2" not in told and SECRETS[:9] not in told


async def test_a_token_that_the_service_refuses_is_obtained_anew_once(gateway: Gateway, service: Service) -> None:
    first = (await gateway.source.obtain(ALICE)).token.reveal()
    service.refused.add(first)
    await gateway.call("place-order")
    assert [seen.subject for seen in service.seen] == [None, "alice"]
    service.behaviours[f"{ORDERS}/PlaceOrder"] = failing(grpc.StatusCode.UNAUTHENTICATED)
    with pytest.raises(CredentialRejected):
        await gateway.call("place-order")


async def test_a_token_that_is_bound_to_a_key_is_refused_and_the_audit_says_what_to_change(
    gateway: Gateway, service: Service
) -> None:
    for change in ({"prover": Key()}, {"token_type": "DPoP"}, {"token_type": "N_A"}):
        await gateway.source.obtain(ALICE)
        gateway.source.kept["alice"] = replace(gateway.source.kept["alice"], **change)
        with pytest.raises(TokenNotPlain):
            await gateway.call("who-am-i")
        (event,) = gateway.sink.entries()[-1:]
        assert event.code == "grpc_token_not_plain" and "dpop_key" in (event.reason or "")
    assert service.seen == []


@pytest.mark.parametrize("token", ["a b", "a\nx-user: bob", "", "ü", "a,b"])
async def test_a_token_that_is_no_token_is_never_sent(gateway: Gateway, service: Service, token: str) -> None:
    gateway.source.kept["alice"] = Credential(token=Secret(token), subject="alice", expires_at=2e9)
    with pytest.raises(PrincipalUnavailable):
        await gateway.call("who-am-i")
    assert service.seen == []


async def test_without_a_credential_nothing_is_sent(gateway: Gateway, service: Service) -> None:
    for action in gateway.module.actions:
        call = DelegationCall(
            session=ALICE, action=action, parameters={}, deadline=time.monotonic() + 3, request_id="r"
        )
        with pytest.raises(PrincipalUnavailable):
            await gateway.module.delegate(call)
    assert service.seen == []


async def test_what_is_no_call_of_this_module_is_refused(gateway: Gateway, service: Service) -> None:
    credential = await gateway.source.obtain(ALICE)

    def call(action: str, parameters: object, left: float = 3.0) -> DelegationCall:
        return DelegationCall(
            session=ALICE,
            action=Action(name=action, description="Do it."),
            parameters=parameters,
            deadline=time.monotonic() + left,
            request_id="a\nb",
            credential=credential,
        )

    with pytest.raises(UnknownAction):
        await gateway.module.delegate(call("wipe", {}))
    with pytest.raises(InvalidParameters):
        await gateway.module.delegate(call("who-am-i", []))
    for action in ("who-am-i", "watch-orders", "health"):
        with pytest.raises(DelegationTimeout):
            await gateway.module.delegate(call(action, {}, left=-1))
    assert service.seen == []
    await gateway.module.delegate(call("who-am-i", {}))
    assert service.seen[0].value("x-request-id") is None, "one that is not fit is left out"


@pytest.mark.parametrize("value", ["", "a\nb", "x" * 2000, 'a"b', "a,b", "ü", " a", None])
async def test_a_name_that_is_not_fit_for_metadata_is_refused(service: Service, value: str | None) -> None:
    async with gateway_to(service, identity_metadata={"x-user": "legacy_username"}) as gateway:
        with pytest.raises(PrincipalUnavailable):
            await gateway.call("who-am-i", replace(ALICE, legacy_username=value))
    assert service.seen == []


async def test_what_is_always_the_same_is_sent_with_each_call(service: Service) -> None:
    async with gateway_to(service, metadata={"x-tenant": Secret("seven")}) as gateway:
        await gateway.call("who-am-i")
    assert service.seen[0].value("x-tenant") == "seven"


async def test_a_messages_own_fields_named_like_metadata_change_nothing(gateway: Gateway, service: Service) -> None:
    service.behaviours[f"{ORDERS}/WhoAmI"] = lambda *_: message("Me")(subject="bob", metadata={"authorization": "x"})
    assert (await gateway.response("who-am-i"))["subject"] == "bob", "data is data"
    (event,) = gateway.sink.entries()
    assert event.receipt is not None and event.receipt.identity == "alice"


async def test_the_environment_and_the_dns_say_nothing_of_where_calls_go(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with gateway_to(service, targets=[f"localhost:{service.port}"]) as gateway:
        await gateway.call("who-am-i")


def test_a_session_of_whom_no_service_could_know_has_no_principal(service: Service) -> None:
    module = GrpcDelegation(settings_for(service))
    for subject in ("", "a b", "a\n", "x" * 256, 'a"'):
        with pytest.raises(PrincipalUnavailable):
            module.principal(replace(ALICE, subject=subject))
