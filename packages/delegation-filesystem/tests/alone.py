"""What this distribution does where nothing else is installed: ``tools/run_alone.py`` runs it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def stage() -> Iterator[dict[str, object]]:
    """A folder of alice's, with a link that leads out of it."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        alice = Path(folder) / "alice"
        alice.mkdir()
        (alice / "notes.txt").write_text("notes of alice")
        (alice / "out").symlink_to("/etc")
        expected = ["alice", "notes of alice", "filesystem_not_plain"]
        yield {"root": f"{folder}/{{user}}", "expected": expected}


async def act(place: Mapping[str, str]) -> list[object]:
    """One file as alice, and nothing through the link."""
    from actas.core import ActasError, Audit, DelegationRegistry, MemorySink, Pipeline, Session
    from actas.core.discovery import load
    from actas.delegation.filesystem.settings import FilesystemSettings

    settings = FilesystemSettings(root=place["root"], permission="files:read")
    module = load(["filesystem"]).module_kind("filesystem").create("files", settings)
    registry = DelegationRegistry()
    registry.register("files", module)
    session = Session(
        issuer="https://idp.example",
        subject="id-of-alice",
        username="alice",
        legacy_username="alice",
        provider="main",
        permissions=frozenset({"files:read"}),
    )
    pipeline = Pipeline(registry, Audit(MemorySink()))
    await registry.initialize_all()
    try:
        result = await pipeline.delegate(session, "files", "read", {"path": "notes.txt"})
        try:
            await pipeline.delegate(session, "files", "list", {"path": "out"})
        except ActasError as error:
            refused = error.code
        else:
            refused = "the link was followed"
    finally:
        await registry.destroy_all()
    assert isinstance(result.data, dict)
    return [result.receipt.identity, result.data["content"], refused]
