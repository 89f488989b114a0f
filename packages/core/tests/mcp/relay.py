"""A plug-in for tests of the lifecycle: copied to a path of its own, so that a process of its own finds it too."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from actas.core import (
    Action,
    ConfigurationError,
    DelegationCall,
    DelegationResult,
    DownstreamUnavailable,
    Health,
    ModuleKind,
    Receipt,
    Secret,
    Session,
)
from actas.core.hookspecs import hookimpl
from actas.core.progress import note

LIFE: list[str] = []
"""What happened to the modules of this process."""
GATE = asyncio.Event()
"""A module that says ``gated`` waits for it when it starts."""


@dataclass(frozen=True, kw_only=True)
class RelaySettings:
    word: str = "hello"
    """What it says."""
    password: Secret | None = None
    """Said too, in tests only."""
    needs: str | None = None
    """A file without which it does not answer."""


@dataclass(frozen=True)
class Nap:
    seconds: float = 0.0


class Relay:
    actions = (
        Action(name="say", description="Say the word.", permission="relay:use"),
        Action(name="nap", description="Say it later.", parameters=Nap, permission="relay:use"),
        Action(name="print", description="Print.", permission="relay:use"),
        Action(name="scoped", description="Scoped.", permission="relay:use", scopes=frozenset({"toy.read"})),
        Action(name="hidden", description="Hidden.", permission="relay:other"),
    )

    def __init__(self, settings: RelaySettings) -> None:
        self._settings = settings
        self._destroyed = False

    async def initialize(self) -> None:
        if self._settings.word == "wrong":
            raise ConfigurationError("word: this word is wrong")
        self._ask()
        if self._settings.word == "gated":
            LIFE.append("waiting")
            await GATE.wait()
        LIFE.append(f"start {self._settings.word}")

    def _answers(self) -> bool:
        return self._settings.needs is None or Path(self._settings.needs).exists()

    def _ask(self) -> None:
        if not self._answers():
            raise DownstreamUnavailable(detail="the file is not there")

    def principal(self, session: Session) -> str:
        return session.username

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        self._ask()
        if isinstance(call.parameters, Nap):
            note("Napping.")
            await asyncio.sleep(call.parameters.seconds)
        if call.action.name == "print":
            print("a stray line", flush=True)
        if self._destroyed:
            raise RuntimeError("called although it was destroyed")
        secret = "" if self._settings.password is None else f" {self._settings.password.reveal()}"
        receipt = Receipt(identity=call.session.username, method="relay")
        return DelegationResult(data=self._settings.word + secret, receipt=receipt)

    async def health_check(self) -> Health:
        return Health(healthy=self._answers())

    async def destroy(self) -> None:
        self._destroyed = True
        LIFE.append(f"end {self._settings.word}")


@hookimpl
def actas_module_kinds() -> list[ModuleKind]:
    return [ModuleKind(name="relay", settings=RelaySettings, create=lambda _, settings: Relay(settings))]


def install(folder: Path) -> None:
    """Put this plug-in into ``folder`` as an installer would have."""
    folder.joinpath("relay.py").write_text(Path(__file__).read_text())
    metadata = folder / "relay-1.0.dist-info"
    metadata.mkdir()
    metadata.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: relay\nVersion: 1.0\n")
    metadata.joinpath("entry_points.txt").write_text("[actas]\nrelay = relay\n")
