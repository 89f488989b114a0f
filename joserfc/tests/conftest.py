"""Who there is, and the whole road: a running server with an unmodified MCP client before it."""

from collections.abc import AsyncGenerator, Generator

import pytest
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.road import MCP, WIRES, Road, configuration, exchanging, running

from .downstream import kit, table

__all__ = ["exchanging", "kit", "table"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop that the server uses."""
    return "asyncio"


@pytest.fixture(scope="session")
def provider() -> Generator[IdentityProvider]:
    """An identity provider that knows three users; the guest has no role."""
    staff = DemoUser(roles=["staff"])
    with IdentityProvider(users={"alice": staff, "bob": staff, "guest": DemoUser()}, audience=MCP) as running_provider:
        yield running_provider


@pytest.fixture(params=WIRES)
async def road(
    request: pytest.FixtureRequest, provider: IdentityProvider, table: dict[str, object]
) -> AsyncGenerator[Road]:
    """A server with this plug-in, installed as an operator installs it, on each of the two wires."""
    written = configuration(
        provider,
        {"joserfc": table},
        permissions={"user": ["joserfc:read"]},
        roles={"user": ["staff"]},
        claims={"legacy_username": "preferred_username"},
    )
    async with running(written, provider, request.param) as opened:
        yield opened
