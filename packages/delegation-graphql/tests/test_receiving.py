"""A Strawberry service that uses the helpers for its own side: the middleware and the permission class."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import strawberry
from graphql_service import AUDIENCE
from graphql_serving import Serving
from starlette.applications import Starlette
from starlette.routing import Mount
from strawberry.asgi import GraphQL
from strawberry.types import Info

from actas.core import Secret, Session
from actas.core.models import SCOPE_KEY
from actas.core.roles import Permissions
from actas.delegation.graphql.strawberry import IsActingUser, acting_user
from actas.oauth import Authenticator
from actas.oauth.receiving import ReceivingMiddleware
from actas.oauth.settings import KnownActor
from actas.testing.idp import IdentityProvider
from actas.testing.road import MCP, exchanging, running  # noqa: F401 -- a fixture that is used by being here

pytestmark = pytest.mark.anyio


@strawberry.type
class Me:
    user: str
    through: list[str]


@strawberry.type
class Query:
    @strawberry.field(permission_classes=[IsActingUser])
    def me(self, info: Info) -> Me:
        session = acting_user(info)
        return Me(user=session.subject, through=[actor.subject for actor in session.actors])

    @strawberry.field(permission_classes=[IsActingUser])
    def secret(self) -> str | None:
        return "open"

    @strawberry.field
    def careless(self, info: Info) -> str | None:
        return acting_user(info).subject


SCHEMA = strawberry.Schema(Query)


@pytest.fixture
def protected(provider: IdentityProvider) -> Iterator[str]:
    issuer = provider.trusted(audience=[AUDIENCE], actors=[KnownActor(subject="gateway")])
    app: Any = Starlette(routes=[Mount("/graphql", GraphQL(SCHEMA))])
    with Serving(ReceivingMiddleware(app, Authenticator([issuer], Permissions()))) as url:
        yield url


async def test_the_whole_road_to_a_service_that_checks_with_our_helpers(
    protected: str, provider: IdentityProvider, tmp_path: Path
) -> None:
    (tmp_path / "me.graphql").write_text("query WhoAmI { me { user through } }")
    (tmp_path / "schema.sdl").write_text(SCHEMA.as_str())
    idp = {"name": "test", "issuer": provider.issuer, "audience": MCP, "role_mappings": {"user": ["staff"]}}
    module = {
        "kind": "graphql",
        "url": protected,
        "schema_file": str(tmp_path / "schema.sdl"),
        "operations": str(tmp_path),
        "token_exchange": {"idp": "test", "client": {"id": "gateway", "secret": "s3cret"}, "audience": AUDIENCE},
    }
    written = {
        "mcp": {"port": 0, "resource": MCP},
        "auth": {"trusted_idps": [idp], "permissions": {"user": ["graphql:read"]}},
        "delegation": {"modules": {"shop": module}},
    }
    async with running(written, provider) as opened:
        for user in ("alice", "bob"):
            answer = await opened.call("shop-who-am-i", user)
            assert answer == {"data": {"me": {"user": user, "through": ["gateway"]}}}
        async with httpx2.AsyncClient(trust_env=False) as client:
            body = {"query": "{ me { user } }"}
            own = {"authorization": f"Bearer {provider.issue('alice')}"}
            assert (await client.post(protected, json=body)).status_code == 401
            assert (await client.post(protected, json=body, headers=own)).status_code == 401, "it is for the gateway"


async def test_a_service_that_forgot_the_middleware_lets_nobody_in() -> None:
    app: Any = Starlette(routes=[Mount("/graphql", GraphQL(SCHEMA))])
    with Serving(app) as url:
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = (await client.post(url, json={"query": "{ secret careless }"})).json()
    assert answer["data"] == {"secret": None, "careless": None}
    assert answer["errors"][0]["extensions"] == {"code": "FORBIDDEN"}


def test_the_session_is_found_in_whatever_context_an_integration_makes() -> None:
    alice = Session(
        issuer="https://idp.example", subject="alice", username="alice", provider="test", role="user", token=Secret("x")
    )
    for kept, found in ((alice, True), ("alice", False), (None, False)):
        request = SimpleNamespace(scope={SCOPE_KEY: kept})
        for context in ({"request": request}, SimpleNamespace(request=request)):
            info: Any = SimpleNamespace(context=context)
            assert IsActingUser().has_permission(None, info) is found
