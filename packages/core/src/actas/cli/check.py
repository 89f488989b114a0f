"""``actas check``."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from rich.text import Text

from actas.cli.output import console, show_json, show_problems
from actas.core import ConfigurationError
from actas.mcp import MCPOAuthServer


@dataclass
class _Findings:
    """What was found; ``facts`` are told either way."""

    problems: list[str] = field(default_factory=list[str])
    facts: list[str] = field(default_factory=list[str])


def check_configuration(config: Path, *, as_json: bool, live: bool) -> bool:
    """Tell what is wrong with ``config``. True where nothing is.

    Args:
        live: also fetch the providers' keys, initialise the modules and ask for their health.
    """
    found = _Findings()
    try:
        server = MCPOAuthServer(config)
    except ConfigurationError as error:
        found.problems += error.problems
    else:
        _describe(server, found)
        asyncio.run(_look(server, found) if live else server.release())
    if as_json:
        show_json({"ok": not found.problems, "problems": found.problems, "facts": found.facts})
        return not found.problems
    if found.problems:
        show_problems(found.problems)
    for fact in found.facts:
        console.print(Text(f"  {fact}", style="dim"), soft_wrap=True)
    if not found.problems:
        console.print(Text(f"{config} is good", style="bold green"), soft_wrap=True)
    return not found.problems


def _describe(server: MCPOAuthServer, found: _Findings) -> None:
    settings = server.settings
    issuers = ", ".join(f"{issuer.name} ({issuer.issuer})" for issuer in settings.auth.trusted_idps)
    found.facts.append(f"trusts {issuers}")
    authorizers = [each.name for each in server.core_context.pipeline.authority.authorizers]
    if authorizers:
        found.facts.append(f"asks {', '.join(authorizers)}")
    for name, module in server.core_context.registry.items():
        found.facts.append(f"module {name}: {', '.join(action.name for action in module.actions)}")


async def _look(server: MCPOAuthServer, found: _Findings) -> None:
    context = server.core_context
    try:
        for report in await context.authenticator.check():
            if report.problem is None:
                keys = "1 usable key" if report.keys == 1 else f"{report.keys} usable keys"
                found.facts.append(f"{report.name} publishes {keys}")
            else:
                found.problems.append(f"auth.trusted_idps: {report.name}: {report.problem}")
        try:
            await context.pipeline.authority.initialize()
            await context.registry.initialize_all()
        except ConfigurationError as error:
            found.problems += error.problems
            return
        for name, health in (await context.registry.health_check_all()).items():
            line = f"delegation.modules.{name}: {health.message or 'answers'}"
            (found.facts if health.healthy else found.problems).append(line)
    finally:
        await server.release()
