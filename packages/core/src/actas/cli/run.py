"""``actas run``."""

import asyncio
import logging
from pathlib import Path

from actas.mcp import MCPOAuthServer


def serve(config: Path) -> None:
    """Serve ``config`` until SIGINT or SIGTERM. Raises ConfigurationError where it cannot start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("mcp", "httpx", "httpx2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    server = MCPOAuthServer(config)

    def announce(url: str) -> None:
        logging.getLogger("actas").info("serving %s; stop with Ctrl-C", url)

    asyncio.run(server.serve(started=announce))
