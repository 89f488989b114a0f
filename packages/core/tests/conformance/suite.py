"""The official suite, run as a program against a server; its findings read from the files that it leaves."""

import json
import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from actas.testing.node import environment, node_program, packages

PROJECT = Path(__file__).parent / "suite"
HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"
_SECONDS = 120
_RESULT = re.compile(r"server-(.+)-\d{4}-\d\d-\d\dT")
_UNSCORED = re.compile(r"^  [✓✗] (\S+) \(", re.MULTILINE)


@dataclass(frozen=True)
class Report:
    """What the suite found."""

    accepted: bool
    """By the suite's own verdict: everything that the revision requires."""
    checks: dict[str, Counter[tuple[str, str]]]
    """Per scenario: how often a check ended with which status."""
    unscored: frozenset[str]
    """Scenarios that are run but decide nothing: extensions, and what the suite's own server does not pass."""
    complaints: list[str] = field(default_factory=list[str])
    """In words, of checks that failed or warn."""

    @property
    def scored(self) -> set[str]:
        return self.checks.keys() - self.unscored

    @property
    def passed(self) -> set[str]:
        """Scenarios in which something was checked and nothing failed."""
        return {name for name, found in self.checks.items() if _good(found)}


def run(url: str, revision: str) -> Report:
    """Everything that ``revision`` requires of a server, at ``url``."""
    program = packages(PROJECT) / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    with tempfile.TemporaryDirectory() as folder:
        command = [str(node_program()), str(program), "server", "--url", url, "--requirements", revision, "-o", folder]
        done = subprocess.run(
            command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        checks: dict[str, Counter[tuple[str, str]]] = {}
        complaints = []
        for file in sorted(Path(folder).glob("*/checks.json")):
            name = _RESULT.match(file.parent.name)
            assert name is not None, file
            for check in json.loads(file.read_text()):
                checks.setdefault(name[1], Counter())[check["id"], check["status"]] += 1
                if check["status"] in ("FAILURE", "WARNING"):
                    complaints.append(f"{name[1]}: {check['id']}: {check['status']}: {check.get('errorMessage')}")
    if not checks:
        raise RuntimeError(f"the suite did not run: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    return Report(done.returncode == 0, checks, frozenset(_UNSCORED.findall(done.stdout)), complaints)


def _good(found: Counter[tuple[str, str]]) -> bool:
    statuses = {status for _, status in found}
    return "SUCCESS" in statuses and "FAILURE" not in statuses
