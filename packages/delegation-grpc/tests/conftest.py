"""A real provider, a real service that verifies its tokens, and a gateway to it."""

import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.road import MCP

sys.path.insert(0, str(Path(__file__).parent))
from grpc_gateway import Gateway, gateway_to
from grpc_service import Service


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    users = {"alice": DemoUser(roles=["staff"]), "bob": DemoUser(roles=["staff"]), "guest": DemoUser()}
    with IdentityProvider(users=users, audience=MCP) as running:
        yield running


@pytest.fixture
def service(provider: IdentityProvider) -> Iterator[Service]:
    with Service(provider) as running:
        yield running


@pytest.fixture
async def gateway(service: Service) -> AsyncGenerator[Gateway]:
    async with gateway_to(service) as opened:
        yield opened
