"""Returns what no hook asks for."""

from actas.core.hookspecs import hookimpl


@hookimpl
def actas_module_kinds() -> list[object]:
    return ["misfit"]
