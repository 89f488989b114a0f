"""Plays the whole of it: an identity provider, a PostgreSQL, ``server.py``, and two users with an MCP client."""

import asyncio
import os
import socket
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager
from pathlib import Path

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.postgres import EmbeddedPostgres

HERE = Path(__file__).parent
PORT = tomllib.loads((HERE / "actas.toml").read_text())["mcp"]["port"]
USERS = {"alice": DemoUser(roles=["employee"]), "bob": DemoUser(roles=["employee"]), "guest": DemoUser()}
SCHEMA = """
CREATE TABLE orders (owner name DEFAULT session_user, item text);
INSERT INTO orders VALUES ('alice', 'laptop'), ('alice', 'headset'), ('bob', 'desk');
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_orders ON orders USING (owner = session_user);
GRANT SELECT ON orders TO app_users;
"""


@contextmanager
def serving(**environment: str):
    """``server.py`` in a process of its own, as it would run anywhere."""
    process = subprocess.Popen([sys.executable, "server.py"], cwd=HERE, env={**os.environ, **environment})
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", PORT), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


async def visit(user: str, token: str) -> None:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(f"http://127.0.0.1:{PORT}/mcp", http_client=http)) as client,
    ):
        result = await client.call_tool("my-orders", {})
        if result.is_error:
            print(f"{user} is refused: {result.structured_content['error']['code']}")
        else:
            saw = result.meta["actas/receipt"]["details"]["as"]
            print(f"{user} gets {result.structured_content['rows']}; PostgreSQL saw {saw}")


def main() -> None:
    with (
        IdentityProvider(users=USERS, audience="https://mcp.example.com") as provider,
        EmbeddedPostgres() as database,
    ):
        database.add_users("alice", "bob")
        database.sql(SCHEMA)
        with serving(ISSUER=provider.issuer, DATABASE_HOST=str(database.socket_folder)):
            for user in USERS:
                asyncio.run(visit(user, provider.issue(user)))


main()
