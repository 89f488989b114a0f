"""The exchanges of one configuration, from start to stop: what is kept, and when it is forgotten."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from actas.core import Credential, MemorySink, Secret, Session
from actas.mcp import MCPOAuthServer
from actas.mcp.exchanges import Exchanges
from actas.mcp.settings import AuthSettings, Settings
from actas.oauth.denylist import Revocation
from actas.oauth.exchange.settings import VaultSettings
from actas.oauth.exchange.shared import SharedEntries
from actas.oauth.exchange.vault import Vault
from actas.oauth.revocation import append
from actas.oauth.settings import RevocationSettings
from actas.oauth.shared_store import SharedStore
from actas.testing.fixtures import needed_in_ci
from actas.testing.idp import IdentityProvider
from actas.testing.redis import RedisServer
from actas.testing.tokens import make_session

pytestmark = pytest.mark.anyio

PURPOSE = b"p" * 32
LATER = 4e9
CREDENTIAL = Credential(token=Secret("exchanged"), subject="alice", expires_at=LATER)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with needed_in_ci(), RedisServer() as server:
        yield server


def keep(exchanges: Exchanges, session: Session) -> tuple[Vault, bytes, bytes]:
    """Put a credential of ``session`` where exchanges keep theirs; the vault, the entry's name and the entry."""
    vault = exchanges._vault
    label = vault.labels(PURPOSE, session)[0]
    entry = vault.put(label, session, CREDENTIAL, 0.0, LATER)
    assert entry is not None
    return vault, label.name, entry


async def emptied(vault: Vault) -> None:
    async with asyncio.timeout(20):
        while len(vault):  # noqa: ASYNC110 -- it happens in a thread that tells nobody
            await asyncio.sleep(0.01)


def caller() -> Session:
    return replace(make_session("alice", claims={"sid": "s1", "sub": "alice"}), token=Secret("the caller's"))


async def test_what_is_revoked_in_the_process_or_in_the_file_is_forgotten(
    idp: IdentityProvider, tmp_path: Path
) -> None:
    path = tmp_path / "revoked.jsonl"
    auth = AuthSettings(trusted_idps=[idp.trusted()], revocation=RevocationSettings(path=str(path)))
    server = MCPOAuthServer(Settings(auth=auth), audit_sink=MemorySink())
    exchanges = server._sites.current._exchanges
    await server.start()
    try:
        vault, *_ = keep(exchanges, caller())
        append(path, Revocation(claim="sid", value="s1"))
        await emptied(vault)
        keep(exchanges, caller())
        server.core_context.authenticator.revoke(subject="alice")
        await emptied(vault)
        keep(exchanges, caller())
    finally:
        await server.stop()
    assert len(vault) == 0, "nothing outlives the server"
    exchanges.forget([Revocation(claim="sid", value="s1")])


async def test_it_is_forgotten_in_the_shared_store_too(idp: IdentityProvider, redis: RedisServer) -> None:
    store = SharedStore(redis.url, {})
    auth = AuthSettings(
        trusted_idps=[idp.trusted()], exchange_cache=VaultSettings(secrets=[Secret("s" * 32)], shared=True)
    )
    exchanges, entries = Exchanges(auth, store), SharedEntries(store)
    try:
        exchanges.open()
        for subject, left in (("somebody", True), ("alice", False)):
            vault, name, entry = keep(exchanges, caller())
            await entries.put(name, entry, 60)
            exchanges.forget([Revocation(claim="sub", value=subject)])
            await asyncio.sleep(0)
            await asyncio.gather(*exchanges._dropping)
            assert (len(vault) == 1) is left
            assert (await entries.get(name) is not None) is left
    finally:
        await exchanges.aclose()
        await exchanges.aclose()
        await store.aclose()


async def test_a_loop_that_has_ended_needs_no_tidying_up(idp: IdentityProvider) -> None:
    exchanges = Exchanges(AuthSettings(trusted_idps=[idp.trusted()]), None)

    def served() -> None:
        async def opened() -> None:
            exchanges.open()

        asyncio.run(opened())

    await asyncio.to_thread(served)
    exchanges.forget([Revocation(claim="sid", value="s1")])
    await exchanges.aclose()
