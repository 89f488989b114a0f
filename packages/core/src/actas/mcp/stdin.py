"""Standard input, line by line, in a way that can be stopped and cannot be filled without end.

The SDK reads it in a thread, which nothing can call back from its read: a process told to stop would
wait for its client. What code behind the tools reads from standard input is the null device.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator
from typing import Self

from actas.core import ConfigurationError

logger = logging.getLogger(__name__)


class Lines:
    """An iterator over lines, which somebody else may end."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self.reader = asyncio.StreamReader(limit=longest)
        self.source: asyncio.ReadTransport | None = None

    def end(self) -> None:
        """There are no more, whatever the other end does."""
        if self.source is not None:
            self.source.pause_reading()
        self.reader.feed_eof()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        try:
            line = await self.reader.readline()
        except ValueError:
            logger.error("a message is longer than max_body_bytes (%d): the connection ends", self._longest)
            raise StopAsyncIteration from None
        if not line:
            raise StopAsyncIteration
        return line.decode("utf-8", "replace")


@contextlib.asynccontextmanager
async def standard_input(longest: int) -> AsyncGenerator[Lines]:
    """Its lines, inside. One longer than ``longest`` bytes ends them.

    Raises:
        ConfigurationError: it is neither a pipe nor a terminal.
    """
    kept, read = os.dup(0), os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    lines = Lines(longest)
    pipe = os.fdopen(read, "rb", buffering=0)
    try:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines.reader), pipe
        )
    except ValueError as error:
        pipe.close()
        raise ConfigurationError("stdio: standard input must be a pipe, as an MCP client makes it") from error
    else:
        try:
            lines.source = transport
            yield lines
        finally:
            transport.close()
    finally:
        os.set_blocking(kept, True)  # it may be a shell's terminal, which shares what asyncio has set
        os.dup2(kept, 0)
        os.close(kept)
