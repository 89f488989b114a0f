"""What the demo is played on: who there is, what the database holds, how the server is configured."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.postgres import EmbeddedPostgres

SCHEMA = """
CREATE TABLE orders (
    id     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner  name NOT NULL DEFAULT session_user,
    item   text NOT NULL,
    price  integer NOT NULL
);
INSERT INTO orders (owner, item, price) VALUES
    ('alice', 'laptop', 1890), ('alice', 'headset', 120),
    ('bob', 'desk', 640), ('bob', 'chair', 310), ('bob', 'lamp', 45);
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_orders ON orders USING (owner = session_user);
GRANT SELECT ON orders TO app_users;
CREATE TABLE bobs_diary (entry text);
GRANT SELECT ON bobs_diary TO bob;
"""

CALLS = {
    "alice": (
        "SELECT * FROM orders",
        "SELECT * FROM orders WHERE owner = 'bob'",
        "SELECT * FROM bobs_diary",
        "RESET ROLE",
        "SELECT 1; RESET ROLE; SELECT * FROM orders",
    ),
    "bob": ("SELECT * FROM orders", "SELECT * FROM orders WHERE owner = 'alice'", "DELETE FROM orders"),
    "guest": ("SELECT * FROM orders",),
}
"""What each user tries."""


@dataclass
class Stage:
    """The identity provider, the database, and the port for the server."""

    provider: IdentityProvider
    database: EmbeddedPostgres
    port: int

    @classmethod
    @contextmanager
    def built(cls, port: int) -> Generator[Self]:
        """A stage, gone afterwards."""
        users = {
            "alice": DemoUser(roles=["analyst"]),
            "bob": DemoUser(roles=["analyst"]),
            "guest": DemoUser(),
        }
        audience = f"http://127.0.0.1:{port}/mcp"
        with IdentityProvider(users=users, audience=audience) as provider, EmbeddedPostgres() as database:
            database.add_users("alice", "bob")
            database.sql(SCHEMA)
            yield cls(provider, database, port)

    def configuration(self) -> dict[str, object]:
        """The server's configuration, as it would stand in a file."""
        return {
            "mcp": {"server_name": "actas demo", "port": self.port},
            "auth": {
                "trusted_idps": [
                    {
                        "name": "demo",
                        "issuer": self.provider.issuer,
                        "audience": self.provider.audience,
                        "claim_mappings": {"legacy_username": "preferred_username"},
                        "role_mappings": {"user": ["analyst"]},
                    }
                ],
                "permissions": {"user": ["sql:read"]},
            },
            "delegation": {
                "modules": {"sql": {"host": str(self.database.socket_folder), "database": self.database.database}}
            },
        }
