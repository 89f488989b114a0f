"""A realm with users, a gateway and services, and the module in a real pipeline."""

import os
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gssapi

from actas.core import Audit, DelegationRegistry, DelegationResult, MemorySink, Pipeline, Session
from actas.core.events import Outcome
from actas.delegation.kerberos.module import KerberosDelegation
from actas.delegation.kerberos.settings import KerberosSettings, LimitSettings
from actas.mcp.schema import validate_parameters
from actas.testing.kdc import KerberosRealm

GATEWAY = "gateway/mcp.example.com"
WEB, DATABASE, DIRECTORY = "HTTP/localhost", "postgres/localhost", "ldap/localhost"
TARGETS = [WEB, DATABASE, DIRECTORY]
UNLISTED = "HTTP/secret.example.com"

ALICE = Session(
    issuer="https://idp.example",
    subject="u-1",
    username="alice",
    legacy_username="alice",
    provider="test",
    role="user",
    permissions=frozenset({"kerberos:delegate", "kerberos:http"}),
)


def user(name: str) -> Session:
    return replace(ALICE, subject=f"id-of-{name}", username=name, legacy_username=name)


BOB = user("bob")


def populate(realm: KerberosRealm) -> None:
    realm.add_users("alice", "bob")
    realm.add_users("vip", sensitive=True)
    realm.add_users("gone", disabled=True)
    realm.add_service(GATEWAY, transition=True)
    for target in [*TARGETS, UNLISTED]:
        realm.add_service(target)
    realm.allow(GATEWAY, *TARGETS)


def settings_for(realm: KerberosRealm, **fields: Any) -> KerberosSettings:
    made = KerberosSettings(
        principal=realm.principal(GATEWAY), keytab=str(realm.keytab(GATEWAY)), targets=TARGETS, limits=LimitSettings()
    )
    return replace(made, **fields)


@dataclass
class Gateway:
    """Ask with :meth:`call`; ``sink`` has the minutes."""

    settings: KerberosSettings
    timeout: float = 30.0
    sink: MemorySink = field(default_factory=MemorySink)

    def __post_init__(self) -> None:
        self.module = KerberosDelegation(self.settings)
        registry = DelegationRegistry()
        registry.register("corp", self.module)
        self.pipeline = Pipeline(registry, Audit(self.sink), validator=validate_parameters, timeout=self.timeout)

    async def call(self, action: str, session: Session = ALICE, /, **parameters: object) -> DelegationResult:
        return await self.pipeline.delegate(session, "corp", action, parameters)

    async def reach(self, target: str = WEB, session: Session = ALICE) -> dict[str, Any]:
        result = await self.call("s4u2proxy", session, target=target)
        assert isinstance(result.data, dict)
        return result.data

    def refused(self) -> str | None:
        """The code of the last event, which is a refusal."""
        event = self.sink.entries()[-1]
        assert event.outcome in (Outcome.REFUSED, Outcome.FAILED)
        return event.code


@asynccontextmanager
async def opened(settings: KerberosSettings, seconds: float = 30.0) -> AsyncGenerator[Gateway]:
    gateway = Gateway(settings, seconds)
    try:
        yield gateway
    finally:
        await gateway.module.destroy()


def ran(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def initiated(credentials: object, target: str) -> gssapi.SecurityContext:
    assert isinstance(credentials, gssapi.Credentials)
    return gssapi.SecurityContext(
        name=gssapi.Name(target, gssapi.NameType.kerberos_principal),
        creds=credentials,
        usage="initiate",
        mech=gssapi.MechType.kerberos,
        flags=gssapi.RequirementFlag.mutual_authentication,
    )


def accepted(token: bytes | None, keytab: Path) -> str:
    """Whom a service with ``keytab`` sees."""
    assert token is not None
    acceptor = gssapi.SecurityContext(
        creds=gssapi.Credentials(usage="accept", store={"keytab": str(keytab)}), usage="accept"
    )
    acceptor.step(token)
    return str(acceptor.initiator_name)
