"""The hooks of a plug-in. They only register: none is async, none has an argument, none sees a token.

A whole plug-in, in a module that imports nothing heavy::

    from collections.abc import Iterable

    from actas.core.hookspecs import hookimpl
    from actas.core.protocols import ModuleKind

    @hookimpl
    def actas_module_kinds() -> Iterable[ModuleKind]:
        return [ModuleKind(name="greet", settings=GreetSettings, create=create_greeter)]

and in its ``pyproject.toml``, under the name that a configuration will use as ``kind``::

    [project.entry-points.actas]
    greet = "greet_for_actas.plugin"
"""

from collections.abc import Iterable

from pluggy import HookimplMarker, HookspecMarker

from actas.core.protocols import AuditSinkKind, AuthorizerKind, ModuleKind, SecretProvider

PROJECT = "actas"
"""The name of pluggy's project and of the entry-point group."""

hookspec = HookspecMarker(PROJECT)
"""Marks a specification, in this file only. Its body never runs."""
hookimpl = HookimplMarker(PROJECT)
"""Marks a plug-in's implementation of a hook."""


@hookspec
def actas_module_kinds() -> Iterable[ModuleKind]:
    """The kind of delegation module that this plug-in offers, under its entry point's own name."""
    return ()


@hookspec
def actas_audit_sink_kinds() -> Iterable[AuditSinkKind]:
    """The kind of audit sink that this plug-in offers, under its entry point's own name."""
    return ()


@hookspec
def actas_authorizer_kinds() -> Iterable[AuthorizerKind]:
    """The kind of authoriser that this plug-in offers, under its entry point's own name."""
    return ()


@hookspec
def actas_secret_providers() -> Iterable[SecretProvider]:
    """Where else secrets are looked up; asked after files and environment, in the configuration's order."""
    return ()
