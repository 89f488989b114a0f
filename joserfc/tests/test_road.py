"""From the caller's token to the system behind, and back."""

import pytest
from actas.core import Outcome
from actas.testing.road import Road

pytestmark = pytest.mark.anyio


async def test_two_users_call_the_same_tool_and_each_gets_their_own(road: Road) -> None:
    for user in ("alice", "bob", "alice"):
        assert await road.call("joserfc-list-notes", user) == {"notes": [f"{user}s-plan", "welcome"]}


async def test_what_the_system_denies_is_an_error_and_in_the_minutes(road: Road) -> None:
    assert await road.call("joserfc-read-note", "alice", name="bobs-plan") == "joserfc_denied"
    event = road.minutes.entries()[-1]
    assert (event.outcome, event.username, event.receipt) == (Outcome.REFUSED, "alice", None)


async def test_who_has_no_role_does_not_see_the_tools(road: Road) -> None:
    async with road.client("guest") as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
    assert not [name for name in names if name.startswith("joserfc")]
