"""``actas run`` in a process of its own, with the relay plug-in, and its log."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from . import relay


class Process:
    """One ``actas run``. ``log`` is what it wrote to standard error so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.log: list[str] = []
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())
        self.url = ""

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            async with self._news:
                self.log.append(line.decode())
                self._news.notify_all()

    async def says(self, pattern: str, *, after: int = 0) -> re.Match[str]:
        """Wait until a line of the log matches; lines before ``after`` do not count."""
        async with asyncio.timeout(60), self._news:
            while True:
                for line in self.log[after:]:
                    if (found := re.search(pattern, line)) is not None:
                        return found
                await self._news.wait()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, when it has ended."""
        async with asyncio.timeout(60):
            code = await self._process.wait()
            await self._reading
        return code


@contextlib.asynccontextmanager
async def actas_run(config: Path, folder: Path) -> AsyncIterator[Process]:
    """Inside, it serves."""
    plugins = folder / "process"
    plugins.mkdir()
    relay.install(plugins)
    path = os.pathsep.join([str(plugins), *filter(None, [os.environ.get("PYTHONPATH")])])
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "actas.cli", "run", str(config),
        stderr=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    process = Process(started)
    try:
        process.url = (await process.says(r"serving (\S+);")).group(1)
        yield process
    finally:
        if started.returncode is None:
            started.kill()
        await process.ended()
        print("".join(process.log))  # pytest shows it where a test fails
