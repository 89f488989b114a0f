"""Acceptance cases 48 and 49 at the module: everything that a hostile model may write, and nothing of it arrives."""

import socket
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_gateway import ALICE, Gateway, gateway_to, settings_for
from rest_service import Reply, Service

from actas.core import ActasError, DownstreamUnavailable, Outcome
from actas.delegation.rest.module import RestDelegation
from actas.http import RequestRefused, addresses
from actas.testing.attacks import LEAVING_PATHS

pytestmark = pytest.mark.anyio

PATHS = [
    *(f"/customers/{each}" for each in LEAVING_PATHS),
    *(f"/files/{each}" for each in LEAVING_PATHS if each not in ("a/b", "/admin")),
    "/files/a/b/../../../admin", "/../admin", "/customers/../../admin", "//evil.example/customers/7",
    "https://evil.example/customers/7", "http:/customers/7", "@evil.example/customers/7", "/customers/7@evil.example/x",
    "\\\\evil.example\\customers", "/\\evil.example", "/%2fevil.example", "/customers/7 HTTP/1.1\r\nHost: evil",
    "customers/7", "/customers/7/", "/customers/7?admin=1", "/customers/7#frag", "?", "",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=ascii)
async def test_no_path_leads_out_of_what_is_allowed(gateway: Gateway, service: Service, path: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        await gateway.send(path)
    assert service.seen == []
    assert path == "" or len(path) < 4 or path not in refused.value.message
    (event,) = gateway.sink.entries()
    assert (event.outcome, event.code) == (Outcome.REFUSED, "http_request_refused")


@pytest.mark.parametrize("value", LEAVING_PATHS, ids=ascii)
async def test_no_value_leads_out_of_its_place(gateway: Gateway, service: Service, value: str) -> None:
    with pytest.raises(ActasError):
        await gateway.call("get-customer", id=value)
    assert service.seen == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(min_size=1, max_size=20) | st.text(alphabet="./\\%2eEfF5c@:?#&;=", max_size=10))
async def test_whatever_a_model_writes_the_service_is_asked_for_one_customer(
    gateway: Gateway, service: Service, value: str
) -> None:
    service.seen.clear()
    for call in (gateway.call("get-customer", id=value, fields=value), gateway.send(f"/customers/{value}")):
        try:
            await call
        except ActasError:
            continue
    for seen in service.seen:
        path = seen.target.partition("?")[0]
        assert path.startswith("/v1/customers/") and path.count("/") == 3 and seen.subject == "alice"
        assert seen.header("host") == service.origin.removeprefix("http://")


HEADERS: list[dict[str, str]] = [
    {"Authorization": "Bearer stolen"},
    {"authorization": "Basic x"},
    {"X-User": "bob"},
    {"x-user": "bob"},
    {"X-Forwarded-User": "bob"},
    {"Cookie": "session=bob"},
    {"Host": "evil.example"},
    {"X-HTTP-Method-Override": "DELETE"},
    {"X-Original-URL": "/admin"},
    {"Transfer-Encoding": "chunked"},
    {"Content-Length": "0"},
    {"X-Key": "mine"},
    {"Accept-Language": "de\r\nX-User: bob"},
    {"Accept-Language\r\nX-User": "bob"},
    {"DPoP": "x"},
]


@pytest.mark.parametrize("headers", HEADERS, ids=str)
async def test_no_header_of_a_caller_says_who_he_is(service: Service, headers: dict[str, str]) -> None:
    fields: dict[str, Any] = {"identity_headers": {"X-User": "username"}, "caller_headers": ["Accept-Language"]}
    async with gateway_to(service, **fields) as opened:
        with pytest.raises(RequestRefused):
            await opened.send("/customers/7", headers=headers)
        assert service.seen == [] and opened.sink.entries()[0].outcome is Outcome.REFUSED
        await opened.send("/customers/7", headers={"Accept-Language": "de"})
    (seen,) = service.seen
    assert (seen.header("x-user"), seen.header("accept-language"), seen.subject) == ("alice", "de", "alice")


@pytest.mark.parametrize(
    "more",
    [
        {"query": {"access_token": "stolen"}},
        {"query": {"_method": "DELETE"}},
        {"query": {"a": "b\r\nc"}},
        {"method": "DELETE"},
        {"method": "POST"},
        {"body": {"a": 1}},
    ],
    ids=str,
)
async def test_no_other_parameter_makes_another_request_of_it(
    gateway: Gateway, service: Service, more: dict[str, object]
) -> None:
    with pytest.raises(ActasError):
        await gateway.send("/customers/7", **more)
    assert service.seen == []


async def test_a_redirect_to_another_host_is_not_followed_and_the_token_stays(
    gateway: Gateway, service: Service
) -> None:
    came = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.5)
        port = elsewhere.getsockname()[1]
        for status in (301, 302, 303, 307, 308):
            service.replies["/v1/customers/7"] = Reply({}, status, {"location": f"http://127.0.0.1:{port}/steal"})
            with pytest.raises(ActasError):
                await gateway.call("get-customer", id="7")
        try:
            elsewhere.accept()
            came.set()
        except TimeoutError:
            pass
    assert not came.is_set() and len(service.seen) == 5


async def test_a_name_that_leads_to_a_private_address_is_not_asked(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr(addresses, "_looked_up", lookup)
    port = service.origin.rpartition(":")[2]
    async with gateway_to(service, base_url=f"https://crm.example:{port}/v1") as opened:
        with pytest.raises(DownstreamUnavailable, match="address that it must not use"):
            await opened.call("get-customer", id="7")
    assert service.seen == []


async def test_one_users_answer_is_never_anothers_also_where_the_service_sets_cookies(
    gateway: Gateway, service: Service
) -> None:
    service.replies["/v1/customers/7"] = lambda seen: Reply(
        {"cookie": seen.header("cookie"), "who": seen.subject}, 200, {"set-cookie": f"session={seen.subject}"}
    )
    assert (await gateway.call("get-customer", id="7"))["body"] == {"cookie": None, "who": "alice"}
    assert (await gateway.call("get-customer", id="7"))["body"] == {"cookie": None, "who": "alice"}


def test_nothing_that_the_module_shows_has_a_secret_in_it(service: Service) -> None:
    from actas.core import Secret

    module = RestDelegation(settings_for(service, headers={"X-Key": Secret("s3cret-key")}))
    assert "s3cret-key" not in repr(module) + repr(vars(module)) + repr(ALICE)
