"""Folders of two users beside a secret that lies outside, and a gateway to them."""

import pwd
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actas.testing.fixtures import os_users
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.os_users import OsUsers
from actas.testing.road import MCP

sys.path.insert(0, str(Path(__file__).parent))
from files_gateway import WAYS, Ground, Way
from os_ground import Homes, homes_of

__all__ = ["os_users"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    users = {"alice": DemoUser(roles=["staff"]), "bob": DemoUser(roles=["staff"]), "guest": DemoUser()}
    with IdentityProvider(users=users, audience=MCP) as running:
        yield running


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Way:
    """Both ways through folders; where this kernel has no openat2, the test of it fails."""
    made: Way = request.param
    return made


@pytest.fixture(scope="session")
def people(os_users: OsUsers) -> tuple[pwd.struct_passwd, pwd.struct_passwd]:
    """Two real users of the operating system. Whoever changes one makes another."""
    return os_users.user("alice"), os_users.user("bob")


@pytest.fixture
def homes(people: tuple[pwd.struct_passwd, pwd.struct_passwd]) -> Iterator[Homes]:
    """Their homes, new for each test."""
    with homes_of(*people) as made:
        yield made
