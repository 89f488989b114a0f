"""CPU per request of an MCP server with authentication, against its peers: ``nox -s bench -- mcp_calls``.

All servers of a row run at once; the load goes to one after the other, round after round, forwards
and backwards, so that a slow minute of the machine hits all alike. CPU is what the kernel says the
server's process used. Ratios are taken within a round; the table shows their medians.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from pathlib import Path
from socket import create_connection, socket
from typing import Any

from joserfc import jwk, jwt
from mcp_servers import AUDIENCE, ISSUER, SCOPE, VARIANTS

CONNECTIONS = 16
WIRES = {"2026-07-28": "modern", "2025-11-25": "handshake"}


def request(wire: str, method: str, token: str) -> bytes:
    """One HTTP request, as clients of that wire send it."""
    params: dict[str, Any] = {"name": "echo", "arguments": {"text": "hello world"}} if method == "tools/call" else {}
    headers = {"mcp-protocol-version": wire}
    if wire == "2026-07-28":
        prefix = "io.modelcontextprotocol/"
        params["_meta"] = {
            f"{prefix}protocolVersion": wire,
            f"{prefix}clientInfo": {"name": "bench", "version": "1"},
            f"{prefix}clientCapabilities": {},
        }
        headers |= {"mcp-method": method} | ({"mcp-name": "echo"} if method == "tools/call" else {})
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    headers |= {
        "host": "127.0.0.1:1",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "authorization": f"Bearer {token}",
        "content-length": str(len(body)),
    }
    return b"POST /mcp HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()).encode() + b"\r\n" + body


class Server:
    """One variant in a process of its own."""

    def __init__(self, variant: str, tools: int, environment: dict[str, str]) -> None:
        with socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, str(Path(__file__).with_name("mcp_servers.py")), variant, str(self.port), str(tools)]
        self.process = subprocess.Popen(pinned(0) + command, env=os.environ | environment)
        for _ in range(300):
            try:
                create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"{variant} did not start")

    def cpu(self) -> float:
        """Seconds of CPU that its threads used so far."""
        used = 0
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            used += int((thread / "schedstat").read_text().split()[0])
        return used / 1e9


def pinned(core: int) -> list[str]:
    """A command prefix that keeps a process on one core, where there are two."""
    return ["taskset", "-c", str(core)] if (os.cpu_count() or 1) > 1 else []


async def load(port: int, messages: Iterable[bytes]) -> None:
    """Send ``messages`` over some connections; every answer must be good."""
    left = iter(messages)

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for message in left:
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = await reader.readexactly(length)
            if b" 200 " not in head[:16] or b'"error"' in body[:60] or b'"isError":true' in body:
                raise SystemExit(f"bad answer: {head[:200]!r} {body[:300]!r}")
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))


@dataclass(frozen=True)
class Run:
    """What all tables have in common."""

    rounds: int
    count: int
    environment: dict[str, str]
    token: str
    key: jwk.RSAKey | jwk.OKPKey


def compare(run: Run, variants: list[str], tools: int, method: str) -> None:
    """Print one table."""
    rounds, count, token, environment = run.rounds, run.count, run.token, run.environment
    servers = {variant: Server(variant, tools, environment) for variant in variants}
    try:
        for wire, name in WIRES.items():
            message = request(wire, method, token)
            spent: dict[str, list[float]] = {variant: [] for variant in variants}
            for round_ in range(rounds + 1):
                for variant in variants if round_ % 2 else variants[::-1]:
                    server = servers[variant]
                    before = server.cpu()
                    asyncio.run(load(server.port, repeat(message, count)))
                    if round_:  # the first one warms up
                        spent[variant].append((server.cpu() - before) / count * 1e6)
            print(f"\n{method}, {tools} tools, {name} wire ({wire}); {rounds} rounds of {count}")
            print(f"  {'':28}{'CPU µs':>9}{'× bare':>9}{'× FastMCP':>11}")
            for variant in variants:
                row = f"  {variant:28}{statistics.median(spent[variant]):9.0f}"
                for peer, width in ((variants[0], 9), ("FastMCP + JWTVerifier", 11)):
                    ratios = [a / b for a, b in zip(spent[variant], spent[peer], strict=True)]
                    row += f"{statistics.median(ratios):{width}.2f}"
                print(row, flush=True)
    finally:
        for server in servers.values():
            server.process.terminate()
            server.process.wait()


def main() -> None:
    """Make a key, publish it, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=1500)
    options = parser.parse_args()
    with provider(options.rounds, options.count) as run:
        compare(run, list(VARIANTS), 1, "tools/call")
        listed = ["bare mcp, no auth", "FastMCP + JWTVerifier", "actas", "actas, SDK's way only"]
        for tools in (1, 50, 200):
            fewer = replace(run, rounds=max(3, run.rounds // 2), count=max(100, run.count // (tools // 5 + 1)))
            compare(fewer, listed, tools, "tools/list")


def issue(key: jwk.RSAKey | jwk.OKPKey, user: str) -> str:
    """A token of ``user``, with as many claims as providers put into one."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": user,
        "exp": now + 86_400,
        "iat": now,
        "scope": SCOPE,
        "client_id": "bench",
        **{f"claim_{number}": "x" * 40 for number in range(8)},
    }
    algorithm = str(key.get("alg"))
    return jwt.encode({"alg": algorithm, "kid": "bench", "typ": "at+jwt"}, claims, key, algorithms=[algorithm])


@contextmanager
def provider(rounds: int, count: int, algorithm: str = "RS256") -> Iterator[Run]:
    """A key, published over HTTP, and a token; this process goes to the core that the servers leave free."""
    about: dict[str, str] = {"kid": "bench", "alg": algorithm, "use": "sig"}
    key = jwk.RSAKey.generate_key(2048, about) if algorithm == "RS256" else jwk.OKPKey.generate_key("Ed25519", about)
    token = issue(key, "alice")
    keys = json.dumps({"keys": [key.as_dict(private=False)]}).encode()

    class Jwks(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(keys)

        def log_message(self, *_: object) -> None:
            pass

    jwks = ThreadingHTTPServer(("127.0.0.1", 0), Jwks)
    threading.Thread(target=jwks.serve_forever, daemon=True).start()
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    with tempfile.TemporaryDirectory() as folder:
        public = Path(folder) / "key.pem"
        public.write_bytes(key.as_pem(private=False))
        environment = {
            "BENCH_PUBLIC_KEY": str(public),
            "BENCH_JWKS": f"http://127.0.0.1:{jwks.server_port}/jwks",
            "BENCH_AUDIT": str(Path(folder) / "audit.jsonl"),
        }
        yield Run(rounds, count, environment, token, key)


if __name__ == "__main__":
    main()
