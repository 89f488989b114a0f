"""The real servers as pytest fixtures: import those you want into your ``conftest.py``.

::

    from actas.testing.fixtures import embedded_postgres, identity_provider

    __all__ = ["embedded_postgres", "identity_provider"]

A server that is not installed is an error that names the package to install, never a skip.
"""

from collections.abc import Generator

import pytest

from actas.testing.idp import IdentityProvider
from actas.testing.postgres import DebianPostgres, EmbeddedPostgres


@pytest.fixture(scope="session")
def embedded_postgres() -> Generator[EmbeddedPostgres]:
    """PostgreSQL 18 on a unix socket, for the whole session."""
    with EmbeddedPostgres() as server:
        yield server


@pytest.fixture(scope="session")
def debian_postgres() -> Generator[DebianPostgres]:
    """The distribution's own PostgreSQL, with TLS and a client certificate, for the whole session."""
    with DebianPostgres() as server:
        yield server


@pytest.fixture
def identity_provider() -> Generator[IdentityProvider]:
    """A fresh identity provider; give it users through ``identity_provider.users``."""
    with IdentityProvider() as provider:
        yield provider
