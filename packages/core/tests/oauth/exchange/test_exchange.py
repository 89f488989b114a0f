"""From the caller's token to one for the downstream, at a real provider; and all that such a token can be wrong in."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from actas.core import ConfigurationError, Secret, Session
from actas.http import HttpClient, HttpSettings
from actas.oauth import Authenticator, TokenRules
from actas.oauth.client_settings import ClientCredentials
from actas.oauth.exchange.breaker import FAILURES
from actas.oauth.exchange.exchanger import Exchanger
from actas.oauth.exchange.grants import ExchangeRefused, ExchangeUnavailable
from actas.oauth.exchange.prover import KeyProver
from actas.oauth.exchange.settings import (
    CacheSettings,
    ExchangeSettings,
    GrantKind,
    IdentityAssertionSettings,
    SameUser,
)
from actas.oauth.exchange.vault import Vault
from actas.testing.dpop import proved
from actas.testing.idp import IdentityProvider
from actas.testing.idp_clients import DemoClient
from actas.testing.idp_tls import MutualTls, thumbprint
from actas.testing.pki import CertificateAuthority
from actas.testing.tokens import generate_key, sign

from ..conftest import Clock

pytestmark = pytest.mark.anyio

API = "https://api.example"
CLIENT = ClientCredentials(id="gateway", secret=Secret("s3cret:with/odd+letters"))
KEPT = CacheSettings(enabled=True, ttl_seconds=60, leeway_seconds=10)


@pytest.fixture
def provider(idp: IdentityProvider) -> Iterator[IdentityProvider]:
    idp.exchanges.clients.add(DemoClient("gateway", secret="s3cret:with/odd+letters"))
    yield idp
    desk = idp.exchanges
    desk.claims, desk.headers, desk.answer, desk.token, desk.error, desk.lifetime = {}, {}, {}, None, None, 300.0
    desk.nonce = None
    desk.asked.clear()
    idp.answers.clear()


Exchange = Callable[..., Exchanger]


@pytest.fixture
def exchanger(provider: IdentityProvider, http: HttpClient, clock: Clock) -> Exchange:
    def make(vault: Vault | None = None, **fields: Any) -> Exchanger:
        settings = replace(ExchangeSettings(idp="demo", client=CLIENT, audience=[API], timeout_seconds=2), **fields)
        return Exchanger(
            settings, provider.trusted(), http=http, vault=Vault() if vault is None else vault, clock=clock
        )

    return make


Login = Callable[..., Awaitable[Session]]


@pytest.fixture
def login(provider: IdentityProvider, authenticator: Authenticator) -> Login:
    async def login(user: str = "alice", **changed: Any) -> Session:
        return await authenticator.authenticate(provider.issue(user, **changed))

    return login


async def refusal(exchanger: Exchanger, session: Session) -> str:
    with pytest.raises(ExchangeRefused) as caught:
        await exchanger.obtain(session)
    told = f"{caught.value} {caught.value.message} {caught.value.detail}"
    assert session.token is not None and session.token.reveal() not in told
    assert "a secret of the provider's" not in told
    return caught.value.detail or ""


async def test_a_token_is_exchanged_for_one_that_is_for_the_service_and_about_the_same_user(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    session = await login()
    credential = await exchanger(scope=["read"], resource=[f"{API}/v1"]).obtain(session)
    assert credential.subject == "alice" and credential.token != session.token
    (form,) = provider.exchanges.asked
    assert session.token is not None and form["subject_token"] == session.token.reveal()
    assert (form["audience"], form["resource"], form["scope"]) == (API, f"{API}/v1", "read")
    assert form["requested_token_type"].endswith("access_token")
    assert "user" not in form and "password" not in form


async def test_it_ends_when_it_says_and_not_when_the_answer_says_later(
    exchanger: Exchange, login: Login, provider: IdentityProvider, clock: Clock
) -> None:
    provider.exchanges.answer = {"expires_in": 999_999}
    assert (await exchanger().obtain(await login())).expires_at == clock.now + 300
    provider.exchanges.answer = {"expires_in": "20"}
    assert (await exchanger().obtain(await login())).expires_at == clock.now + 20


@pytest.mark.parametrize(
    ("claims", "headers", "why"),
    [
        ({"iss": "https://elsewhere.example"}, {}, "another issuer"),
        ({"aud": "https://mcp.example/mcp"}, {}, "aud"),
        ({"aud": None}, {}, "aud"),
        ({"aud": [API, 7]}, {}, "aud"),
        ({"sub": "bob"}, {}, "somebody else"),
        ({"sub": None}, {}, "missing_claim"),
        ({"exp": 1}, {}, "expired"),
        ({"exp": None}, {}, "missing_claim"),
        ({"nbf": 2**33}, {}, "not_yet_valid"),
        ({"scope": "read write"}, {}, "wider scopes"),
        ({"scope": None, "scp": ["read", "write"]}, {}, "wider scopes"),
        ({"scope": "read", "scp": ["read", "write"]}, {}, "wider scopes"),
        ({"scope": 7}, {}, "cannot be read"),
        ({"scope": "read", "scp": 7}, {}, "cannot be read"),
        ({"cnf": {"jkt": "x"}}, {}, "cnf"),
        ({}, {"typ": "JWT"}, "wrong_type"),
        ({}, {"crit": ["x"]}, "critical_header"),
        ({}, {"kid": "nobody's"}, "unknown_key"),
    ],
)
async def test_a_token_that_is_wrong_in_anything_is_refused(
    exchanger: Exchange,
    login: Login,
    provider: IdentityProvider,
    claims: dict[str, object],
    headers: dict[str, object],
    why: str,
) -> None:
    session = await login()
    provider.exchanges.claims, provider.exchanges.headers = claims, headers
    vault = Vault()
    assert why in await refusal(exchanger(vault, scope=["read"], cache=KEPT), session)
    assert len(vault) == 0


async def test_an_unsigned_token_and_one_with_another_key_are_refused(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    session = await login()
    claims = provider.claims("alice", aud=API)
    unsigned = sign({"alg": "none", "typ": "at+jwt"}, claims, algorithm="RS256", key=provider.key("RS256").key)
    provider.exchanges.token = unsigned.rpartition(".")[0] + "."
    assert "wrong_algorithm" in await refusal(exchanger(), session)
    provider.exchanges.token = provider.issue("alice", audience=API, key=generate_key("RS256"))
    assert "bad_signature" in await refusal(exchanger(), session)


async def test_the_callers_own_token_is_never_passed_on(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    session = await login()
    assert session.token is not None
    provider.exchanges.token = session.token.reveal()
    assert "own token" in await refusal(exchanger(expected_audience=[provider.audience]), session)


async def test_an_opaque_token_is_refused_where_it_cannot_be_looked_up(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    provider.exchanges.token = "opaque"
    assert "opaque" in await refusal(exchanger(), await login())


async def test_an_opaque_token_is_looked_up_and_judged_by_the_same_rules(
    provider: IdentityProvider, login: Login, http: HttpClient, clock: Clock
) -> None:
    session = await login()
    trusted = provider.trusted(introspection=provider.introspection())
    settings = ExchangeSettings(idp="demo", client=CLIENT, audience=[API])
    exchange = Exchanger(settings, trusted, http=http, vault=Vault(), clock=clock)
    provider.exchanges.token = provider.issue_opaque("alice", aud=API)
    assert (await exchange.obtain(session)).subject == "alice"
    for wrong in ({"aud": "https://other.example"}, {"sub": "bob"}, {"exp": 1}, {"iss": "https://other.example"}):
        provider.exchanges.token = provider.issue_opaque(**{"subject": "alice", "aud": API, **wrong})
        await refusal(exchange, session)
    provider.exchanges.token = "never-issued"
    assert "inactive" in await refusal(exchange, session)
    provider.hidden.add(provider.introspection_path)
    provider.exchanges.token = provider.issue_opaque("alice", aud=API)
    with pytest.raises(ExchangeUnavailable):
        await exchange.obtain(session)
    provider.hidden.clear()


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": 7},
        {"access_token": "two words"},
        {"access_token": "line\nbreak"},
        {"token_type": None},
        {"token_type": "mac"},
        {"issued_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
        {"expires_in": True},
        {"expires_in": -1},
        {"expires_in": "soon"},
        {"scope": ["a"]},
        {"scope": "read write"},
    ],
)
async def test_an_answer_that_is_no_token_response_is_refused(
    exchanger: Exchange, login: Login, provider: IdentityProvider, answer: dict[str, object]
) -> None:
    provider.exchanges.answer = answer
    await refusal(exchanger(scope=["read"]), await login())


@pytest.mark.parametrize("answer", [{"issued_token_type": None}, {"expires_in": None}, {"token_type": "bearer"}])
async def test_what_providers_leave_out_or_spell_otherwise_does_no_harm(
    exchanger: Exchange, login: Login, provider: IdentityProvider, answer: dict[str, object]
) -> None:
    provider.exchanges.answer = answer
    assert (await exchanger().obtain(await login())).subject == "alice"


async def test_a_missing_required_claim_is_a_refusal(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    session = await login()
    assert "legacy_name" in await refusal(exchanger(required_claims=["legacy_name"]), session)
    for empty in ("", [], {}):
        provider.exchanges.claims = {"legacy_name": empty}
        assert "legacy_name" in await refusal(exchanger(required_claims=["legacy_name"]), session)
    provider.exchanges.claims = {"legacy_name": "ALICE"}
    assert (await exchanger(required_claims=["legacy_name"]).obtain(session)).subject == "alice"


async def test_the_actor_must_be_named_where_that_is_demanded(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    session = await login()
    assert (await exchanger(expected_actor="gateway").obtain(session)).subject == "alice"
    for act in (None, {"sub": "somebody"}, {"sub": 7}, "gateway"):
        provider.exchanges.claims = {"act": act}
        assert "act" in await refusal(exchanger(expected_actor="gateway"), session)


async def test_the_same_user_may_be_seen_by_another_claim_than_the_subject(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    session = await login(claims={"oid": "o-1"})
    by_oid = {"same_user": SameUser(caller="oid", exchanged="oid")}
    provider.exchanges.claims = {"sub": "pairwise-2", "oid": "o-1"}
    assert (await exchanger(**by_oid).obtain(session)).subject == "pairwise-2"
    provider.exchanges.claims = {"sub": "pairwise-2", "oid": "o-2"}
    assert "somebody else" in await refusal(exchanger(**by_oid), session)
    assert "somebody else" in await refusal(exchanger(**by_oid), await login())


async def test_a_token_of_another_provider_is_not_sent_anywhere(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    session = replace(await login(), provider="another")
    assert "which would exchange it" in await refusal(exchanger(), session)
    assert provider.exchanges.asked == []


async def test_a_refusal_tells_the_operator_the_error_code_and_nothing_of_the_providers_words(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    provider.exchanges.error = (400, "invalid_target")
    assert await refusal(exchanger(), await login()) == "status 400, invalid_target"
    provider.exchanges.error = (403, "invalid scope: \nforged")
    assert await refusal(exchanger(), await login()) == "status 403, without an error code"


async def test_a_wrong_client_secret_is_a_refusal(exchanger: Exchange, login: Login) -> None:
    wrong = ClientCredentials(id="gateway", secret=Secret("wrong"))
    assert "invalid_client" in await refusal(exchanger(client=wrong), await login())


async def test_a_private_key_proves_who_asks(
    exchanger: Exchange, login: Login, provider: IdentityProvider, clock: Clock
) -> None:
    key = generate_key("ES256")
    provider.exchanges.clients.add(DemoClient("keyed", key=key))
    keyed = ClientCredentials(id="keyed", private_key=Secret(json.dumps(key.as_dict(private=True))))
    assert (await exchanger(client=keyed).obtain(await login())).subject == "alice"
    assert (await exchanger(client=keyed).obtain(await login())).subject == "alice"


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path)


@pytest.mark.parametrize("one_file", [False, True])
async def test_a_certificate_proves_who_asks_at_the_endpoint_for_certificates(
    login: Login, provider: IdentityProvider, clock: Clock, authority: CertificateAuthority, one_file: bool
) -> None:
    files, other = authority.issue_client("gateway"), authority.issue_client("somebody")
    provider.exchanges.clients.add(DemoClient("by-certificate", certificate=thumbprint(files)))
    async with aclosing(HttpClient(HttpSettings(ca_file=str(authority.certificate)))) as http:
        with MutualTls(provider.answer, authority) as tls:
            metadata = {**provider.metadata(), "mtls_endpoint_aliases": {
                "token_endpoint": provider.token_endpoint.replace(provider.origin, tls.origin)
            }}  # fmt: skip
            provider.answers[provider.metadata_paths[0]] = json.dumps(metadata).encode()
            told = []
            for shown in (files, other):
                if one_file:
                    shown.certificate.write_text(shown.certificate.read_text() + shown.key.read_text())
                key = None if one_file else str(shown.key)
                client = ClientCredentials(id="by-certificate", certificate=str(shown.certificate), certificate_key=key)
                settings = ExchangeSettings(idp="demo", client=client, audience=[API], timeout_seconds=5)
                made = Exchanger(settings, provider.trusted(), http=http, vault=Vault(), clock=clock)
                try:
                    told.append((await made.obtain(await login())).subject)
                except ExchangeRefused as error:
                    told.append(str(error.detail))
    assert told == ["alice", "status 401, invalid_client"]
    assert "client_secret" not in provider.exchanges.asked[0]


async def test_a_certificate_that_cannot_be_read_stops_the_start(
    exchanger: Exchange, tmp_path: Path, authority: CertificateAuthority
) -> None:
    mine, other = authority.issue_client("gateway"), authority.issue_client("other")
    (tmp_path / "locked.key").write_bytes(
        serialization.load_pem_private_key(mine.key.read_bytes(), None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    for certificate, key in (
        ("/nowhere.pem", None),
        (str(mine.key), None),
        (str(mine.certificate), None),
        (str(mine.certificate), str(other.key)),
        (str(mine.certificate), str(tmp_path / "locked.key")),
    ):
        client = ClientCredentials(id="gateway", certificate=certificate, certificate_key=key)
        with pytest.raises(ConfigurationError, match="cannot be read as PEM"):
            exchanger(client=client)


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519", "RS256"])
@pytest.mark.parametrize("nonce", [None, "a-nonce"])
async def test_tokens_are_bound_to_our_key_where_one_is_configured(
    exchanger: Exchange, login: Login, provider: IdentityProvider, algorithm: str, nonce: str | None
) -> None:
    provider.exchanges.nonce = nonce
    key = generate_key(algorithm)
    vault = Vault()
    made = exchanger(vault, dpop_key=Secret(json.dumps(key.as_dict(private=True))), cache=KEPT)
    session = await login()
    for _ in range(2):  # exchanged, and kept
        credential = await made.obtain(session)
        headers = credential.headers("GET", f"{API}/orders?user=alice#x")
        token = credential.token.reveal()
        assert headers["authorization"] == f"DPoP {token}"
        claims = proved(headers["dpop"], "GET", token)
        assert (claims["htu"], claims["jkt"]) == (f"{API}/orders", key.thumbprint())
        assert "nonce" not in claims, "that was the provider's, not this server's"
        assert token not in repr(credential)
    assert len(provider.exchanges.asked) == (1 if nonce is None else 2)
    assert credential.prover is not None
    credential.prover.heed(API, "theirs")
    assert proved(credential.headers("POST", f"{API}/orders")["dpop"], "POST", token)["nonce"] == "theirs"
    another = exchanger(vault, dpop_key=Secret(json.dumps(generate_key("ES256").as_dict(private=True))), cache=KEPT)
    assert (await another.obtain(session)).token != credential.token, "another key is another purpose"


async def test_a_token_that_is_not_bound_to_our_key_is_refused(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    made = exchanger(dpop_key=Secret(json.dumps(generate_key("ES256").as_dict(private=True))))
    for claims, answer in (
        ({"cnf": None}, {}),
        ({"cnf": {"jkt": "somebody's"}}, {}),
        ({"cnf": {"x5t#S256": "x"}}, {}),
        ({}, {"token_type": "Bearer"}),
    ):
        provider.exchanges.claims, provider.exchanges.answer = claims, answer
        assert "bound" in await refusal(made, await login())
    provider.exchanges.claims, provider.exchanges.answer = {}, {"token_type": "DPoP"}
    assert "bound" in await refusal(exchanger(), await login())


async def test_a_nonce_that_is_asked_for_gets_a_new_assertion_of_our_client_too(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    provider.exchanges.nonce = "a-nonce"
    key = generate_key("ES256")
    provider.exchanges.clients.add(DemoClient("keyed", key=key))
    keyed = ClientCredentials(id="keyed", private_key=Secret(json.dumps(key.as_dict(private=True))))
    made = exchanger(client=keyed, dpop_key=Secret(json.dumps(generate_key("ES256").as_dict(private=True))))
    assert (await made.obtain(await login())).subject == "alice"
    assert len(provider.exchanges.asked) == 2


async def test_nonces_of_many_servers_do_not_fill_the_memory() -> None:
    prover = KeyProver(Secret(json.dumps(generate_key("ES256").as_dict(private=True))), lambda: 0.0)
    for number in range(1000):
        prover.heed(f"https://{number}.example/x", "nonce")
    assert len(prover._nonces) == 100


@pytest.mark.parametrize("key", ["x", "{}", json.dumps(generate_key("ES256").as_dict(private=False))])
async def test_a_dpop_key_that_is_none_stops_the_start(exchanger: Exchange, key: str) -> None:
    with pytest.raises(ConfigurationError, match="dpop_key"):
        exchanger(dpop_key=Secret(key))


async def test_an_actor_token_from_a_file_says_who_acts(
    exchanger: Exchange, login: Login, provider: IdentityProvider, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    made = exchanger(actor_token_file=str(path), expected_actor="agent")
    for content, why in ((None, "FileNotFoundError"), ("", "is empty"), ("x" * 20_000, "too long"), ("ü", "Unicode")):
        if content is not None:
            path.write_text(content)
        with pytest.raises(ExchangeUnavailable) as caught:
            await made.obtain(await login())
        assert why in (caught.value.detail or "")
    for actor in ("agent", "other"):
        path.write_text(provider.issue(actor) + "\n")
        if actor == "agent":
            assert (await made.obtain(await login())).subject == "alice"
        else:
            assert "actor" in await refusal(made, await login())
    form = provider.exchanges.asked[0]
    assert form["actor_token_type"] == "urn:ietf:params:oauth:token-type:jwt"


async def test_on_behalf_of_sends_what_entra_wants(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    provider.exchanges.claims = {"scope": None, "scp": "Orders.Read Orders.Write"}
    exchange = exchanger(grant=GrantKind.ON_BEHALF_OF, scope=[f"{API}/.default"], audience=[], expected_audience=[API])
    assert (await exchange.obtain(await login())).subject == "alice"
    (form,) = provider.exchanges.asked
    assert form["requested_token_use"] == "on_behalf_of" and form["scope"] == f"{API}/.default"
    assert form["grant_type"].endswith("jwt-bearer") and "subject_token" not in form


async def test_jwt_bearer_presents_the_token_as_an_assertion(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    assert (await exchanger(grant=GrantKind.JWT_BEARER).obtain(await login())).subject == "alice"
    (form,) = provider.exchanges.asked
    assert form["grant_type"].endswith("jwt-bearer") and "assertion" in form


async def test_an_identity_assertion_is_redeemed_at_the_downstreams_own_server(
    exchanger: Exchange, login: Login, provider: IdentityProvider, clock: Clock
) -> None:
    with IdentityProvider(algorithms=["RS256"], clock=clock) as theirs:
        theirs.exchanges.clients.add(DemoClient("gateway-there", secret="x"))
        theirs.exchanges.claims = {"aud": API}
        theirs.exchanges.keys = lambda: [*theirs.keys, *provider.keys]
        there = IdentityAssertionSettings(
            authorization_server=theirs.issuer,
            token_endpoint=theirs.token_endpoint,
            client=ClientCredentials(id="gateway-there", secret=Secret("x")),
        )
        exchange = exchanger(
            grant=GrantKind.IDENTITY_ASSERTION, identity_assertion=there, expected_issuer=theirs.issuer
        )
        assert (await exchange.obtain(await login())).subject == "alice"
        (first,), (second,) = provider.exchanges.asked, theirs.exchanges.asked
        assert first["requested_token_type"].endswith("id-jag") and first["audience"] == theirs.issuer
        assert second["grant_type"].endswith("jwt-bearer")
        provider.exchanges.answer = {"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
        assert "ID-JAG" in await refusal(exchange, await login())


async def test_twenty_misses_at_once_are_one_request(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    session, exchange = await login(), exchanger(cache=KEPT)
    provider.delay = 0.1
    credentials = await asyncio.gather(*(exchange.obtain(session) for _ in range(20)))
    provider.delay = 0
    assert len({each.token.reveal() for each in credentials}) == 1
    assert len(provider.exchanges.asked) == 1


async def test_without_a_cache_each_call_is_an_exchange(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    session, exchange = await login(), exchanger()
    await exchange.obtain(session)
    await exchange.obtain(session)
    assert len(provider.exchanges.asked) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"scope": ["read"]},
        {"resource": [API]},
        {"audience": [API, "https://second.example"]},
        {"client": ClientCredentials(id="second", secret=Secret("y"))},
        {"expected_actor": "gateway"},
        {"required_claims": ["sub"]},
        {"security": TokenRules(clock_tolerance=0)},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_what_was_exchanged_for_another_purpose_is_not_shared(
    exchanger: Exchange, login: Login, provider: IdentityProvider, other: dict[str, Any]
) -> None:
    provider.exchanges.clients.add(DemoClient("second", secret="y"))
    vault, session = Vault(), await login()
    await exchanger(vault, cache=KEPT).obtain(session)
    await exchanger(vault, cache=KEPT).obtain(session)
    assert len(provider.exchanges.asked) == 1
    await exchanger(vault, cache=KEPT, **other).obtain(session)
    assert len(provider.exchanges.asked) == 2


async def test_bob_never_gets_what_alice_has(exchanger: Exchange, login: Login, provider: IdentityProvider) -> None:
    exchange = exchanger(cache=KEPT)
    alice, bob = await exchange.obtain(await login("alice")), await exchange.obtain(await login("bob"))
    assert (alice.subject, bob.subject) == ("alice", "bob") and len(provider.exchanges.asked) == 2


async def test_a_provider_that_is_down_slow_or_talks_rubbish_is_a_refusal_in_time_and_leaves_nothing(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    session, vault = await login(), Vault()
    await exchanger(vault).obtain(session)
    path = "/token"
    with provider.outage():
        with pytest.raises(ExchangeUnavailable, match="does not answer"):
            await exchanger(vault, token_endpoint=provider.token_endpoint, cache=KEPT).obtain(session)
    for rubbish in (b"<html>", b"[]", b'{"access_token": "a", "access_token": "b"}', b"\xff", b"9" * 2_000_000):
        provider.answers[path] = rubbish
        with pytest.raises(ExchangeUnavailable):
            await exchanger(vault, cache=KEPT).obtain(session)
    provider.answers.clear()
    provider.delay = 1
    with pytest.raises(ExchangeUnavailable):
        await exchanger(vault, timeout_seconds=0.2, token_endpoint=provider.token_endpoint, cache=KEPT).obtain(session)
    provider.delay = 0
    assert len(vault) == 0


async def test_an_unreachable_provider_is_tried_again_and_then_left_alone(
    exchanger: Exchange, login: Login, provider: IdentityProvider
) -> None:
    session = await login()
    exchange = exchanger(token_endpoint=provider.token_endpoint)
    provider.down = True
    provider.requests.clear()
    for _ in range(FAILURES + 3):
        with pytest.raises(ExchangeUnavailable):
            await exchange.obtain(session)
    assert provider.requests["/token"] == FAILURES * 3
    provider.down = False


async def test_one_hiccup_is_not_noticed(exchanger: Exchange, login: Login, provider: IdentityProvider) -> None:
    session, exchange = await login(), exchanger(token_endpoint=provider.token_endpoint)
    provider.down = True
    calling = asyncio.create_task(exchange.obtain(session))
    while provider.requests["/token"] == 0:  # noqa: ASYNC110 -- the provider is in another thread
        await asyncio.sleep(0.005)
    provider.down = False
    assert (await calling).subject == "alice"
