"""``actas whoami``."""

import asyncio
from pathlib import Path

from rich.text import Text
from rich.tree import Tree

from actas.cli.output import console, show_json
from actas.cli.refusals import show_refusal
from actas.core import AuthenticationError, Session
from actas.mcp import MCPOAuthServer
from actas.mcp.builtin import describe as describe_session
from actas.mcp.explanation import principal


def explain_token(config: Path, token: str, *, as_json: bool) -> bool:
    """Tell who ``token`` is. True where it is accepted and admitted.

    The reason of a refusal is told here, to the operator, though no caller ever learns it.
    """
    server = MCPOAuthServer(config)
    try:
        session, description = asyncio.run(_described(server, token))
    except AuthenticationError as error:
        if as_json:
            show_json({"accepted": False, "reason": error.reason, "detail": error.detail})
        else:
            show_refusal(error, server.settings.auth.trusted_idps)
        return False
    if as_json:
        show_json({"accepted": True, **description})
    else:
        console.print(_tree(description))
    return not session.rejected


async def _described(server: MCPOAuthServer, token: str) -> tuple[Session, dict[str, object]]:
    context = server.core_context
    try:
        session = await context.authenticator.authenticate(token)
        await context.pipeline.authority.initialize()
        return session, await describe(server, session)
    finally:
        await server.release()


async def describe(server: MCPOAuthServer, session: Session) -> dict[str, object]:
    """The session, its tools and its downstream identities, as JSON."""
    return {
        "session": describe_session(session),
        "rejected": session.rejection_reason if session.rejected else None,
        "tools": await server.tools_for(session),
        "becomes": {
            name: principal(server.core_context.pipeline, name, session)
            for name in server.core_context.registry.names()
        },
    }


def _tree(description: dict[str, object]) -> Tree:
    root = Tree(Text("token", style="bold"))
    for key, value in description.items():
        _grow(root, key, value)
    return root


def _grow(branch: Tree, key: str, value: object) -> None:
    match value:
        case dict():
            inner = branch.add(Text(key, style="bold"))
            for name, part in value.items():  # pyright: ignore[reportUnknownVariableType] -- JSON of describe()
                _grow(inner, str(name), part)  # pyright: ignore[reportUnknownArgumentType]
        case list():
            parts = [str(part) for part in value]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            branch.add(Text(f"{key}: {', '.join(parts) or 'none'}"))
        case _:
            branch.add(Text(f"{key}: {'none' if value is None else value}"))
