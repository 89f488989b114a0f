"""A Node program that is told a line of JSON at a time, and answers each with one."""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from threading import Timer
from typing import Any

from actas.testing.node import environment, runnable

_ANSWER_SECONDS = 30


class NodeProcess:
    """``script`` of ``project``, running. It should end when its standard input does: then it ends with this process.

    Raises:
        ServerMissing: Node or a package is missing and cannot be installed.
    """

    def __init__(self, project: Path, script: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="actas-node-")
        folder = Path(self._folder.name)
        try:
            with (folder / "log").open("w") as log:
                self._process = subprocess.Popen(  # noqa: S603 -- fixed programs, no shell
                    runnable(project, script, folder),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env=environment(),
                    cwd=folder,
                )
        except BaseException:
            self._folder.cleanup()
            raise

    def ask(self, message: Mapping[str, object]) -> dict[str, Any]:  # Any: JSON
        """What it answers.

        Raises:
            RuntimeError: it ended, or took too long; with the end of what it wrote to standard error.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("both are pipes")
        watchdog = Timer(_ANSWER_SECONDS, self._process.kill)  # readline itself knows no limit
        watchdog.start()
        try:
            stdin.write(json.dumps(message) + "\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watchdog.cancel()
        if not line:
            log = (Path(self._folder.name) / "log").read_text(errors="replace")
            raise RuntimeError(f"the Node program ended, or did not answer: {log[-2000:]}")
        return dict(json.loads(line))

    def stop(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()
