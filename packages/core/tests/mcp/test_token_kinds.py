"""The door, by whose token it is: opaque, an agent's, an application's, a revoked one; on both wires, over HTTP."""

import time
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from actas.core import AuthenticationUnavailable, Outcome
from actas.mcp import MCPOAuthServer
from actas.oauth import KnownActor, RevocationSettings
from actas.oauth.denylist import Revocation
from actas.oauth.revocation import append
from actas.oauth.settings import ClaimMappings
from actas.testing.dpop import ProofKey
from actas.testing.idp import IdentityProvider

from .conftest import HANDSHAKE, MODERN, ROLES, Serve, Stage, settings_for
from .test_dpop import call
from .test_tokens import challenge_of

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("version", [MODERN, HANDSHAKE])]


async def test_an_opaque_token_calls_a_tool_as_its_user(serve: Serve, idp: IdentityProvider, version: str) -> None:
    mappings = ClaimMappings(legacy_username="preferred_username")
    issuer = idp.trusted(role_mappings=ROLES, claim_mappings=mappings, introspection=idp.introspection())
    async with serve(issuer) as stage:
        for _ in range(2):
            told = (await stage.call(idp.issue_opaque("alice"), "user-info", version=version)).json()
            assert told["result"]["structuredContent"]["username"] == "alice"
        refused = await stage.call("nobody-has-this", "user-info", version=version)
        assert refused.status_code == 401
        assert challenge_of(refused)["error"] == "invalid_token"
        assert stage.sink.entries()[-1].reason == "inactive"


async def test_an_opaque_token_that_is_bound_to_a_key_needs_a_proof(
    serve: Serve, idp: IdentityProvider, version: str
) -> None:
    key = ProofKey()
    async with serve(idp.trusted(role_mappings=ROLES, introspection=idp.introspection())) as stage:
        token = idp.issue_opaque("alice", token_type="DPoP", **key.confirmation)
        for _ in range(2):
            assert (await call(stage, token, key=key, version=version)).status_code == 200
            assert (await call(stage, token, key=ProofKey(), version=version)).status_code == 401
            assert (await stage.post(token, version=version)).status_code == 401
        assert stage.toy.calls == ["say"] * 2


async def test_a_provider_that_does_not_answer_is_503_and_no_challenge_that_costs_the_token(
    serve: Serve, idp: IdentityProvider, version: str
) -> None:
    async with serve(idp.trusted(role_mappings=ROLES, introspection=idp.introspection())) as stage:
        token = idp.issue_opaque("alice")
        with idp.outage():
            response = await stage.post(token, version=version)
            assert response.status_code == 503
            assert "www-authenticate" not in response.headers
            assert response.json() == {
                "error": "authentication_unavailable",
                "error_description": AuthenticationUnavailable.default_message,
            }
            (event,) = stage.sink.entries()
            assert (event.outcome, event.code) == (Outcome.FAILED, "authentication_unavailable")
            assert str(event.reason).startswith("introspection_failed: status 503")
            assert (await stage.post(stage.token(), version=version)).status_code == 200  # JWTs need nobody
        assert (await stage.post(token, version=version)).status_code == 200


async def test_an_unknown_actor_is_403_and_named_in_the_minutes(
    serve: Serve, idp: IdentityProvider, version: str
) -> None:
    async with serve(idp.trusted(role_mappings=ROLES, actors=[KnownActor(subject="agent")])) as stage:
        token = stage.token(claims={"act": {"sub": "stranger", "act": {"sub": "agent"}}})
        for _ in range(2):
            response = await stage.post(token, version=version)
            assert (response.status_code, response.json()["error"]) == (403, "session_rejected")
            assert "www-authenticate" not in response.headers
            assert "stranger" not in response.text
            event = stage.sink.entries()[-1]
            assert (event.code, event.subject, event.actors) == ("session_rejected", "alice", ("stranger", "agent"))
            assert str(event.reason).startswith("unknown_actor")


async def test_a_known_actor_sees_and_calls_what_both_may(serve: Serve, idp: IdentityProvider, version: str) -> None:
    helper = KnownActor(subject="helper", permissions=["toy:use"], scopes=["toy.read"])
    async with serve(idp.trusted(role_mappings=ROLES, actors=[helper, KnownActor(subject="mute")])) as stage:

        async def tools(user: str, act: object) -> set[str]:
            answer = (await stage.post(stage.token(user, claims={"act": act}), version=version)).json()
            return {tool["name"] for tool in answer["result"]["tools"]}

        assert await tools("bob", {"sub": "helper"}) == await tools("alice", None)
        assert await tools("bob", {"sub": "helper"}) < await tools("bob", None)
        assert await tools("bob", {"sub": "mute"}) == {"user-info", "health-check"}
        hidden = await stage.call(stage.token(claims={"act": {"sub": "mute"}}), "toy-say", version=version)
        unknown = await stage.call(stage.token(claims={"act": {"sub": "mute"}}), "toy-none", version=version)
        assert hidden.text.replace("toy-say", "x") == unknown.text.replace("toy-none", "x")
        acted = stage.token(claims={"act": {"sub": "helper"}})
        assert (await stage.call(acted, "toy-say", {"text": "x"}, version=version)).status_code == 200
        assert stage.sink.entries()[-1].actors == ("helper",)


async def test_an_application_is_403_unless_accepted_and_marked_in_the_minutes(
    serve: Serve, idp: IdentityProvider, version: str
) -> None:
    claims: dict[str, object] = {"sub": "svc", "client_id": "svc", "roles": ["staff"]}
    async with serve() as stage:
        assert (await stage.post(stage.token(claims=claims), version=version)).status_code == 403
        event = stage.sink.entries()[-1]
        assert (event.application, event.client_id) == (True, "svc")
        assert str(event.reason).startswith("application")
    async with serve(idp.trusted(role_mappings=ROLES, accept_applications=True)) as stage:
        told = (await stage.call(stage.token(claims=claims), "user-info", version=version)).json()
        assert told["result"]["structuredContent"]["application"] is True
        assert stage.sink.entries()[-1].application is True
        assert (await stage.post(stage.token(), version=version)).status_code == 200
        assert stage.sink.entries()[-1].application is None


async def test_what_is_revoked_while_running_is_401_though_it_was_remembered(
    idp: IdentityProvider, serve: Serve, tmp_path: Path, version: str
) -> None:
    async with serve() as stage:  # what keeps the clients and the toy
        path = tmp_path / "revoked.jsonl"
        plain = settings_for(idp.trusted(role_mappings=ROLES))
        auth = replace(plain.auth, revocation=RevocationSettings(path=str(path)))
        server = MCPOAuthServer(replace(plain, auth=auth), audit_sink=stage.sink)
        await server.start()
        try:
            other = Stage(server, idp, stage.sink, stage.toy, stage.http)
            token, bob = stage.token("alice"), stage.token("bob")
            assert (await other.post(token, version=version)).status_code == 200
            append(path, Revocation(claim="sub", value="alice", until=time.time() + 60))
            with anyio.fail_after(30):
                while (response := await other.post(token, version=version)).status_code == 200:  # noqa: ASYNC110 -- by a thread
                    await anyio.sleep(0.1)
            assert response.status_code == 401
            assert challenge_of(response)["error"] == "invalid_token"
            assert stage.sink.entries()[-1].reason == "revoked"
            assert (await other.post(bob, version=version)).status_code == 200
        finally:
            await server.stop()
