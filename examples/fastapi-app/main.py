"""Serves ``app.py``, and calls it without a token, as alice, and as bob."""

import asyncio
import os

import httpx2
import uvicorn

from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.postgres import EmbeddedPostgres

USERS = {
    "alice": DemoUser(roles=["employee"], scopes=["orders.write"]),
    "bob": DemoUser(roles=["employee"]),
    "guest": DemoUser(),
}
SCHEMA = """
CREATE TABLE orders (owner name, item text);
INSERT INTO orders VALUES ('alice', 'laptop'), ('bob', 'desk');
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_orders ON orders USING (owner = session_user);
GRANT SELECT ON orders TO app_users;
"""


async def show(http: httpx2.AsyncClient, who: str, token: str | None) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    for method, path in (("GET", "/health"), ("GET", "/orders"), ("POST", "/orders")):
        answer = await http.request(method, path, headers=headers)
        told = answer.json() if answer.is_success else answer.headers.get("www-authenticate", "")[:70]
        print(f"{who}: {method} {path} {answer.status_code} {told}")


async def main() -> None:
    with (
        IdentityProvider(users=USERS, audience="https://orders.example.com") as provider,
        EmbeddedPostgres() as database,
    ):
        database.add_users("alice", "bob")
        database.sql(SCHEMA)
        os.environ |= {"ISSUER": provider.issuer, "DATABASE_HOST": str(database.socket_folder)}
        from app import app  # reads its configuration

        server = uvicorn.Server(uvicorn.Config(app, port=8080, log_level="error"))
        running = asyncio.create_task(server.serve())
        while not server.started and not running.done():
            await asyncio.sleep(0.05)
        try:
            async with httpx2.AsyncClient(base_url="http://127.0.0.1:8080") as http:
                await show(http, "nobody", None)
                for user in USERS:
                    await show(http, user, provider.issue(user))
        finally:
            server.should_exit = True
            await running


asyncio.run(main())
