"""Implements a hook that does not exist."""

from actas.core.hookspecs import hookimpl


@hookimpl
def actas_module_kind() -> list[object]:
    return []
