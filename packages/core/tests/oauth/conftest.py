"""A provider with real keys and real HTTP, a clock to turn, and an authenticator that trusts the provider."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from actas.core.errors import AuthenticationError, AuthenticationUnavailable
from actas.core.roles import Permissions, RoleMappings
from actas.http import HttpClient
from actas.oauth import Authenticator, TrustedIssuer
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.tokens import ALGORITHMS

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

ROLES = RoleMappings(admin=["boss"], user=["staff"], custom={"auditor": ["audit"]})
PERMISSIONS = Permissions(admin=["sql:admin"], user=["sql:read"], custom={"auditor": ["log:read"]})
UNAVAILABLE = ("keys_unavailable", "introspection_failed", "revocations_unreadable")
"""Reasons that say nothing against the token."""


class Clock:
    """Seconds since the epoch, as the test wants them."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def running_idp() -> Iterator[IdentityProvider]:
    users = {"alice": DemoUser(roles=["staff"], scopes=["sql:read"]), "bob": DemoUser(roles=["boss"])}
    with IdentityProvider(users=users, algorithms=ALGORITHMS) as idp:
        yield idp


@pytest.fixture
def idp(running_idp: IdentityProvider, clock: Clock) -> Iterator[IdentityProvider]:
    published = list(running_idp.keys)
    running_idp.clock = clock
    running_idp.requests.clear()
    running_idp.opaque.shown.clear()
    yield running_idp
    running_idp.keys[:] = published
    running_idp.answers.clear()
    running_idp.delay = 0.0
    running_idp.down = False
    running_idp.hidden.clear()
    running_idp.opaque.active.clear()


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.aclose()


Make = Callable[..., Authenticator]


@pytest.fixture
def make(http: HttpClient, clock: Clock) -> Make:
    def make(*issuers: TrustedIssuer, cache_size: int = 100, cache_ttl: float = 60.0, **more: Any) -> Authenticator:
        return Authenticator(
            issuers, PERMISSIONS, http=http, cache_size=cache_size, cache_ttl=cache_ttl, clock=clock, **more
        )

    return make


@pytest.fixture
def authenticator(idp: IdentityProvider, make: Make) -> Authenticator:
    return make(idp.trusted(role_mappings=ROLES))


Refused = Callable[[Authenticator, str], Awaitable[str]]


@pytest.fixture
def refused() -> Refused:
    async def refused(authenticator: Authenticator, token: str) -> str:
        """The reason why ``token`` is refused; the public message is the same for all, and nothing is cached."""
        with pytest.raises(AuthenticationError) as caught:
            await authenticator.authenticate(token)
        unavailable = caught.value.reason in UNAVAILABLE
        assert type(caught.value) is (AuthenticationUnavailable if unavailable else AuthenticationError)
        assert caught.value.message == type(caught.value).default_message
        assert authenticator.cached(token.encode("utf-8", "surrogatepass")) is None
        return caught.value.reason

    return refused
