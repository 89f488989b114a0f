"""What is published, where, and that nothing of it comes from a request."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from actas.core import ConfigurationError, MemorySink
from actas.http import HttpClient
from actas.mcp import AuthSettings, MCPOAuthServer, McpSettings
from actas.mcp.door import Door
from actas.mcp.metadata import metadata_url
from actas.oauth.publication import PassedOn
from actas.oauth.settings import TrustedIssuer
from actas.testing.idp import IdentityProvider

from .conftest import MODERN, InProcess, Serve, Toy, request, settings_for

pytestmark = pytest.mark.anyio

PASSED_ON = "/.well-known/oauth-authorization-server"


async def test_the_providers_own_metadata_is_passed_on_where_configured(serve: Serve, idp: IdentityProvider) -> None:
    async with serve(idp.trusted(publish_metadata=True)) as stage:
        own = idp.metadata()
        for path in (PASSED_ON, f"{PASSED_ON}/mcp"):
            answer = await stage.http.get(stage.origin + path)
            assert (answer.status_code, answer.json()) == (200, own)
            assert answer.headers["access-control-allow-origin"] == "*"
            assert (await stage.http.head(stage.origin + path)).content == b""
            assert (await stage.http.post(stage.origin + path)).status_code == 405
        assert (await stage.http.get(f"{stage.origin}{PASSED_ON}/other")).status_code == 404
    async with serve() as stage:
        assert (await stage.http.get(stage.origin + PASSED_ON)).status_code == 404


class Time:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.aclose()


async def test_one_document_is_fetched_for_all_who_ask_and_again_when_it_is_old(
    idp: IdentityProvider, http: HttpClient
) -> None:
    clock = Time()
    passed_on = PassedOn(http, idp.trusted(), clock)
    path = idp.metadata_paths[0]
    before = idp.requests[path]
    documents = await asyncio.gather(*(passed_on.document() for _ in range(20)))
    assert {json.loads(document or b"{}")["issuer"] for document in documents} == {idp.issuer}
    assert idp.requests[path] == before + 1
    clock.now += 299
    await passed_on.document()
    assert idp.requests[path] == before + 1
    clock.now += 2
    await passed_on.document()
    assert idp.requests[path] == before + 2


async def test_the_last_good_document_is_passed_on_while_the_provider_is_away_and_not_for_ever(
    idp: IdentityProvider, http: HttpClient
) -> None:
    clock = Time()
    passed_on = PassedOn(http, idp.trusted(keys_max_age=1000.0), clock)
    good = await passed_on.document()
    assert good is not None
    with idp.outage():
        clock.now += 400
        assert await passed_on.document() == good
        clock.now += 700
        assert await passed_on.document() is None
    assert await passed_on.document() is None  # strangers make us ask no faster than every 30 s
    clock.now += 31
    assert await passed_on.document() == good


async def test_a_document_about_another_issuer_is_not_passed_on(serve: Serve, idp: IdentityProvider) -> None:
    foreign = json.dumps({**idp.metadata(), "issuer": "https://evil.example"}).encode()
    idp.answers = dict.fromkeys(idp.metadata_paths, foreign)
    try:
        issuer = idp.trusted(publish_metadata=True, jwks_uri=f"{idp.origin}{idp.jwks_path}")
        async with serve(issuer) as stage:
            answer = await stage.http.get(stage.origin + PASSED_ON)
            assert answer.status_code == 503 and answer.headers["retry-after"] == "30" and answer.content == b""
            assert (await stage.post(stage.token())).status_code == 200  # it is no part of letting anybody in
    finally:
        idp.answers = {}


def test_there_is_one_place_for_the_metadata_of_providers() -> None:
    both = [
        TrustedIssuer(name=name, issuer=f"https://{name}.example", audience=["x"], publish_metadata=True)
        for name in ("one", "two")
    ]
    with pytest.raises(ValueError, match="publish_metadata can be set for one provider"):
        AuthSettings(trusted_idps=both)
    with pytest.raises(ValueError, match="publish_metadata: issuer is not a URL"):
        TrustedIssuer(name="x", issuer="x", audience=["x"], jwks_uri="https://x.example/k", publish_metadata=True)


def _mounted(idp: IdentityProvider, sink: MemorySink, mount: str) -> MCPOAuthServer:
    server = MCPOAuthServer(
        settings_for(idp.trusted(), resource=f"https://mcp.test{mount}/mcp", server_name=mount), audit_sink=sink
    )
    server.register_delegation_module("toy", Toy())
    return server


async def test_several_doors_in_one_host_each_publish_their_own_resource_whatever_host_is_asked(
    idp: IdentityProvider, sink: MemorySink
) -> None:
    mounts = ("/a", "/b/c")
    doors = {mount: _mounted(idp, sink, mount).asgi_app() for mount in mounts}
    routes: list[Any] = [Route(path, endpoint=door) for door in doors.values() for path in door.well_known]
    routes += [Mount(mount, app=door) for mount, door in doors.items()]
    async with contextlib.AsyncExitStack() as stack:
        for door in doors.values():
            await stack.enter_async_context(door.lifespan())
        transport = httpx2.ASGITransport(Starlette(routes=routes))
        async with httpx2.AsyncClient(transport=transport, base_url="https://evil.example") as http:
            for mount in mounts:
                document = (await http.get(f"/.well-known/oauth-protected-resource{mount}/mcp")).json()
                assert document["resource"] == f"https://mcp.test{mount}/mcp"
                headers, body = request("tools/list", {}, MODERN)
                refused = await http.post(f"{mount}/mcp", headers=headers, json=body)
                named = f'resource_metadata="https://mcp.test/.well-known/oauth-protected-resource{mount}/mcp"'
                assert refused.status_code == 401 and named in refused.headers["www-authenticate"]
                headers |= {"authorization": f"Bearer {idp.issue()}", "host": "mcp.test"}
                assert (await http.post(f"{mount}/mcp", headers=headers, json=body)).status_code == 200
            assert (await http.get("/.well-known/oauth-protected-resource")).status_code == 404
            assert (await http.post("/a/mcp/mcp", headers=headers, json=body)).status_code == 404


async def test_a_door_behind_a_root_path_is_found_below_it(idp: IdentityProvider, sink: MemorySink) -> None:
    door = _mounted(idp, sink, "/api").asgi_app()
    async with door.lifespan():
        transport = httpx2.ASGITransport(door, root_path="/api")
        async with httpx2.AsyncClient(transport=transport, base_url="https://mcp.test") as http:
            assert (await http.post("/api/mcp")).status_code == 401
            found = await http.get("/.well-known/oauth-protected-resource/api/mcp")
            assert found.json()["resource"] == "https://mcp.test/api/mcp"
            assert (await http.post("/apimcp")).status_code == 404


_SEGMENT = st.text("abcXYZ019._~-", min_size=1, max_size=8)


@given(st.lists(_SEGMENT, max_size=5), st.booleans(), st.sampled_from(["", ":8443"]))
def test_the_well_known_uri_of_any_resource_is_between_its_host_and_its_path(
    segments: list[str], slash: bool, port: str
) -> None:
    path = "".join(f"/{segment}" for segment in segments) + ("/" if slash else "")
    resource = f"https://mcp.example{port}{path}"
    McpSettings(resource=resource)  # it is one
    where = urlsplit(metadata_url(resource))
    assert (where.scheme, where.netloc, where.query, where.fragment) == ("https", f"mcp.example{port}", "", "")
    assert where.path == "/.well-known/oauth-protected-resource" + (path if path != "/" else "")


@pytest.fixture(scope="module")
def published() -> Door:
    issuer = TrustedIssuer(name="x", issuer="https://idp.example", audience=["x"])
    server = MCPOAuthServer(settings_for(issuer, resource="https://mcp.test/api/mcp"), audit_sink=MemorySink())
    return server.asgi_app()


_PLACES = st.sampled_from(
    ["/.well-known/oauth-protected-resource/api/mcp", "/.well-known/oauth-protected-resource", PASSED_ON, "/", "//"]
)
_ANY = st.text(max_size=30) | st.sampled_from(["/../mcp", "%2e%2e", "\x00", "/api/mcp/", "?x", "\\", "\uff1b"])


@given(before=_ANY, place=_PLACES, after=_ANY, host=st.binary(max_size=30), root=_ANY)
def test_whatever_is_asked_under_well_known_the_answer_is_the_one_document_or_nothing(
    published: Door, before: str, place: str, after: str, host: bytes, root: str
) -> None:
    async def ask() -> tuple[int, dict[bytes, bytes], bytes]:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await published({**scope, "root_path": root}, receive, send)

        return await InProcess(app)(b"", [(b"host", host)], method="GET", path=before + place + after)

    status, _, body = asyncio.run(ask())
    if status == 200:
        assert json.loads(body)["resource"] == "https://mcp.test/api/mcp"
        assert place + after == "/.well-known/oauth-protected-resource/api/mcp"
    else:
        assert (status, body) in ((404, b"Not found\n"), (401, body))


def test_a_resource_that_is_no_url_is_refused() -> None:
    with pytest.raises((ConfigurationError, ValueError), match="resource"):
        McpSettings(resource="https://mcp.example/a?b=c")
