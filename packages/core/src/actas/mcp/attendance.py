"""A tool call while it runs: its caller may leave or take it back, and whoever asked for it hears that it goes on.

On the 2026-07-28 wire, closing the response takes a call back. On the older ones that may be no more than a bad
network, and a notification does (:mod:`actas.mcp.running`). Either way the call is cancelled, and what it does
downstream with it.

A caller that sent a progress token hears how long the call has been running, and what it says itself of how far it has
come (:mod:`actas.core.progress`). An event stream is begun for that when
there is something to hear: what ends before is answered as plain JSON, and may still be refused with an HTTP status.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

from actas.core.progress import Progress
from actas.core.progress import progress as current_progress
from actas.mcp.running import RunningCalls
from actas.oauth.asgi import Message, Receive, Send, respond

FIRST_BEAT = BEAT_SECONDS = 2.0
"""Seconds between two words of progress, and before the first."""
_EVENTS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]

_Result = TypeVar("_Result")


class TakenBack(Exception):
    """The caller does not want the answer any more. What ran was cancelled."""


class Attendance:
    """Looks after one request over HTTP. Its :meth:`receive` and :meth:`send` stand in for the connection's.

    Args:
        receive, send: the connection's.
        watch_with: what says when to look whether the caller has left. None: leaving takes nothing back.
        body_read: whether nothing of the request is left to receive.
        hears: whether the caller takes an event stream for an answer.
        silent: whether, for another reason, no word of progress may go out any more.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        watch_with: RunningCalls | None,
        body_read: bool = False,
        hears: bool = False,
        silent: Callable[[], bool] = lambda: False,
    ) -> None:
        self._receive = receive
        self._send = send
        self._watch_with = watch_with
        self._hears = hears
        self._silent = silent
        self._whole = asyncio.Event()
        if body_read:
            self._whole.set()
        self._gone = asyncio.Event()
        self._limit: asyncio.Timeout | None = None
        self._watch: asyncio.Task[None] | None = None
        self._beat_timer: asyncio.TimerHandle | None = None
        self._beating: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._progress = Progress()
        self._answered = False
        self.begun = False
        """Whether an event stream has begun: nothing but events can be said any more."""

    async def run(self, work: Awaitable[_Result]) -> _Result:
        """What ``work`` returns. To be called once.

        Raises:
            TakenBack: the caller left, or :meth:`take_back` was called, before it was done; it was cancelled.
        """
        limit = self._limit = asyncio.timeout(None)
        if self._watch_with is not None:
            self._watch_with.after_a_while(self._begin_watch)
        try:
            async with limit:
                return await work
        except TimeoutError:
            if limit.expired():
                raise TakenBack from None
            raise
        finally:
            self._limit = None
            for still_to_come in (self._watch, self._beat_timer):
                if still_to_come is not None:
                    still_to_come.cancel()

    def take_back(self) -> None:
        """Cancel what runs. Nothing where it is over."""
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())

    def report(self, token: str | int | None) -> None:
        """From now on say to the caller, under its progress token, how long the call has been running.

        Nothing where it gave none, or takes no events.
        """
        if token is None or not self._hears:
            return
        loop = asyncio.get_running_loop()
        current_progress.set(self._progress)
        self._beat_timer = loop.call_later(FIRST_BEAT, self._begin_beat, token, loop.time())

    async def receive(self) -> Message:
        """The connection's next message; when the body is read, the caller's leaving."""
        if self._whole.is_set() and self._watch_with is not None:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] != "http.request":
            self._gone.set()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._whole.set()
        return message

    async def send(self, message: Message) -> None:
        """Answer. Where an event stream has begun, the answer's body becomes its last event."""
        self._answered = True
        async with self._turn:
            if not self.begun:
                await self._send(message)
            elif message["type"] == "http.response.body":
                body, more = message.get("body", b""), message.get("more_body", False)
                event = _event(body) if body else b""
                await self._send({"type": "http.response.body", "body": event, "more_body": more})

    async def answer_nothing(self) -> None:
        """Answer what was taken back: MCP wants no answer, and HTTP some. What has begun otherwise is left as it is."""
        if not self._answered:
            await respond(self.send, 202, [], b"")

    def _begin_watch(self) -> None:
        if self._limit is not None:
            self._watch = asyncio.create_task(self._see_leaving())

    async def _see_leaving(self) -> None:
        await self._whole.wait()
        while not self._gone.is_set():
            if (await self._receive())["type"] != "http.request":
                self._gone.set()
        self.take_back()

    def _begin_beat(self, token: str | int, began: float) -> None:
        if self._limit is not None and not self._answered:
            self._beating = asyncio.create_task(self._beat(token, began))

    async def _beat(self, token: str | int, began: float) -> None:
        loop = asyncio.get_running_loop()
        async with self._turn:
            if self._answered or self._silent():
                return
            if not self.begun:
                self.begun = True
                await self._send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
            elapsed = round(loop.time() - began, 1)
            word = _event(json.dumps(progress(token, elapsed, self._progress.message)).encode())
            await self._send({"type": "http.response.body", "body": word, "more_body": True})
        if self._limit is not None:
            self._beat_timer = loop.call_later(BEAT_SECONDS, self._begin_beat, token, began)


def hears_events(accept: bytes) -> bool:
    """Whether a client with this ``Accept`` header takes an event stream for an answer."""
    kinds = {kind.split(b";")[0].strip().lower() for kind in accept.split(b",")}
    return bool(kinds & {b"text/event-stream", b"text/*", b"*/*"})


def progress(token: str | int, elapsed: float, said: str = "") -> dict[str, object]:
    """The notification that a call goes on. How much is left, nobody knows."""
    params = {"progressToken": token, "progress": elapsed, "message": running_for(elapsed, said)}
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


def running_for(elapsed: float, said: str = "") -> str:
    """The same for people, with what the call ``said`` itself."""
    return f"Running for {elapsed:g} s. {said}".rstrip()


def _event(message: bytes) -> bytes:
    """One server-sent event. JSON, as it is serialised here, has no line breaks."""
    return b"event: message\r\ndata: " + message + b"\r\n\r\n"
