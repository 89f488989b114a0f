"""``actas explain``."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rich.text import Text
from rich.tree import Tree

from actas.cli.output import console, show_json
from actas.cli.refusals import show_refusal
from actas.cli.session_file import read_session
from actas.core import AuthenticationError, NullSink, Session
from actas.mcp import MCPOAuthServer
from actas.mcp.explanation import unknown

Json = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is to be explained: what a token says, or what a file does."""

    token: str | None = None
    session: Path | None = None


def explain(
    config: Path, caller: Caller, *, tool: str | None, arguments: Mapping[str, object] | None, as_json: bool
) -> bool:
    """Tell what ``caller`` may do and why. True where ``tool`` may be called; without one, where he is admitted."""
    # Nothing is carried out, so nothing belongs into the minutes.
    server = MCPOAuthServer(config, audit_sink=NullSink())
    try:
        told = asyncio.run(_explained(server, caller, tool, arguments))
    except AuthenticationError as error:
        refused: Json = {"accepted": False, "reason": error.reason, "detail": error.detail}
        if as_json:
            show_json(refused)
        else:
            show_refusal(error, server.settings.auth.trusted_idps)
        return False
    if as_json:
        show_json({"accepted": True, **told})
    else:
        console.print(_tree(told))
    return told["rejected"] is None if tool is None else bool(told["tools"][tool]["allowed"])


async def _explained(
    server: MCPOAuthServer, caller: Caller, tool: str | None, arguments: Mapping[str, object] | None
) -> Json:
    try:
        session = await _session(server, caller)
        await server.core_context.pipeline.authority.initialize()
        given = {} if tool is None or arguments is None else {tool: arguments}
        told = cast("Json", await server.explain(session, given))
    finally:
        await server.release()
    if tool is not None:
        told["tools"] = {tool: told["tools"].get(tool) or unknown(tool)}
    return told


async def _session(server: MCPOAuthServer, caller: Caller) -> Session:
    if caller.session is not None:
        return read_session(caller.session, server.settings.auth)
    return await server.core_context.authenticator.authenticate(caller.token or "")


def _tree(told: Json) -> Tree:
    session: Json = told["session"]
    root = Tree(Text(f"{session['username']}, by {session['provider']}", style="bold"))
    who = root.add(Text("session", style="bold"))
    for key in ("issuer", "subject", "legacy_username", "client_id", "application", "actors", "scopes"):
        if session[key]:
            who.add(Text(f"{key}: {_words(session[key])}"))
    _add_roles(root, told)
    permissions = root.add(Text("permissions" if told["permissions"] else "permissions: none", style="bold"))
    for permission, roles in told["permissions"].items():
        permissions.add(Text(f"{permission} by role {_words(roles)}"))
    tools = root.add(Text("tools", style="bold"))
    for name, tool in told["tools"].items():
        _add_tool(tools, name, tool)
    exchanges = root.add(Text("token exchange" if told["token_exchange"] else "token exchange: none", style="bold"))
    for module, plan in told["token_exchange"].items():
        exchanges.add(Text(f"{module}: {_exchange(plan)}"))
    if told["tickets"]:
        tickets = root.add(Text("tickets", style="bold"))
        for module, whose in told["tickets"].items():
            tickets.add(Text(f"{module}: from {whose['from']}, {_identity(whose)}"))
    becomes = root.add(Text("becomes" if told["becomes"] else "becomes: there is no module", style="bold"))
    for module, identity in told["becomes"].items():
        becomes.add(Text(f"{module}: {_identity(identity)}"))
    return root


def _add_roles(root: Tree, told: Json) -> None:
    roles, session = told["roles"], told["session"]
    ours = _words([session["role"], *session["custom_roles"]])
    branch = root.add(Text(f"roles: {ours}", style="bold"))
    branch.add(Text(f"the claim {roles['claim']} is {json.dumps(roles['value'], ensure_ascii=False)}"))
    for role, theirs in roles["matched"].items():
        branch.add(Text(f"{_words(theirs)} means {role}"))
    branch.add(Text(f"because {roles['because']}"))


def _add_tool(tools: Tree, name: str, tool: Json) -> None:
    state, style = _state(tool)
    branch = tools.add(Text(f"{name}: ") + Text(state, style=style) + Text(f": {tool['reason']}"))
    if tool.get("missing_scopes"):
        branch.add(Text(f"asks for scope {' '.join(tool['scopes'])}; the token lacks {_words(tool['missing_scopes'])}"))
    # Where it may be called, the reason has all of them already.
    for about, verdicts in () if tool["allowed"] else tool.get("authorizers", {}).items():
        for verdict in verdicts.values():
            branch.add(Text(f"{about}: {verdict['reason']}"))
    if tool.get("module"):
        branch.add(Text(f"{tool['action']} of {tool['module']}, as {_identity(tool['becomes'])}"))


def _state(tool: Json) -> tuple[str, str]:
    """One word for it, and its colour."""
    if tool["allowed"] is None:
        return "depends", "yellow"
    if tool["allowed"]:
        return "may be called", "green"
    if not tool["visible"]:
        return "hidden", "red"
    return ("step up", "yellow") if tool["missing_scopes"] else ("refused", "red")


def _exchange(plan: Json) -> str:
    asked = [f"{name} {_words(plan[name])}" for name in ("audience", "resource", "scope") if name in plan]
    kept = f"kept {plan['kept_seconds']:g} s" if plan["kept_seconds"] else "not kept"
    bound = ["bound to our key"] if plan["bound_to_our_key"] else []
    problem = [plan["problem"]] if "problem" in plan else []
    return "; ".join([f"{plan['grant']} at {plan['idp']} as {plan['client']}", *asked, *bound, kept, *problem])


def _identity(identity: Json) -> str:
    return str(identity["principal"] if "principal" in identity else f"nobody: {identity['why']}")


def _words(value: object) -> str:
    return ", ".join(str(item) for item in cast("list[object]", value)) if isinstance(value, list) else str(value)
