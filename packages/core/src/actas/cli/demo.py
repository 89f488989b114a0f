"""``actas demo``: two users, one tool, and a database that knows which is which.

Everything is real: signed tokens, PostgreSQL 18 with row-level security, an MCP client over HTTP. All
of it listens on this machine only, and is gone when the command ends.
"""

import asyncio
import contextlib
import json
import logging
import shlex
import socket
from collections.abc import AsyncGenerator, Generator

from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from actas.cli.demo_client import Answer, Visitor
from actas.cli.demo_stage import CALLS, Stage
from actas.cli.output import console
from actas.core import MemorySink, Outcome
from actas.core.audit import to_json
from actas.mcp import MCPOAuthServer


def run_demo(*, once: bool, port: int) -> None:
    """Show it; then serve on until Ctrl-C, unless ``once``."""
    logging.basicConfig(level=logging.ERROR)
    with contextlib.suppress(KeyboardInterrupt), _stage(_free_port(port)) as stage:
        asyncio.run(_play(stage, once=once))


@contextlib.contextmanager
def _stage(port: int) -> Generator[Stage]:
    with contextlib.ExitStack() as cleanup:
        with console.status("starting an identity provider and PostgreSQL 18 …"):
            stage = cleanup.enter_context(Stage.built(port))
        _done(f"identity provider at {stage.provider.issuer}")
        _done("PostgreSQL 18 on a unix socket, with the users alice and bob and row-level security")
        yield stage


async def _play(stage: Stage, *, once: bool) -> None:
    minutes = MemorySink()
    server = MCPOAuthServer(stage.configuration(), audit_sink=minutes)
    async with _serving(server):
        _done(f"MCP server at {server.url}")
        console.print()
        console.print("The table [bold]orders[/bold] has five rows, two of alice's and three of bob's.")
        for user in stage.provider.users:
            await _visit(stage, server, user)
        _show_minutes(minutes)
        if not once:
            _show_how_to_call(stage, server)
            await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def _serving(server: MCPOAuthServer) -> AsyncGenerator[None]:
    await server.start()
    try:
        yield
    finally:
        await server.stop()


async def _visit(stage: Stage, server: MCPOAuthServer, user: str) -> None:
    async with Visitor.connected(server.url, stage.provider.issue(user)) as visitor:
        tools = await visitor.tools()
        console.print(Rule(Text(user, style="bold"), align="left", style="dim"))
        console.print(Text(f"sees the tools {', '.join(tools)}", style="cyan"), soft_wrap=True)
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for heading in ("calls sql-delegate with", "gets", "PostgreSQL saw"):
            table.add_column(heading, overflow="fold")
        for sql in CALLS[user]:
            answer = await visitor.query(sql)
            table.add_row(Text(sql), _told(answer), Text(answer.identity or "-"))
        console.print(table)
    console.print()


def _told(answer: Answer) -> Text:
    if answer.refusal is not None:
        return Text(answer.refusal, style="red")
    if not answer.rows:
        return Text("no rows", style="yellow")
    return Text("\n".join(", ".join(str(value) for value in row) for row in answer.rows), style="green")


def _show_minutes(minutes: MemorySink) -> None:
    console.print(Rule(Text("the audit log", style="bold"), align="left", style="dim"))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("who", "did what", "outcome", "code", "whom the downstream saw"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "code")
    for event in minutes.entries():
        saw = f"{event.receipt.identity} ({event.receipt.method})" if event.receipt else ""
        what = " ".join(filter(None, (event.source, event.action, event.tool)))
        table.add_row(event.username, what, event.outcome, event.code, saw)
    console.print(table)
    console.print("\nThe first success and the first refusal, as they are written:")
    calls = [event for event in minutes.entries() if event.source != "auth"]
    for outcome in (Outcome.SUCCESS, Outcome.REFUSED):
        told = next(event for event in calls if event.outcome is outcome)
        console.print(Text(to_json(told), style="dim"), soft_wrap=True)
    console.print()


def _show_how_to_call(stage: Stage, server: MCPOAuthServer) -> None:
    params = {"name": "sql-delegate", "arguments": {"sql": "SELECT * FROM orders"}}
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    take = "import json,sys; print(json.load(sys.stdin)['access_token'])"
    lines = f"""\
Serving on; Ctrl-C stops. Call it as alice or as bob from another terminal:

TOKEN=$(curl -s -d user=alice {stage.provider.token_endpoint} | python3 -c "{take}")
curl -s {server.url} -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' -H 'Accept: application/json' \\
  -d {shlex.quote(call)}

Or put it into an MCP client's configuration (the token is alice's, good for an hour):

{{"mcpServers": {{"actas-demo": {{"type": "http", "url": "{server.url}",
  "headers": {{"Authorization": "Bearer {stage.provider.issue("alice", expires_in=3600)}"}}}}}}}}
"""
    console.print(lines, markup=False, soft_wrap=True)


def _done(what: str) -> None:
    console.print(Text("✓ " if console.is_terminal else "- ", style="green") + Text(what), soft_wrap=True)


def _free_port(wanted: int) -> int:
    """``wanted`` if nobody listens there, else one that is free: a demo should not fail over a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
