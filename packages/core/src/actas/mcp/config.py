"""From what a file says to settings and modules that can be started, or to all that is wrong with it.

In this order, each step on the result of the one before: bring the keys into our spelling, load the
plug-ins that it names, resolve secrets, validate the server's settings, validate each module's with
its own class. No step stops at what it finds wrong: all of it is told at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar, cast

from actas.core import AuditSinkKind, AuthorizerKind, ConfigurationError, CredentialUse, ModuleKind, Secret
from actas.core.discovery import Offer, Plugins, load
from actas.core.secrets import MAX_DEPTH, REFERENCE, resolve_secrets
from actas.mcp.schema import Problems, read_settings, rename
from actas.mcp.settings import SECRETS_DIRECTORY, Settings
from actas.oauth.exchange.settings import ExchangeSettings

JSONL = "jsonl"
"""The audit sink that needs no plug-in."""

_EXCHANGE = ("token_exchange", "tokenExchange")
_OURS = frozenset({"kind", "prefix", "tools", "providers", *_EXCHANGE})
"""What of a module's table is not the plug-in's."""

_Kind = TypeVar("_Kind", ModuleKind, AuditSinkKind, AuthorizerKind)


@dataclass(frozen=True, slots=True)
class ConfiguredModule:
    """One table of ``delegation.modules``, validated."""

    name: str
    kind: ModuleKind
    prefix: str
    tools: tuple[str, ...] | None
    providers: frozenset[str] | None
    """Whose users may use it; None: everybody's."""
    settings: object
    """An instance of ``kind.settings``."""
    exchange: ExchangeSettings | None = None
    """How the callers' tokens are exchanged for it; None: it gets none."""


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
    modules = _modules(resolved, plugins, problems)
    _providers_known(resolved, settings, problems)
    authorizers = _authorizers(resolved, plugins, problems)
    sink = _audit_sink(_table(_table(resolved.get("auth")).get("audit")), plugins, problems)
    if problems or settings is None:
        raise ConfigurationError(problems)
    return Configuration(settings, tuple(modules), tuple(authorizers), sink)


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
            for problem in error.problems:
                problems.add(path, problem)
    return Plugins(offers)


def _plugin_names(named: Mapping[str, object]) -> dict[str, str]:
    """Each plug-in's name and the path where it is first named."""
    paths: dict[str, str] = {}
    for index, name in enumerate(_list(named.get("plugins"))):
        if isinstance(name, str):
            paths.setdefault(name, f"plugins[{index}]")
    for module, table in _module_tables(named).items():
        if isinstance(kind := table.get("kind", module), str):
            paths.setdefault(kind, f"delegation.modules.{module}")
    for path, table in _authorizer_tables(named).items():
        if isinstance(kind := table.get("kind"), str):
            paths.setdefault(kind, path)
    kind = _table(_table(named.get("auth")).get("audit")).get("kind", JSONL)
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


def _without_secrets(value: object, depth: int) -> object:
    if depth > MAX_DEPTH:
        return None
    if isinstance(value, dict):
        table = cast("dict[str, object]", value)
        if REFERENCE in table:
            return Secret("unresolved")
        return {key: _without_secrets(item, depth + 1) for key, item in table.items()}
    if isinstance(value, list):
        return [_without_secrets(item, depth + 1) for item in cast("list[object]", value)]
    return value


def _modules(resolved: Mapping[str, object], plugins: Plugins, problems: Problems) -> list[ConfiguredModule]:
    modules: list[ConfiguredModule] = []
    for name, table in _module_tables(resolved).items():
        path = f"delegation.modules.{name}"
        kind_name, prefix, tools = (table.get("kind", name), table.get("prefix", name), table.get("tools"))
        if not isinstance(kind_name, str) or not isinstance(prefix, str):
            problems.add(path, "kind and prefix must be strings")
            continue
        providers = table.get("providers")
        if not _names_or_none(tools):
            problems.add(f"{path}.tools", "must be a list of the names of tools, or of patterns")
            continue
        if not _names_or_none(providers):
            problems.add(f"{path}.providers", "must be a list of the names of trusted identity providers")
            continue
        kind = _kind(plugins.module_kind, kind_name, plugins, path, problems)
        if kind is None:
            continue
        exchange = _exchange(kind, table, path, problems)
        own = {key: value for key, value in table.items() if key not in _OURS}
        settings = read_settings(cast("type[object]", kind.settings), own, path, problems)
        if settings is not None:
            chosen = None if tools is None else tuple(cast("list[str]", tools))
            whose = None if providers is None else frozenset(cast("list[str]", providers))
            modules.append(ConfiguredModule(name, kind, prefix, chosen, whose, settings, exchange))
    return modules


def _names_or_none(written: object) -> bool:
    return written is None or (
        isinstance(written, list) and all(isinstance(each, str) for each in cast("list[object]", written))
    )


def _providers_known(resolved: Mapping[str, object], settings: Settings | None, problems: Problems) -> None:
    """Each provider that a module names, for its users or for the exchange, is trusted; and whoever is for some
    providers' users alone names at least one."""
    known = [] if settings is None else [issuer.name for issuer in settings.auth.trusted_idps]
    for module, table in _module_tables(resolved).items():
        path, providers = f"delegation.modules.{module}", table.get("providers")
        if providers == []:
            problems.add(f"{path}.providers", "names none: nobody could use the module; leave it out for everybody")
        named = [(f"{path}.providers", name) for name in _list(providers)]
        named.append((f"{path}.token_exchange.idp", _table(_written_exchange(table)).get("idp")))
        for place, name in named:
            if known and isinstance(name, str) and name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                problems.add(place, f"{name!r} is no trusted identity provider; {hint}")


def _written_exchange(table: Mapping[str, object]) -> object:
    return next((table[key] for key in _EXCHANGE if key in table), None)


def _exchange(kind: ModuleKind, table: Mapping[str, object], path: str, problems: Problems) -> ExchangeSettings | None:
    """How tokens are exchanged for a module; None where they are not, or where that is a problem."""
    written = _written_exchange(table)
    if written is None:
        if kind.credential is CredentialUse.REQUIRED:
            problems.add(path, "token_exchange is required: without it nothing would tell the downstream who calls")
        return None
    if kind.credential is CredentialUse.NEVER:
        problems.add(f"{path}.token_exchange", f"a module of the kind {kind.name} has no use for a token")
        return None
    return read_settings(ExchangeSettings, written, f"{path}.token_exchange", problems)


def _authorizers(resolved: Mapping[str, object], plugins: Plugins, problems: Problems) -> list[ConfiguredAuthorizer]:
    authorizers: list[ConfiguredAuthorizer] = []
    for path, table in _authorizer_tables(resolved).items():
        name = table.get("kind")
        if not isinstance(name, str):
            problems.add(path, "kind is required: the name of the plug-in")
            continue
        kind = _kind(plugins.authorizer_kind, name, plugins, path, problems)
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
    kind = _kind(plugins.audit_sink_kind, name, plugins, "auth.audit.kind", problems)
    if kind is None:
        return None
    written = _table(audit.get("settings"))
    settings = read_settings(cast("type[object]", kind.settings), written, "auth.audit.settings", problems)
    return None if settings is None else (kind, settings)


def _kind(find: Callable[[str], _Kind], name: str, plugins: Plugins, path: str, problems: Problems) -> _Kind | None:
    """The kind called ``name``; None where its plug-in was not loaded, which is a problem already, or has none."""
    if name not in plugins.offers:
        return None
    try:
        return find(name)
    except ConfigurationError as error:
        problems.add(path, error.message)
        return None


def _module_tables(written: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """The module tables that are tables; anything else is told by the validation of the settings."""
    modules = _table(_table(written.get("delegation")).get("modules"))
    return {name: cast("dict[str, object]", table) for name, table in modules.items() if isinstance(table, dict)}


def _authorizer_tables(written: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Each authoriser's table by its path; what is no table is told by the validation of the settings."""
    tables = _list(_table(written.get("auth")).get("authorizers"))
    paths = {f"auth.authorizers[{index}]": table for index, table in enumerate(tables)}
    return {path: cast("dict[str, object]", table) for path, table in paths.items() if isinstance(table, dict)}


def _table(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
