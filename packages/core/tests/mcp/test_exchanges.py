"""The exchanges of one configuration, from start to stop: what is kept, and when it is forgotten."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from actas.core import Credential, CredentialUse, MemorySink, ModuleKind, Permissions, Secret, Session
from actas.mcp import MCPOAuthServer
from actas.mcp.config_modules import ConfiguredModule
from actas.mcp.exchanges import Exchanges
from actas.mcp.settings import AuthSettings, McpSettings, Settings
from actas.oauth import Authenticator, ClientCredentials
from actas.oauth.denylist import Revocation
from actas.oauth.exchange.breaker import FAILURES
from actas.oauth.exchange.grants import ExchangeRefused, ExchangeUnavailable
from actas.oauth.exchange.settings import CacheSettings, ExchangeSettings, VaultSettings
from actas.oauth.exchange.shared import SharedEntries
from actas.oauth.exchange.vault import Vault
from actas.oauth.revocation import append
from actas.oauth.settings import RevocationSettings
from actas.oauth.shared_store import SharedStore
from actas.testing.fixtures import needed_in_ci
from actas.testing.idp import IdentityProvider
from actas.testing.idp_clients import DemoClient
from actas.testing.redis import RedisServer
from actas.testing.tokens import make_session

from .conftest import Toy

pytestmark = pytest.mark.anyio

PURPOSE = b"p" * 32
LATER = 4e9
KIND = ModuleKind("toy", object, lambda name, settings: Toy(), CredentialUse.REQUIRED)
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
    server = MCPOAuthServer(Settings(mcp=McpSettings(port=0), auth=auth), audit_sink=MemorySink())
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
            await asyncio.gather(*exchanges._dropping)
            assert (len(vault) == 1) is left
            assert (await entries.get(name) is not None) is left
    finally:
        await exchanges.aclose()
        await exchanges.aclose()
        await store.aclose()


async def test_a_site_whose_loop_has_ended_needs_no_tidying_up(idp: IdentityProvider) -> None:
    settings = Settings(mcp=McpSettings(port=0), auth=AuthSettings(trusted_idps=[idp.trusted()]))
    server = MCPOAuthServer(settings, audit_sink=MemorySink())
    server.core_context.authenticator.revoke(subject="before-it-began")

    async def served() -> None:
        await server.start()
        await server.stop()

    await asyncio.to_thread(asyncio.run, served())
    server.core_context.authenticator.revoke(subject="after-it-ended")


@pytest.fixture(scope="module")
def reader() -> InMemoryMetricReader:
    """What an operator's OpenTelemetry SDK would export."""
    reader = InMemoryMetricReader()
    set_meter_provider(MeterProvider([reader]))
    return reader


def exported(reader: InMemoryMetricReader) -> dict[tuple[str, object], float]:
    """The exchange's metrics as they stand, by name and module."""
    data = reader.get_metrics_data()
    if data is None:  # nothing has been counted yet
        return {}
    return {
        (metric.name.removeprefix("actas.exchange."), (point.attributes or {}).get("module")): point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        if scope.scope.name == "actas"
        for metric in scope.metrics
        for point in metric.data.data_points
        if isinstance(point, NumberDataPoint)
    }


async def test_an_operator_sees_what_is_kept_exchanged_and_refused(
    idp: IdentityProvider, reader: InMemoryMetricReader
) -> None:
    before = exported(reader)
    idp.exchanges.clients.add(DemoClient("gateway", secret="s"))
    client = ClientCredentials(id="gateway", secret=Secret("s"))
    exchange = ExchangeSettings(idp="demo", client=client, audience=["https://api.example"])
    exchange = replace(exchange, cache=CacheSettings(enabled=True), timeout_seconds=1)
    auth = AuthSettings(trusted_idps=[idp.trusted()], exchange_cache=VaultSettings(max_entries=1))
    exchanges = Exchanges(auth, None)
    source = exchanges.source(
        ConfiguredModule("orders", KIND, "orders", tools=None, providers=None, settings=None, exchange=exchange)
    )
    assert source is not None
    authenticator = Authenticator([idp.trusted()], Permissions())
    alice, bob = [await authenticator.authenticate(idp.issue(user)) for user in ("alice", "bob")]
    await authenticator.aclose()
    exchanges.open()
    try:
        for session in (alice, alice, bob):
            await source.obtain(session)
        idp.exchanges.error = (400, "invalid_grant")
        with pytest.raises(ExchangeRefused):
            await source.obtain(alice)
        idp.exchanges.error = None
        idp.down = True
        for _ in range(FAILURES):
            with pytest.raises(ExchangeUnavailable):
                await source.obtain(alice)
        seen = exported(reader)
        assert (seen["entries", None], seen["left_alone", "orders"]) == (1, 1)
    finally:
        idp.down, idp.exchanges.error = False, None
        await exchanges.aclose()
    after = exported(reader)
    counted = {what: count - before.get(what, 0) for what, count in after.items() if count != before.get(what, 0)}
    assert counted == {
        ("hits", None): 1,
        ("misses", None): 2 + 1 + FAILURES,
        ("evicted", None): 1,
        ("exchanged", "orders"): 2,
        ("refused", "orders"): 1,
        ("unavailable", "orders"): FAILURES,
    }
    assert after["entries", None] == before.get(("entries", None), 0)
