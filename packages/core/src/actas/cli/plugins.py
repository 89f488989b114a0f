"""``actas plugins``."""

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from rich.text import Text

from actas.cli.output import console, show_json
from actas.core import ConfigurationError
from actas.core.discovery import InstalledPlugin, Offer, installed, load


class _State(StrEnum):
    """How a plug-in is."""

    INSTALLED = "installed"
    """It is there; it was not imported."""
    LOADS = "loads"
    BROKEN = "broken"
    CLAIMED_TWICE = "claimed twice"
    MISSING = "missing"
    """A configuration names it, and nobody has it."""


_STYLES = {_State.INSTALLED: "", _State.LOADS: "green"}


@dataclass(frozen=True, kw_only=True)
class _Line:
    name: str
    owners: tuple[InstalledPlugin, ...] = ()
    state: _State = _State.INSTALLED
    offers: tuple[str, ...] | None = None
    """None where it was not imported."""
    named: str | None = None
    """Where the configuration names it."""
    problems: tuple[str, ...] = field(default=())

    def told(self) -> dict[str, object]:
        """As JSON."""
        return {
            "name": self.name,
            "distributions": [
                {"name": each.distribution, "version": each.version, "target": each.target} for each in self.owners
            ],
            "state": self.state,
            "offers": self.offers,
            "named": self.named,
            "problems": self.problems,
        }


def show_plugins(config: Path | None, *, load_all: bool, as_json: bool) -> bool:
    """Tell which plug-ins are installed. True where none that matters has a problem.

    Args:
        config: names those that matter; only they are imported. Without one, all matter and none is imported.
        load_all: import them all.

    Raises:
        ConfigurationError: the configuration cannot be read.
    """
    named: Mapping[str, str] = {} if config is None else _named(config)
    available = installed()
    lines = [
        _line(name, available.get(name), named.get(name), load_it=load_all or name in named)
        for name in sorted({*available, *named})
    ]
    if as_json:
        show_json([line.told() for line in lines])
    elif not lines:
        console.print("no plug-in is installed")
    else:
        _print(lines)
    return not any(line.state not in _STYLES for line in lines if config is None or line.named is not None)


def _named(config: Path) -> Mapping[str, str]:
    from actas.mcp.config import plugins_named
    from actas.mcp.config_file import read_file

    return plugins_named(read_file(config))


def _line(name: str, plugin: InstalledPlugin | None, named: str | None, *, load_it: bool) -> _Line:
    owners = () if plugin is None else (plugin, *plugin.rivals)
    state = _State.MISSING if plugin is None else _State.CLAIMED_TWICE if plugin.rivals else _State.INSTALLED
    if not load_it:
        return _Line(name=name, owners=owners, state=state, named=named)
    try:
        with redirect_stdout(sys.stderr):  # what a plug-in prints when it is imported is not what was asked for
            offer = load([name]).offers[name]
    except ConfigurationError as error:
        broken = _State.BROKEN if state is _State.INSTALLED else state
        return _Line(name=name, owners=owners, state=broken, named=named, problems=error.problems)
    return _Line(name=name, owners=owners, state=_State.LOADS, offers=_offers(offer), named=named)


def _offers(offer: Offer) -> tuple[str, ...]:
    kinds = {
        "module": offer.module_kind,
        "audit sink": offer.audit_sink_kind,
        "authorizer": offer.authorizer_kind,
        "secrets": offer.secret_providers,
    }
    return tuple(kind for kind, offered in kinds.items() if offered)


def _print(lines: list[_Line]) -> None:
    names = max(len(line.name) for line in lines)
    owners = {line.name: " and ".join(each.owner for each in line.owners) or "nobody" for line in lines}
    longest = max(map(len, owners.values()))
    for line in lines:
        text = Text(f"{line.name:{names}}  {owners[line.name]:{longest}}  ")
        text.append(line.state, style=_STYLES.get(line.state, "red"))
        more = [*(line.offers or ()), *([f"named by {line.named}"] if line.named else [])]
        console.print(text + Text(f": {', '.join(more)}" if more else ""), soft_wrap=True)
        for problem in line.problems:
            console.print(Text(f"  {problem}", style="red"), soft_wrap=True)
