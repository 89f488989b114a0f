"""The plug-in at work: a server that found it by its entry point, and two users with an MCP client."""

import asyncio
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from actas.core import MemorySink
from actas.mcp import MCPOAuthServer
from actas.testing.idp import DemoUser, IdentityProvider

USERS = {"alice": DemoUser(roles=["employee"]), "bob": DemoUser(roles=["employee"])}


async def visit(url: str, user: str, token: str) -> None:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        await client.call_tool("notes-add", {"text": f"a note of {user}"})
        result = await client.call_tool("notes-list", {})
        saw = result.meta["actas/receipt"]["identity"]
        print(f"{user} reads {result.structured_content['notes']}; the file says that it is {saw}'s")


async def main() -> None:
    print(f"notes-for-actas {version('notes-for-actas')} is installed")
    with (
        IdentityProvider(users=USERS, audience="https://mcp.example.com") as provider,
        tempfile.TemporaryDirectory() as folder,
    ):
        os.environ |= {"ISSUER": provider.issuer, "FOLDER": folder}
        server = MCPOAuthServer(Path(__file__).with_name("actas.toml"), audit_sink=MemorySink())
        await server.start()
        try:
            for user in USERS:
                await visit(server.url, user, provider.issue(user))
        finally:
            await server.stop()


asyncio.run(main())
