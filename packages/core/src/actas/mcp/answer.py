"""What goes out: the application's answer, or the door's in its place as long as nothing has gone out."""

from actas.mcp.caller import Exchange
from actas.oauth.asgi import Message, Send, respond


class Answer:
    """An ASGI ``send`` that gives the door the last word until the first word is out.

    An event stream is begun by a server before anybody knows whether the call is allowed. So its start waits here
    for the first event that follows the decision: until then a refusal is still a real HTTP status. A ``: ping`` of
    the server (after 15 s) begins the stream too, because a proxy may be waiting for it.

    Args:
        send: the connection's.
        exchange: whose ``refusal``, once there is one, is answered.
    """

    def __init__(self, send: Send, exchange: Exchange) -> None:
        self._send = send
        self._exchange = exchange
        self._held: list[Message] = []
        self._begun = False
        self._ended = False
        self._refused = False

    async def __call__(self, message: Message) -> None:
        """Take one message of the application's."""
        if self._begun:
            await self._forward(message)
        elif self._exchange.refusal is not None:
            await self._refuse()
        elif self._waits(message):
            self._held.append(message)
        else:
            await self._begin()
            await self._forward(message)

    async def finish(self) -> None:
        """The application has returned: what waits goes out, and a stream that was broken off is ended."""
        if not self._begun and self._exchange.refusal is not None:
            await self._refuse()
            return
        if self._held:
            await self._begin()
        if self._begun and not self._ended:
            await self._forward({"type": "http.response.body", "body": b"", "more_body": False})

    def _waits(self, message: Message) -> bool:
        if message["type"] == "http.response.start":
            return any(
                name.lower() == b"content-type" and value.startswith(b"text/event-stream")
                for name, value in message["headers"]
            )
        # Before the decision there is one event at most: the one that an event store resumes from.
        return (
            len(self._held) == 1
            and not self._exchange.decided
            and message["type"] == "http.response.body"
            and bool(message.get("more_body", False))
        )

    async def _begin(self) -> None:
        self._begun = True
        held, self._held = self._held, []
        for message in held:
            await self._forward(message)

    async def _forward(self, message: Message) -> None:
        self._ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def _refuse(self) -> None:
        refusal = self._exchange.refusal
        if self._refused or refusal is None:
            return
        self._refused = True
        self._held.clear()
        await respond(self._send, refusal.status, refusal.headers, refusal.body)
