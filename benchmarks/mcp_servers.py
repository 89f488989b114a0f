"""The servers that ``mcp_calls.py`` compares: ``python mcp_servers.py VARIANT PORT TOOLS``.

Each offers the same tool ``echo`` and TOOLS - 1 others, stateless, with JSON responses, under
uvicorn with uvloop and httptools.
"""

import json
import logging
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ISSUER, AUDIENCE = "https://idp.example", "https://mcp.example/mcp"
SCOPE = "mcp:tools"


async def echo(text: str) -> str:
    """Echo the text back."""
    return text


async def find_invoices(
    customer: int, start: str, end: str = "", limit: int = 100, tags: list[str] | None = None
) -> dict[str, Any]:
    """Look up the invoices of one customer between two dates, newest first."""
    return {}


def bare(tools: int) -> Any:
    """`mcp`'s own MCPServer, without authentication."""
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("bench", log_level="ERROR")
    server.tool()(echo)
    for number in range(tools - 1):
        server.tool(name=f"invoices_{number}")(find_invoices)
    return server.streamable_http_app(json_response=True, stateless_http=True)


def fastmcp(tools: int) -> Any:
    """FastMCP with its own JWTVerifier and the same key."""
    from fastmcp import FastMCP
    from fastmcp.server.auth.providers.jwt import JWTVerifier

    key = Path(os.environ["BENCH_PUBLIC_KEY"]).read_text()
    verifier = JWTVerifier(public_key=key, issuer=ISSUER, audience=AUDIENCE, required_scopes=[SCOPE])
    server = FastMCP("bench", auth=verifier)
    server.tool(echo)
    for number in range(tools - 1):
        server.tool(find_invoices, name=f"invoices_{number}")
    return server.http_app(path="/mcp", json_response=True, stateless_http=True)


@dataclass(frozen=True, slots=True)
class Echo:
    """What to say."""

    text: str
    """Comes back."""


@dataclass(frozen=True, slots=True)
class Invoices:
    """What to look for."""

    customer: int
    """The customer's number."""
    start: str
    """First day."""
    end: str = ""
    """Last day."""
    limit: int = 100
    """How many."""
    tags: list[str] = field(default_factory=list)
    """All of these."""


def actas(tools: int, cache_seconds: float = 60.0, short_way: bool = True, limits: Any = None) -> Any:
    """Ours: verified token, guard, pipeline, audit to a file."""
    from actas.core import Action
    from actas.mcp import MCPOAuthServer, Tool

    if not short_way:
        import actas.mcp.site as module

        module.traced = lambda: True  # what tracing does: everything goes the SDK's way
    server = MCPOAuthServer(
        {
            "mcp": {"resource": AUDIENCE, "allowed_hosts": ["127.0.0.1:*"]},
            "auth": {
                "trusted_idps": [
                    {
                        "name": "bench",
                        "issuer": ISSUER,
                        "audience": [AUDIENCE],
                        "jwks_uri": os.environ["BENCH_JWKS"],
                        "security": {"max_token_age": 0},
                    }
                ],
                "token_cache_seconds": cache_seconds,
                "permissions": {"guest": ["echo"]},
                "audit": {"path": os.environ["BENCH_AUDIT"]},
            },
            **(limits or {}),
        }
    )

    async def say(call: Any, pipeline: Any) -> Any:
        return call.parameters.text

    async def find(call: Any, pipeline: Any) -> Any:
        return {}

    server.register_tool(
        Tool.own(Action(name="echo", description="Echo the text back.", parameters=Echo, permission="echo"), say)
    )
    for number in range(tools - 1):
        action = Action(
            name=f"invoices_{number}",
            description="Look up the invoices of one customer between two dates, newest first.",
            parameters=Invoices,
            permission="echo",
        )
        server.register_tool(Tool.own(action, find))
    return server.asgi_app()


RATES = {
    "per_user": "900000000/day",
    "per_issuer": "900000000/day",
    "per_tool": {"echo": "900000000/day"},
    "failed_authentications_per_address": "30/minute",
}


def with_limits(tools: int) -> Any:
    """Ours, every limit switched on and none reached; counted in Redis where there is one."""
    shared = os.environ.get("BENCH_REDIS")
    return actas(tools, limits={"limits": RATES, **({"shared": {"url": shared}} if shared else {})})


VARIANTS = {
    "bare mcp, no auth": bare,
    "FastMCP + JWTVerifier": fastmcp,
    "actas": actas,
    "actas, no token cache": lambda tools: actas(tools, cache_seconds=0),
    "actas, SDK's way only": lambda tools: actas(tools, short_way=False),
}
LIMITED = {"actas, limits on": with_limits, "actas, limits on, shared": with_limits}
"""Compared by limits.py, not by mcp_calls.py."""


def main() -> None:
    """Serve until killed."""
    import uvicorn

    variant, port, tools = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    logging.basicConfig(level=logging.ERROR)
    for name in ("mcp", "fastmcp", "FastMCP"):
        logging.getLogger(name).setLevel(logging.ERROR)
    app = (VARIANTS | LIMITED)[variant](tools)
    uvicorn.run(app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", log_level="error", access_log=False)


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        print(json.dumps(list(VARIANTS)))
    else:
        main()
