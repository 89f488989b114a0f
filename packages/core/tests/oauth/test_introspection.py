"""Opaque tokens: real HTTP to a provider that demands to know its client, and answers in plain or signed."""

import json
import re
import time
from collections.abc import Awaitable, Callable
from threading import Lock

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actas.core.errors import AuthenticationError, AuthenticationUnavailable, ConfigurationError
from actas.core.models import Session
from actas.core.roles import RoleMappings
from actas.core.secret import Secret
from actas.http import HttpClient
from actas.oauth import (
    Authenticator,
    ClaimMappings,
    ClientCredentials,
    IntrospectionSettings,
    TokenRules,
    TrustedIssuer,
)
from actas.oauth import introspection as module
from actas.oauth.introspection import is_opaque
from actas.testing.idp import IdentityProvider
from actas.testing.idp_http import Answer, Request
from actas.testing.tokens import encode_segment, sign, tampered

from .conftest import PERMISSIONS, ROLES, Clock

pytestmark = pytest.mark.anyio

Refused = Callable[[Authenticator, str], Awaitable[str]]
Make = Callable[..., Authenticator]


@pytest.fixture
def asking(idp: IdentityProvider, make: Make) -> Authenticator:
    """An authenticator that asks ``idp`` about opaque tokens."""
    return make(idp.trusted(role_mappings=ROLES, introspection=idp.introspection()))


@pytest.fixture
def signed(idp: IdentityProvider, make: Make) -> Authenticator:
    """The same, which believes signed answers alone."""
    return make(idp.trusted(role_mappings=ROLES, introspection=idp.introspection(signed_responses=True)))


def answers(idp: IdentityProvider, body: bytes | dict[str, object]) -> None:
    """Let the provider say that about any token."""
    idp.answers[idp.introspection_path] = body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.mark.parametrize("signs", [False, True])
async def test_an_opaque_token_makes_the_session_that_the_same_claims_in_a_jwt_make(
    signs: bool, make: Make, idp: IdentityProvider
) -> None:
    authenticator = make(idp.trusted(role_mappings=ROLES, introspection=idp.introspection(signed_responses=signs)))
    cnf = {"jkt": "thumbprint"}
    opaque = await authenticator.authenticate(idp.issue_opaque("alice", cnf=cnf, sid="s1"))
    jwt = await authenticator.authenticate(idp.issue("alice", claims={"cnf": cnf, "sid": "s1"}))

    def comparable(session: Session) -> list[object]:
        names = ("issuer", "subject", "username", "provider", "role", "permissions", "scopes", "client_id", "rejected")
        return [getattr(session, name) for name in names] + [session.claims["cnf"], session.claims["sid"]]

    assert comparable(opaque) == comparable(jwt)
    assert opaque.permissions == {"sql:read"}
    assert opaque.expires_at == jwt.expires_at


async def test_a_jwt_is_never_shown_to_anybody(asking: Authenticator, idp: IdentityProvider, refused: Refused) -> None:
    good = idp.issue()
    header, claims, signature = good.split(".")
    await asking.authenticate(good)
    for token, reason in (
        (tampered(idp.issue()), "bad_signature"),
        (idp.issue(claims={"iss": "https://foreign.example"}), "untrusted_issuer"),
        (f"{header}=.{claims}.{signature}", "malformed"),
        (f"{header[:-1]}.{claims}.{signature}", "malformed"),
        (f"{header}.{claims}.{signature}.x", "malformed"),
        (f"{header}.{claims}.a.b.c", "malformed"),
        ("eyJ.a.b", "malformed"),
    ):
        assert await refused(asking, token) == reason
    assert idp.opaque.shown == []


@pytest.mark.parametrize("token", ["", "a b", "é", "a\nb", "\ud800", "=a", "tok\u200ben", '{"a":1}'])
async def test_what_no_token_looks_like_is_shown_to_nobody(
    asking: Authenticator, idp: IdentityProvider, refused: Refused, token: str
) -> None:
    assert await refused(asking, token) == "malformed"
    assert idp.opaque.shown == []


async def test_without_introspection_an_opaque_token_is_refused_and_not_shown(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    assert await refused(authenticator, idp.issue_opaque()) == "malformed"
    assert idp.opaque.shown == []


async def test_a_token_of_a_megabyte_is_not_shown(
    asking: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    assert await refused(asking, "a" * 1_000_000) == "too_large"
    assert idp.opaque.shown == []


async def test_a_token_that_is_unknown_or_revoked_at_the_provider_is_refused(
    asking: Authenticator, idp: IdentityProvider, refused: Refused, clock: Clock
) -> None:
    assert await refused(asking, "nobody-has-this") == "inactive"
    token = idp.issue_opaque()
    await asking.authenticate(token)
    idp.opaque.active.clear()
    assert asking.cached(token.encode()) is not None
    clock.now += 30
    assert await refused(asking, token) == "inactive"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"iss": "https://other.example"}, "untrusted_issuer"),
        ({"iss": 5}, "untrusted_issuer"),
        ({"aud": None}, "wrong_audience"),
        ({"aud": "https://other.example"}, "wrong_audience"),
        ({"aud": ["https://mcp.example/mcp", 5]}, "wrong_audience"),
        ({"exp": None}, "missing_claim"),
        ({"exp": "soon"}, "malformed_claim"),
        ({"exp": True}, "malformed_claim"),
        ({"iat": None}, "missing_claim"),
        ({"nbf": 4_000_000_000}, "not_yet_valid"),
        ({"iat": 4_000_000_000}, "not_yet_valid"),
        ({"iat": 1_000_000_000}, "too_old"),
        ({"sub": None, "client_id": None}, "missing_claim"),
        ({"sub": 5}, "malformed_claim"),
        ({"sub": "a\nb"}, "malformed_claim"),
        ({"scope": 5}, "malformed_claim"),
        ({"act": "agent"}, "malformed_claim"),
        ({"token_type": "refresh_token"}, "wrong_type"),
        ({"token_type": 5}, "wrong_type"),
        ({"token_type": "N_A"}, "wrong_type"),
        ({"token_type": "DPoP"}, "malformed_claim"),
        ({"token_use": "refresh_token"}, "wrong_type"),
        ({"token_use": ["access"]}, "wrong_type"),
        ({"typ": "Refresh"}, "wrong_type"),
        ({"typ": "ID"}, "wrong_type"),
        ({"at_hash": "x"}, "wrong_type"),
        ({"nonce": "n"}, "wrong_type"),
    ],
)
async def test_an_answer_is_judged_as_strictly_as_a_token(
    asking: Authenticator, idp: IdentityProvider, refused: Refused, changed: dict[str, object], reason: str
) -> None:
    assert await refused(asking, idp.issue_opaque(**changed)) == reason


async def test_an_answer_that_says_active_of_an_expired_token_is_not_believed(
    asking: Authenticator, idp: IdentityProvider, refused: Refused, clock: Clock
) -> None:
    answers(idp, {**idp.claims(), "active": True, "exp": int(clock.now) - 61})
    assert await refused(asking, "token") == "expired"


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": None},
        {"token_type": None},
        {"token_type": "bearer"},
        {"token_use": "access"},
        {"aud": ["x", "https://mcp.example/mcp"]},
        {"token_type": "DPoP", "cnf": {"jkt": "x"}},
    ],
)
async def test_what_providers_leave_out_or_add_does_no_harm(
    asking: Authenticator, idp: IdentityProvider, changed: dict[str, object]
) -> None:
    assert (await asking.authenticate(idp.issue_opaque(**changed))).issuer == idp.issuer


async def test_mappings_and_parties_are_the_providers_own(idp: IdentityProvider, make: Make, refused: Refused) -> None:
    mappings = ClaimMappings(user_id="uid", username="username", legacy_username="login", roles="groups", scopes="may")
    authenticator = make(
        idp.trusted(
            claim_mappings=mappings,
            role_mappings=RoleMappings(admin=["g1"]),
            authorized_parties=["desktop"],
            introspection=idp.introspection(),
        )
    )
    told: dict[str, object] = {"uid": "7", "username": "Al", "login": "ALICE", "groups": ["g1"], "may": ["a", "b"]}
    session = await authenticator.authenticate(idp.issue_opaque(**told, client_id="desktop"))
    assert (session.subject, session.username, session.legacy_username) == ("7", "Al", "ALICE")
    assert (session.role, session.scopes) == ("admin", {"a", "b"})
    assert await refused(authenticator, idp.issue_opaque(**told)) == "wrong_party"


RUBBISH: list[bytes] = [
    b"", b"null", b"[]", b"{}", b"<html>", b"\xff", b'{"active":1}', b'{"active":"true"}', b'{"active":null}',
    b'{"active":true,"active":false}', b'{"active":NaN}', b"[" * 60_000,
    b'{"active":true,"x":' + b"[" * 30 + b"]" * 30 + b"}",
    b'{"active":true,"x":"' + b"a" * 70_000 + b'"}',
    json.dumps({"active": True} | {f"c{n}": n for n in range(300)}).encode(),
    b"x" * 2_000_000,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(RUBBISH)))
@pytest.mark.parametrize("signs", [False, True])
async def test_rubbish_is_no_answer_and_nothing_is_remembered(
    number: int, signs: bool, make: Make, idp: IdentityProvider, refused: Refused
) -> None:
    authenticator = make(idp.trusted(introspection=idp.introspection(signed_responses=signs)))
    token = idp.issue_opaque()
    answers(idp, RUBBISH[number])
    for _ in range(2):
        assert await refused(authenticator, token) == "introspection_failed"
    assert idp.requests[idp.introspection_path] == 2
    idp.answers.clear()
    await authenticator.authenticate(token)


async def test_a_provider_that_is_down_is_not_the_tokens_fault_and_its_end_is_noticed(
    asking: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    token = idp.issue_opaque()
    with idp.outage():
        for _ in range(3):
            assert await refused(asking, token) == "introspection_failed"
    await asking.authenticate(token)
    with idp.outage():
        assert await refused(asking, idp.issue_opaque()) == "introspection_failed"
        await asking.authenticate(token)


async def test_a_slow_provider_costs_a_bounded_time_and_does_not_hold_up_the_loop(
    asking: Authenticator, idp: IdentityProvider, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asking.authenticate(idp.issue_opaque())
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    idp.delay = 1.0
    ticks = 0
    async with anyio.create_task_group() as group:
        group.start_soon(refused, asking, "a")
        for _ in range(10):
            await anyio.sleep(0.01)
            ticks += 1
        assert ticks == 10
    assert await refused(asking, "b") == "introspection_failed"
    idp.delay = 0.0
    await asking.authenticate(idp.issue_opaque())
    with anyio.fail_after(10):
        while not {"a", "b"} <= set(idp.opaque.shown):  # noqa: ASYNC110 -- the provider's threads are still at it
            await anyio.sleep(0.05)


async def test_twenty_callers_with_one_token_cause_one_question(asking: Authenticator, idp: IdentityProvider) -> None:
    token = idp.issue_opaque()
    idp.delay = 0.1
    sessions: list[Session] = []

    async def ask() -> None:
        sessions.append(await asking.authenticate(token))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ask)
    assert idp.opaque.shown == [token]
    assert {session.subject for session in sessions} == {"alice"}
    assert len(sessions) == 20


async def test_twenty_callers_with_one_bad_token_cause_one_question_and_each_is_refused(
    asking: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    idp.delay = 0.1
    reasons: list[str] = []

    async def ask() -> None:
        reasons.append(await refused(asking, "bad"))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ask)
    assert reasons == ["inactive"] * 20
    assert idp.opaque.shown == ["bad"]


async def test_a_caller_who_hangs_up_does_not_spoil_the_answer_for_the_others(
    asking: Authenticator, idp: IdentityProvider
) -> None:
    token = idp.issue_opaque()
    idp.delay = 0.2

    async def later() -> None:
        await anyio.sleep(0.02)
        assert (await asking.authenticate(token)).subject == "alice"

    async with anyio.create_task_group() as group:
        group.start_soon(later)
        with anyio.move_on_after(0.05):
            await asking.authenticate(token)
    assert idp.opaque.shown == [token]


async def test_strangers_tokens_take_a_bounded_number_of_connections_and_the_rest_is_turned_away(
    asking: Authenticator, idp: IdentityProvider, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asking.authenticate(idp.issue_opaque())
    monkeypatch.setattr(module, "_WAITING", 20)
    lock, at_once, most = Lock(), 0, 0
    honest = idp.opaque.introspect

    def slowly(request: Request) -> Answer:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.2)
        with lock:
            at_once -= 1
        return honest(request)

    monkeypatch.setattr(idp.opaque, "introspect", slowly)
    reasons: list[str] = []

    async def ask(number: int) -> None:
        reasons.append(await refused(asking, f"stranger-{number}"))

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(ask, number)
    assert most == 10
    assert sorted(set(reasons)) == ["inactive", "introspection_failed"]
    assert reasons.count("inactive") == 30
    assert len(idp.opaque.shown) == 31
    monkeypatch.undo()
    assert await refused(asking, "stranger-99") == "inactive"


async def test_an_answer_is_remembered_for_its_own_time_and_never_beyond_the_token(
    idp: IdentityProvider, make: Make, clock: Clock
) -> None:
    authenticator = make(idp.trusted(introspection=idp.introspection(cache_seconds=100)), cache_ttl=5.0)
    token, short = idp.issue_opaque(), idp.issue_opaque(exp=int(clock.now) + 10)
    session = await authenticator.authenticate(token)
    await authenticator.authenticate(short)
    clock.now += 69
    assert authenticator.cached(token.encode()) is session
    assert authenticator.cached(short.encode()) is not None
    clock.now += 1
    assert authenticator.cached(short.encode()) is None
    clock.now += 30
    assert authenticator.cached(token.encode()) is None


async def test_nothing_is_remembered_where_that_is_off(idp: IdentityProvider, make: Make, refused: Refused) -> None:
    authenticator = make(idp.trusted(introspection=idp.introspection(cache_seconds=0)))
    token = idp.issue_opaque()
    for _ in range(2):
        await authenticator.authenticate(token)
        assert await refused(authenticator, "bad") == "inactive"
    assert idp.opaque.shown == [token, "bad"] * 2


async def test_a_refusal_is_remembered_for_a_short_while_with_its_reason(
    asking: Authenticator, idp: IdentityProvider, refused: Refused, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = idp.issue_opaque(scope=5)
    for _ in range(3):
        with pytest.raises(AuthenticationError) as caught:
            await asking.authenticate(token)
        assert caught.value.detail == "malformed_claim: scope"
        assert await refused(asking, "bad") == "inactive"
    # what a mapping refuses is asked anew: only what the provider and the policy say is remembered
    assert idp.opaque.shown.count("bad") == 1
    clock.now += 11
    assert await refused(asking, "bad") == "inactive"
    assert idp.opaque.shown.count("bad") == 2
    monkeypatch.setattr(module, "_REFUSED_REMEMBERED", 1)
    assert await refused(asking, "worse") == "inactive"
    assert await refused(asking, "bad") == "inactive"
    assert idp.opaque.shown.count("bad") == 3


async def test_a_clock_set_back_does_not_make_a_refusal_live_longer(
    asking: Authenticator, idp: IdentityProvider, refused: Refused, clock: Clock
) -> None:
    assert await refused(asking, "bad") == "inactive"
    clock.now -= 100
    assert await refused(asking, "bad") == "inactive"
    assert idp.opaque.shown == ["bad", "bad"]


async def test_a_client_that_the_provider_does_not_know_is_told_to_the_operator_and_not_to_the_caller(
    idp: IdentityProvider, make: Make
) -> None:
    wrong = ClientCredentials(id="resource-server", secret=Secret("guess"))
    authenticator = make(idp.trusted(introspection=idp.introspection(client=wrong)))
    with pytest.raises(AuthenticationUnavailable) as caught:
        await authenticator.authenticate(idp.issue_opaque())
    assert caught.value.detail == "introspection_failed: status 401: 200 was needed"
    assert "401" not in caught.value.message
    (report,) = await authenticator.check()
    assert (report.reachable, report.problem) == (False, caught.value.detail)


async def test_a_live_check_asks_about_a_token_that_nobody_has(
    asking: Authenticator, idp: IdentityProvider, make: Make
) -> None:
    assert [(report.reachable, report.keys) for report in await asking.check()] == [(True, 4)]
    assert len(idp.opaque.shown) == 1
    answers(idp, {**idp.claims(), "active": True})
    assert (await asking.check())[0].problem == "introspection_failed: any token is called active"


async def test_a_provider_that_only_introspects_needs_no_keys_and_no_metadata(
    idp: IdentityProvider, make: Make, refused: Refused
) -> None:
    idp.hidden.update({*idp.metadata_paths, idp.jwks_path})
    asked = idp.introspection(endpoint=idp.origin + idp.introspection_path)
    authenticator = make(idp.trusted(introspection=asked))
    await authenticator.start()
    await authenticator.authenticate(idp.issue_opaque())
    assert [(report.reachable, report.keys) for report in await authenticator.check()] == [(True, 0)]
    assert await refused(authenticator, idp.issue()) == "keys_unavailable"


async def test_an_endpoint_that_moved_is_found_again(asking: Authenticator, idp: IdentityProvider) -> None:
    await asking.authenticate(idp.issue_opaque())
    moved = {**idp.metadata(), "introspection_endpoint": f"{idp.origin}/moved"}
    idp.answers[idp.metadata_paths[0]] = json.dumps(moved).encode()
    idp.answers["/moved"] = json.dumps({**idp.claims("bob"), "active": True}).encode()
    await asking.authenticate(idp.issue_opaque())
    assert idp.requests["/moved"] == 0
    idp.hidden.add(idp.introspection_path)
    with pytest.raises(AuthenticationUnavailable):
        await asking.authenticate(idp.issue_opaque())
    assert (await asking.authenticate(idp.issue_opaque())).subject == "bob"


async def test_metadata_without_an_endpoint_makes_no_session(
    asking: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    for place in (None, 5, "ftp://x", "not a url"):
        idp.answers[idp.metadata_paths[0]] = json.dumps({**idp.metadata(), "introspection_endpoint": place}).encode()
        assert await refused(asking, idp.issue_opaque()) == "introspection_failed"
    assert idp.opaque.shown == []


# Signed answers (RFC 9701)


async def test_a_signed_answer_must_be_signed_by_the_provider_and_meant_for_this_client_now(
    signed: Authenticator, idp: IdentityProvider, refused: Refused, clock: Clock
) -> None:
    good = {**idp.claims(), "active": True}
    answers(idp, idp.opaque.signed(good, "resource-server").encode() + b"\n")
    await signed.authenticate("token")
    wrong: list[dict[str, object]] = [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "another-client"},
        {"aud": None},
        {"iat": None},
        {"iat": "now"},
        {"iat": True},
        {"iat": int(clock.now) - 71},
        {"iat": int(clock.now) + 71},
        {"token_introspection": None},
        {"token_introspection": [good]},
        {"token_introspection": {}},
        {"typ": "JWT"},
        {"typ": "at+jwt"},
    ]
    for number, changed in enumerate(wrong):
        answers(idp, idp.opaque.signed(good, "resource-server", **changed).encode())
        assert await refused(signed, f"token-{number}") == "introspection_failed", changed
    answers(idp, tampered(idp.opaque.signed(good, "resource-server")).encode())
    assert await refused(signed, "tampered") == "introspection_failed"
    with IdentityProvider(algorithms=["RS256"], clock=clock) as other:
        answers(idp, other.opaque.signed(good, "resource-server", iss=idp.issuer).encode())
    assert await refused(signed, "of another") == "malformed"
    assert await refused(signed, "of-another") == "introspection_failed"


async def test_a_signed_answer_with_an_algorithm_that_is_not_the_providers_is_not_believed(
    idp: IdentityProvider, make: Make, refused: Refused
) -> None:
    authenticator = make(idp.trusted(algorithms=["ES256"], introspection=idp.introspection(signed_responses=True)))
    assert await refused(authenticator, idp.issue_opaque()) == "introspection_failed"  # it signs with RS256
    claims = {"iss": idp.issuer, "aud": "resource-server", "token_introspection": {"active": True}}
    key = idp.key()
    header = {"alg": "none", "typ": "token-introspection+jwt", "kid": key.key_id}
    answers(idp, sign(header, claims, algorithm=key.algorithm, key=key.key).encode())
    assert await refused(authenticator, idp.issue_opaque()) == "introspection_failed"


async def test_a_plain_answer_is_not_believed_where_signed_ones_are_asked_for(
    signed: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    answers(idp, {**idp.claims(), "active": True})
    assert await refused(signed, "token") == "introspection_failed"


async def test_a_signed_answer_that_says_inactive_is_believed(
    signed: Authenticator, refused: Refused, idp: IdentityProvider
) -> None:
    assert await refused(signed, "nobody-has-this") == "inactive"
    assert await refused(signed, "nobody-has-this") == "inactive"
    assert idp.opaque.shown == ["nobody-has-this"]


async def test_a_signed_answer_is_no_access_token(idp: IdentityProvider, make: Make, refused: Refused) -> None:
    authenticator = make(idp.trusted(security=TokenRules(token_types=["JWT", "none"])))
    answer = idp.opaque.signed({**idp.claims(), "active": True}, idp.audience, **idp.claims())
    assert await refused(authenticator, answer) == "wrong_type"
    untyped = idp.issue(headers={"typ": "JWT"}, claims={"token_introspection": {"active": True}})
    assert await refused(authenticator, untyped) == "wrong_type"


# Several providers


async def test_an_opaque_token_is_shown_to_its_own_provider_only(
    idp: IdentityProvider, make: Make, refused: Refused, clock: Clock
) -> None:
    with IdentityProvider(clock=clock) as other:
        authenticator = make(
            idp.trusted("one", introspection=idp.introspection(token_prefix="one_")),
            other.trusted("two", introspection=other.introspection(token_prefix="two_")),
            other.trusted("jwt only", audience=["https://else.example"]),
        )
        first, second = idp.issue_opaque(prefix="one_"), other.issue_opaque(prefix="two_")
        assert (await authenticator.authenticate(first)).provider == "one"
        assert (await authenticator.authenticate(second)).provider == "two"
        assert (await authenticator.authenticate(idp.issue())).provider == "one"
        assert (await authenticator.authenticate(other.issue())).provider == "two"
        assert await refused(authenticator, "three_x") == "malformed"
        assert await refused(authenticator, other.issue_opaque(prefix="one_")) == "inactive"
        assert other.opaque.shown == [second]
        assert first in idp.opaque.shown
        assert second not in idp.opaque.shown


@pytest.mark.parametrize(("one", "two"), [("", ""), ("", "b_"), ("a_", "a_"), ("a_", "a_b_"), ("a_b_", "a_")])
async def test_providers_whose_tokens_could_be_mistaken_stop_the_start(
    idp: IdentityProvider, make: Make, one: str, two: str
) -> None:
    first = idp.trusted("first", introspection=idp.introspection(token_prefix=one))
    second = idp.trusted("second", issuer="https://b.example", introspection=idp.introspection(token_prefix=two))
    with pytest.raises(ConfigurationError, match=re.escape("an opaque token could be of first or of second")):
        make(first, second)


async def test_one_provider_with_two_audiences_is_asked_once_and_the_answer_chooses_between_them(
    idp: IdentityProvider, make: Make, refused: Refused
) -> None:
    asked = idp.introspection()
    authenticator = make(
        idp.trusted("first", role_mappings=RoleMappings(user=["staff"]), introspection=asked),
        idp.trusted(
            "second", audience=["https://two.example"], role_mappings=RoleMappings(admin=["staff"]), introspection=asked
        ),
    )
    for audience, expected in ((idp.audience, ("first", "user")), ("https://two.example", ("second", "admin"))):
        session = await authenticator.authenticate(idp.issue_opaque(aud=audience))
        assert (session.provider, session.role) == expected
    assert await refused(authenticator, idp.issue_opaque(aud="https://three.example")) == "wrong_audience"
    assert len(idp.opaque.shown) == 3
    assert [report.name for report in await authenticator.check() if report.reachable] == ["first", "second"]


async def test_one_provider_that_is_asked_in_two_ways_stops_the_start(idp: IdentityProvider, make: Make) -> None:
    first = idp.trusted("first", introspection=idp.introspection())
    other = idp.trusted("second", audience=["b"], introspection=idp.introspection(cache_seconds=1))
    with pytest.raises(ConfigurationError, match="could be of first or of second"):
        make(first, other)


async def test_claims_of_an_opaque_token_can_be_had_without_a_session(
    asking: Authenticator, idp: IdentityProvider
) -> None:
    token = idp.issue_opaque("bob")
    assert (await asking.verify(token))["sub"] == "bob"
    assert asking.cached(token.encode()) is None
    with pytest.raises(AuthenticationError):
        await asking.verify("nobody-has-this")


async def test_nothing_private_is_in_the_errors(asking: Authenticator, idp: IdentityProvider) -> None:
    answers(idp, b'{"secret-word":1}')
    token = idp.issue_opaque(prefix="secret-token-")
    with pytest.raises(AuthenticationUnavailable) as caught:
        await asking.authenticate(token)
    shown = f"{caught.value} {caught.value.message} {caught.value.detail} {caught.value!r}"
    for private in (token, "secret-word", idp.issuer, "resource-server"):
        assert private not in shown


# Anything at all

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=6,
)
_NO_HTTP = HttpClient()
_CLIENT = ClientCredentials(id="x", secret=Secret("x"))
_answers = st.fixed_dictionaries(
    {"active": st.just(True) | _json},
    optional={
        name: _json
        for name in ("iss", "aud", "exp", "iat", "nbf", "sub", "client_id", "token_type", "token_use", "typ", "cnf")
    },
)


@given(answer=_answers)
def test_any_answer_is_judged_or_refused_and_never_a_defect(answer: dict[str, object]) -> None:
    trusted = TrustedIssuer(
        name="x",
        issuer="https://idp.example",
        audience=["a"],
        introspection=IntrospectionSettings(client=_CLIENT),
    )
    (introspector,) = Authenticator([trusted], PERMISSIONS, http=_NO_HTTP)._introspectors
    if not isinstance(answer["active"], bool):
        return
    try:
        verified = introspector._judged({"aud": "a", **answer})
    except AuthenticationError as error:
        assert error.reason
    else:
        assert answer["active"] is True
        assert answer.get("iss") in (None, "https://idp.example")
        assert isinstance(verified.claims["sub"], str)


@given(token=st.binary(max_size=40) | st.from_regex(rb"[A-Za-z0-9_-]{0,12}(\.[A-Za-z0-9_-]{0,6}){0,5}", fullmatch=True))
def test_a_token_is_opaque_or_not_whatever_it_is(token: bytes) -> None:
    if is_opaque(token):
        assert token.isascii()
        assert not (token.startswith(b"eyJ") and token.count(b".") >= 2)


@given(claims=st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3), header=st.integers(0, 3))
def test_no_jwt_is_opaque(claims: dict[str, str], header: int) -> None:
    spelled = [b'{"alg":"RS256"}', b'{ "alg" : "none" }', b'\n{"typ":"JWT"}', b"{}"][header]
    segments = [encode_segment(spelled), encode_segment(json.dumps(claims).encode()), b"c2ln"]
    assert not is_opaque(b".".join(segments))
    assert not is_opaque(b".".join([*segments, b"a", b"b"]))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"endpoint": "ftp://x"}, "endpoint"),
        ({"cache_seconds": -1}, "cache_seconds"),
        ({"cache_seconds": 301}, "cache_seconds"),
        ({"cache_seconds": float("nan")}, "cache_seconds"),
    ],
)
def test_settings_that_cannot_work_are_refused(fields: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        IntrospectionSettings(client=_CLIENT, **fields)  # type: ignore[arg-type] # wrong on purpose


def test_an_endpoint_that_nothing_leads_to_must_be_given() -> None:
    named = {"name": "x", "issuer": "acme", "audience": ["a"], "jwks_uri": "https://idp.example/keys"}
    with pytest.raises(ValueError, match=r"introspection\.endpoint is needed"):
        TrustedIssuer(**named, introspection=IntrospectionSettings(client=_CLIENT))  # type: ignore[arg-type] # as above
    there = IntrospectionSettings(client=_CLIENT, endpoint="https://idp.example/introspect")
    TrustedIssuer(**named, introspection=there)  # type: ignore[arg-type] # as above
