"""Whether a server takes connections, asked as nobody.

Not asked through libpq: its ping waits with Python's lock held, so that one silent server would stop the whole
gateway. The messages are those of PostgreSQL's protocol 3.0, "Start-up" and "SSL Session Encryption".
"""

import asyncio
import ssl
import struct

from actas.delegation.sql.servers import Server
from actas.delegation.sql.settings import TlsSettings

PROBE_SECONDS = 4.0
"""Less than core waits for a health check, so that the answer is ours."""

_USER = b"user\0actas_health_check\0\0"
_STARTUP = struct.pack("!II", 8 + len(_USER), 3 << 16) + _USER
_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_CANNOT_CONNECT_NOW = b"C57P03"
_LONGEST_ERROR = 30_000


class Probe:
    """Asks one server. Over TCP it is verified as in a login."""

    def __init__(self, server: Server, tls: TlsSettings | None) -> None:
        self._server = server
        self._tls = tls

    async def answers(self) -> bool:
        """Whether the server would hear who wants in, known within ``PROBE_SECONDS``. Refusing nobody is an answer."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await self._asked()
        except (OSError, EOFError):
            return False

    async def _asked(self) -> bool:
        host, port, tls = self._server.host, self._server.port, self._tls
        if self._server.unix_socket:
            reader, writer = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            reader, writer = await asyncio.open_connection(host, port, happy_eyeballs_delay=0.25)
        try:
            if tls is not None:
                writer.write(_SSL_REQUEST)
                if await reader.readexactly(1) != b"S":
                    return False
                await writer.start_tls(_context(tls), server_hostname=host)
            writer.write(_STARTUP)
            return await _accepted(reader)
        finally:
            writer.transport.abort()


async def _accepted(reader: asyncio.StreamReader) -> bool:
    """The first answer: a question for credentials, or an error, which may say that the server is not ready."""
    kind, length = await reader.readexactly(1), int.from_bytes(await reader.readexactly(4))
    if kind != b"E" or not 4 <= length <= _LONGEST_ERROR:
        return kind == b"R"
    return _CANNOT_CONNECT_NOW not in (await reader.readexactly(length - 4)).split(b"\0")


def _context(tls: TlsSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # libpq is not stricter either
    if tls.certificate_file is not None:
        context.load_cert_chain(tls.certificate_file, tls.key_file, password=bytes)  # nobody is asked at a terminal
    return context
