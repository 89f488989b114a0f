"""Web services that take Negotiate and nothing else: they see the user, and they prove who they are."""

from base64 import b64encode
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from typing import Any

import gssapi
import pytest
from kerberos_stage import ALICE, BOB, DATABASE, WEB, Gateway, initiated, opened, settings_for
from kerberos_web import Reply, WebService

from actas.core import ActasError, InternalError, Outcome
from actas.delegation.kerberos.failures import TargetUnproven, TicketRejected
from actas.delegation.kerberos.negotiation import Negotiation
from actas.delegation.kerberos.settings import HttpServiceSettings
from actas.testing.attacks import LEAVING_PATHS
from actas.testing.kdc import KerberosRealm

pytestmark = pytest.mark.anyio

ALLOWED = ["GET /reports/{id}", "GET /files/**", "POST /orders"]


def site(service: WebService, **fields: Any) -> HttpServiceSettings:
    made = HttpServiceSettings(
        base_url=f"{service.base}/app", description="The company's reports.", allow=ALLOWED, seconds=5
    )
    return replace(made, **fields)


@pytest.fixture
def service(realm: KerberosRealm) -> Iterator[WebService]:
    with WebService(realm.keytab(WEB)) as running:
        yield running


@pytest.fixture
async def gateway(realm: KerberosRealm, service: WebService) -> AsyncGenerator[Gateway]:
    async with opened(settings_for(realm, http={"intranet": site(service)})) as made:
        yield made


async def get(gateway: Gateway, path: str = "/reports/7", session: Any = ALICE, **more: object) -> dict[str, Any]:
    result = await gateway.call("http-intranet", session, path=path, **more)
    assert result.receipt.method == "kerberos:negotiate"
    assert isinstance(result.data, dict)
    return result.data


async def code_of(gateway: Gateway, **parameters: Any) -> str:
    """The code that a call ends with; the minutes have it too, and the message nothing of the service's."""
    with pytest.raises(ActasError) as caught:
        await get(gateway, **parameters)
    assert gateway.refused() == caught.value.code
    assert "SECRET" not in caught.value.message + (caught.value.detail or "")
    return caught.value.code


async def test_the_service_sees_the_user_and_proves_itself(gateway: Gateway, service: WebService) -> None:
    for session, name in ((ALICE, "alice@EXAMPLE.COM"), (BOB, "bob@EXAMPLE.COM")):
        result = await gateway.call("http-intranet", session, path="/reports/7", query={"q": "a b"})
        assert result.data == {"status": 200, "body": {"user": name, "path": "/app/reports/7?q=a%20b"}}
        assert result.receipt.identity == name
        assert result.receipt.details == {"kerberos": name, "target": f"{WEB}@EXAMPLE.COM", "status": "200"}


async def test_what_is_sent_is_the_users_and_each_request_has_its_own_connection(
    gateway: Gateway, service: WebService
) -> None:
    await get(gateway)
    await get(gateway, "/orders", method="POST", body={"item": "ü"}, session=BOB)
    first, second = service.seen
    assert (second.method, second.path, second.body) == ("POST", "/app/orders", '{"item":"ü"}'.encode())
    assert (first.headers["connection"], second.headers["connection"]) == ("close", "close")
    assert "cookie" not in second.headers and second.headers["content-type"] == "application/json"
    assert (first.user, second.user) == ("alice@EXAMPLE.COM", "bob@EXAMPLE.COM")


def _nothing(_: bytes) -> list[str]:
    return []


def _twice(token: bytes) -> list[str]:
    return [f"Negotiate {b64encode(token).decode()}"] * 2


def _garbage(_: bytes) -> list[str]:
    return [f"Negotiate {b64encode(b'SECRET garbage, and more of it').decode()}"]


def _broken(_: bytes) -> list[str]:
    return ["Negotiate =not=base64="]


def _cut(token: bytes) -> list[str]:
    return [f"Negotiate {b64encode(token[:-20]).decode()}"]


@pytest.mark.parametrize("challenge", [_nothing, _twice, _garbage, _broken, _cut])
async def test_a_service_that_does_not_prove_itself_says_nothing_that_counts(
    gateway: Gateway, service: WebService, challenge: Any
) -> None:
    service.reply = Reply(challenge=challenge, body=b'{"data": "SECRET"}')
    assert await code_of(gateway) == "kerberos_target_unproven"
    assert gateway.sink.entries()[-1].outcome is Outcome.REFUSED


async def test_the_proof_of_another_request_is_none(gateway: Gateway, service: WebService) -> None:
    """A service in the middle that has recorded an answer of the right one."""
    tokens: list[bytes] = []

    def recorded(token: bytes) -> list[str]:
        tokens.append(token)
        return [f"Negotiate {b64encode(tokens[0]).decode()}"]

    service.reply = Reply(challenge=recorded)
    await get(gateway)
    assert await code_of(gateway) == "kerberos_target_unproven"


async def test_a_service_with_another_key_cannot_read_the_ticket(realm: KerberosRealm, service: WebService) -> None:
    service.keytab = realm.keytab(DATABASE)
    async with opened(settings_for(realm, http={"intranet": site(service)})) as gateway:
        assert await code_of(gateway) == "kerberos_ticket_rejected"
    assert service.seen == []


async def test_a_ticket_that_the_service_does_not_take_any_more_is_replaced_at_once(own_realm: KerberosRealm) -> None:
    with WebService(own_realm.keytab(WEB)) as service:
        async with opened(settings_for(own_realm, http={"intranet": site(service)})) as gateway:
            await get(gateway)
            own_realm.rotate(WEB)  # the service has the new key alone
            assert (await get(gateway))["status"] == 200
            assert [seen.user for seen in service.seen] == ["alice@EXAMPLE.COM"] * 2


async def test_who_refuses_everybody_is_asked_twice_and_no_more(gateway: Gateway, service: WebService) -> None:
    service.reply = Reply(refuse=True)
    assert await code_of(gateway) == "kerberos_ticket_rejected"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(status=302, headers={"Location": "http://evil.example/"}), "kerberos_http_unexpected_answer"),
        (Reply(status=403, body=b"SECRET"), "kerberos_http_refused"),
        (Reply(status=404, body=b"SECRET"), "kerberos_http_not_found"),
        (Reply(status=429), "kerberos_http_failed"),
        (Reply(status=500, body=b"SECRET trace"), "kerberos_http_failed"),
        (Reply(body=b'{"a": 1, "a": 2}'), "kerberos_http_unexpected_answer"),
        (Reply(body=b"[" * 40 + b"]" * 40), "kerberos_http_unexpected_answer"),
        (Reply(body=b"[" + b"1," * 100_001 + b"1]"), "limit_exceeded"),
        (Reply(body=b" " * 1_000_001), "limit_exceeded"),
        (Reply(body=b"\xff", content_type="text/plain"), "kerberos_http_unexpected_answer"),
        (Reply(body=b"x", content_type="text/plain; charset=klingon"), "kerberos_http_unexpected_answer"),
        (Reply(body=b"x", headers={"Content-Encoding": "gzip"}), "kerberos_http_unexpected_answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_answer_that_is_no_success_is_ours_to_word(
    gateway: Gateway, service: WebService, reply: Reply, code: str
) -> None:
    service.reply = reply
    assert await code_of(gateway) == code


@pytest.mark.parametrize(
    ("reply", "data"),
    [
        (Reply(body=b"", status=204), {"status": 204, "body": None}),
        (Reply(body=b"<p>\xe4</p>", content_type="text/html; charset=ISO-8859-1"),
         {"status": 200, "content_type": "text/html", "body": "<p>ä</p>"}),
        (Reply(body=b"<a/>", content_type="application/atom+xml"),
         {"status": 200, "content_type": "application/atom+xml", "body": "<a/>"}),
        (Reply(body=b"\x00\x01", content_type="image/png"),
         {"status": 200, "content_type": "image/png", "base64": "AAE="}),
        (Reply(body=b"[1]", content_type="application/problem+json"), {"status": 200, "body": [1]}),
    ],
)  # fmt: skip
async def test_an_answer_comes_as_what_it_is(
    gateway: Gateway, service: WebService, reply: Reply, data: dict[str, object]
) -> None:
    service.reply = reply
    assert await get(gateway) == data


OUTSIDE = [
    *(f"/reports/{each}" for each in LEAVING_PATHS),
    *("/admin", "/reports/7/..", "//evil.example/reports/7", "http://evil.example/", "/reports/7?x=1", "", "/orders"),
]


@pytest.mark.parametrize("path", OUTSIDE, ids=ascii)
async def test_nothing_but_what_is_allowed_is_asked_for(gateway: Gateway, service: WebService, path: str) -> None:
    assert await code_of(gateway, path=path) == "http_request_refused"
    assert service.seen == []


async def test_a_body_or_query_that_may_not_be_sent_is_not(gateway: Gateway, service: WebService) -> None:
    assert await code_of(gateway, body={"a": 1}) == "http_request_refused"
    assert await code_of(gateway, query={"access_token": "x"}) == "http_request_refused"
    assert await code_of(gateway, path="/orders", method="POST", body={"a": "x" * 1_000_000}) == "limit_exceeded"
    assert await code_of(gateway, path="/orders", method="POST", body={"a": "\ud800"}) == "invalid_parameters"
    assert service.seen == []


async def test_a_dead_or_slow_service_is_told_as_such(realm: KerberosRealm, service: WebService) -> None:
    dead = site(service, base_url="http://localhost:9")
    async with opened(settings_for(realm, http={"intranet": dead})) as gateway:
        assert await code_of(gateway) == "downstream_unavailable"
    async with opened(settings_for(realm, http={"intranet": site(service, seconds=1e-9)})) as gateway:
        assert await code_of(gateway) == "timeout"


async def test_a_recorded_request_shows_nothing_to_whoever_has_no_key(gateway: Gateway, service: WebService) -> None:
    """What the service got is for it alone: another one cannot use it."""
    ticket = await gateway.module.ticket(ALICE, WEB, deadline=float("inf"))
    token = initiated(ticket.gss_credentials(), ticket.target).step()
    assert token is not None
    other = gssapi.Credentials(usage="accept", store={"keytab": str(service.keytab).replace("HTTP", "postgres")})
    acceptor = gssapi.SecurityContext(creds=other, usage="accept")
    with pytest.raises(gssapi.raw.GSSError):
        assert acceptor.step(token) and not acceptor.complete


async def test_a_ticket_that_was_wiped_meanwhile_opens_nothing(gateway: Gateway) -> None:
    ticket = await gateway.module.ticket(ALICE, WEB, deadline=float("inf"))
    negotiation = Negotiation(ticket)
    ticket.wipe()
    with pytest.raises(TicketRejected):
        negotiation.authorization()


async def test_credentials_of_another_library_are_none(gateway: Gateway) -> None:
    ticket = await gateway.module.ticket(ALICE, WEB, deadline=float("inf"))
    ticket.gss_credentials = object  # type: ignore[method-assign, assignment] -- as a foreign granter might
    with pytest.raises(InternalError):
        Negotiation(ticket)


async def test_a_negotiation_that_would_go_on_proves_nothing(gateway: Gateway) -> None:
    """The service says "accept-incomplete" (RFC 4178 section 4.2.2), and sends data all the same."""
    negotiation = Negotiation(await gateway.module.ticket(ALICE, WEB, deadline=float("inf")))
    negotiation.authorization()
    incomplete = bytes.fromhex("a1073005a0030a0101")
    with pytest.raises(TargetUnproven):
        negotiation.prove(f"Negotiate {b64encode(incomplete).decode()}")


async def test_a_service_that_trusts_a_bare_negotiation_has_proven_nothing(gateway: Gateway) -> None:
    """It says "accept-completed", without a word of Kerberos in it."""
    negotiation = Negotiation(await gateway.module.ticket(ALICE, WEB, deadline=float("inf")))
    negotiation.authorization()
    completed = bytes.fromhex("a1073005a0030a0100")
    with pytest.raises(TargetUnproven):
        negotiation.prove(f"Negotiate {b64encode(completed).decode()}")


@pytest.mark.parametrize("challenge", ["Negotiate", "Negotiate AAAA", "Negotiate ====", "Basic realm=x", "", "\x00"])
async def test_what_a_service_says_in_refusing_is_a_number_or_nothing(gateway: Gateway, challenge: str) -> None:
    negotiation = Negotiation(await gateway.module.ticket(ALICE, WEB, deadline=float("inf")))
    negotiation.authorization()
    assert negotiation.complaint(challenge) is None or isinstance(negotiation.complaint(challenge), int)
