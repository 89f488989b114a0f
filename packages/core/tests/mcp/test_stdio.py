"""stdio: a real process, the unmodified client, both wires; and nobody without a token."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TextIO

import pytest
from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import MCPError

from actas.testing.idp import IdentityProvider

from . import relay
from .conftest import Mode

pytestmark = pytest.mark.anyio

CNF = {"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}
MODES: list[Mode] = ["auto", "legacy"]


class Local:
    """What an MCP client would start, and what is left behind."""

    def __init__(self, folder: Path, idp: IdentityProvider) -> None:
        self.folder, self.idp = folder, idp
        self.config = folder / "actas.toml"
        self.minutes = folder / "audit.jsonl"
        self.token_file = folder / "token"
        plugins = folder / "plugins"
        plugins.mkdir()
        relay.install(plugins)
        path = os.pathsep.join([str(plugins), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.env = {**os.environ, "PYTHONPATH": path}
        self.config.write_text(f"""
[auth]
audit = {{ path = "{self.minutes}" }}
token_cache_seconds = 0
[[auth.trusted_idps]]
name = "demo"
issuer = "{idp.issuer}"
audience = "{idp.audience}"
role_mappings = {{ user = ["staff"], reject_unmapped_roles = true }}
[auth.permissions]
user = ["relay:use"]
[delegation.modules.relay]
""")

    def arguments(self, *more: str) -> list[str]:
        return ["-m", "actas.cli", "run", str(self.config), "--stdio", *more]

    @contextlib.asynccontextmanager
    async def client(self, *more: str, mode: Mode = "auto", token: str | None = None) -> AsyncIterator[Client]:
        env = self.env if token is None else {**self.env, "ACTAS_TOKEN": token}
        parameters = StdioServerParameters(command=sys.executable, args=self.arguments(*more), env=env)
        with self.folder.joinpath("log").open("w") as log:
            async with Client(stdio_client(parameters, errlog=log), mode=mode) as client:
                yield client

    async def fails(self, *more: str, token: str | None = None) -> str:
        """What it says when it does not start."""
        env = self.env if token is None else {**self.env, "ACTAS_TOKEN": token}
        process = await asyncio.create_subprocess_exec(
            sys.executable, *self.arguments(*more), env=env,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode == 1 and out == b""
        return err.decode()

    def recorded(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.minutes.read_text().splitlines()]


@pytest.fixture
def local(tmp_path: Path, idp: IdentityProvider) -> Local:
    return Local(tmp_path, idp)


@pytest.mark.parametrize("mode", MODES)
async def test_an_unmodified_client_calls_as_the_user_of_the_token(local: Local, mode: Mode) -> None:
    async with local.client(mode=mode, token=local.idp.issue("alice")) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"user-info", "relay-say", "relay-nap"} <= names
        who = await client.call_tool("user-info", {})
        assert who.structured_content is not None and who.structured_content["subject"] == "alice"
        said = await client.call_tool("relay-say", {})
        assert said.structured_content == {"result": "hello"}
    events = [(e["source"], e["outcome"]) for e in local.recorded()]
    assert ("auth", "success") in events and ("delegation:relay", "success") in events
    log = local.folder.joinpath("log").read_text()
    assert "serving alice over stdio" in log and local.idp.issue("alice")[:20] not in log


@pytest.mark.parametrize("mode", MODES)
async def test_limits_hold_over_stdio_too(local: Local, mode: Mode) -> None:
    local.config.write_text(local.config.read_text() + '[limits.per_tool]\nrelay-say = "1/hour"\n')
    async with local.client(mode=mode, token=local.idp.issue("alice")) as client:
        assert (await client.call_tool("relay-say", {})).structured_content == {"result": "hello"}
        with pytest.raises(MCPError) as told:
            await client.call_tool("relay-say", {})
        assert told.value.error.data["error"] == "too_many_requests"
        assert told.value.error.data["retryAfter"] > 1
        assert (await client.call_tool("user-info", {})).structured_content
    local.config.write_text(local.config.read_text() + '[limits]\nper_user = "1/hour"\n')
    async with local.client(mode=mode, token=local.idp.issue("alice")) as client:
        with pytest.raises(MCPError, match="Too many requests"):
            for _ in range(2):
                await client.call_tool("user-info", {})


async def test_without_a_token_nobody_is_served(local: Local) -> None:
    told = await local.fails()
    assert "Set ACTAS_TOKEN" in told and "--token-file" in told and "Traceback" not in told
    local.token_file.write_text(local.idp.issue())
    assert "One of the two" in await local.fails("--token-file", str(local.token_file), token=local.idp.issue())


@pytest.mark.parametrize(
    ("issue", "reason"),
    [
        (lambda idp: idp.issue("alice", audience="https://other"), "wrong_audience"),
        (lambda idp: idp.issue("alice", expires_in=-1000), "expired"),
        (lambda idp: idp.issue("alice", claims=CNF), "sender_constrained"),
        (lambda idp: "nonsense", "malformed"),
        (lambda idp: " ", "no_token"),
        (lambda idp: idp.issue("guest"), "admitted to nothing"),
    ],
)
async def test_a_token_that_is_not_accepted_stops_the_start_and_is_recorded(
    local: Local, issue: Callable[[IdentityProvider], str], reason: str
) -> None:
    local.token_file.write_text(issue(local.idp))
    told = await local.fails("--token-file", str(local.token_file))
    assert reason in told and "Traceback" not in told
    assert [(e["source"], e["outcome"]) for e in local.recorded()] == [("auth", "refused")]


async def test_a_token_file_that_is_not_there_stops_the_start(local: Local) -> None:
    assert "no_token" in await local.fails("--token-file", str(local.folder / "nothing"))


@pytest.mark.parametrize("mode", MODES)
async def test_a_token_that_is_no_longer_good_is_an_error_that_says_what_to_do_and_a_renewed_one_is_taken_up(
    local: Local, mode: Mode
) -> None:
    local.token_file.write_text(local.idp.issue("alice"))
    async with local.client("--token-file", str(local.token_file), mode=mode) as client:
        assert not (await client.call_tool("relay-say", {})).is_error
        for bad in (local.idp.issue("alice", expires_in=-1000), "", local.idp.issue("bob", scopes=[])):
            local.token_file.write_text(bad)
            with pytest.raises(MCPError, match="Put a new one of the same user into the token file") as caught:
                await client.call_tool("relay-say", {})
            assert caught.value.data == {"error": "invalid_token"}
            with pytest.raises(MCPError, match="not accepted any more"):
                await client.session.send_ping()
        local.token_file.write_text(local.idp.issue("alice"))
        assert not (await client.call_tool("relay-say", {})).is_error
    refused = {e["reason"] for e in local.recorded() if e["outcome"] == "refused"}
    assert {"expired", "no_token", "other_caller"} <= {reason.split(":")[0] for reason in refused}


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_that_needs_more_scopes_names_them_and_succeeds_with_them(local: Local, mode: Mode) -> None:
    local.token_file.write_text(local.idp.issue("alice", scopes=[]))
    async with local.client("--token-file", str(local.token_file), mode=mode) as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("relay-scoped", {})
        assert caught.value.data == {"error": "insufficient_scope", "scopes": ["toy.read"]}
        local.token_file.write_text(local.idp.issue("alice", scopes=["toy.read"]))
        assert not (await client.call_tool("relay-scoped", {})).is_error


@pytest.mark.parametrize("mode", MODES)
async def test_a_hidden_tool_is_an_unknown_tool_and_stray_output_stays_off_the_wire(local: Local, mode: Mode) -> None:
    async with local.client(mode=mode, token=local.idp.issue("alice")) as client:
        for name in ("relay-hidden", "relay-nothing"):
            with pytest.raises(MCPError, match="Unknown tool"):
                await client.call_tool(name, {})
        assert (await client.call_tool("relay-print", {})).structured_content == {"result": "hello"}
    assert "a stray line" in local.folder.joinpath("log").read_text()


async def _raw(local: Local, log: TextIO) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, *local.arguments(), env={**local.env, "ACTAS_TOKEN": local.idp.issue("alice")},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
    )  # fmt: skip


def _message(number: int, method: str, params: dict[str, object]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


HELLO = _message(
    1, "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
)
READY = b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'


async def test_sigterm_lets_a_running_call_finish_although_the_client_stays(local: Local) -> None:
    with local.folder.joinpath("log").open("w") as log:
        process = await _raw(local, log)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(HELLO + READY)
        assert b'"protocolVersion"' in await process.stdout.readline()
        process.stdin.write(_message(2, "tools/call", {"name": "relay-nap", "arguments": {"seconds": 0.5}}))
        process.stdin.write(_message(3, "ping", {}))
        assert json.loads(await process.stdout.readline())["id"] == 3  # so the call has been read
        process.send_signal(signal.SIGTERM)
        answer = json.loads(await process.stdout.readline())
        assert (answer["id"], answer["result"]["structuredContent"]) == (2, {"result": "hello"})
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    assert local.recorded()[-1]["outcome"] == "success"


async def test_it_ends_with_its_client_and_a_message_without_end_ends_it_too(local: Local) -> None:
    for ending in (b"", b"x" * 2_000_000):
        with local.folder.joinpath("log").open("w") as log:
            process = await _raw(local, log)
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(HELLO + READY)
            await process.stdout.readline()
            process.stdin.write(ending)
            if not ending:
                process.stdin.close()
            async with asyncio.timeout(30):
                assert await process.wait() == 0
            with contextlib.suppress(ConnectionError):
                process.stdin.close()
                await process.stdin.wait_closed()
    assert "longer than max_body_bytes" in local.folder.joinpath("log").read_text()


@pytest.mark.parametrize("mode", MODES)
async def test_a_long_call_is_reported_and_can_be_taken_back(local: Local, mode: Mode) -> None:
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)
        assert message is not None and message.startswith("Running for 2") and message.endswith(" s. Napping.")

    async with local.client(mode=mode, token=local.idp.issue("alice")) as client:
        done = await client.call_tool("relay-nap", {"seconds": 2.6}, progress_callback=hear)
        assert done.structured_content == {"result": "hello"}
        assert len(heard) == 1
        assert heard[0] >= 2
        task = asyncio.create_task(client.call_tool("relay-nap", {"seconds": 30}))
        await asyncio.sleep(0.5)
        task.cancel()
        for _ in range(500):
            if "cancelled" in [event["outcome"] for event in local.recorded()]:
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("it was not cancelled")
        assert (await client.call_tool("relay-say", {})).structured_content == {"result": "hello"}
