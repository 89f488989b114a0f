"""All of it: a database and a service behind one server, as alice, as bob, and as an agent that acts for alice."""

import asyncio
import json
import os
from pathlib import Path

import httpx2
import server
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from parcels import serving

from actas.core import MemorySink
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.idp_clients import DemoClient
from actas.testing.postgres import EmbeddedPostgres

HERE = Path(__file__).parent
USERS = {
    "alice": DemoUser(roles=["employee"], claims={"department": "shipping"}),
    "bob": DemoUser(roles=["employee"], claims={"department": "sales"}),
}
SCHEMA = """
CREATE TABLE orders (owner name, item text, price integer);
INSERT INTO orders VALUES ('alice', 'laptop', 1890), ('alice', 'headset', 120), ('bob', 'desk', 640);
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_orders ON orders USING (owner = session_user);
GRANT SELECT ON orders TO app_users;
"""


async def visit(url: str, who: str, token: str) -> None:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        tools = [tool.name for tool in (await client.list_tools()).tools]
        print(f"{who} sees {', '.join(tools)}")
        print(f"{who} has ordered {(await client.call_tool('my-orders', {})).structured_content['rows']}")
        (summary,) = (await client.read_resource("orders://summary")).contents
        print(f"{who} reads orders://summary: {json.loads(summary.text)}")
        if "parcels-delegate" in tools:
            request = {"method": "GET", "path": "/parcels"}
            print(f"{who} asks for parcels: {(await client.call_tool('parcels-delegate', request)).structured_content}")


async def main() -> None:
    minutes = MemorySink()
    with (
        IdentityProvider(users=USERS, audience="https://mcp.example.com") as provider,
        EmbeddedPostgres() as database,
    ):
        provider.exchanges.clients.add(DemoClient("gateway", secret="of the gateway"))
        database.add_users("alice", "bob")
        database.sql(SCHEMA)
        async with serving(provider.issuer) as parcels:
            os.environ |= {
                "ISSUER": provider.issuer,
                "DATABASE_HOST": str(database.socket_folder),
                "PARCELS_URL": parcels,
                "GATEWAY_SECRET": "of the gateway",
            }
            gateway = server.made(audit_sink=minutes)
            await gateway.start()
            try:
                await visit(gateway.url, "alice", provider.issue("alice"))
                await visit(gateway.url, "bob", provider.issue("bob"))
                agents = provider.issue("alice", claims={"act": {"sub": "assistant"}})
                await visit(gateway.url, "alice's assistant", agents)
            finally:
                await gateway.stop()
    for event in minutes.entries():
        if event.receipt and event.source.startswith("delegation:"):
            who = f"{', '.join(event.actors)} for {event.username}" if event.actors else event.username
            print(f"minutes: {who} by {event.tool}: {event.receipt.identity} ({event.receipt.method})")


asyncio.run(main())
