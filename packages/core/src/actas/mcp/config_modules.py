"""The tables of a configuration that are modules: what of each is ours to read, and what its plug-in's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TypeVar, cast

from actas.core import AuditSinkKind, AuthorizerKind, ConfigurationError, CredentialUse, ModuleKind
from actas.core.discovery import Plugins
from actas.mcp.schema import Problems, read_settings
from actas.mcp.settings import Settings
from actas.oauth.exchange.settings import ExchangeSettings

_EXCHANGE = ("token_exchange", "tokenExchange")
_TICKETS = ("tickets_from", "ticketsFrom")
_OURS = frozenset({"kind", "prefix", "tools", "providers", *_EXCHANGE, *_TICKETS})
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
    tickets_from: str | None = None
    """The module that lends it its users' tickets; None: it gets none."""


def modules_of(resolved: Mapping[str, object], plugins: Plugins, problems: Problems) -> list[ConfiguredModule]:
    """Each module that can be read whole; whatever is wrong with the others becomes a problem."""
    modules: list[ConfiguredModule] = []
    for name, table in module_tables(resolved).items():
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
        kind = kind_of(plugins.module_kind, kind_name, plugins, path, problems)
        if kind is None:
            continue
        exchange = _exchange(kind, table, path, problems)
        own = {key: value for key, value in table.items() if key not in _OURS}
        settings = read_settings(cast("type[object]", kind.settings), own, path, problems)
        if settings is not None:
            chosen = None if tools is None else tuple(cast("list[str]", tools))
            whose = None if providers is None else frozenset(cast("list[str]", providers))
            lender = _lender(kind, table, path, problems)
            modules.append(ConfiguredModule(name, kind, prefix, chosen, whose, settings, exchange, lender))
    return _lenders_first(modules, problems)


def _names_or_none(written: object) -> bool:
    return written is None or (
        isinstance(written, list) and all(isinstance(each, str) for each in cast("list[object]", written))
    )


def providers_known(resolved: Mapping[str, object], settings: Settings | None, problems: Problems) -> None:
    """Each provider that a module names, for its users or for the exchange, is trusted; and whoever is for some
    providers' users alone names at least one."""
    known = [] if settings is None else [issuer.name for issuer in settings.auth.trusted_idps]
    for module, table in module_tables(resolved).items():
        path, providers = f"delegation.modules.{module}", table.get("providers")
        if providers == []:
            problems.add(f"{path}.providers", "names none: nobody could use the module; leave it out for everybody")
        named = [(f"{path}.providers", name) for name in as_list(providers)]
        named.append((f"{path}.token_exchange.idp", as_table(_written_exchange(table)).get("idp")))
        for place, name in named:
            if known and isinstance(name, str) and name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                problems.add(place, f"{name!r} is no trusted identity provider; {hint}")


def whose_users_told(modules: list[ConfiguredModule], settings: Settings | None, problems: Problems) -> None:
    """Where there are several providers, each module that knows users by name says whose: names are unique nowhere.

    Also one with a ``token_exchange``: a database that is logged in to by name has no use for the token.
    """
    known = [] if settings is None else [issuer.name for issuer in settings.auth.trusted_idps]
    if len(known) < 2:
        return
    for module in modules:
        if module.kind.by_name and module.providers is None:
            problems.add(
                f"delegation.modules.{module.name}.providers",
                f"is required: the module knows users by name, and namesakes at {' and '.join(known)} would be one"
                " user; say whose users it is for, or name all of them if no name is given out twice",
            )


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
    exchange = read_settings(ExchangeSettings, written, f"{path}.token_exchange", problems)
    if exchange is not None and exchange.dpop_key is not None and not kind.bound_tokens:
        problems.add(
            f"{path}.token_exchange.dpop_key",
            f"a module of the kind {kind.name} has no way to prove a key: leave it out, for bearer tokens",
        )
        return None
    return exchange


def _lender(kind: ModuleKind, table: Mapping[str, object], path: str, problems: Problems) -> str | None:
    """The module that a module's tickets come from; None where they do not, or where that is a problem."""
    written = next((table[key] for key in _TICKETS if key in table), None)
    if written is None:
        if kind.tickets is CredentialUse.REQUIRED:
            problems.add(path, "tickets_from is required: the name of the module that lends the users' tickets")
        return None
    if kind.tickets is CredentialUse.NEVER:
        problems.add(f"{path}.tickets_from", f"a module of the kind {kind.name} has no use for tickets")
    elif not isinstance(written, str):
        problems.add(f"{path}.tickets_from", "must be the name of a module")
    elif _written_exchange(table) is not None:
        problems.add(f"{path}.tickets_from", "a module acts by an exchanged token or by tickets, not by both")
    else:
        return written
    return None


def _lenders_first(modules: list[ConfiguredModule], problems: Problems) -> list[ConfiguredModule]:
    """The modules, each after the one whose tickets it uses: so they start, and they stop the other way round.

    Whoever may not use a module may not use its tickets.
    """
    lenders = {module.name: module for module in modules if module.kind.grants_tickets}
    ordered = list(lenders.values())
    for module in modules:
        if module.name in lenders:
            continue
        lender = None if module.tickets_from is None else lenders.get(module.tickets_from)
        if module.tickets_from is not None and lender is None:
            known = ", ".join(lenders) or "none is configured"
            path = f"delegation.modules.{module.name}.tickets_from"
            problems.add(path, f"{module.tickets_from!r} is no module that lends tickets; those that do: {known}")
        if lender is not None and lender.providers is not None:
            whose = lender.providers if module.providers is None else module.providers & lender.providers
            module = replace(module, providers=whose)
        ordered.append(module)
    return ordered


def kind_of(find: Callable[[str], _Kind], name: str, plugins: Plugins, path: str, problems: Problems) -> _Kind | None:
    """The kind called ``name``; None where its plug-in was not loaded, which is a problem already, or has none."""
    if name not in plugins.offers:
        return None
    try:
        return find(name)
    except ConfigurationError as error:
        problems.add(path, error.message)
        return None


def module_tables(written: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """The module tables that are tables; anything else is told by the validation of the settings."""
    modules = as_table(as_table(written.get("delegation")).get("modules"))
    return {name: cast("dict[str, object]", table) for name, table in modules.items() if isinstance(table, dict)}


def as_table(value: object) -> dict[str, object]:
    """``value`` where it is a table; an empty one in place of anything else, which the settings' validation tells."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """The same for lists."""
    return cast("list[object]", value) if isinstance(value, list) else []
