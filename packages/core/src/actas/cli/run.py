"""``actas run``."""

import asyncio
import logging
import os
from pathlib import Path

from actas.mcp import MCPOAuthServer


def serve(config: Path) -> None:
    """Serve ``config`` until SIGINT or SIGTERM. Raises ConfigurationError where it cannot start."""
    _log()
    server = MCPOAuthServer(config)

    def announce(url: str) -> None:
        logging.getLogger("actas").info("serving %s; stop with Ctrl-C", url)

    asyncio.run(server.serve(started=announce))


def serve_stdio(config: Path, *, token: str | None, token_file: Path | None) -> None:
    """Serve ``config`` over standard input and output. Raises ActasError where it cannot start."""
    _log()
    os.environ.pop("ACTAS_TOKEN", None)  # what a plug-in starts has no business with it
    asyncio.run(MCPOAuthServer(config).serve_stdio(token=token, token_file=token_file))


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("mcp", "httpx", "httpx2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
