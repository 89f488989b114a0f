"""The helper processes, from the server's side: one user's each, from its start to its end."""

import pwd
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import cast

from actas.core.errors import ActasError, DownstreamUnavailable, IdentityMismatch, InternalError
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.failures import BY_CODE, Busy, StorageFailed, from_os
from actas.delegation.filesystem.frames import Broken, packed, received
from actas.delegation.filesystem.processes import Asked, Helper

_COMMAND = (sys.executable, "-I", "-X", "utf8", "-m", "actas.delegation.filesystem.helper")
_STARTS_WITHIN = 20.0
"""Seconds in which a process must be its user."""
_LIVES = 300.0
"""Seconds after which a process is not used again: who was taken out of a group has it no longer than that."""
_ENDS_WITHIN = 1.0
"""Seconds in which those that were killed are waited for: when everything ends, and when their user wants another."""
_PAUSE = 0.01


@dataclass(frozen=True, slots=True)
class Answer:
    """What a process gave, and who it is by the kernel."""

    data: dict[str, object]
    folder: str
    """In which it was done, beneath the base."""
    user: str
    uid: int
    gid: int


class Helpers:
    """At most ``most`` processes, idle ones included, and besides those that were killed and hang in the kernel.

    Args:
        per_user: how many of one user's may hang so; for that user no other is started then.
        greeting: what each is told at its start, besides whose it is.
        longest: bytes of the longest message.
        minimum_uid: the smallest number of a user.
    """

    def __init__(
        self,
        greeting: dict[str, object],
        *,
        longest: int,
        minimum_uid: int,
        most: int,
        per_user: int,
        idle_seconds: float,
    ) -> None:
        self._greeting, self._longest, self._minimum = greeting, longest, minimum_uid
        self._most, self._per_user, self._idle_seconds = most, per_user, idle_seconds
        self._idle: list[Helper] = []
        self._ending: list[Helper] = []
        self._busy = 0
        self._lock = threading.Lock()
        self._closed = False

    def able(self, budget: Budget) -> tuple[bool, bool]:
        """Whether a process that is started here could become other users, and whether the base is there. Blocking.

        Raises:
            StorageFailed: it cannot even be started.
            DelegationTimeout: it, or the base, does not answer.
            Busy: earlier ones hang.
        """
        self._see_that_they_end("", budget)
        helper = self._started("")
        try:
            asked = Asked(helper, budget.deadline)
            with budget.stopping(helper.kill):
                asked.send(packed({"base": self._greeting["base"]}, self._longest))
                said = received(asked.take, self._longest)
            return said.get("able") is True, said.get("there") is True
        except Broken as error:
            raise StorageFailed(detail=f"a helper process: {error}") from None
        finally:
            self._retire(helper)

    def ask(self, user: str, request: dict[str, object], budget: Budget) -> Answer:
        """Have a process of ``user``'s do ``request``. Blocking.

        Raises:
            ActasError: what the process says; DelegationTimeout; IdentityMismatch where it is not its user.
            StorageFailed: it broke.
        """
        helper = self._lent(user) or self._greeted(user, budget)
        good = False
        try:
            answer = self._exchange(helper, {**request, "seconds": budget.deadline - time.monotonic()}, budget)
            good = True  # it is its user, and said what can be said
        except Broken as error:
            budget.check()  # killed because nobody waits any more
            raise StorageFailed(detail=f"a helper process: {error}") from None
        finally:
            self._back(helper, good=good)
        if isinstance(answer, ActasError):
            raise answer
        return answer

    def _exchange(self, helper: Helper, message: dict[str, object], budget: Budget) -> Answer | ActasError:
        asked = Asked(helper, budget.deadline)
        with budget.stopping(helper.kill):
            asked.send(packed(message, self._longest))
            said = received(asked.take, self._longest)
        self._see(helper, asked)
        # Real, effective, saved, and the one that opens files: all four are the one that the kernel vouches for.
        if said.get("uids") != [str(asked.uid)] * 4 or said.get("gids") != [str(asked.gid)] * 4:
            raise IdentityMismatch(detail=f"a helper process says that it has the numbers {str(said.get('uids'))[:80]}")
        if "error" in said:
            return _error(said["error"])
        data, folder = said.get("data"), said.get("folder")
        if not isinstance(data, dict) or not isinstance(folder, str):
            raise Broken("an answer without data")
        return Answer(cast("dict[str, object]", data), folder[:500], helper.user, asked.uid, asked.gid)

    def _see(self, helper: Helper, asked: Asked) -> None:
        """Raises IdentityMismatch where the kernel did not see whom this process is for."""
        if helper.uid == -1:
            try:
                name = pwd.getpwuid(asked.uid).pw_name
            except KeyError:
                name = None
            if name == helper.user and asked.uid >= max(1, self._minimum):
                helper.uid = asked.uid
        if asked.uid != helper.uid:
            raise IdentityMismatch(detail=f"a helper process is user {asked.uid}")

    def _lent(self, user: str) -> Helper | None:
        with self._lock:
            if self._closed:
                raise DownstreamUnavailable(detail="the module was closed")
            self._busy += 1
            born = time.monotonic() - _LIVES  # or what was idle in the meantime would serve once more, however old
            for old in [each for each in self._idle if each.started <= born or each.process.poll() is not None]:
                self._idle.remove(old)
                self._end(old)
            mine = next((each for each in reversed(self._idle) if each.user == user), None)
            if mine is not None:
                self._idle.remove(mine)
            elif len(self._idle) + self._busy > self._most and self._idle:
                self._end(self._idle.pop(0))
        return mine

    def _greeted(self, user: str, budget: Budget) -> Helper:
        helper = None
        try:
            self._see_that_they_end(user, budget)
            helper = self._started(user)
            message = {**self._greeting, "user": user}
            asked = Asked(helper, min(budget.deadline, time.monotonic() + _STARTS_WITHIN))
            with budget.stopping(helper.kill):
                asked.send(packed(message, self._longest))
                answer = received(asked.take, self._longest)
            if "error" in answer:
                raise _error(answer["error"])
            self._see(helper, asked)
        except BaseException as error:
            with self._lock:
                self._busy -= 1
                if helper is not None:
                    self._end(helper)
            if isinstance(error, Broken):
                budget.check()
                raise StorageFailed(detail=f"a helper process did not start: {error}") from None
            raise
        return helper

    def _see_that_they_end(self, user: str, budget: Budget) -> None:
        """Raises Busy where those of ``user``'s that were killed do not end: they would add up without bounds."""
        until = time.monotonic() + _ENDS_WITHIN
        while self._hanging(user) >= self._per_user:
            budget.check()
            if time.monotonic() >= until:
                raise Busy(detail="the user's processes were killed and hang in the kernel")
            time.sleep(_PAUSE)

    def _hanging(self, user: str) -> int:
        with self._lock:
            self._ending = [each for each in self._ending if each.process.poll() is None]
            return sum(each.user == user for each in self._ending)

    def _started(self, user: str) -> Helper:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise from_os(error) from None
        with theirs:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            try:
                process = subprocess.Popen(  # noqa: S603 -- our own program
                    _COMMAND,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={},
                    cwd="/",
                    close_fds=True,
                    start_new_session=True,
                )
            except OSError:
                ours.close()
                raise StorageFailed(detail="a helper process cannot be started") from None
        return Helper(user, ours, process)

    def _back(self, helper: Helper, *, good: bool) -> None:
        now = time.monotonic()
        with self._lock:
            self._busy -= 1
            room = not self._closed and len(self._idle) + self._busy < self._most
            if good and room and not helper.killed and now - helper.started < _LIVES:
                helper.used = now
                self._idle.append(helper)
            else:
                self._end(helper)

    def _retire(self, helper: Helper) -> None:
        with self._lock:
            self._end(helper)

    def _end(self, helper: Helper) -> None:
        """Under the lock."""
        helper.close()
        self._ending = [each for each in [*self._ending, helper] if each.process.poll() is None]

    def sweep(self) -> bool:
        """End what has been idle for too long, and take leave of what has ended. Whether anything is idle still."""
        with self._lock:
            old = [each for each in self._idle if time.monotonic() - each.used >= self._idle_seconds]
            self._idle = [each for each in self._idle if each not in old]
            for helper in old:
                self._end(helper)
            self._ending = [each for each in self._ending if each.process.poll() is None]
            return bool(self._idle)

    def close(self) -> None:
        """End all that is idle now, and what is busy when it is given back. May be called twice. Blocking: 1 s at most,
        for what has been killed to be gone."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._end(self._idle.pop())
        until = time.monotonic() + _ENDS_WITHIN
        while not self._gone() and time.monotonic() < until:
            time.sleep(_PAUSE)

    def _gone(self) -> bool:
        self.sweep()
        return not self._ending and not self._busy


def _error(told: object) -> ActasError:
    """What a process says that went wrong. Raises Broken where nothing can go wrong so."""
    said = cast("dict[str, object]", told) if isinstance(told, dict) else {}
    code, message, detail = str(said.get("code")), said.get("message"), str(said.get("detail"))[:500]
    if code == InternalError.code:
        return InternalError(detail=detail)
    if code not in BY_CODE or not isinstance(message, str):
        raise Broken("an error that there is not")
    return BY_CODE[code](message[:500], detail=detail)
