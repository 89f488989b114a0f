"""One secret in a file, one in the environment, one from a provider of one's own: two providers are asked with them."""

import asyncio
import os
import sys
from pathlib import Path

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from actas.core import ConfigurationError, MemorySink
from actas.mcp import MCPOAuthServer
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.idp_clients import DemoClient

HERE = Path(__file__).parent


async def visit(url: str, token: str) -> None:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        told = (await client.call_tool("user-info", {})).structured_content
        print(f"{told['username']} is known: the opaque token was looked up with a secret")


async def main() -> None:
    alice, bob = {"alice": DemoUser()}, {"bob": DemoUser()}
    with (
        IdentityProvider(users=alice, audience="https://mcp.example.com") as staff,
        IdentityProvider(users=bob, audience="https://mcp.example.com") as partners,
    ):
        staff.opaque.clients.add(DemoClient("gateway", secret="in a file"))
        partners.opaque.clients.add(DemoClient("gateway", secret="known to the vault alone"))
        os.environ |= {
            "STAFF_ISSUER": staff.issuer,
            "PARTNERS_ISSUER": partners.issuer,
            "VAULT_COMMAND": f"{sys.executable} {HERE / 'vault.py'}",
        }
        os.chdir(HERE)
        server = MCPOAuthServer("actas.toml", audit_sink=MemorySink())
        await server.start()
        try:
            await visit(server.url, staff.issue_opaque("alice", prefix="staff-"))
            await visit(server.url, partners.issue_opaque("bob", prefix="partner-"))
        finally:
            await server.stop()
        os.environ["VAULT_COMMAND"] = "false"  # a vault that is sealed
        try:
            MCPOAuthServer("actas.toml")
        except ConfigurationError as error:
            print(f"a vault that fails stops the start: {error}")


asyncio.run(main())
