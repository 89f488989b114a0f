"""A healthy plug-in with one kind of delegation module."""

from collections.abc import Iterable
from dataclasses import dataclass

from actas.core.hookspecs import hookimpl
from actas.core.protocols import DelegationModule, ModuleKind


@dataclass(frozen=True, kw_only=True)
class Settings:
    word: str = "Hello"


def create(name: str, settings: Settings) -> DelegationModule:
    raise NotImplementedError


@hookimpl
def actas_module_kinds() -> Iterable[ModuleKind]:
    return [ModuleKind(name="greet", settings=Settings, create=create)]
