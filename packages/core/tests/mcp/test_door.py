"""The door, by what is public: metadata, hosts and origins, sizes; and what it does not log."""

import asyncio
import json
import logging
from typing import Any

import httpx2
import pytest

from actas.core import MemorySink
from actas.mcp import MCPOAuthServer
from actas.mcp.metadata import metadata_url
from actas.testing.idp import IdentityProvider

from .conftest import HANDSHAKE, MODERN, InProcess, Serve, Stage, request, settings_for

pytestmark = pytest.mark.anyio

METADATA = "/.well-known/oauth-protected-resource/mcp"


async def test_the_metadata_is_at_the_path_suffixed_uri(stage: Stage) -> None:
    response = await stage.http.get(stage.origin + METADATA)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "resource": stage.url,
        "authorization_servers": [stage.idp.issuer],
        "bearer_methods_supported": ["header"],
        "resource_name": "actas",
        "dpop_signing_alg_values_supported": ["ES256", "ES384", "Ed25519", "EdDSA", "PS256", "RS256"],
        "scopes_supported": ["toy.extra", "toy.read", "toy.write"],
    }


async def test_head_has_the_headers_of_get_and_no_body(stage: Stage) -> None:
    got, head = await stage.http.get(stage.origin + METADATA), await stage.http.head(stage.origin + METADATA)
    assert head.status_code == 200
    assert head.content == b""
    assert dict(head.headers) == dict(got.headers)


async def test_head_sends_no_body_under_any_asgi_server(idp: IdentityProvider) -> None:
    server = MCPOAuthServer(settings_for(idp.trusted()), audit_sink=MemorySink())
    status, headers, body = await InProcess(server.asgi_app(port=1))(b"", [], method="HEAD", path=METADATA)
    assert (status, body) == (200, b"")
    assert int(headers[b"content-length"]) > 0
    await server.release()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_the_metadata_is_only_read(stage: Stage, method: str) -> None:
    response = await stage.http.request(method, stage.origin + METADATA)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path",
    ["/", "/mcp/", "/MCP", "//mcp", "/mcp/x", "/.well-known/oauth-protected-resource", f"{METADATA}/x", "/mcp%2f"],
)
async def test_there_is_nothing_else(stage: Stage, path: str) -> None:
    response = await stage.http.get(stage.origin + path, headers={"authorization": f"Bearer {stage.token()}"})
    assert response.status_code == 404
    assert stage.sink.entries() == []


async def test_nothing_is_ever_built_from_the_host_header(stage: Stage) -> None:
    headers = {"host": "evil.example", "x-forwarded-host": "evil.example", "forwarded": "host=evil.example"}
    for response in (
        await stage.http.get(stage.origin + METADATA, headers=headers),
        await stage.post(None, headers=headers),
        await stage.post("bad", headers=headers),
    ):
        assert "evil.example" not in f"{response.headers} {response.text}"


def test_the_metadata_url_goes_before_the_path() -> None:
    well_known = "https://h.example/.well-known/oauth-protected-resource"
    assert metadata_url("https://h.example/mcp") == f"{well_known}/mcp"
    assert metadata_url("https://h.example/a/mcp/") == f"{well_known}/a/mcp/"
    assert metadata_url("https://h.example/") == well_known
    assert metadata_url("https://h.example") == well_known


async def test_a_public_resource_is_named_everywhere(serve: Serve) -> None:
    async with serve(resource="https://Tools.Example:443/mcp", allowed_hosts=["inner:*"]) as stage:
        metadata = (await stage.http.get(stage.origin + METADATA)).json()
        assert metadata["resource"] == "https://Tools.Example:443/mcp"
        challenge = (await stage.post(None)).headers["www-authenticate"]
        assert 'resource_metadata="https://Tools.Example:443/.well-known/oauth-protected-resource/mcp"' in challenge
        for host, status in (("tools.example", 200), ("tools.example:443", 200), ("inner:1", 200), ("inner", 421),
                             ("tools.example:8443", 421), ("tools.example.evil.example", 421)):  # fmt: skip
            for version in (MODERN, HANDSHAKE):
                response = await stage.post(stage.token(), version=version, headers={"host": host})
                assert response.status_code == status, host


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
async def test_a_strange_host_or_origin_is_turned_away(stage: Stage, version: str) -> None:
    token = stage.token()
    assert (await stage.post(token, version=version, headers={"host": "evil.example"})).status_code == 421
    assert (await stage.post(token, version=version, headers={"host": "localhost.evil.example"})).status_code == 421
    for origin in ("https://evil.example", "null", stage.origin):
        assert (await stage.post(token, version=version, headers={"origin": origin})).status_code == 403
    assert (await stage.post(token, version=version)).status_code == 200


async def test_an_allowed_origin_may_call(serve: Serve) -> None:
    async with serve(allowed_origins=["https://app.example"]) as stage:
        assert (await stage.post(stage.token(), headers={"origin": "https://app.example"})).status_code == 200
        assert (await stage.post(stage.token(), headers={"origin": "https://app.example.evil"})).status_code == 403


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
async def test_a_body_beyond_the_limit_is_413_with_and_without_a_declared_length(serve: Serve, version: str) -> None:
    async with serve(max_body_bytes=100_000) as stage:
        headers, _ = request("tools/list", {}, version)
        headers["authorization"] = f"Bearer {stage.token()}"

        async def chunks() -> Any:
            for _ in range(20):
                yield b" " * 10_000

        assert (await stage.http.post(stage.url, headers=headers, content=b" " * 100_001)).status_code == 413
        assert (await stage.http.post(stage.url, headers=headers, content=chunks())).status_code == 413
        assert (await stage.post(stage.token(), version=version)).status_code == 200


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
async def test_a_chunked_or_slow_body_is_served_all_the_same(stage: Stage, version: str) -> None:
    headers, message = request("tools/call", {"name": "toy-say", "arguments": {"text": "x"}}, version)
    headers["authorization"] = f"Bearer {stage.token()}"
    body = json.dumps(message).encode()

    async def slowly() -> Any:
        for at in range(0, len(body), 40):
            yield body[at : at + 40]
            await asyncio.sleep(0.01)

    for extra in ({}, {"content-length": str(len(body))}):
        response = await stage.http.post(stage.url, headers={**headers, **extra}, content=slowly())
        assert response.json()["result"]["structuredContent"] == {"result": "x"}
    assert stage.toy.calls == ["say", "say"]


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
async def test_methods_other_than_post_are_refused(stage: Stage, version: str) -> None:
    headers = {"authorization": f"Bearer {stage.token()}", "mcp-protocol-version": version, "accept": "*/*"}
    for method in ("GET", "DELETE", "PUT", "HEAD", "OPTIONS"):
        response = await stage.http.request(method, stage.url, headers=headers)
        assert (response.status_code, response.headers["allow"]) == (405, "POST")


BODIES = [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 50_000, b'{"jsonrpc":"2.0","id":1}', b'"' + b"a" * 70_000]


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
async def test_after_each_bad_body_the_next_request_is_unharmed(stage: Stage, version: str) -> None:
    headers, _ = request("tools/list", {}, version)
    headers["authorization"] = f"Bearer {stage.token()}"
    for body in BODIES:
        assert (await stage.http.post(stage.url, headers=headers, content=body)).status_code == 400
        answer = await stage.call(stage.token(), "toy-say", {"text": "x"}, version=version)
        assert answer.json()["result"]["structuredContent"] == {"result": "x"}
    assert stage.toy.calls == ["say"] * len(BODIES)


class Full(MemorySink):
    """Minutes that can be closed to writing."""

    full = False

    async def write(self, event: Any) -> None:
        if self.full:
            raise OSError("no space left")
        await super().write(event)


async def test_without_minutes_nobody_is_let_in_and_nothing_is_answered(
    serve: Serve, sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as stage:
        known = stage.token()
        assert (await stage.post(known)).status_code == 200
        full = Full()
        full.full = True
        object.__setattr__(stage.server.core_context.audit, "sink", full)
        for response in (await stage.post(stage.token("bob")), await stage.post(None), await stage.post("x")):
            assert (response.status_code, response.json()["error"]) == (503, "audit_unavailable")
        for version in (MODERN, HANDSHAKE):
            answer = await stage.call(known, "toy-say", {"text": "secret"}, version=version)
            assert (answer.status_code, answer.json()["error"]) == (503, "audit_unavailable")
            hidden = await stage.call(known, "toy-break", {"text": "x"}, version=version)
            absent = await stage.call(known, "nothing", {"text": "x"}, version=version)
            assert (hidden.status_code, hidden.content) == (absent.status_code, absent.content)
        object.__setattr__(stage.server.core_context.audit, "sink", sink)
        assert (await stage.post(stage.token("bob"))).status_code == 200


async def test_no_token_and_no_private_detail_is_in_any_log_even_at_debug(
    stage: Stage, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    token, bad, foreign = stage.token(), stage.token(expires_in=-500), "s3cr3t-token-of-somebody"
    for sent in (token, bad, foreign):
        for version in (MODERN, HANDSHAKE):
            await stage.call(sent, "toy-say", {"text": "private-words"}, version=version)
            await stage.call(sent, "toy-say", {"text": 5, "private-key": 1}, version=version)
            await stage.call(sent, "toy-crash", version=version)
            await stage.post(sent, version=version, headers={"host": "evil.example", "x-api-key": "k3y"})
    ours = "\n".join(
        f"{record.getMessage()} {record.args} {record.exc_text}"
        for record in caplog.records
        if not record.name.startswith(("httpx2", "httpcore2", "hpack"))  # the client of this test
    )
    captured = capfd.readouterr()
    everything = ours + captured.out + captured.err + repr(stage.sink.entries())
    everything += "".join(repr(value) for value in vars(stage.server).values())
    for private in (token, token.split(".")[2], bad, foreign, "private-words", "hunter2", "k3y"):
        assert private not in everything
    assert "crash raised RuntimeError" in ours


async def test_every_bad_token_leaves_the_repr_of_the_server_clean(stage: Stage, idp: IdentityProvider) -> None:
    token = stage.token()
    await stage.post(token)
    session = stage.server.core_context.authenticator.cached(token.encode())
    assert session is not None
    assert token not in repr(session)


async def test_a_connection_that_says_nothing_is_closed_after_a_while(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actas.mcp.connection.RECEIVE_SECONDS", 0.2)
    async with serve() as stage:
        host, port = stage.origin.removeprefix("http://").split(":")
        token = stage.token().encode()
        heads = [b"", b"POST /mcp HT", b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:1\r\nauthorization: Bearer " + token
                 + b"\r\ncontent-type: application/json\r\ncontent-length: 5\r\naccept: */*\r\n\r\n{"]  # fmt: skip
        for head in heads:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(head)
            async with asyncio.timeout(10):
                try:
                    assert await reader.read() == b""
                except ConnectionResetError:
                    pass
            writer.close()
        stage.toy.release.set()
        await asyncio.sleep(0.3)
        async with httpx2.AsyncClient() as http:  # kept alive longer than that, between two requests
            for _ in range(2):
                assert (await http.get(stage.origin + METADATA)).status_code == 200
                await asyncio.sleep(0.3)
