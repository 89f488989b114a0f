"""The door, by what it does with tokens: real signatures, a real server, raw HTTP."""

import asyncio
import re
import time
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from actas.core import AuthenticationError, Outcome
from actas.core.roles import RoleMappings
from actas.oauth.settings import ClaimMappings, TokenRules
from actas.testing import tokens
from actas.testing.idp import DemoUser, IdentityProvider

from .conftest import HANDSHAKE, MODERN, ROLES, Serve, Stage

pytestmark = pytest.mark.anyio


def challenge_of(response: httpx2.Response) -> dict[str, str]:
    scheme, _, attributes = response.headers["www-authenticate"].partition(" ")
    assert scheme == "Bearer"
    return dict(re.findall(r'(\w+)="([^"]*)"', attributes))


async def refused(stage: Stage, token: str) -> str:
    """Check the whole of a refusal; returns the reason in the minutes."""
    stage.sink.clear()
    response = await stage.call(token, "toy-say", {"text": "x"})
    assert response.status_code == 401
    challenge = challenge_of(response)
    assert challenge["error"] == "invalid_token"
    assert challenge["resource_metadata"] == f"{stage.origin}/.well-known/oauth-protected-resource/mcp"
    assert challenge["error_description"] == AuthenticationError.default_message  # the same, whatever was wrong
    assert response.json() == {"error": "invalid_token", "error_description": AuthenticationError.default_message}
    said = f"{response.headers} {response.text}"
    for private in (stage.idp.issuer, stage.idp.audience, stage.idp.key().key_id, "demo"):
        assert private not in said
    events = stage.sink.entries()
    assert [(event.source, event.outcome, event.code) for event in events] == [
        ("auth", Outcome.REFUSED, "invalid_token")
    ]
    assert stage.toy.calls == []
    assert (await stage.call(stage.token(), "toy-say", {"text": "y"})).status_code == 200  # nobody else is harmed
    stage.toy.calls.clear()
    return str(events[0].reason)


BAD: dict[str, Any] = {
    "1 unsigned": lambda idp: tokens.unsigned(idp.claims()),
    "2 HMAC with the public key": lambda idp: tokens.hmac_with_public_key(
        idp.claims(), idp.key().key, key_id=idp.key().key_id
    ),
    "3 tampered signature": lambda idp: tokens.tampered(idp.issue()),
    "3 tampered claims": lambda idp: tokens.with_claims(idp.issue(), sub="bob"),
    "4 expired": lambda idp: idp.issue(expires_in=-120),
    "4 not yet valid": lambda idp: idp.issue(claims={"nbf": int(time.time()) + 600}),
    "5 untrusted issuer": lambda idp: idp.issue(claims={"iss": "https://evil.example"}),
    "6 for another service": lambda idp: idp.issue(audience="https://other.example"),
    "7 without exp": lambda idp: idp.issue(claims={"exp": None}),
    "8 an ID token": lambda idp: idp.issue(headers={"typ": "JWT"}),
    "8 a logout token": lambda idp: idp.issue(headers={"typ": "logout+jwt"}),
    "9 unknown crit": lambda idp: idp.issue(headers={"crit": ["x"], "x": 1}),
    "10 unknown kid": lambda idp: idp.issue(headers={"kid": "nobody"}),
    "13 deeply nested": lambda idp: idp.issue(claims={"deep": tokens.nested(200)}),
    "13 many claims": lambda idp: idp.issue(claims=tokens.many_claims(2_000)),
    "13 duplicate keys": lambda idp: idp.issue(claims=tokens.with_duplicate(idp.claims(), "sub", "bob")),
    "no JWT": lambda idp: "x",
    "spaces": lambda idp: "a b c",
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_token_is_401_with_a_challenge_that_says_nothing_of_us(stage: Stage, kind: str) -> None:
    assert await refused(stage, BAD[kind](stage.idp))


async def test_a_token_of_a_megabyte_is_refused_at_once(stage: Stage) -> None:
    response = await stage.post("a" * 60_000)
    assert response.status_code == 401
    try:
        response = await stage.post("a" * 1_048_576)
        assert response.status_code == 400
    except httpx2.TransportError:
        pass  # cut off while it was still talking
    assert (await stage.post(stage.token())).status_code == 200


async def test_headers_without_end_are_cut_off(stage: Stage) -> None:
    host, port = stage.origin.removeprefix("http://").split(":")
    for chunk in (b"a" * 65_536, b"x-a: " + b"a" * 60_000 + b"\r\n"):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /mcp HTTP/1.1\r\nhost: x\r\n")
        sent = 0
        try:
            while sent < 50_000_000:
                writer.write(chunk)
                await writer.drain()
                sent += len(chunk)
        except ConnectionError:
            pass
        writer.close()
        assert sent < 10_000_000
    assert (await stage.post(stage.token())).status_code == 200


async def test_a_small_skew_of_clocks_is_tolerated(stage: Stage) -> None:
    assert (await stage.post(stage.token(expires_in=-5))).status_code == 200
    assert (await stage.post(stage.token(claims={"nbf": int(time.time()) + 5}))).status_code == 200


async def test_a_thousand_unknown_keys_cause_one_fetch(stage: Stage) -> None:
    before = stage.idp.requests[stage.idp.jwks_path]
    for number in range(100):
        assert (await stage.post(stage.token(headers={"kid": f"k{number}"}))).status_code == 401
    assert stage.idp.requests[stage.idp.jwks_path] - before <= 1


async def test_a_new_key_is_accepted_without_a_restart_and_the_old_one_until_it_leaves(serve: Serve) -> None:
    async with serve() as stage:
        old = stage.token()
        assert (await stage.post(old)).status_code == 200
        stage.idp.rotate()
        assert (await stage.post(stage.token())).status_code == 200
        assert (await stage.post(old)).status_code == 200
        stage.idp.keys.pop()


async def test_while_the_provider_is_down_known_keys_keep_working(stage: Stage) -> None:
    assert (await stage.post(stage.token())).status_code == 200
    with stage.idp.outage():
        assert (await stage.post(stage.token("bob"))).status_code == 200


async def test_two_providers_that_share_an_issuer_have_their_own_mappings(serve: Serve, idp: IdentityProvider) -> None:
    first = idp.trusted("first", audience=["https://one.test"], role_mappings=RoleMappings(user=["staff"]))
    second = idp.trusted(
        "second", audience=["https://two.test"], role_mappings=RoleMappings(custom={"auditor": ["staff"]})
    )
    async with serve(first, second) as stage:
        for audience, role in (("https://one.test", "user"), ("https://two.test", "auditor")):
            answer = (await stage.call(stage.token(audience=audience), "user-info")).json()
            assert answer["result"]["structuredContent"]["role"] == role


@pytest.mark.parametrize("claims", [{"scope": "a b"}, {"scope": None, "scp": ["a", "b"]}])
async def test_scopes_come_as_a_string_or_as_a_list(stage: Stage, claims: dict[str, object]) -> None:
    answer = (await stage.call(stage.token(claims=claims), "user-info")).json()
    assert answer["result"]["structuredContent"]["scopes"] == ["a", "b"]


async def test_a_missing_token_is_challenged_without_an_error(stage: Stage) -> None:
    response = await stage.post(None)
    assert response.status_code == 401
    challenge = challenge_of(response)
    assert "error" not in challenge
    assert challenge["scope"] == "toy.extra toy.read toy.write"
    assert challenge["resource_metadata"] == f"{stage.origin}/.well-known/oauth-protected-resource/mcp"
    (event,) = stage.sink.entries()
    assert (event.source, event.outcome, event.code) == ("auth", Outcome.REFUSED, "missing_token")


@pytest.mark.parametrize("authorization", ["Basic YTpi", "Digest x", "{token}", "Bearerx {token}", "DPoPx {token}"])
async def test_another_scheme_is_no_authentication_at_all(stage: Stage, authorization: str) -> None:
    response = await stage.post(None, headers={"authorization": authorization.format(token=stage.token())})
    assert response.status_code == 401
    assert "error" not in challenge_of(response)
    assert len(stage.sink.entries()) == 1


@pytest.mark.parametrize(
    "authorization",
    [b"Bearer", b"Bearer ", b"bearer  ", b"Bearer \xe9", b"Bearer  \t ", b"Bearer a, Bearer b", b"DPoP", b"dpop  "],
)
async def test_a_scheme_without_one_token_is_an_invalid_one(stage: Stage, authorization: bytes) -> None:
    status, challenge = await raw(stage, authorization)
    assert status == 401
    assert b'error="invalid_token"' in challenge


async def test_the_scheme_may_be_written_in_any_case(stage: Stage) -> None:
    status, _ = await raw(stage, f"bEARER  {stage.token()} ".encode())
    assert status == 400  # inside; the body is none


async def raw(stage: Stage, authorization: bytes) -> tuple[int, bytes]:
    """Status and everything else of the answer to a request that no client library would send."""
    host, port = stage.origin.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:%b\r\ncontent-type: application/json\r\naccept: */*\r\n"
        b"mcp-protocol-version: 2026-07-28\r\nauthorization: %b\r\n"
        b"connection: close\r\ncontent-length: 1\r\n\r\n{" % (port.encode(), authorization)
    )
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ")[1]), answer


async def test_two_authorization_headers_are_refused(stage: Stage) -> None:
    token = f"Bearer {stage.token()}"
    response = await stage.http.post(
        stage.url, headers=[("authorization", token), ("authorization", token)], content=b"{}"
    )
    assert response.status_code == 401
    assert len(stage.sink.entries()) == 1


async def test_a_token_in_the_query_string_or_in_a_cookie_is_not_looked_at(stage: Stage) -> None:
    token = stage.token()
    for where in ({"params": {"access_token": token}}, {"headers": {"cookie": f"authorization=Bearer {token}"}},
                  {"data": {"access_token": token}}):  # fmt: skip
        async with httpx2.AsyncClient() as http:
            response = await http.post(stage.url, **where)
        assert response.status_code == 401
        assert "error" not in challenge_of(response)
    assert token not in repr(stage.sink.entries())


async def test_a_good_token_is_recorded_once_and_each_call_once(stage: Stage) -> None:
    token = stage.token()
    for _ in range(3):
        assert (await stage.call(token, "toy-say", {"text": "x"})).status_code == 200
        assert (await stage.post(token)).status_code == 200
    events = [(event.source, event.outcome, event.tool) for event in stage.sink.entries()]
    assert events == [("auth", Outcome.SUCCESS, None), *[("delegation:toy", Outcome.SUCCESS, "toy-say")] * 3]
    assert len({event.request_id for event in stage.sink.entries()}) == 3  # the first request has two events


@pytest.mark.parametrize("path", ["realm_access.roles", "https://ns.example/roles"])
async def test_roles_are_found_by_path_and_by_url(serve: Serve, idp: IdentityProvider, path: str) -> None:
    claims: dict[str, object] = {"roles": None, "realm_access": {"roles": ["boss"]}}
    if path.startswith("https"):
        claims = {"roles": None, path: ["boss"]}
    async with serve(idp.trusted(role_mappings=ROLES, claim_mappings=ClaimMappings(roles=path))) as stage:
        answer = (await stage.call(stage.token(claims=claims), "user-info")).json()
        assert answer["result"]["structuredContent"]["role"] == "admin"


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
async def test_an_unmapped_role_is_403_and_every_attempt_is_recorded_as_rejected(
    serve: Serve, idp: IdentityProvider, version: str
) -> None:
    strict = idp.trusted(role_mappings=replace(ROLES, reject_unmapped_roles=True))
    async with serve(strict) as stage:
        token = stage.token(roles=["stranger"])
        for attempt in (1, 2):
            response = await stage.post(token, version=version)
            assert response.status_code == 403
            assert "www-authenticate" not in response.headers
            assert response.json()["error"] == "session_rejected"
            events = stage.sink.entries()
            assert [(e.source, e.outcome, e.code, e.subject) for e in events] == [
                ("auth", Outcome.REFUSED, "session_rejected", "alice")
            ] * attempt


@pytest.mark.parametrize("roles", [5, {"a": 1}, ["staff", 5], [["staff"]], True])
async def test_roles_of_a_wrong_type_admit_nobody_and_raise_nothing(stage: Stage, roles: object) -> None:
    response = await stage.post(stage.token(claims={"roles": roles}))
    assert response.status_code == 403
    (event,) = stage.sink.entries()
    assert (event.role, event.code) == ("unassigned", "session_rejected")


async def test_a_token_older_than_allowed_is_refused(serve: Serve, idp: IdentityProvider) -> None:
    async with serve(
        idp.trusted(role_mappings=ROLES, security=TokenRules(max_token_age=60, clock_tolerance=0))
    ) as stage:
        assert await refused(stage, stage.token(claims={"iat": int(time.time()) - 100}))


async def test_concurrent_users_are_never_mixed(stage: Stage) -> None:
    import anyio

    seen: list[tuple[str, str]] = []
    stage.idp.users.update({f"user{number}": DemoUser(roles=["staff"]) for number in range(20)})

    async def ask(user: str, version: str) -> None:
        for number in range(6):
            headers = {"last-event-id": "1"} if number % 2 else {}  # the SDK's way, and the short one
            answer = (await stage.call(stage.token(user), "user-info", version=version, headers=headers)).json()
            seen.append((user, answer["result"]["structuredContent"]["username"]))

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(ask, f"user{number}", MODERN if number % 2 else HANDSHAKE)
    assert len(seen) == 120
    assert all(user == answered for user, answered in seen)
