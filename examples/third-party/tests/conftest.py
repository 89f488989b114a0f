"""alice and bob, and a folder for their notes."""

from pathlib import Path

import pytest

from actas.core import Session


def user(name: str) -> Session:
    return Session(
        issuer="https://login.example.com",
        subject=f"id-of-{name}",
        username=name,
        legacy_username=name,
        provider="acme",
        permissions=frozenset({"notes:read", "notes:write"}),
    )


@pytest.fixture
def alice() -> Session:
    return user("alice")


@pytest.fixture
def bob() -> Session:
    return user("bob")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "notes"
    made.mkdir(mode=0o700)
    return made
