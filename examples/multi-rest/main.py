"""Two REST services, each of which gets a token of its own for the caller: exchanged, and good nowhere else."""

import asyncio
import os
from pathlib import Path

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from services import ORDERS, TICKETS, service, serving

from actas.core import MemorySink
from actas.mcp import MCPOAuthServer
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.idp_clients import DemoClient

USERS = {"alice": DemoUser(roles=["employee"]), "bob": DemoUser(roles=["employee"])}


async def visit(url: str, user: str, token: str) -> None:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        tools = [tool.name for tool in (await client.list_tools()).tools]
        print(f"{user} sees {', '.join(tools)}")
        for tool, arguments in (
            ("orders-list-orders", {}),
            ("tickets-delegate", {"method": "GET", "path": "/tickets"}),
            ("tickets-delegate", {"method": "DELETE", "path": "/tickets"}),
        ):
            result = await client.call_tool(tool, arguments)
            print(f"{user}: {tool} answers {result.structured_content}")
        # The caller's own token is no good at the service, and was never sent there.
        print(f"{user}: directly {(await http.get(os.environ['ORDERS_URL'] + '/orders')).status_code}")


async def main() -> None:
    minutes = MemorySink()
    with IdentityProvider(users=USERS, audience="https://mcp.example.com") as provider:
        provider.exchanges.clients.add(DemoClient("gateway", secret="of the gateway"))
        async with (
            serving(service("orders", ORDERS, provider.issuer, "https://orders.example.com")) as orders,
            serving(service("tickets", TICKETS, provider.issuer, "https://tickets.example.com")) as tickets,
        ):
            os.environ |= {
                "ISSUER": provider.issuer,
                "GATEWAY_SECRET": "of the gateway",
                "ORDERS_URL": orders,
                "TICKETS_URL": tickets,
            }
            server = MCPOAuthServer(Path(__file__).with_name("actas.toml"), audit_sink=minutes)
            await server.start()
            try:
                for user in USERS:
                    await visit(server.url, user, provider.issue(user))
            finally:
                await server.stop()
    for event in minutes.entries():
        if event.receipt:
            print(f"minutes: {event.username} {event.tool}, as {event.receipt.identity} by {event.receipt.method}")


asyncio.run(main())
