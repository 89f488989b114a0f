"""Be a newcomer: from ``pip install`` to an MCP client that calls a tool of one's own, with a clock.

Does what ``docs/tutorial/your-first-plugin.md`` says, word for word, in an empty folder, a fresh environment and one
shell; packages come from a folder of wheels and from nowhere else. Only the two ports are free ones::

    python tools/newcomer.py WHEELS
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs" / "tests"))

from docs_blocks import blocks  # noqa: E402 -- found through the path that was just set

PAGE = "docs/tutorial/your-first-plugin.md"
SERVERS = {"python provider.py": "9000", "actas run actas.toml": "8080"}
"""The commands that the page has in terminals of their own, and the ports that they serve on."""
SERVES_WITHIN = 30.0
"""Seconds."""
ENDS_WITHIN = 5.0
"""Seconds."""
MOST = 600.0
"""Seconds that a person is promised; the machine's part has to be far below."""
_END = "--end-of-command--"


class Shell:
    """One shell, in which commands follow each other as they do in a terminal."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> str:
        """What ``command`` printed. Raises SystemExit where it fails."""
        assert self._bash.stdin and self._bash.stdout
        self._bash.stdin.write(f"{command} </dev/null\necho {_END} $?\n")
        self._bash.stdin.flush()
        printed: list[str] = []
        for line in self._bash.stdout:
            if line.startswith(_END):
                if line.split()[1] != "0":
                    raise SystemExit(f"$ {command}\n{''.join(printed)}ended with {line.split()[1]}")
                return "".join(printed)
            printed.append(line)
        raise SystemExit(f"$ {command}\n{''.join(printed)}ended the shell")

    def write(self, name: str, text: str) -> None:
        """Put ``text`` into a file where the shell stands."""
        (Path(self.run("pwd").strip()) / name).write_text(text, encoding="utf-8")

    def close(self) -> None:
        """End it, and what it started, in good order where they can."""
        for ending in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._bash.pid, ending)
            until = time.monotonic() + ENDS_WITHIN
            while time.monotonic() < until:
                self._bash.poll()
                try:
                    os.killpg(self._bash.pid, 0)
                except ProcessLookupError:
                    return
                time.sleep(0.05)


def walk(house: Path, folder: Path) -> tuple[str, float]:
    """Do what the page says. What the client printed, and how long it took in seconds."""
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(house),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_QUIET": "1",
    }
    ports = {port: str(free_port()) for port in SERVERS.values()}
    shell = Shell(folder, environment)
    client = ""
    started = time.monotonic()
    try:
        for block in blocks(PAGE):
            if block.language != "console":
                shell.write(block.title, with_ports(block.text, ports))
                continue
            for command in block.commands():
                before = time.monotonic()
                printed = do(shell, command, ports)
                print(f"{time.monotonic() - before:6.1f} s  $ {command}", flush=True)
                client = printed if command == "python client.py" else client
        return client, time.monotonic() - started
    finally:
        shell.close()


def do(shell: Shell, command: str, ports: dict[str, str]) -> str:
    if command not in SERVERS:
        return shell.run(command)
    log = f"{SERVERS[command]}.log"
    printed = shell.run(f"{command} >{log} 2>&1 & true")
    until = time.monotonic() + SERVES_WITHIN
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", int(ports[SERVERS[command]])), timeout=1).close()
            return printed
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"$ {command}\n{shell.run(f'cat {log}')}does not serve")


def with_ports(text: str, ports: dict[str, str]) -> str:
    return re.sub("|".join(ports), lambda match: ports[match[0]], text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def complain(printed: str) -> list[str]:
    """What is wrong with what the client printed."""
    wanted = [
        "alice team-notes-count-notes {'count': 2}",
        "alice team-notes-list-notes {'notes': ['alices-plan', 'welcome']}",
        "team_notes_denied",
        "bob team-notes-count-notes {'count': 2}",
        "bob team-notes-list-notes {'notes': ['bobs-plan', 'welcome']}",
        "bob team-notes-read-note {'text': 'Sell the desk.'}",
    ]
    lines = printed.splitlines()
    if len(lines) != len(wanted):
        return [f"the client printed {len(lines)} lines:\n{printed}"]
    return [f"not {want!r}: {line}" for want, line in zip(wanted, lines, strict=True) if want not in line]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheels", type=Path)
    house = parser.parse_args().wheels.resolve()
    folder = Path(tempfile.mkdtemp(prefix="newcomer-"))
    try:
        printed, seconds = walk(house, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    problems = complain(printed)
    problems += [] if seconds < MOST else [f"it took {seconds:.0f} s"]
    print("\n".join(problems) or f"from pip install to the answer of a tool of one's own: {seconds:.1f} s")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
