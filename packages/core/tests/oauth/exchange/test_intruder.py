"""What an intruder finds who reads everything there is: the store, the process, its log, its errors."""

import gc
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from actas.core import (
    ActasError,
    Action,
    Audit,
    Credential,
    CredentialRejected,
    DelegationCall,
    DelegationRegistry,
    DelegationResult,
    Health,
    MemorySink,
    Pipeline,
    Secret,
    Session,
)
from actas.http import HttpClient
from actas.oauth.client_settings import ClientCredentials
from actas.oauth.exchange.exchanger import Exchanger
from actas.oauth.exchange.settings import CacheSettings, ExchangeSettings
from actas.oauth.exchange.shared import SharedEntries
from actas.oauth.exchange.vault import Vault
from actas.oauth.shared_store import SharedStore
from actas.testing.fixtures import needed_in_ci
from actas.testing.idp import IdentityProvider
from actas.testing.redis import RedisServer

from ..conftest import Clock
from .test_exchange import Login, login, provider

pytestmark = pytest.mark.anyio
__all__ = ["login", "provider"]

CLIENT_SECRET = "s3cret:with/odd+letters"
SERVER_SECRET = "the-servers-secret-of-32-characters!"
API = "https://api.example"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with needed_in_ci(), RedisServer() as server:
        yield server


def everything(error: BaseException) -> str:
    """All of an error and of what it came from: text, attributes, and the local variables of every frame."""
    told: list[str] = []
    chain: list[BaseException | None] = [error]
    seen: set[int] = set()
    while chain:
        each = chain.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        chain += [each.__cause__, each.__context__]
        told += [repr(each), str(each), repr(each.args), repr(vars(each))]
        frames = traceback.StackSummary.extract(traceback.walk_tb(each.__traceback__), capture_locals=True)
        told += [repr(frame.locals) for frame in frames if frame.filename != __file__]
    return "\n".join(told)


async def dump(store: SharedStore) -> list[bytes]:
    """All that lies in the store."""
    found: list[bytes] = []
    for key in await store.client.keys("*"):
        found += [key, await store.client.dump(key) or b"", await store.client.get(key) or b""]
    return found


class Service:
    """A module whose downstream refuses whatever token comes, after having put it into an error."""

    actions = (Action(name="read", description="Reads."),)

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        assert call.credential is not None
        headers = call.credential.headers("GET", API)
        try:
            raise RuntimeError(f"401 for {headers}")
        except RuntimeError as error:
            if call.session.subject == "bob":
                raise
            raise CredentialRejected(detail="401") from error

    def principal(self, session: Session) -> str:
        return session.subject

    async def initialize(self) -> None: ...

    async def health_check(self) -> Health:
        return Health(healthy=True)

    async def destroy(self) -> None: ...


WRONG = ("accepted", "refused", "not-json", "other-user", "unsigned", "down")


async def test_no_token_and_no_secret_is_to_be_found_anywhere(
    login: Login,
    provider: IdentityProvider,
    http: HttpClient,
    clock: Clock,
    redis: RedisServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    store, vault = SharedStore(redis.url, {}), Vault([SERVER_SECRET.encode()])
    settings = ExchangeSettings(
        idp="demo",
        client=ClientCredentials(id="gateway", secret=Secret(CLIENT_SECRET)),
        audience=[API],
        cache=CacheSettings(enabled=True),
        timeout_seconds=2,
    )
    entries = SharedEntries(store)
    exchanger = Exchanger(settings, provider.trusted(), http=http, vault=vault, shared=entries, clock=clock)
    sink, registry = MemorySink(), DelegationRegistry()
    registry.register("service", Service(), credentials=exchanger)
    pipeline = Pipeline(registry, Audit(sink))
    sessions = [replace(await login(user), expires_at=2e9) for user in ("alice", "bob")]
    secrets = [CLIENT_SECRET, SERVER_SECRET]
    secrets += [session.token.reveal() for session in sessions if session.token is not None]
    errors: list[ActasError] = []
    for kind in reversed(WRONG):
        for session in sessions:
            with going_wrong(provider, kind), pytest.raises(ActasError) as caught:
                await pipeline.delegate(session, "service", "read", {})
            errors.append(caught.value)
    secrets += [(await exchanger.obtain(session)).token.reveal() for session in sessions]
    found = {
        "the store": b"\n".join(await dump(store)).decode("latin-1"),
        "the process's cache": repr(vault._store._entries) + repr(vars(vault)) + repr(vars(vault._store)),
        "what prints": "\n".join(repr(each) for each in (exchanger, vars(exchanger), settings, vault, *sessions)),
        "the log": "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records),
        "the minutes": "\n".join(repr(event) for event in sink.entries()),
        "errors": "\n".join(everything(error) for error in errors),
    }
    await exchanger.aclose()
    await store.aclose()
    codes = {error.code for error in errors}
    assert codes == {"exchange_refused", "exchange_unavailable", "internal", "credential_rejected"}
    assert all(found.values()) and "bob" in found["the minutes"]
    for place, text in found.items():
        for secret in secrets:
            assert secret not in text, place
            assert secret.encode().hex() not in text, place
            if secret.count(".") == 2:
                assert secret.split(".")[2] not in text, f"{place}: the signature"


@contextmanager
def going_wrong(provider: IdentityProvider, kind: str) -> Iterator[None]:
    desk = provider.exchanges
    match kind:
        case "refused":
            desk.error = (400, "invalid_grant")
        case "not-json":
            provider.answers["/token"] = b"rubbish"
        case "other-user":
            desk.claims = {"sub": "mallory"}
        case "unsigned":
            desk.token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9."
        case "down":
            provider.down = True
        case _:
            pass
    try:
        yield
    finally:
        desk.error, desk.claims, desk.token, provider.down = None, {}, None, False
        provider.answers.clear()


async def test_what_is_dropped_is_gone_from_the_process(login: Login, clock: Clock) -> None:
    vault, session = Vault(), await login()
    labels = vault.labels(b"p" * 32, session)
    credential = Credential(token=Secret("exchanged-" + "x" * 40), subject="alice", expires_at=clock.now + 60)
    entry = vault.put(labels[0], session, credential, clock.now, clock.now + 60)
    vault.clear()
    del credential
    gc.collect()
    assert entry is not None and not any(
        each == "exchanged-" + "x" * 40 for each in gc.get_objects() if isinstance(each, str)
    )
