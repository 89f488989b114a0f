"""One helper process, and one exchange with it: what is read of it, and from whom.

Whom a message comes from is not what it says: the kernel gives the sender's process and user with every piece of it
(``SCM_CREDENTIALS``, unix(7)).
"""

import signal
import socket
import struct
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field

from actas.core.errors import DelegationTimeout, IdentityMismatch
from actas.delegation.filesystem.frames import Broken

_PIECE = 1_048_576
_CREDENTIALS = struct.Struct("3i")


@dataclass(slots=True)
class Helper:
    """One process of one user's."""

    user: str
    connection: socket.socket
    process: "subprocess.Popen[bytes]"
    uid: int = -1
    """Pinned with its first answer."""
    killed: bool = False
    started: float = field(default_factory=time.monotonic)
    used: float = field(default_factory=time.monotonic)

    def kill(self) -> None:
        """End it, whatever it does. A process that hangs in the kernel ends when that lets it go."""
        self.killed = True
        with suppress(OSError):
            self.process.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Kill it, and close the connection."""
        self.kill()
        self.connection.close()


class Asked:
    """One exchange with a process: what is read of it, and from whom."""

    def __init__(self, helper: Helper, deadline: float) -> None:
        self._helper, self._deadline = helper, deadline
        self.uid, self.gid = -1, -1

    def send(self, data: bytes) -> None:
        """Raises Broken, DelegationTimeout."""
        try:
            self._helper.connection.settimeout(self._left())
            self._helper.connection.sendall(data)
        except TimeoutError:
            raise DelegationTimeout(detail="a helper process did not take what it was sent") from None
        except OSError:
            raise Broken("the helper process is gone") from None

    def take(self, length: int) -> bytes:
        """At most so many bytes, which the process itself sent, as one user throughout."""
        try:
            self._helper.connection.settimeout(self._left())
            data, beside, _, _ = self._helper.connection.recvmsg(
                min(length, _PIECE), socket.CMSG_SPACE(_CREDENTIALS.size)
            )
        except TimeoutError:
            raise DelegationTimeout(detail="a helper process did not answer in time") from None
        except OSError:
            raise Broken("the helper process is gone") from None
        if data:
            self._from(beside)
        return data

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise DelegationTimeout(detail="the deadline passed")
        return left

    def _from(self, beside: "list[tuple[int, int, bytes]]") -> None:
        for level, kind, data in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(data) == _CREDENTIALS.size:
                pid, uid, gid = _CREDENTIALS.unpack(data)
                if pid != self._helper.process.pid or (self.uid not in (-1, uid)) or (self.gid not in (-1, gid)):
                    break
                self.uid, self.gid = uid, gid
                return
        raise IdentityMismatch(detail="a message came from another process or user than the helper")
