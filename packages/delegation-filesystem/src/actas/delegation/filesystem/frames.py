"""What goes between the server and a helper process: JSON, with its length in front, never longer than agreed."""

import json
import socket
import struct
from collections.abc import Callable
from typing import cast

_LENGTH = struct.Struct("!I")


class Broken(Exception):
    """The other side is gone, or says what it may not."""


def packed(message: dict[str, object], most: int) -> bytes:
    """``message`` on the wire. Raises Broken where it is longer than ``most`` bytes."""
    # Half a character, which JSON may carry, is for the other side to judge; json.loads takes it too.
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
    if len(body) > most:
        raise Broken("a message longer than agreed")
    return _LENGTH.pack(len(body)) + body


def received(take: Callable[[int], bytes], most: int) -> dict[str, object]:
    """The next message, of at most ``most`` bytes.

    Args:
        take: gives at most as many bytes as it is asked for, none at the end.

    Raises:
        Broken: there is none, or it is none.
    """
    (length,) = _LENGTH.unpack(_exactly(take, _LENGTH.size))
    if length > most:
        raise Broken("a message longer than agreed")
    try:
        message: object = json.loads(_exactly(take, length))
    except (ValueError, RecursionError):
        raise Broken("a message that is no JSON") from None
    if not isinstance(message, dict):
        raise Broken("a message that is no object")
    return cast("dict[str, object]", message)


def _exactly(take: Callable[[int], bytes], length: int) -> bytes:
    pieces: list[bytes] = []
    while length:
        piece = take(length)
        if not piece:
            raise Broken("the other side is gone")
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def longest(read_bytes: int, write_bytes: int) -> int:
    """Bytes of the longest message: JSON writes a control character with six, and a list of names needs room."""
    return 6 * max(read_bytes, write_bytes) + 4_000_000


def taking(connection: socket.socket) -> Callable[[int], bytes]:
    """Takes bytes off a connection."""
    return lambda length: connection.recv(min(length, 1_048_576))
