"""A helper process: becomes one user of the operating system, then does what the server asks in that user's folder.

Started as ``python -I -m actas.delegation.filesystem.helper`` with a socket in the place of standard input, and nothing
else that is open. It ends when the server does, or says no more.
"""

import codecs
import os
import socket
import time
from collections.abc import Callable
from typing import TypeVar, cast

from actas.core.errors import ActasError, InternalError
from actas.delegation.filesystem.actions import PARAMETERS
from actas.delegation.filesystem.bases import Base
from actas.delegation.filesystem.becoming import account, become, can_become_others, status
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.failures import from_os
from actas.delegation.filesystem.frames import Broken, longest, packed, received, taking
from actas.delegation.filesystem.kernel import has_proc
from actas.delegation.filesystem.operations import Rules, carry_out
from actas.delegation.filesystem.settings import ChangeSettings, LimitSettings
from actas.delegation.filesystem.ways import Way, best

T = TypeVar("T")

_GREETING = 1_000_000
"""Bytes of the first message."""
_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "latin-1", "cp1252")


def main() -> None:
    """Serve until the server is gone."""
    for encoding in _ENCODINGS:
        codecs.lookup(encoding)  # the user may not be allowed to read where Python is installed
    parent = os.getppid()
    with socket.socket(fileno=os.dup(0)) as connection:
        try:
            greeting = received(taking(connection), _GREETING)
            if "user" not in greeting:
                connection.sendall(packed(_probed(cast("str", greeting["base"])), _GREETING))
                return
            _become(greeting)
            rules = rules_of(greeting)
        except (ActasError, OSError) as error:
            connection.sendall(packed(told(error), _GREETING))
            return
        if os.getppid() != parent:
            return  # it ended before the kernel was asked to tell
        connection.sendall(packed({"ready": True}, _GREETING))
        serve(connection, rules, cast("str", greeting["base"]))


def _probed(base: str) -> dict[str, object]:
    """What this process could do, and whether there is anything to do it in. Where that hangs, it is killed."""
    return {"able": can_become_others(), "there": os.path.isdir(base)}


def _become(greeting: dict[str, object]) -> None:
    who = account(cast("str", greeting["user"]), cast("int", greeting["minimum_uid"]))
    become(
        who,
        memory=cast("int", greeting["memory"]),
        file_size=cast("int", greeting["file_size"]),
        umask=cast("int", greeting["umask"]),
    )
    has_proc()


def rules_of(greeting: dict[str, object]) -> Rules:
    """The rules, as the server sent them."""
    limits, change = greeting["limits"], greeting["change"]
    may_change = None if change is None else _made(ChangeSettings, change)
    return Rules(_made(LimitSettings, limits), may_change, bool(greeting["hard_links"]))


def _made(kind: Callable[..., T], fields: object) -> T:
    """What the server had checked before it sent it, put together again."""
    return kind(**cast("dict[str, object]", fields))


def serve(connection: socket.socket, rules: Rules, at: str) -> None:
    """Answer one request after the other. Whatever comes, the answer has who the kernel says that this process is."""
    most = longest(rules.limits.read_bytes, rules.limits.write_bytes)
    way, base = best(), Base(at)
    while True:
        try:
            request = received(taking(connection), most)
        except Broken:
            return
        try:
            answer = _answer(request, base, rules, way)
        except (ActasError, OSError) as error:
            answer = told(error)
        except Exception as error:
            answer = told(InternalError(detail=f"{type(error).__name__} in a helper"))
        said = status()
        answer["uids"], answer["gids"] = said["Uid"].split(), said["Gid"].split()
        connection.sendall(packed(answer, most))


def _answer(request: dict[str, object], base: Base, rules: Rules, way: Way) -> dict[str, object]:
    name = cast("str", request["action"])
    asked = _made(PARAMETERS[name], request["parameters"])
    operation = rules.operation(name, asked)
    parts = tuple(each.encode() for each in cast("list[str]", request["parts"]))
    budget = Budget(time.monotonic() + cast("float", request["seconds"]))
    done = carry_out(operation, base, parts, rules, way, budget)
    return {"data": done.data, "folder": os.fsdecode(done.folder)}


def told(error: ActasError | OSError) -> dict[str, object]:
    """An error on the wire."""
    ours = from_os(error) if isinstance(error, OSError) else error
    return {"error": {"code": ours.code, "message": ours.message, "detail": ours.detail}}


if __name__ == "__main__":
    main()
