"""DPoP over HTTP: real keys, real tokens, both wires, both ways through the server."""

import asyncio
import json
import re
import time
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from actas.core import InvalidProof, MemorySink, NonceRequired, Outcome, Secret
from actas.mcp import AuthSettings, DpopSettings, MCPOAuthServer, McpSettings, Settings
from actas.mcp.settings import LimitSettings
from actas.oauth.nonces import Nonces
from actas.oauth.reasons import Reason
from actas.oauth.settings import Binding, TokenRules
from actas.testing.dpop import ProofKey
from actas.testing.idp import IdentityProvider
from actas.testing.tokens import tampered

from .conftest import HANDSHAKE, MODERN, PERMISSIONS, ROLES, Serve, Stage

pytestmark = pytest.mark.anyio

SDKS_WAY = {"last-event-id": "1"}
WAYS = [(MODERN, {}), (MODERN, SDKS_WAY), (HANDSHAKE, {}), (HANDSHAKE, SDKS_WAY)]
KEY = ProofKey()


def challenges_of(response: httpx2.Response) -> dict[str, dict[str, str]]:
    """The attributes of each challenge in the one header, by scheme."""
    (header,) = response.headers.get_list("www-authenticate")
    schemes = re.split(r"(?:^|, )(Bearer|DPoP) ", header)[1:]
    return {
        scheme: dict(re.findall(r'(\w+)="([^"]*)"', attributes))
        for scheme, attributes in zip(schemes[::2], schemes[1::2], strict=True)
    }


async def call(
    stage: Stage, token: str, *, key: ProofKey = KEY, proof: str | None = None, **options: Any
) -> httpx2.Response:
    """Call a tool with a proof, and once more with a nonce where the server demands one, as a client does."""
    name, arguments = options.pop("tool", "toy-say"), options.pop("arguments", {"text": "x"})
    extra = options.pop("headers", {})
    sent = {"authorization": f"DPoP {token}", "dpop": proof or key.proof(token, stage.url)}
    response = await stage.call(None, name, arguments, headers={**sent, **extra}, **options)
    nonce = response.headers.get("dpop-nonce")
    if response.status_code == 401 and nonce is not None and proof is None:
        sent["dpop"] = key.proof(token, stage.url, nonce=nonce)
        response = await stage.call(None, name, arguments, headers={**sent, **extra}, **options)
    return response


async def nonce_of(stage: Stage, token: str) -> str:
    """A nonce of the server's, as it gives one for a proof that is too old."""
    stale = KEY.proof(token, stage.url, claims={"iat": 1})
    response = await call(stage, token, proof=stale)
    assert response.json()["error"] == "use_dpop_nonce"
    return response.headers["dpop-nonce"]


def last_reason(stage: Stage) -> str:
    return str(stage.sink.entries()[-1].reason).partition(":")[0]


@pytest.mark.parametrize(("version", "headers"), WAYS)
async def test_a_bound_token_works_with_a_proof_for_each_request(
    stage: Stage, version: str, headers: dict[str, str]
) -> None:
    token = stage.token(claims=KEY.confirmation)
    for _ in range(3):
        response = await call(stage, token, version=version, headers=headers)
        assert response.status_code == 200, response.text
        assert response.json()["result"]["content"][0]["text"] == "x"
        assert "dpop-nonce" not in response.headers
    assert stage.toy.calls == ["say"] * 3
    admitted = stage.sink.entries(source="auth", outcome=Outcome.SUCCESS)
    assert [(event.subject, event.address) for event in admitted] == [("alice", "127.0.0.1")]


async def test_not_every_session_that_was_admitted_is_remembered(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actas.mcp.entrance._MOST_ADMITTED", 1)
    tokens = [stage.token(user, claims=KEY.confirmation) for user in ("alice", "bob")]
    for token in (tokens[0], tokens[0], tokens[1], tokens[0]):
        assert (await call(stage, token)).status_code == 200
    admitted = stage.sink.entries(source="auth", outcome=Outcome.SUCCESS)
    assert [event.subject for event in admitted] == ["alice", "bob", "alice"]  # told once too often, never too rarely


@pytest.mark.parametrize(("version", "headers"), WAYS)
async def test_a_bound_token_is_worth_nothing_as_bearer(stage: Stage, version: str, headers: dict[str, str]) -> None:
    token = stage.token(claims=KEY.confirmation)
    for extra in ({}, {"dpop": KEY.proof(token, stage.url)}):
        response = await stage.call(token, "toy-say", {"text": "x"}, version=version, headers={**headers, **extra})
        assert response.status_code == 401
        assert challenges_of(response)["Bearer"]["error"] == "invalid_token"
        assert challenges_of(response)["DPoP"].keys() == {"algs"}
        assert last_reason(stage) == Reason.WRONG_SCHEME
    assert stage.toy.calls == []
    assert stage.sink.entries(outcome=Outcome.SUCCESS) == []
    assert stage.sink.entries()[-1].subject == "alice"  # whose token somebody tried


@pytest.mark.parametrize(("version", "headers"), WAYS)
async def test_an_unbound_token_is_no_dpop_token(stage: Stage, version: str, headers: dict[str, str]) -> None:
    response = await call(stage, stage.token(), version=version, headers=headers)
    assert response.status_code == 401
    assert challenges_of(response).keys() == {"DPoP"}
    assert challenges_of(response)["DPoP"]["error"] == "invalid_token"
    assert last_reason(stage) == Reason.WRONG_SCHEME


async def test_a_bad_token_under_dpop_is_an_invalid_one_whatever_the_proof(stage: Stage) -> None:
    token = stage.token(claims=KEY.confirmation)
    for bad in (tampered(token), "x", stage.token(claims=KEY.confirmation, expires_in=-600)):
        for extra in ({}, {"dpop": "x"}):
            response = await stage.post(None, headers={"authorization": f"DPoP {bad}", **extra})
            assert response.status_code == 401
            assert challenges_of(response)["DPoP"]["error"] == "invalid_token"
            assert "dpop-nonce" not in response.headers


BAD: dict[str, tuple[dict[str, Any], Reason]] = {
    "another URL": ({"claims": {"htu": "https://evil.example/mcp"}}, Reason.WRONG_PROOF_URL),
    "another method": ({"method": "GET"}, Reason.WRONG_PROOF_METHOD),
    "another token": ({"claims": {"ath": "x"}}, Reason.WRONG_PROOF_TOKEN),
    "no token": ({"claims": {"ath": None}}, Reason.WRONG_PROOF_TOKEN),
    "another key": ({"key": ProofKey().key}, Reason.BAD_PROOF_SIGNATURE),
    "a private key": ({"header": {"jwk": KEY.key.as_dict(private=True)}}, Reason.MALFORMED_PROOF),
    "no id": ({"claims": {"jti": None}}, Reason.MALFORMED_PROOF),
    "another kind": ({"header": {"typ": "JWT"}}, Reason.MALFORMED_PROOF),
}


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_proof_is_challenged_as_one_and_tells_nothing(stage: Stage, kind: str, version: str) -> None:
    changes, reason = BAD[kind]
    token = stage.token(claims=KEY.confirmation)
    response = await call(stage, token, proof=KEY.proof(token, stage.url, **changes), version=version)
    assert response.status_code == 401
    assert response.json() == {"error": "invalid_dpop_proof", "error_description": InvalidProof.default_message}
    assert challenges_of(response).keys() == {"DPoP"}
    challenge = challenges_of(response)["DPoP"]
    assert challenge["error"] == "invalid_dpop_proof"
    assert challenge["error_description"] == InvalidProof.default_message
    assert "ES256" in challenge["algs"].split()
    assert challenge["resource_metadata"] == f"{stage.origin}/.well-known/oauth-protected-resource/mcp"
    assert last_reason(stage) == reason
    assert stage.sink.entries()[-1].code == "invalid_dpop_proof"
    assert stage.toy.calls == []


async def test_a_thief_with_the_token_and_a_key_of_his_own_gets_nothing(stage: Stage) -> None:
    token = stage.token(claims=KEY.confirmation)
    assert (await call(stage, token, key=ProofKey())).status_code == 401
    assert last_reason(stage) == Reason.WRONG_PROOF_KEY


async def test_none_and_several_proofs_are_refused(stage: Stage) -> None:
    token = stage.token(claims=KEY.confirmation)
    for count, reason in ((0, Reason.NO_PROOF), (2, Reason.MALFORMED_PROOF)):
        proofs = [("dpop", KEY.proof(token, stage.url)) for _ in range(count)]
        response = await stage.http.post(
            stage.url, headers=[("authorization", f"DPoP {token}"), *proofs], content=b"{}"
        )
        assert response.status_code == 401
        assert response.json()["error"] == "invalid_dpop_proof"
        assert last_reason(stage) == reason


@pytest.mark.parametrize(("version", "headers"), WAYS)
async def test_a_proof_that_was_used_is_refused_also_beside_itself(
    stage: Stage, version: str, headers: dict[str, str]
) -> None:
    token = stage.token(claims=KEY.confirmation)
    proof = KEY.proof(token, stage.url, nonce=await nonce_of(stage, token))
    calls = [call(stage, token, proof=proof, version=version, headers=headers) for _ in range(8)]
    answers = await asyncio.gather(*calls)
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7
    # Five of an address are written one by one each minute; of the others, the number.
    assert [event.reason for event in stage.sink.entries()].count(Reason.REPLAYED_PROOF) == 5
    assert len(stage.toy.calls) == 1


async def test_the_host_header_does_not_say_what_a_proof_is_for(stage: Stage) -> None:
    token = stage.token(claims=KEY.confirmation)
    nonce = await nonce_of(stage, token)
    forged = KEY.proof(token, "http://evil.example/mcp", nonce=nonce)
    response = await call(
        stage, token, proof=forged, headers={"host": "evil.example", "x-forwarded-host": "evil.example"}
    )
    assert response.status_code == 401
    assert last_reason(stage) == Reason.WRONG_PROOF_URL


async def test_behind_a_proxy_proofs_are_for_the_public_url(serve: Serve) -> None:
    async with serve(resource="https://Tools.example:443/mcp", allowed_hosts=["127.0.0.1:*"]) as stage:
        token = stage.token(claims=KEY.confirmation)
        nonce = await nonce_of_public(stage, token)
        public = KEY.proof(token, "https://tools.example/mcp?x=1", nonce=nonce)
        assert (await call(stage, token, proof=public)).status_code == 200
        local = KEY.proof(token, stage.url, nonce=nonce)
        assert (await call(stage, token, proof=local)).status_code == 401


async def nonce_of_public(stage: Stage, token: str) -> str:
    stale = KEY.proof(token, "https://tools.example/mcp", claims={"iat": 1})
    return (await call(stage, token, proof=stale)).headers["dpop-nonce"]


@pytest.mark.parametrize(("version", "headers"), WAYS)
async def test_a_bound_token_steps_up_under_its_own_scheme(stage: Stage, version: str, headers: dict[str, str]) -> None:
    token = stage.token(claims=KEY.confirmation)
    response = await call(stage, token, tool="toy-write", version=version, headers=headers)
    assert response.status_code == 403
    assert challenges_of(response).keys() == {"DPoP"}
    challenge = challenges_of(response)["DPoP"]
    assert challenge["error"] == "insufficient_scope"
    assert challenge["scope"] == "toy.extra toy.read toy.write"
    assert "algs" in challenge


async def test_a_role_that_is_not_accepted_is_403_with_a_proof_and_401_without(stage: Stage) -> None:
    token = stage.token(claims={**KEY.confirmation, "roles": 5})
    assert (await call(stage, token)).status_code == 403
    assert (await stage.call(token, "toy-say")).status_code == 401


async def test_a_missing_token_is_challenged_under_both_schemes_bearer_first(stage: Stage) -> None:
    response = await stage.post(None)
    assert response.headers["www-authenticate"].startswith("Bearer ")
    challenges = challenges_of(response)
    assert challenges["Bearer"].keys() == {"scope", "resource_metadata"}
    assert challenges["DPoP"].keys() == {"algs"}


@pytest.fixture
def demanding(serve: Serve, idp: IdentityProvider) -> Any:
    def demanding(binding: Binding, **mcp: Any) -> Any:
        return serve(idp.trusted(role_mappings=ROLES, security=TokenRules(binding=binding)), **mcp)

    return demanding


async def test_where_dpop_is_demanded_bearer_is_not_even_offered(demanding: Any) -> None:
    async with demanding(Binding.DPOP) as stage:
        for token in (None, stage.token(), "x"):
            response = await stage.post(token)
            assert response.status_code == 401
            assert challenges_of(response).keys() == {"DPoP"}
            assert challenges_of(response)["DPoP"].get("error") == (None if token is None else "invalid_token")
        metadata = (await stage.http.get(f"{stage.origin}/.well-known/oauth-protected-resource/mcp")).json()
        assert metadata["dpop_bound_access_tokens_required"] is True
        assert (await call(stage, stage.token(claims=KEY.confirmation))).status_code == 200
        assert (await stage.call(stage.token(), "toy-say")).status_code == 401
        assert last_reason(stage) == Reason.NOT_BOUND


async def test_a_binding_that_cannot_be_checked_is_refused(stage: Stage) -> None:
    for cnf in ({"jkt": KEY.thumbprint, "x": 1}, {"kid": "1"}, {}, None, "x", {"jwk": KEY.public}):
        claims = {**stage.idp.claims(), "cnf": cnf}
        token = stage.idp.issue(claims=json.dumps(claims).encode())
        for response in (await stage.call(token, "toy-say", {"text": "x"}), await call(stage, token)):
            assert response.status_code == 401
            assert last_reason(stage) == Reason.UNKNOWN_BINDING


def nonce_settings(idp: IdentityProvider, **dpop: Any) -> Settings:
    return Settings(
        auth=AuthSettings(
            trusted_idps=[idp.trusted(role_mappings=ROLES)], permissions=PERMISSIONS, dpop=DpopSettings(**dpop)
        ),
        mcp=McpSettings(port=0),
    )


@pytest.fixture
async def with_nonces(idp: IdentityProvider, sink: MemorySink, toy: Any) -> Any:
    server = MCPOAuthServer(nonce_settings(idp, require_nonce=True, nonce_secret=Secret("s" * 32)), audit_sink=sink)
    server.register_delegation_module("toy", toy)
    await server.start()
    async with httpx2.AsyncClient(timeout=30) as http:
        yield Stage(server, idp, sink, toy, http)
    await server.stop()


@pytest.mark.parametrize(("version", "headers"), WAYS)
async def test_a_client_gets_a_nonce_and_goes_on_with_it(
    with_nonces: Stage, version: str, headers: dict[str, str]
) -> None:
    stage = with_nonces
    token = stage.token(claims=KEY.confirmation)
    first = await call(stage, token, proof=KEY.proof(token, stage.url), version=version, headers=headers)
    assert first.status_code == 401
    assert first.json() == {"error": "use_dpop_nonce", "error_description": NonceRequired.default_message}
    assert challenges_of(first)["DPoP"]["error"] == "use_dpop_nonce"
    assert last_reason(stage) == Reason.NO_NONCE
    nonce = first.headers["dpop-nonce"]
    for _ in range(3):
        proof = KEY.proof(token, stage.url, nonce=nonce)
        response = await call(stage, token, proof=proof, version=version, headers=headers)
        assert response.status_code == 200
        assert "dpop-nonce" not in response.headers
    assert len(stage.sink.entries(source="auth", outcome=Outcome.SUCCESS)) == 1


async def test_being_asked_for_a_nonce_is_no_failure_of_the_address_and_a_bad_proof_is_one(
    idp: IdentityProvider, sink: MemorySink, toy: Any
) -> None:
    limits = LimitSettings(failed_authentications_per_address="1/hour")
    settings = replace(nonce_settings(idp, require_nonce=True, nonce_secret=Secret("s" * 32)), limits=limits)
    server = MCPOAuthServer(settings, audit_sink=sink)
    server.register_delegation_module("toy", toy)
    await server.start()
    async with httpx2.AsyncClient(timeout=30) as http:
        stage = Stage(server, idp, sink, toy, http)
        for user in ("alice", "bob", "guest"):
            token = stage.token(user, claims=KEY.confirmation)
            first = await call(stage, token, proof=KEY.proof(token, stage.url))
            assert first.json()["error"] == "use_dpop_nonce"
        assert (await call(stage, token, proof="x.y.z")).status_code == 401
        unknown = stage.token("bob", claims={**KEY.confirmation, "jti": "another"})
        assert (await call(stage, unknown, proof=KEY.proof(unknown, stage.url))).status_code == 429
        known = KEY.proof(token, stage.url, nonce=first.headers["dpop-nonce"])
        assert (await call(stage, token, tool="user-info", arguments={}, proof=known)).status_code == 200
    await server.stop()


@pytest.mark.parametrize(("version", "headers"), WAYS)
@pytest.mark.parametrize("tool", ["toy-say", "toy-write"])
async def test_a_new_nonce_comes_with_an_answer_before_the_old_one_ends(
    with_nonces: Stage, version: str, headers: dict[str, str], tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = with_nonces
    token = stage.token(claims=KEY.confirmation)
    nonce = (await call(stage, token, proof=KEY.proof(token, stage.url))).headers["dpop-nonce"]
    monkeypatch.setattr("actas.oauth.dpop.RENEW_SECONDS", -1.0)
    for _ in range(3):
        proof = KEY.proof(token, stage.url, nonce=nonce)
        response = await call(stage, token, proof=proof, tool=tool, version=version, headers=headers)
        assert response.status_code == {"toy-say": 200, "toy-write": 403}[tool]
        assert response.headers["dpop-nonce"] not in ("", nonce)
        nonce = response.headers["dpop-nonce"]


async def test_a_nonce_from_before_the_start_is_replaced(with_nonces: Stage) -> None:
    stage = with_nonces
    token = stage.token(claims=KEY.confirmation)
    older = Nonces(b"s" * 32, lambda: time.time() - 90).make()
    response = await call(stage, token, proof=KEY.proof(token, stage.url, nonce=older))
    assert response.json()["error"] == "use_dpop_nonce"
    assert last_reason(stage) == Reason.STALE_PROOF


async def test_nonces_that_have_run_out_or_are_forged_are_replaced(with_nonces: Stage) -> None:
    stage = with_nonces
    token = stage.token(claims=KEY.confirmation)
    for made in (Nonces(b"s" * 32, lambda: time.time() - 130), Nonces(b"t" * 32, time.time)):
        response = await call(stage, token, proof=KEY.proof(token, stage.url, nonce=made.make()))
        assert response.json()["error"] == "use_dpop_nonce"
        assert last_reason(stage) == Reason.WRONG_NONCE


@pytest.mark.parametrize("demanded", [True, False])
async def test_a_reload_forgets_neither_used_proofs_nor_nonces(
    with_nonces: Stage, idp: IdentityProvider, demanded: bool
) -> None:
    stage = with_nonces
    await stage.server.reload(nonce_settings(idp))
    token = stage.token(claims=KEY.confirmation)
    nonce = await nonce_of(stage, token)
    used, unused = (KEY.proof(token, stage.url, nonce=nonce) for _ in range(2))
    assert (await call(stage, token, proof=used)).status_code == 200
    await stage.server.reload(nonce_settings(idp, require_nonce=demanded))
    assert (await call(stage, token, proof=used)).status_code == 401
    assert last_reason(stage) == Reason.REPLAYED_PROOF
    assert (await call(stage, token, proof=unused)).status_code == 200


async def test_another_secret_is_heeded_after_a_reload(with_nonces: Stage, idp: IdentityProvider) -> None:
    stage = with_nonces
    token = stage.token(claims=KEY.confirmation)
    nonce = await nonce_of(stage, token)
    await stage.server.reload(nonce_settings(idp, nonce_secret=Secret("t" * 32)))
    assert (await call(stage, token, proof=KEY.proof(token, stage.url, nonce=nonce))).status_code == 401
    assert last_reason(stage) == Reason.WRONG_NONCE


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        DpopSettings(nonce_secret=Secret("short"))
