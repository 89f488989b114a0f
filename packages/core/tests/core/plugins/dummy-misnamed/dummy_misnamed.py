"""Its entry point is called right; the kind that it offers is called wrong."""

from collections.abc import Iterable
from dataclasses import dataclass

from actas.core.hookspecs import hookimpl
from actas.core.protocols import DelegationModule, ModuleKind


@dataclass(frozen=True, kw_only=True)
class Settings:
    pass


def create(name: str, settings: Settings) -> DelegationModule:
    raise NotImplementedError


@hookimpl
def actas_module_kinds() -> Iterable[ModuleKind]:
    return [ModuleKind(name="wrong", settings=Settings, create=create)]
