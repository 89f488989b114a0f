"""One call: whose it is, what the service sees of it, and what comes back."""

import asyncio
import json
import time

import pytest
from rest_gateway import ALICE, BOB, Gateway, gateway_to
from rest_service import STACK, Reply, Seen, Service

from actas.core import (
    ActasError,
    CredentialRejected,
    DelegationTimeout,
    DownstreamUnavailable,
    InvalidParameters,
    LimitExceeded,
    Outcome,
    PrincipalUnavailable,
    UnknownAction,
)
from actas.delegation.rest.failures import (
    AnswerTooLarge,
    Conflict,
    InvalidRequest,
    NotFound,
    ServiceBusy,
    ServiceFailed,
    ServiceRefused,
    UnexpectedAnswer,
    from_http,
)
from actas.delegation.rest.settings import LimitSettings
from actas.http import HttpError, HttpTimeout, InsecureUrl, ResponseTooLarge, UnexpectedResponse

pytestmark = pytest.mark.anyio


async def test_the_service_sees_the_caller_by_a_token_that_it_verified(gateway: Gateway, service: Service) -> None:
    for session in (ALICE, BOB, ALICE):
        answer = await gateway.call("get-customer", session, id="7", fields="name")
        assert answer == {
            "status": 200,
            "body": {"subject": session.subject, "method": "GET", "target": "/v1/customers/7?fields=name"},
        }
    assert [seen.subject for seen in service.seen] == ["alice", "bob", "alice"]
    assert not any("the-callers-own" in str(seen.headers) for seen in service.seen)


async def test_a_hundred_interleaved_calls_of_two_users_never_mix(gateway: Gateway) -> None:
    sessions = [ALICE, BOB] * 50
    answers = await asyncio.gather(*(gateway.call("get-customer", each, id=str(i)) for i, each in enumerate(sessions)))
    for index, (session, answer) in enumerate(zip(sessions, answers, strict=True)):
        assert answer["body"]["subject"] == session.subject
        assert answer["body"]["target"] == f"/v1/customers/{index}"


async def test_the_minutes_say_whose_token_it_was(gateway: Gateway) -> None:
    await gateway.call("get-customer", id="7")
    (event,) = gateway.sink.entries()
    assert event.receipt is not None and event.outcome is Outcome.SUCCESS
    assert event.receipt.method == "token:exchange"
    assert event.receipt.details == {"token_subject": "alice", "status": "200"}


async def test_a_body_is_sent_as_json(gateway: Gateway, service: Service) -> None:
    await gateway.call("add-customer", body={"name": "Müller", "tags": [1, None]})
    (seen,) = service.seen
    assert (seen.method, seen.header("content-type")) == ("POST", "application/json")
    assert json.loads(seen.body) == {"name": "Müller", "tags": [1, None]}


@pytest.mark.parametrize("body", [{"a": float("nan")}, {"a": "\ud800"}, {"a": {1}}])
async def test_a_body_that_is_no_json_is_not_sent(gateway: Gateway, service: Service, body: object) -> None:
    operation = gateway.module._operations["add-customer"]
    with pytest.raises(InvalidParameters):
        operation.request({"body": body})
    assert service.seen == []


def test_a_free_request_is_made_of_its_own_parameters_alone(service: Service) -> None:
    from rest_gateway import settings_for

    from actas.delegation.rest.module import RestDelegation

    with pytest.raises(InvalidParameters):
        RestDelegation(settings_for(service))._operations["request"].request({"path": "/customers/7"})


async def test_a_body_that_is_too_large_is_not_sent(service: Service) -> None:
    async with gateway_to(service, limits=LimitSettings(request_bytes=100)) as small:
        with pytest.raises(LimitExceeded):
            await small.call("add-customer", body={"name": "x" * 100})
    assert service.seen == []


async def test_a_token_that_the_service_does_not_take_is_exchanged_anew_once(
    gateway: Gateway, service: Service
) -> None:
    await gateway.call("get-customer", id="7")
    service.refused.add(gateway.source.kept["alice"].token.reveal())
    assert (await gateway.call("get-customer", id="8"))["body"]["subject"] == "alice"
    assert gateway.source.issued == 2 and len(service.seen) == 3
    gateway.source.audience = "https://another.example"
    gateway.source.kept.clear()
    service.seen.clear()
    with pytest.raises(CredentialRejected):
        await gateway.call("get-customer", id="9")
    assert len(service.seen) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (300, UnexpectedAnswer), (302, UnexpectedAnswer), (400, InvalidRequest), (403, ServiceRefused), (404, NotFound),
        (405, ServiceRefused), (409, Conflict), (410, NotFound), (412, Conflict), (418, InvalidRequest),
        (422, InvalidRequest), (429, ServiceBusy), (451, ServiceRefused), (500, ServiceFailed), (502, ServiceFailed),
        (503, ServiceBusy), (504, ServiceFailed), (599, ServiceFailed), (600, UnexpectedAnswer),
    ],
)  # fmt: skip
async def test_an_error_of_the_service_is_told_by_its_status_alone(
    gateway: Gateway, status: int, kind: type[ActasError], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with pytest.raises(kind) as caught:
        await gateway.call("post-status", status=str(status), body={})
    error = caught.value
    assert type(error) is kind and str(status) in error.message and "Request id" in error.message
    (event,) = gateway.sink.entries()
    assert (event.code, event.outcome) == (kind.code, kind.outcome)
    everything = f"{error!r}{error.message}{error.detail}{event}{caplog.text}"
    assert "Traceback" not in everything and "hunter2" not in everything and STACK not in everything
    assert gateway.source.kept["alice"].token.reveal() not in everything


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_what_may_be_repeated_is_tried_again_and_what_may_not_is_not(
    gateway: Gateway, service: Service, status: int
) -> None:
    def once(seen: Seen) -> Reply:
        return Reply({"n": len(service.seen)}, status if len(service.seen) == 1 else 200)

    service.replies |= {"/v1/customers/7": once, "/v1/customers": once}
    assert (await gateway.call("get-customer", id="7"))["body"] == {"n": 2}
    service.seen.clear()
    assert (await gateway.call("put-customer", id="7", body={}))["body"] == {"n": 2}
    service.seen.clear()
    with pytest.raises(DownstreamUnavailable):
        await gateway.call("add-customer", body={})
    assert len(service.seen) == 1


async def test_with_a_key_a_post_is_tried_again_with_the_same_key(service: Service) -> None:
    service.replies["/v1/customers"] = lambda seen: Reply({}, 503 if len(service.seen) == 1 else 201)
    async with gateway_to(service, idempotency_header="Idempotency-Key") as keyed:
        assert (await keyed.call("add-customer", body={}))["status"] == 201
        await keyed.call("add-customer", body={})
    first, again, another = (seen.header("idempotency-key") for seen in service.seen)
    assert first == again and first is not None and another != first


async def test_attempts_end_and_a_long_pause_is_not_waited_for(gateway: Gateway, service: Service) -> None:
    with pytest.raises(ServiceBusy):
        await gateway.call("get-status", status="503")
    assert len(service.seen) == 3
    service.seen.clear()
    service.replies["/v1/customers/7"] = Reply({}, 429, {"retry-after": "3600"})
    with pytest.raises(ServiceBusy):
        await gateway.call("get-customer", id="7")
    assert len(service.seen) == 1
    service.replies["/v1/customers/8"] = lambda _: Reply(
        {}, 429 if len(service.seen) == 2 else 200, {"retry-after": "0"}
    )
    await gateway.call("get-customer", id="8")
    assert len(service.seen) == 3


async def test_a_service_that_is_too_slow_is_left_in_time(service: Service) -> None:
    service.delay = 3
    async with gateway_to(service, limits=LimitSettings(seconds=0.3)) as hasty:
        started = time.monotonic()
        with pytest.raises(DelegationTimeout):
            await hasty.call("get-customer", id="7")
        assert time.monotonic() - started < 2.5
    service.delay = 0


async def test_a_cancelled_call_leaves_at_once_and_the_next_one_is_good(gateway: Gateway, service: Service) -> None:
    service.delay = 0.5
    call = asyncio.ensure_future(gateway.call("get-customer", id="7"))
    await asyncio.sleep(0.1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    service.delay = 0
    assert (await gateway.call("get-customer", BOB, id="8"))["body"]["subject"] == "bob"
    assert [event.outcome for event in gateway.sink.entries()] == [Outcome.CANCELLED, Outcome.SUCCESS]


PLAIN, PNG, XML = "text/plain", "image/png", "application/xml"
LATIN = 'text/csv; header=present; charset="ISO-8859-1"'
HAL = "application/hal+json; charset=utf-8"


@pytest.mark.parametrize(
    ("body", "kind", "data"),
    [
        ({"a": [1, None]}, "application/json", {"body": {"a": [1, None]}}),
        ([1], HAL, {"body": [1]}),
        (b"", PLAIN, {"body": None}),
        ("é".encode(), PLAIN, {"content_type": PLAIN, "body": "é"}),
        (b"\xe9", LATIN, {"content_type": "text/csv", "body": "é"}),
        (b"\x00\xff", PNG, {"content_type": PNG, "base64": "AP8="}),
        (b"<a/>", XML, {"content_type": XML, "body": "<a/>"}),
    ],
)
async def test_answers_become_data(service: Service, body: object, kind: str, data: dict[str, object]) -> None:
    service.replies["/v1/customers/7"] = Reply(body, 201, {"content-type": kind})
    accepted = ["application/json", "application/*+json", "text/*", "image/*", "application/xml"]
    async with gateway_to(service, content_types=accepted) as opened:
        assert await opened.call("get-customer", id="7") == {"status": 201, **data}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"\x00\xff", 200, {"content-type": "image/png"}),
        Reply(b"{}", 200, {"content-type": ""}),
        Reply(b'{"a":1,"a":2}'),
        Reply(b'{"a":NaN}'),
        Reply(b"{}}"),
        Reply(b"[" * 40 + b"]" * 40),
        Reply(b"\xff", 200, {"content-type": "text/plain"}),
        Reply(b"x", 200, {"content-type": "text/plain; charset=utf-7"}),
        Reply(b"x", 200, {"content-encoding": "gzip"}),
        Reply({}, 301, {"location": "/v1/health"}),
        Reply({}, 302, {"location": "http://127.0.0.1:1/"}),
        Reply({}, 307, {"location": "//evil.example/"}),
    ],
    ids=lambda reply: f"{reply.status} {bytes(str(reply.body), 'ascii')[:12]!r} {list(reply.headers.values())[:1]}",
)
async def test_an_answer_that_cannot_be_used_is_none_and_no_redirect_is_followed(
    gateway: Gateway, service: Service, reply: Reply
) -> None:
    service.replies["/v1/customers/7"] = reply
    with pytest.raises(UnexpectedAnswer):
        await gateway.call("get-customer", id="7")
    assert len(service.seen) == 1


async def test_an_answer_that_is_too_large_is_not_read(service: Service) -> None:
    service.replies["/v1/customers/7"] = Reply("x" * 2000)
    async with gateway_to(service, limits=LimitSettings(response_bytes=1000)) as small:
        with pytest.raises(AnswerTooLarge):
            await small.call("get-customer", id="7")
    assert len(service.seen) == 1


async def test_nothing_is_sent_without_an_exchanged_token(gateway: Gateway, service: Service) -> None:
    from actas.testing.module_kit import ModuleKit, a_call

    module = gateway.module
    kit = ModuleKit(make=lambda: module, alice=ALICE, bob=BOB, parameters={})
    call = await a_call(kit, ALICE, module.actions[0], {"id": "7"})
    with pytest.raises(PrincipalUnavailable, match="identity"):
        await module.delegate(call)
    assert service.seen == []


async def test_an_action_of_another_module_is_unknown(gateway: Gateway) -> None:
    from dataclasses import replace

    from actas.testing.module_kit import ModuleKit, a_call

    kit = ModuleKit(make=lambda: gateway.module, alice=ALICE, bob=BOB, parameters={}, credentials=gateway.source)
    call = await a_call(kit, ALICE, replace(gateway.module.actions[0], name="another"), {})
    with pytest.raises(UnknownAction):
        await gateway.module.delegate(call)


async def test_health_is_told_as_the_user_and_by_the_module_without_a_token(gateway: Gateway, service: Service) -> None:
    assert (await gateway.call("health"))["body"] == {"up": True}
    assert service.seen[-1].subject == "alice"
    assert (await gateway.module.health_check()).healthy
    assert service.seen[-1].header("authorization") is None
    async with gateway_to(service, base_url="http://127.0.0.1:1") as dead:
        assert not (await dead.module.health_check()).healthy


@pytest.mark.parametrize(
    "body", [b"[" + b"{}," * 100_000 + b"{}]", b"[" + b"1," * 100_001 + b"1]"], ids=["objects", "numbers"]
)
async def test_an_answer_of_too_many_values_is_not_unpacked(gateway: Gateway, service: Service, body: bytes) -> None:
    service.replies["/v1/customers/7"] = Reply(body)
    with pytest.raises(AnswerTooLarge):
        await gateway.call("get-customer", id="7")


@pytest.mark.parametrize(
    "body", [Reply(b"x", headers={"content-encoding": "gzip"}), Reply("x" * 20_000)], ids=["compressed", "large"]
)
async def test_an_error_counts_by_its_status_whatever_its_body_is(service: Service, body: Reply) -> None:
    from dataclasses import replace

    async with gateway_to(service, limits=LimitSettings(response_bytes=10_000)) as opened:
        for status, kind, times in ((401, CredentialRejected, 2), (503, ServiceBusy, 3), (404, NotFound, 1)):
            service.seen.clear()
            service.replies["/v1/customers/7"] = replace(body, status=status)
            with pytest.raises(kind):
                await opened.call("get-customer", id="7")
            assert len(service.seen) == times


async def test_nobody_takes_all_connections(service: Service) -> None:
    service.delay = 0.3
    async with gateway_to(service, limits=LimitSettings(seconds=5, connections=4, calls_per_user=3)) as opened:
        calls = [asyncio.ensure_future(opened.call("get-customer", id=str(each))) for each in range(9)]
        await asyncio.sleep(0.1)
        assert (await opened.call("get-customer", BOB, id="7"))["body"]["subject"] == "bob"
        assert sum(call.done() for call in calls) <= 3, "bob did not wait for alice's nine"
        calls[4].cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(each, dict) for each in ended].count(False) == 1
        with pytest.raises(UnexpectedAnswer):
            await opened.call("get-status", status="302")
        assert opened.module._shares._shares == {}


async def test_a_service_whose_front_page_is_large_or_compressed_is_well_and_one_that_fails_is_not(
    service: Service,
) -> None:
    async with gateway_to(service, limits=LimitSettings(response_bytes=5)) as opened:
        assert (await opened.module.health_check()).healthy
    packed = {"content-encoding": "gzip"}
    for reply, healthy in ((Reply(b"x", 200, packed), True), (Reply(b"x", 500, packed), False)):
        service.replies["/v1/health"] = reply
        async with gateway_to(service) as opened:
            assert (await opened.module.health_check()).healthy is healthy


async def test_a_service_that_comes_back_is_used_again(service: Service) -> None:
    async with gateway_to(service) as opened:
        service._server.socket.close()
        with pytest.raises(DownstreamUnavailable):
            await opened.call("get-customer", id="7")
        with Service(service.provider, "https://crm.example") as again:
            opened.module._upstream.base = again.base
            assert (await opened.call("get-customer", id="7"))["status"] == 200


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (HttpTimeout(detail="x"), DelegationTimeout),
        (ResponseTooLarge(detail="x"), AnswerTooLarge),
        (UnexpectedResponse(status=200, detail="x"), UnexpectedAnswer),
        (InsecureUrl(detail="x"), DownstreamUnavailable),
        (HttpError(detail="x"), DownstreamUnavailable),
    ],
    ids=lambda value: getattr(value, "code", ""),
)
def test_what_comes_to_no_answer_is_told_by_its_kind(error: HttpError, kind: type[ActasError]) -> None:
    made = from_http(error)
    assert type(made) is kind and made.detail == f"{error.code}: {error.detail}"
