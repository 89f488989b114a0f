"""A real OpenLDAP directory, and a module that acts in it as its users."""

import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from hypothesis import settings

from actas.testing.fixtures import needed_in_ci
from actas.testing.slapd import Slapd

sys.path.insert(0, str(Path(__file__).parent))
from ldap_directory import SEED, module_for

from actas.delegation.ldap.module import LdapDelegation

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def directory() -> Generator[Slapd]:
    """For tests that change nothing which others read."""
    with needed_in_ci():
        server = Slapd(SEED)
    with server:
        yield server


@pytest.fixture
def own_directory() -> Generator[Slapd]:
    """For tests that kill it, or change what is in it."""
    with needed_in_ci():
        server = Slapd(SEED)
    with server:
        yield server


@pytest.fixture
async def module(directory: Slapd) -> AsyncGenerator[LdapDelegation]:
    opened = module_for(directory)
    await opened.initialize()
    yield opened
    await opened.destroy()
