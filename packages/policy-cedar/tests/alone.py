"""What this distribution does where nothing else is installed: ``tools/run_alone.py`` runs it."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def stage() -> Iterator[dict[str, object]]:
    """A policy."""
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder, "tools.cedar")
        policy.write_text('permit(principal in Role::"user", action, resource == Tool::"read");')
        yield {"policy": str(policy), "expected": [True, False]}


async def act(place: Mapping[str, str]) -> list[object]:
    """Two decisions."""
    from actas.core import Action, Question, Session
    from actas.core.discovery import load
    from actas.policy.cedar.settings import CedarSettings

    authorizer = load(["cedar"]).authorizer_kind("cedar").create(CedarSettings(policies=[place["policy"]]))
    session = Session(issuer="https://idp.example", subject="alice", username="alice", provider="main", role="user")
    tools = [Action(name=name, description="A tool.") for name in ("read", "write")]
    await authorizer.initialize()
    try:
        questions = [Question(session=session, tool=tool.name, module=None, action=tool) for tool in tools]
        return [decision.allowed for decision in await authorizer.decide(questions)]
    finally:
        await authorizer.close()
