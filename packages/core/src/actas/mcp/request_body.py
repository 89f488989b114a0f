"""Reading a request's body without taking it from whoever comes next."""

from dataclasses import dataclass

from actas.oauth.asgi import Message, Receive


@dataclass(frozen=True, slots=True)
class Body:
    """What was read of a body, with the messages it came in so that they can be read again."""

    body: bytes
    whole: bool
    messages: list[Message]

    def replay(self, receive: Receive) -> Receive:
        """A ``receive`` that gives the same messages first."""
        waiting = iter(self.messages)

        async def again() -> Message:
            for message in waiting:
                return message
            return await receive()

        return again


async def read_body(receive: Receive, length: int) -> Body:
    """Read ``length`` bytes; what turns out longer, or ends early, is left to the endpoint."""
    messages: list[Message] = []
    parts: list[bytes] = []
    missing = length
    while True:
        message = await receive()
        messages.append(message)
        if message["type"] != "http.request":
            return Body(b"", False, messages)
        parts.append(message.get("body", b""))
        missing -= len(parts[-1])
        if missing < 0:
            return Body(b"", False, messages)
        if not message.get("more_body", False):
            return Body(parts[0] if len(parts) == 1 else b"".join(parts), missing == 0, messages)
