"""Two databases on two servers, each with its own users, rights, limits and tools, behind one MCP server."""

import asyncio
import os
from pathlib import Path

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from actas.core import MemorySink
from actas.mcp import MCPOAuthServer
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.postgres import EmbeddedPostgres

USERS = {"alice": DemoUser(roles=["employee", "personnel"]), "bob": DemoUser(roles=["employee"])}
HR = """
CREATE TABLE salaries (person name, salary integer);
INSERT INTO salaries VALUES ('alice', 5000), ('bob', 4800);
GRANT SELECT ON salaries TO alice;
"""
SHOP = """
CREATE TABLE orders (owner name, item text);
INSERT INTO orders VALUES ('alice', 'laptop'), ('bob', 'desk');
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_orders ON orders USING (owner = session_user);
GRANT SELECT ON orders TO app_users;
"""


async def visit(url: str, user: str, token: str) -> None:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        tools = [tool.name for tool in (await client.list_tools()).tools if tool.name.startswith(("hr-", "shop-"))]
        print(f"{user} sees {', '.join(tools)}")
        for tool, sql in (
            ("shop-delegate", "SELECT item FROM orders"),
            ("hr-delegate", "SELECT person, salary FROM salaries"),
        ):
            if tool in tools:
                result = await client.call_tool(tool, {"sql": sql})
                print(f"{user} gets {result.structured_content['rows']} from {tool}")


async def main() -> None:
    minutes = MemorySink()
    with (
        IdentityProvider(users=USERS, audience="https://mcp.example.com") as provider,
        EmbeddedPostgres() as hr,
        EmbeddedPostgres() as shop,
    ):
        hr.sql("CREATE DATABASE hr")
        hr.add_users("alice")  # bob is nobody there
        hr.sql(HR, database="hr")
        shop.add_users("alice", "bob")
        shop.sql(SHOP)
        os.environ |= {
            "ISSUER": provider.issuer,
            "HR_HOST": str(hr.socket_folder),
            "SHOP_HOST": str(shop.socket_folder),
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
            print(f"minutes: {event.username} called {event.tool}; PostgreSQL saw {event.receipt.identity}")


asyncio.run(main())
