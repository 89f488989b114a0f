"""What the blocks of a page run in: a configuration that works, real users, a real database."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from actas.cli.demo_client import Visitor
from actas.cli.demo_stage import Stage
from actas.core import AuditEvent, Outcome, Receipt
from actas.core.audit import to_json

STARTS_WITHIN = 30.0
"""Seconds in which a server must serve."""
ENDS_WITHIN = 60.0
"""Seconds in which any command must end."""


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Place:
    """A folder in which a reader's files lie."""

    stage: Stage
    folder: Path
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """Where the server of this folder's ``actas.toml`` is reached."""
        return f"http://127.0.0.1:{self.port}/mcp"

    def token(self, user: str) -> str:
        """An access token for this folder's server."""
        return self.stage.provider.issue(user, audience=self.url)

    def furnish(self) -> None:
        """Write ``actas.toml`` and ``audit.jsonl``."""
        (self.folder / "actas.toml").write_text(self._configuration(), encoding="utf-8")
        lines = [
            AuditEvent(
                source="delegation:sql",
                outcome=outcome,
                action="query",
                tool="sql-delegate",
                subject="alice",
                username="alice",
                code=code,
                receipt=Receipt(identity="alice", method="login:peer") if code is None else None,
            )
            for outcome, code in ((Outcome.SUCCESS, None), (Outcome.REFUSED, "sql_statement_refused"))
        ]
        (self.folder / "audit.jsonl").write_text("".join(to_json(line) + "\n" for line in lines), encoding="utf-8")

    def _configuration(self) -> str:
        return f"""
[mcp]
port = {self.port}
[[auth.trusted_idps]]
name = "idp"
issuer = "{self.stage.provider.issuer}"
audience = "{self.url}"
claim_mappings = {{ legacy_username = "preferred_username" }}
role_mappings = {{ user = ["analyst"] }}
[auth.permissions]
user = ["sql:read"]
[delegation.modules.sql]
host = "{self.stage.database.socket_folder}"
database = "{self.stage.database.database}"
"""


@contextlib.contextmanager
def serving(
    command: Sequence[str], folder: Path, port: int, env: dict[str, str], *, end: signal.Signals = signal.SIGTERM
) -> Generator[None]:
    """Run a command that serves until the signal ``end``; inside, it serves. It must end by itself, and well."""
    log = folder / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=output, preexec_fn=_heeding_int)
        try:
            _wait_for(port, process, log)
            yield
            process.send_signal(end)
            status = process.wait(STARTS_WITHIN)
            # uvicorn.run() ends in good order, and then by the signal that it was sent.
            assert status in (0, -end), f"{' '.join(command)} ended with {status}:\n{log.read_text()}"
        finally:
            process.kill()
            process.wait()


def _heeding_int() -> None:
    """What was started in the background, as these tests may be, ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until:
        assert process.poll() is None, f"the server ended instead of serving:\n{log.read_text()}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nobody serves on port {port}:\n{log.read_text()}")


def run(command: Sequence[str], folder: Path, env: dict[str, str]) -> str:
    """Run a command that must end well; what it printed."""
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=ENDS_WITHIN)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def run_python(text: str, folder: Path, env: dict[str, str]) -> str:
    """Run a script; what it printed."""
    (folder / "block.py").write_text(text, encoding="utf-8")
    return run([sys.executable, "-W", "error", "block.py"], folder, env)


def answers(url: str, token: str, *, but: Sequence[str] = ()) -> dict[str, object]:
    """List the tools as an ordinary client and call, without arguments, all ``but`` some; structured content by name.

    Resources are read, and prompts filled in, besides; by URI and by name. The answer of a tool that refused is its
    text, which no other tool's answer can be.
    """

    async def ask() -> dict[str, object]:
        async with Visitor.connected(url, token) as visitor:
            found = {}
            for name in await visitor.tools():
                if not name.startswith(tuple(but)):
                    result = await visitor._client.call_tool(name, {})
                    found[name] = str(result.content) if result.is_error else result.structured_content
            client = visitor._client
            if client.server_capabilities.resources:
                for resource in (await client.list_resources()).resources:
                    found[resource.uri] = (await client.read_resource(resource.uri)).model_dump()
            if client.server_capabilities.prompts:
                for prompt in (await client.list_prompts()).prompts:
                    found[prompt.name] = (await client.get_prompt(prompt.name)).model_dump()
            return found

    return asyncio.run(ask())
