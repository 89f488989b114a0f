"""From what a file says to settings and modules that can be started, or to all that is wrong with it.

In this order, each step on the result of the one before: bring the keys into our spelling, load the
plug-ins that it names, resolve secrets, validate the server's settings, validate each module's with
its own class. No step stops at what it finds wrong: all of it is told at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from actas.core import AuditSinkKind, AuthorizerKind, ConfigurationError, Secret
from actas.core.discovery import OURS, Offer, Plugins, installed, load
from actas.core.secrets import MAX_DEPTH, REFERENCE, resolve_secrets
from actas.mcp.config_modules import (
    ConfiguredModule,
    as_list,
    as_table,
    kind_of,
    module_tables,
    modules_of,
    providers_known,
    whose_users_told,
)
from actas.mcp.schema import Problems, read_settings, rename
from actas.mcp.settings import SECRETS_DIRECTORY, Settings

JSONL = "jsonl"
"""The audit sink that needs no plug-in."""
_NAME_IS_KIND = "; a module of another name than its plug-in's says which one in kind"


@dataclass(frozen=True, slots=True)
class ConfiguredAuthorizer:
    """One table of ``auth.authorizers``, validated."""

    path: str
    kind: AuthorizerKind
    settings: object
    """An instance of ``kind.settings``."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything a server is made from."""

    settings: Settings
    modules: tuple[ConfiguredModule, ...] = ()
    authorizers: tuple[ConfiguredAuthorizer, ...] = ()
    audit_sink: tuple[AuditSinkKind, object] | None = None
    """A plug-in's sink kind and an instance of its settings; None takes core's own."""


def parse(written: Mapping[str, object]) -> Configuration:
    """Validate a whole configuration.

    Raises:
        ConfigurationError: ``problems`` has everything that is wrong, each line with its path.
    """
    problems = Problems()
    named = cast("dict[str, object]", rename(Settings, written, "", problems))
    plugins = _load_plugins(named, problems)
    resolved = _resolve(named, plugins, problems)
    settings = read_settings(Settings, resolved, "", problems)
    modules = modules_of(resolved, plugins, problems)
    providers_known(resolved, settings, problems)
    whose_users_told(modules, settings, problems)
    authorizers = _authorizers(resolved, plugins, problems)
    sink = _audit_sink(as_table(as_table(resolved.get("auth")).get("audit")), plugins, problems)
    if problems or settings is None:
        raise ConfigurationError(problems)
    return Configuration(settings, tuple(modules), tuple(authorizers), sink)


def plugins_named(written: Mapping[str, object]) -> dict[str, str]:
    """The plug-ins that a configuration names, and where it first does. Nothing else of it needs to be right."""
    return _plugin_names(cast("dict[str, object]", rename(Settings, written, "", Problems())))


def _load_plugins(named: Mapping[str, object], problems: Problems) -> Plugins:
    """The plug-ins that can be loaded; the others become problems."""
    names = _plugin_names(named)
    try:
        return load(names)
    except ConfigurationError:
        pass  # one by one, then, to keep the others and to say where each is named
    offers: dict[str, Offer] = {}
    for name, path in names.items():
        try:
            offers.update(load([name]).offers)
        except ConfigurationError as error:
            advice = _NAME_IS_KIND if _is_only_a_name(name, path, named) else ""
            for problem in error.problems:
                problems.add(path, problem + advice)
    return Plugins(offers)


def _is_only_a_name(name: str, path: str, named: Mapping[str, object]) -> bool:
    """Whether ``name`` is a plug-in that nobody has, asked for by a module that does not say its kind."""
    if path != f"delegation.modules.{name}" or name in OURS or name in installed():
        return False
    return "kind" not in module_tables(named)[name]


def _plugin_names(named: Mapping[str, object]) -> dict[str, str]:
    """Each plug-in's name and the path where it is first named."""
    paths: dict[str, str] = {}
    for index, name in enumerate(as_list(named.get("plugins"))):
        if isinstance(name, str):
            paths.setdefault(name, f"plugins[{index}]")
    for module, table in module_tables(named).items():
        if isinstance(kind := table.get("kind", module), str):
            paths.setdefault(kind, f"delegation.modules.{module}")
    for path, table in _authorizer_tables(named).items():
        if isinstance(kind := table.get("kind"), str):
            paths.setdefault(kind, path)
    kind = as_table(as_table(named.get("auth")).get("audit")).get("kind", JSONL)
    if isinstance(kind, str) and kind != JSONL:
        paths.setdefault(kind, "auth.audit.kind")
    return paths


def _resolve(named: Mapping[str, object], plugins: Plugins, problems: Problems) -> Mapping[str, object]:
    """``named`` with its secrets. Where some have no value, something stands in, so that the rest can be checked."""
    folder = named.get("secrets_directory")
    directory = Path(folder if isinstance(folder, str) else SECRETS_DIRECTORY)
    try:
        return resolve_secrets(named, directory=directory, providers=plugins.secret_providers())
    except ConfigurationError as error:
        problems.extend(error.problems)
    except ValueError:
        problems.add("secrets_directory", "this is no name of a folder")
    return cast("dict[str, object]", _without_secrets(named, 0))


_UNRESOLVED = Secret("https://unresolved.invalid")
"""A URL, because most that is asked of a string besides is to be one: no problem that follows from another."""


def _without_secrets(value: object, depth: int) -> object:
    if depth > MAX_DEPTH:
        return None
    if isinstance(value, dict):
        table = cast("dict[str, object]", value)
        if REFERENCE in table:
            return _UNRESOLVED
        return {key: _without_secrets(item, depth + 1) for key, item in table.items()}
    if isinstance(value, list):
        return [_without_secrets(item, depth + 1) for item in cast("list[object]", value)]
    return value


def _authorizers(resolved: Mapping[str, object], plugins: Plugins, problems: Problems) -> list[ConfiguredAuthorizer]:
    authorizers: list[ConfiguredAuthorizer] = []
    for path, table in _authorizer_tables(resolved).items():
        name = table.get("kind")
        if not isinstance(name, str):
            problems.add(path, "kind is required: the name of the plug-in")
            continue
        kind = kind_of(plugins.authorizer_kind, name, plugins, path, problems)
        if kind is None:
            continue
        own = {key: value for key, value in table.items() if key != "kind"}
        settings = read_settings(cast("type[object]", kind.settings), own, path, problems)
        if settings is not None:
            authorizers.append(ConfiguredAuthorizer(path, kind, settings))
    return authorizers


def _audit_sink(
    audit: Mapping[str, object], plugins: Plugins, problems: Problems
) -> tuple[AuditSinkKind, object] | None:
    name = audit.get("kind", JSONL)
    if name == JSONL or not isinstance(name, str):
        if audit.get("settings"):
            problems.add("auth.audit.settings", "only a plug-in's sink has settings; jsonl takes path")
        return None
    if audit.get("path") is not None:
        problems.add("auth.audit.path", "only jsonl takes a path; a plug-in's sink has settings")
    kind = kind_of(plugins.audit_sink_kind, name, plugins, "auth.audit.kind", problems)
    if kind is None:
        return None
    written = as_table(audit.get("settings"))
    settings = read_settings(cast("type[object]", kind.settings), written, "auth.audit.settings", problems)
    return None if settings is None else (kind, settings)


def _authorizer_tables(written: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Each authoriser's table by its path; what is no table is told by the validation of the settings."""
    tables = as_list(as_table(written.get("auth")).get("authorizers"))
    paths = {f"auth.authorizers[{index}]": table for index, table in enumerate(tables)}
    return {path: cast("dict[str, object]", table) for path, table in paths.items() if isinstance(table, dict)}
