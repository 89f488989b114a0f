"""Pages about other programs' configuration: what can be tried of it here is tried."""

import json
import os
import tomllib
from typing import Any

import httpx2
import pytest
from docs_blocks import Block, blocks
from docs_stage import Place
from error_reference import form

from actas.cli.demo_client import Visitor
from actas.core import (
    AuthenticationError,
    DelegationError,
    InsufficientScope,
    MemorySink,
    SessionRejected,
    UnknownAction,
)
from actas.mcp import MCPOAuthServer, create_delegation_tool
from actas.testing.missing import ServerMissing
from actas.testing.postgres import DebianPostgres

pytestmark = pytest.mark.anyio

TLS = "docs/how-to/connect-postgresql-over-tls.md"
PROXY = "docs/how-to/run-behind-a-proxy.md"


def block(page: str, title: str, language: str = "conf") -> Block:
    return next(each for each in blocks(page) if (each.language, each.title) == (language, title))


def configuration(place: Place, **parts: Any) -> dict[str, Any]:  # Any: as TOML has it
    return {**tomllib.loads((place.folder / "actas.toml").read_text()), **parts}


async def test_the_page_about_tls_leads_to_a_login_by_certificate(place: Place) -> None:
    try:
        server = DebianPostgres()
    except ServerMissing:
        if os.environ.get("CI"):
            raise
        pytest.skip("the distribution's PostgreSQL is not installed")
    with server:
        server.add_users("alice", "bob")
        server.sql("CREATE DATABASE shop", database="postgres")
        data = server.folder / "data"
        for name, title in (("pg_hba.conf", "pg_hba.conf"), ("pg_ident.conf", "pg_ident.conf for 15")):
            admin = next(line for line in (data / name).read_text().splitlines() if "admin" in line)
            text = block(TLS, title).text.replace("192.0.2.10", "127.0.0.1")
            (data / name).write_text(f"{text}{admin}\n")
        server.sql("SELECT pg_reload_conf()")
        modules = tomllib.loads(block(TLS, "", "toml").text)["delegation"]["modules"]
        modules["sql"] |= {"host": server.host, "port": server.port}
        modules["sql"]["tls"] = {
            "ca_file": str(server.authority.certificate),
            "certificate_file": str(server.gateway.certificate),
            "key_file": str(server.gateway.key),
        }
        minutes = MemorySink()
        gateway = MCPOAuthServer(configuration(place, delegation={"modules": modules}), audit_sink=minutes)
        await gateway.start()
        try:
            async with Visitor.connected(gateway.url, place.token("bob")) as visitor:
                assert (await visitor.query("SELECT session_user")).rows == [["bob"]]
        finally:
            await gateway.stop()
        (event,) = [each for each in minutes.entries() if each.receipt]
        assert event.receipt is not None
        assert (event.receipt.identity, event.receipt.method) == ("bob", "login:certificate")


def test_the_settings_that_the_page_about_tls_shows_are_those_that_the_server_understands() -> None:
    names = {line.split(" = ")[0] for line in block(TLS, "postgresql.conf").text.splitlines()}
    assert names == {"ssl", "ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_min_protocol_version"}


async def test_the_paths_that_the_proxy_forwards_are_those_that_there_are(place: Place) -> None:
    written = tomllib.loads(block(PROXY, "", "toml").text)
    gateway = MCPOAuthServer(configuration(place, mcp={**written["mcp"], "port": 0}))
    nginx = block(PROXY, "", "nginx").text.replace("\\", "")
    metadata = "/.well-known/oauth-protected-resource/mcp"
    assert metadata in nginx
    await gateway.start()
    try:
        here = gateway.url.removesuffix("/mcp")
        async with httpx2.AsyncClient(trust_env=False, headers={"Host": "mcp.example.com"}) as client:
            document = (await client.get(here + metadata)).json()
            assert document["resource"] == "https://mcp.example.com/mcp"
            refused = await client.get(f"{here}/mcp")
            assert refused.status_code == 401
            assert f'resource_metadata="https://mcp.example.com{metadata}"' in refused.headers["www-authenticate"]
            token = {"Authorization": f"Bearer {place.token('alice')}"}
            listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            good = await client.post(f"{here}/mcp", headers=token, json=listing)
            assert good.status_code == 200
            strange = await client.post(f"{here}/mcp", headers={**token, "Host": "evil.example"}, json=listing)
            assert strange.status_code == 421
    finally:
        await gateway.stop()


async def test_the_event_that_the_reference_shows_is_what_a_call_writes(place: Place) -> None:
    shown = json.loads(block("docs/reference/audit.md", "", "json").text)
    written = place.folder / "written.jsonl"
    settings = configuration(place)
    settings["auth"]["audit"] = {"path": str(written)}
    gateway = MCPOAuthServer(settings)
    await gateway.start()
    try:
        async with Visitor.connected(gateway.url, place.token("alice")) as visitor:
            await visitor.query("SELECT 1")
    finally:
        await gateway.stop()
    event = json.loads(written.read_text().splitlines()[-1])
    assert list(event) == list(shown)
    told = ("source", "outcome", "action", "username", "role", "tool", "receipt")
    assert {name: event[name] for name in told} == {name: shown[name] for name in told}


async def test_errors_reach_a_caller_in_the_form_that_the_reference_tells(place: Place) -> None:
    settings = configuration(place)
    settings["auth"]["trusted_idps"][0]["role_mappings"]["reject_unmapped_roles"] = True
    gateway = MCPOAuthServer(settings)
    gateway.register_tool(
        create_delegation_tool(
            "far", "Needs a scope.", module="sql", action="query", arguments={"sql": "SELECT 1"}, scopes=["far"]
        )
    )
    await gateway.start()
    try:
        alice, guest = place.token("alice"), place.token("guest")
        invalid = await _call(gateway.url, "x.y.z", "sql-delegate")
        rejected = await _call(gateway.url, guest, "sql-delegate")
        scope = await _call(gateway.url, alice, "far")
        unknown = await _call(gateway.url, alice, "nothing")
        refused = await _call(gateway.url, alice, "sql-delegate", sql="RESET ROLE")
    finally:
        await gateway.stop()
    assert (invalid.status_code, invalid.json()["error"]) == (401, AuthenticationError.code)
    assert (rejected.status_code, rejected.json()["error"]) == (403, SessionRejected.code)
    assert "www-authenticate" not in rejected.headers
    assert (scope.status_code, scope.json()["error"]) == (403, InsufficientScope.code)
    assert 'scope="far"' in scope.headers["www-authenticate"]
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (200, -32602)
    error = refused.json()["result"]["structuredContent"]["error"]
    assert refused.json()["result"]["isError"]
    assert error.keys() == {"code", "message", "requestId"}
    told = {each: form(each) for each in (AuthenticationError, SessionRejected, InsufficientScope, UnknownAction)}
    assert [words in told[each] for each, words in _TOLD.items()] == [True] * 4
    assert form(DelegationError) == "tool result"


_TOLD = {
    AuthenticationError: "HTTP 401",
    SessionRejected: "HTTP 403 without a challenge",
    InsufficientScope: "HTTP 403 with a challenge",
    UnknownAction: "-32602",
}


async def _call(url: str, token: str, tool: str, **arguments: str) -> httpx2.Response:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    async with httpx2.AsyncClient(trust_env=False) as client:
        return await client.post(url, headers={"Authorization": f"Bearer {token}"}, json=call)
