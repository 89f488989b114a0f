"""Folders of alice and bob, a secret beside them, and the module in a real pipeline before them."""

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from actas.core import ActasError, Audit, DelegationRegistry, MemorySink, Pipeline, Secret, Session
from actas.delegation.filesystem.module import FilesystemDelegation
from actas.delegation.filesystem.settings import ChangeSettings, FilesystemSettings
from actas.delegation.filesystem.ways import AtOnce, Stepwise, Way
from actas.mcp.schema import validate_parameters

ALICE = Session(
    issuer="https://idp.example",
    subject="id-of-alice",
    username="alice",
    legacy_username="alice",
    provider="test",
    role="user",
    permissions=frozenset({"files:read", "files:write"}),
    token=Secret("the-callers-own"),
)
BOB = replace(ALICE, subject="id-of-bob", username="bob", legacy_username="bob")

WAYS: list[Way] = [AtOnce(), Stepwise()]
SECRET = "the-secret-that-lies-outside"


class Ground:
    """``base`` has the users' folders; ``outside``, beside it, has what nobody may see."""

    def __init__(self, folder: Path) -> None:
        self.base = folder / "base"
        self.alice, self.bob, self.outside = self.base / "alice", self.base / "bob", folder / "outside"
        for each in (self.alice, self.bob, self.outside):
            each.mkdir(parents=True)
        (self.outside / "secret.txt").write_text(SECRET)
        for user in ("alice", "bob"):
            (self.base / user / "notes.txt").write_text(f"notes of {user}\n")
            (self.base / user / "papers").mkdir()
            (self.base / user / "papers" / "plan.md").write_text(f"# The plan of {user}\n")

    def settings(self, **fields: Any) -> FilesystemSettings:
        made = FilesystemSettings(
            root=f"{self.base}/{{user}}",
            permission="files:read",
            change=ChangeSettings(permission="files:write", durable=False),
        )
        return replace(made, **fields)


@contextmanager
def away(base: Path) -> Generator[None]:
    """While this lasts, the folders are not there."""
    elsewhere = base.with_name(f"{base.name}-away")
    base.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(base)


class Gateway:
    """Ask with :meth:`call`; ``sink`` has the minutes."""

    def __init__(self, settings: FilesystemSettings, way: Way | None = None) -> None:
        self.module = FilesystemDelegation(settings, way)
        self.sink = MemorySink()
        registry = DelegationRegistry()
        registry.register("files", self.module)
        self.pipeline = Pipeline(registry, Audit(self.sink), validator=validate_parameters)

    async def call(self, action: str, session: Session = ALICE, **parameters: object) -> dict[str, Any]:
        result = await self.pipeline.delegate(session, "files", action, parameters)
        assert result.receipt.identity == self.module.principal(session)
        assert isinstance(result.data, dict)
        return result.data

    async def code(self, action: str, session: Session = ALICE, **parameters: object) -> str:
        """The code of the refusal; what it says must repeat nothing that was asked for."""
        try:
            answer = await self.pipeline.delegate(session, "files", action, parameters)
        except ActasError as error:
            told = f"{error.message} {error!r}"
            given = [str(parameters[name]) for name in ("path", "to", "after", "content", "name") if name in parameters]
            assert not any(len(each) > 4 and each in told for each in given), told
            return error.code
        raise AssertionError(f"{action} was carried out: {answer.data}")

    async def text(self, path: str, session: Session = ALICE) -> str:
        read: str = (await self.call("read", session, path=path))["content"]
        return read

    async def names(self, path: str = "", session: Session = ALICE, **more: object) -> list[str]:
        return [each["name"] for each in (await self.call("list", session, path=path, **more))["entries"]]


@asynccontextmanager
async def gateway(ground: Ground, way: Way | None = None, **fields: Any) -> AsyncGenerator[Gateway]:
    opened = Gateway(ground.settings(**fields), way)
    await opened.module.initialize()
    try:
        yield opened
    finally:
        await opened.module.destroy()


def parameters_for(action: str) -> Mapping[str, object]:
    """Harmless ones, that work any number of times."""
    return {
        "list": {},
        "read": {"path": "notes.txt"},
        "info": {"path": "notes.txt"},
        "search": {"name": "*.md", "content": "plan"},
        "write": {"path": "draft.txt", "content": "x", "replace": True},
    }[action]
