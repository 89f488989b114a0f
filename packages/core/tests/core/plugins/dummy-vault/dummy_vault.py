"""A healthy plug-in with a secret provider and a kind of audit sink."""

from collections.abc import Iterable
from dataclasses import dataclass

from actas.core.events import AuditEvent
from actas.core.hookspecs import hookimpl
from actas.core.protocols import AuditSinkKind, SecretProvider
from actas.core.secret import Secret


@dataclass(frozen=True, kw_only=True)
class Settings:
    pass


class Sink:
    async def write(self, event: AuditEvent) -> None: ...

    async def close(self) -> None: ...


class Vault:
    name = "vault"

    def get(self, name: str) -> Secret | None:
        return Secret("from the vault") if name == "DB_PASSWORD" else None


def create(settings: Settings) -> Sink:
    return Sink()


@hookimpl
def actas_audit_sink_kinds() -> Iterable[AuditSinkKind]:
    return [AuditSinkKind(name="vault", settings=Settings, create=create)]


@hookimpl
def actas_secret_providers() -> Iterable[SecretProvider]:
    return [Vault()]
