"""The core alone: a module of one's own, the pipeline, roles and the minutes. No server, no token, no network."""

import asyncio

from actas.core import (
    ActasError,
    Action,
    Audit,
    DelegationCall,
    DelegationRegistry,
    DelegationResult,
    Health,
    MemorySink,
    Pipeline,
    Receipt,
    Session,
)

NOTES = {"alice": ["buy milk"], "bob": ["call mum"]}


class Notes:
    """A system with notes of its users; a real module would log in to it as the user."""

    actions = (Action(name="list", description="Your notes.", permission="notes:read"),)

    def principal(self, session: Session) -> str:
        return session.username

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        who = self.principal(call.session)
        return DelegationResult(data=NOTES[who], receipt=Receipt(identity=who, method="in-process"))

    async def initialize(self) -> None: ...
    async def destroy(self) -> None: ...
    async def health_check(self) -> Health:
        return Health(healthy=True)


def session(name: str, *permissions: str) -> Session:
    return Session(
        issuer="https://login.example.com",
        subject=name,
        username=name,
        provider="acme",
        permissions=frozenset(permissions),
    )


async def main() -> None:
    registry, minutes = DelegationRegistry(), MemorySink()
    registry.register("notes", Notes())
    pipeline = Pipeline(registry, Audit(minutes))
    for who in (session("alice", "notes:read"), session("bob", "notes:read"), session("guest")):
        try:
            result = await pipeline.delegate(who, "notes", "list", {})
            print(f"{who.username} reads {result.data}")
        except ActasError as error:
            print(f"{who.username} is refused: {error.code}")
    for event in minutes.entries():
        saw = event.receipt.identity if event.receipt else event.reason
        print(f"minutes: {event.username} {event.action} {event.outcome} ({saw})")


asyncio.run(main())
