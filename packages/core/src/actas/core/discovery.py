"""Finds plug-ins by entry point and imports only those that a configuration names.

Nothing is enabled by being installed, and nothing that fails is skipped: whatever is missing, claimed
twice, misnamed or broken stops the start with the distribution's name. pluggy's own
``load_setuptools_entrypoints`` does neither: it imports all there is.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, distributions
from types import MappingProxyType
from typing import Protocol, TypeVar, cast

from pluggy import PluginManager

from actas.core import hookspecs
from actas.core.errors import PluginError
from actas.core.hookspecs import PROJECT
from actas.core.protocols import AuditSinkKind, AuthorizerKind, ModuleKind, SecretProvider

_Item = TypeVar("_Item")
_Kind = TypeVar("_Kind", ModuleKind, AuditSinkKind, AuthorizerKind)

OURS = ("cedar", "filesystem", "graphql", "grpc", "kerberos", "ldap", "rest", "sql")
"""The plug-ins of this project: each is an extra of ``actas`` by the same name."""


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """One entry point, not imported."""

    name: str
    """The entry point's name: what a configuration says."""
    distribution: str
    version: str
    """Several, joined with "or", where leftover metadata claims more than one."""
    target: str
    """What is imported: ``package.module`` or ``package.module:attribute``."""
    rivals: tuple["InstalledPlugin", ...] = ()
    """Others that claim the same name. Where there is one, the name cannot be loaded."""

    @property
    def owner(self) -> str:
        """``distribution version``, for messages."""
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True, slots=True)
class Offer:
    """What one plug-in registered when it was loaded."""

    plugin: InstalledPlugin
    module_kind: ModuleKind | None
    audit_sink_kind: AuditSinkKind | None
    authorizer_kind: AuthorizerKind | None
    secret_providers: tuple[SecretProvider, ...]


@dataclass(frozen=True, slots=True)
class Plugins:
    """The plug-ins that were asked for, by name, in the order asked."""

    offers: Mapping[str, Offer] = field(default_factory=dict[str, Offer])

    def module_kind(self, name: str) -> ModuleKind:
        """The kind of delegation module called ``name``.

        Raises:
            PluginError: no such plug-in was loaded, or it offers no delegation module.
        """
        offer = self._offer(name)
        if offer.module_kind is None:
            raise PluginError(f"plug-in '{name}' of {offer.plugin.owner} offers no delegation module")
        return offer.module_kind

    def audit_sink_kind(self, name: str) -> AuditSinkKind:
        """The kind of audit sink called ``name``.

        Raises:
            PluginError: no such plug-in was loaded, or it offers no audit sink.
        """
        offer = self._offer(name)
        if offer.audit_sink_kind is None:
            raise PluginError(f"plug-in '{name}' of {offer.plugin.owner} offers no audit sink")
        return offer.audit_sink_kind

    def authorizer_kind(self, name: str) -> AuthorizerKind:
        """The kind of authoriser called ``name``.

        Raises:
            PluginError: no such plug-in was loaded, or it offers no authoriser.
        """
        offer = self._offer(name)
        if offer.authorizer_kind is None:
            raise PluginError(f"plug-in '{name}' of {offer.plugin.owner} offers no authorizer")
        return offer.authorizer_kind

    def secret_providers(self) -> tuple[SecretProvider, ...]:
        """All secret providers, in the order in which their plug-ins were named."""
        return tuple(provider for offer in self.offers.values() for provider in offer.secret_providers)

    def _offer(self, name: str) -> Offer:
        if name not in self.offers:
            raise PluginError(f"plug-in '{name}' was not loaded: nothing in the configuration names it")
        return self.offers[name]


def installed() -> Mapping[str, InstalledPlugin]:
    """Every installed plug-in by its entry point's name; imports none of them.

    A name that is claimed twice is listed once, with its ``rivals``.

    Raises:
        PluginError: the metadata of a distribution cannot be read.
    """
    claims: dict[str, dict[tuple[str, str], set[str]]] = {}  # name -> (distribution, target) -> versions
    for distribution, version, entry_point in _entry_points():
        claims.setdefault(entry_point.name, {}).setdefault((distribution, entry_point.value), set()).add(version)
    return MappingProxyType({name: _claimed(name, owners) for name, owners in sorted(claims.items())})


def load(names: Iterable[str]) -> Plugins:
    """Import the plug-ins called ``names`` and nothing else.

    Raises:
        PluginError: with all that is wrong with any of them: unknown, claimed twice, failing to
            import, offering another name than its own, offering nothing.
    """
    available = installed()
    offers: dict[str, Offer] = {}
    problems: list[str] = []
    causes: list[Exception] = []
    for name in dict.fromkeys(names):
        try:
            offers[name] = _load(_select(name, available))
        except PluginError as error:
            problems += error.problems
            causes.append(error)
    if problems:
        raise PluginError(problems) from (causes[0] if len(causes) == 1 else ExceptionGroup("plug-ins", causes))
    return Plugins(MappingProxyType(offers))


def _entry_points() -> Iterable[tuple[str, str, EntryPoint]]:
    """(distribution, version, entry point), from the first folder on the path that has the distribution.

    That one is what Python would import. Two versions in one folder (what an interrupted or editable
    install leaves behind) both count: where they disagree, nobody can say whose code is there.
    """
    homes: dict[str, str] = {}
    for distribution in distributions():
        home = str(distribution.locate_file(""))
        try:
            ours = distribution.entry_points.select(group=PROJECT)
            if not ours:
                continue
            name, version = _normalised(distribution.metadata["Name"]), str(distribution.metadata["Version"])
        except Exception as error:
            raise PluginError(f"a distribution in {home} has metadata that cannot be read: {_cause(error)}") from error
        if homes.setdefault(name, home) == home:
            yield from ((name, version, entry_point) for entry_point in ours)


def _normalised(distribution: str) -> str:
    """Distribution names are compared in this form (PyPA name normalisation)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _claimed(name: str, owners: Mapping[tuple[str, str], set[str]]) -> InstalledPlugin:
    first, *others = (
        InstalledPlugin(name=name, distribution=distribution, version=" or ".join(sorted(versions)), target=target)
        for (distribution, target), versions in sorted(owners.items())
    )
    return InstalledPlugin(first.name, first.distribution, first.version, first.target, rivals=tuple(others))


def _select(name: str, available: Mapping[str, InstalledPlugin]) -> InstalledPlugin:
    if name not in available:
        raise PluginError(f"plug-in '{name}' is not installed{_advice(name, available)}")
    plugin = available[name]
    if plugin.rivals:
        claims = " and ".join(f"{each.owner} ({each.target})" for each in (plugin, *plugin.rivals))
        raise PluginError(f"plug-in '{name}' is claimed by {claims}: uninstall all but one")
    return plugin


def _advice(name: str, available: Mapping[str, InstalledPlugin]) -> str:
    if name in OURS:
        return f': pip install "actas[{name}]"'
    near = get_close_matches(name, [*available, *OURS], n=1)
    hint = ""
    if near:
        hint = f"; did you mean '{near[0]}'" + ("?" if near[0] in available else f' (pip install "actas[{near[0]}]")?')
    return f"; installed: {', '.join(available) or 'none'}{hint}"


class _Hooks(Protocol):
    """pluggy's relay, as :mod:`actas.core.hookspecs` types it."""

    def actas_module_kinds(self) -> list[Iterable[ModuleKind]]: ...
    def actas_audit_sink_kinds(self) -> list[Iterable[AuditSinkKind]]: ...
    def actas_authorizer_kinds(self) -> list[Iterable[AuthorizerKind]]: ...
    def actas_secret_providers(self) -> list[Iterable[SecretProvider]]: ...


def _load(plugin: InstalledPlugin) -> Offer:
    """Each plug-in has a manager of its own, so that a wrapper in one cannot touch what another registers."""
    what = f"plug-in '{plugin.name}' of {plugin.owner}"
    manager = PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    hooks = cast(_Hooks, manager.hook)
    try:
        manager.register(EntryPoint(plugin.name, plugin.target, PROJECT).load(), name=plugin.name)
        manager.check_pending()
    except (Exception, SystemExit) as error:  # a script named by mistake would end the start with status 0
        raise PluginError(f"{what} cannot be imported: {_cause(error)}") from error
    modules = _collect(what, "actas_module_kinds", hooks.actas_module_kinds, _is_kind(ModuleKind))
    sinks = _collect(what, "actas_audit_sink_kinds", hooks.actas_audit_sink_kinds, _is_kind(AuditSinkKind))
    authorizers = _collect(what, "actas_authorizer_kinds", hooks.actas_authorizer_kinds, _is_kind(AuthorizerKind))
    providers = _collect(what, "actas_secret_providers", hooks.actas_secret_providers, _is_secret_provider)
    if not (modules or sinks or authorizers or providers):
        raise PluginError(
            f"{what} offers nothing for '{plugin.name}': are the hooks in {plugin.target} marked with @hookimpl?"
        )
    return Offer(
        plugin=plugin,
        module_kind=_own(what, plugin.name, modules),
        audit_sink_kind=_own(what, plugin.name, sinks),
        authorizer_kind=_own(what, plugin.name, authorizers),
        secret_providers=tuple(providers),
    )


def _collect(
    what: str, name: str, hook: Callable[[], list[Iterable[_Item]]], fits: Callable[[object], bool]
) -> list[_Item]:
    try:
        results = hook()
        found = [item for result in results for item in result]
    except (Exception, SystemExit) as error:
        raise PluginError(f"{name} in {what} failed: {_cause(error)}") from error
    misfit = next((item for item in found if not fits(item)), None)
    if misfit is not None:
        raise PluginError(f"{name} in {what} returned a {type(misfit).__name__} that does not fit the hook")
    return found


def _own(what: str, name: str, kinds: list[_Kind]) -> _Kind | None:
    """The one kind that a plug-in may offer: the one with its entry point's name."""
    foreign = sorted({kind.name for kind in kinds} - {name})
    if foreign:
        raise PluginError(f"{what} offers '{', '.join(foreign)}': each kind needs an entry point of its own name")
    if len(kinds) > 1:
        raise PluginError(f"{what} offers '{name}' {len(kinds)} times")
    return kinds[0] if kinds else None


def _is_kind(kind: type[_Kind]) -> Callable[[object], bool]:
    def fits(item: object) -> bool:
        return isinstance(item, kind) and _is_settings(item.settings) and callable(item.create)

    return fits


def _is_settings(settings: object) -> bool:
    return isinstance(settings, type) and is_dataclass(settings)


def _is_secret_provider(item: object) -> bool:
    return isinstance(getattr(item, "name", None), str) and callable(getattr(item, "get", None))


def _cause(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
