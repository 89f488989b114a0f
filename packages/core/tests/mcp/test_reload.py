"""Another configuration while requests are served: what changes, what stays, and what is refused."""

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from actas.core import AuditEvent, ConfigurationError, MemorySink, Outcome
from actas.mcp import MCPOAuthServer
from actas.mcp.reload import Watch
from actas.testing.idp import IdentityProvider

from . import relay
from .conftest import HANDSHAKE, MODERN, Toy, request

pytestmark = pytest.mark.anyio

NEW: dict[str, Any] = {"word": "goodbye"}


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """What happened to the plug-in's modules."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    relay.install(folder)
    monkeypatch.syspath_prepend(folder)
    yield lambda: list(sys.modules["relay"].LIFE)
    sys.modules.pop("relay", None)


@pytest.fixture
def written(idp: IdentityProvider, tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration file: ``word`` and what else the module takes, ``mcp`` and ``auth`` lines."""

    def write(
        *, word: str = "hello", module: str = "", mcp: str = "", auth: str = "", issuer: str = "", more: str = ""
    ) -> Path:
        file = tmp_path / "actas.toml"
        file.write_text(f"""
secrets_directory = "{tmp_path}"
{more}
[mcp]
port = 0
{mcp}
[auth]
{auth}
[[auth.trusted_idps]]
name = "demo"
issuer = "{idp.issuer}"
audience = "{idp.audience}"
role_mappings = {{ user = ["staff"], admin = ["boss"] }}
{issuer}
[auth.permissions]
user = ["relay:use", "toy:use"]
admin = ["relay:use"]
[delegation.modules.relay]
word = "{word}"
{module}
""")
        return file

    return write


class Running:
    """A server that runs, and its callers."""

    def __init__(self, server: MCPOAuthServer, idp: IdentityProvider, http: httpx2.AsyncClient) -> None:
        self.server, self.idp, self.http = server, idp, http

    async def call(
        self, name: str = "relay-say", arguments: dict[str, object] | None = None, *, token: str = "", version: str = ""
    ) -> httpx2.Response:
        headers, body = request("tools/call", {"name": name, "arguments": arguments or {}}, version or MODERN)
        headers["authorization"] = f"Bearer {token or self.idp.issue()}"
        return await self.http.post(self.server.url, headers=headers, json=body)

    async def said(self, **options: Any) -> object:
        answer = await self.call(**options)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]["structuredContent"]["result"]


@pytest.fixture
async def running(life: object, written: Callable[..., Path], idp: IdentityProvider, sink: MemorySink, toy: Toy) -> Any:
    server = MCPOAuthServer(written(), audit_sink=sink)
    server.register_delegation_module("toy", toy)
    await server.start()
    async with httpx2.AsyncClient(timeout=30) as http:
        yield Running(server, idp, http)
    await server.stop()


async def closed(life: Callable[[], list[str]], word: str) -> None:
    """Return when the module that says ``word`` was destroyed."""
    async with asyncio.timeout(10):
        while f"end {word}" not in life():  # noqa: ASYNC110 -- a plug-in tells nobody
            await asyncio.sleep(0.01)


def refusals(sink: MemorySink) -> list[AuditEvent]:
    return sink.entries(source="configuration", outcome=Outcome.REFUSED)


async def test_a_good_configuration_serves_at_once_and_the_old_one_is_released(
    running: Running, written: Callable[..., Path], life: Callable[[], list[str]], sink: MemorySink, toy: Toy
) -> None:
    assert await running.said() == "hello"
    written(word="goodbye")
    await running.server.reload()
    assert await running.said() == "goodbye"
    await closed(life, "hello")
    assert life() == ["start hello", "start goodbye", "end hello"]
    assert (toy.initialized, toy.destroyed) == (1, 0)  # registered by code: it lives as long as the server
    assert (await running.call("toy-say", {"text": "still here"})).json()["result"]["isError"] is False
    assert [e.action for e in sink.entries(source="configuration", outcome=Outcome.SUCCESS)] == ["reload"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"mcp": "prot = 1"}, "mcp.prot: unknown key; did you mean port? (line 6)"),
        ({"mcp": "= nonsense"}, "line 6"),
        ({"word": "wrong"}, "delegation.modules.relay: word: this word is wrong"),
        ({"module": 'password = { "$secret" = "GONE" }'}, "delegation.modules.relay.password: secret 'GONE'"),
        ({"module": 'prefix = "toy"\ntools = []', "more": 'plugins = ["nothing"]'}, "plugins[0]: plug-in 'nothing'"),
        ({"mcp": 'path = "/other"'}, "mcp.path: cannot change while the server runs: restart it"),
        ({"mcp": 'resource = "https://x.example/mcp"'}, "mcp.resource: cannot change while the server runs"),
        ({"mcp": 'host = "::1"'}, "mcp.host: cannot change while the server runs"),
    ],
)
async def test_an_invalid_configuration_changes_nothing_and_says_why(
    running: Running,
    written: Callable[..., Path],
    sink: MemorySink,
    caplog: pytest.LogCaptureFixture,
    changed: dict[str, str],
    told: str,
) -> None:
    written(**changed)
    with pytest.raises(ConfigurationError) as caught:
        await running.server.reload()
    assert told in caught.value.message
    assert await running.said() == "hello"
    (event,) = refusals(sink)
    assert event.reason is not None and told in event.reason
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert any(told in message and "the last good configuration serves on" in message for message in errors)


async def test_a_module_that_works_is_not_replaced_by_one_that_does_not_start(
    running: Running, written: Callable[..., Path], tmp_path: Path
) -> None:
    written(word="goodbye", module=f'needs = "{tmp_path}/nothing"')
    with pytest.raises(ConfigurationError, match=r"delegation\.modules\.relay: its downstream does not answer"):
        await running.server.reload()
    assert await running.said() == "hello"


async def test_a_dead_downstream_keeps_no_other_change_from_being_made(
    running: Running, written: Callable[..., Path], tmp_path: Path
) -> None:
    needed = tmp_path / "needed"
    needed.touch()
    written(module=f'needs = "{needed}"')
    await running.server.reload()
    needed.unlink()
    file = written(module=f'needs = "{needed}"')
    file.write_text(file.read_text().replace('user = ["relay:use", "toy:use"]', 'user = ["toy:use"]'))
    await running.server.reload()
    assert "Unknown tool" in (await running.call()).json()["error"]["message"]


async def test_a_module_of_code_and_one_of_the_new_configuration_cannot_have_one_name(
    running: Running, written: Callable[..., Path]
) -> None:
    file = written()
    file.write_text(file.read_text().replace("modules.relay]", 'modules.toy]\nkind = "relay"'))
    with pytest.raises(ConfigurationError, match=r"delegation\.modules\.toy: this name is registered already"):
        await running.server.reload()
    assert await running.said() == "hello"


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
async def test_a_call_that_runs_is_finished_by_the_configuration_that_it_began_with(
    running: Running, written: Callable[..., Path], life: Callable[[], list[str]], version: str
) -> None:
    napping = asyncio.create_task(running.said(name="relay-nap", arguments={"seconds": 0.5}, version=version))
    async with asyncio.timeout(10):
        while not running.server._sites.current.in_flight:  # noqa: ASYNC110 -- the server tells nobody
            await asyncio.sleep(0.01)
    written(word="goodbye")
    await running.server.reload()
    assert await running.said() == "goodbye" and not napping.done()
    assert "end hello" not in life()
    assert await napping == "hello"
    await closed(life, "hello")


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
async def test_a_call_that_does_not_end_is_cut_off_and_answered(
    running: Running, written: Callable[..., Path], life: Callable[[], list[str]], sink: MemorySink, version: str
) -> None:
    written(word="hasty", mcp="drain_timeout = 0.1")
    await running.server.reload()
    napping = asyncio.create_task(running.call("relay-nap", {"seconds": 20}, version=version))
    async with asyncio.timeout(10):
        while not running.server._sites.current.in_flight:  # noqa: ASYNC110 -- the server tells nobody
            await asyncio.sleep(0.01)
    written(word="goodbye")
    await running.server.reload()
    answer = await napping
    assert (answer.status_code, answer.json()["error"]) == (503, "cut_off")
    await closed(life, "hasty")
    assert sink.entries(source="delegation:relay")[-1].outcome is Outcome.CANCELLED


async def test_what_a_known_token_means_is_decided_by_the_new_configuration(
    running: Running, written: Callable[..., Path]
) -> None:
    token = running.idp.issue("alice")
    assert await running.said(token=token) == "hello"
    file = written()
    file.write_text(file.read_text().replace('user = ["relay:use", "toy:use"]', 'user = ["toy:use"]'))
    await running.server.reload()
    refused = await running.call(token=token)
    assert "Unknown tool" in refused.json()["error"]["message"]


async def test_what_was_revoked_stays_revoked(running: Running) -> None:
    token = running.idp.issue("alice")
    assert await running.said(token=token) == "hello"
    running.server.core_context.authenticator.revoke(subject="alice")
    before = running.server.core_context.authenticator
    await running.server.reload()
    assert running.server.core_context.authenticator is not before
    assert (await running.call(token=token)).status_code == 401


async def test_a_provider_that_is_out_of_reach_is_trusted_as_before(running: Running) -> None:
    assert await running.said() == "hello"
    with running.idp.outage():
        await running.server.reload()
        assert await running.said(token=running.idp.issue("bob")) == "hello"


async def test_a_provider_whose_keys_are_elsewhere_now_is_not_trusted_by_its_old_keys(
    running: Running, written: Callable[..., Path]
) -> None:
    written(issuer=f'jwks_uri = "{running.idp.origin}/elsewhere"')
    await running.server.reload()
    assert (await running.call()).status_code == 503  # nobody can say whether the token is good


async def test_secrets_are_looked_up_anew(running: Running, written: Callable[..., Path], tmp_path: Path) -> None:
    tmp_path.joinpath("WORD").write_text("first")
    written(module='password = { "$secret" = "WORD" }')
    await running.server.reload()
    assert await running.said() == "hello first"
    tmp_path.joinpath("WORD").write_text("second")
    await running.server.reload()
    assert await running.said() == "hello second"


async def test_a_configuration_whose_minutes_cannot_be_kept_does_not_serve(
    running: Running, sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(event: AuditEvent) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(sink, "write", full)
        with pytest.raises(ConfigurationError, match=r"auth\.audit: .*cannot record"):
            await running.server.reload()
    assert await running.said() == "hello"


async def test_a_server_that_does_not_run_is_not_reloaded(written: Callable[..., Path], life: object) -> None:
    server = MCPOAuthServer(written())
    with pytest.raises(ConfigurationError, match="not running"):
        await server.reload()
    await server.release()
    with pytest.raises(ConfigurationError, match="not running"):
        await server.reload()


async def test_a_stop_during_a_reload_releases_both_configurations(
    running: Running, written: Callable[..., Path], life: Callable[[], list[str]]
) -> None:
    written(word="gated")
    reloading = asyncio.create_task(running.server.reload())
    async with asyncio.timeout(10):
        while "waiting" not in life():  # noqa: ASYNC110 -- a plug-in tells nobody
            await asyncio.sleep(0.01)
    await running.server.stop()
    sys.modules["relay"].GATE.set()
    with pytest.raises(ConfigurationError, match="stopped"):
        await reloading
    assert life() == ["start hello", "waiting", "end hello", "start gated", "end gated"]


async def test_no_request_is_lost_while_configurations_come_and_go(
    running: Running, written: Callable[..., Path], life: Callable[[], list[str]]
) -> None:
    """Good, bad, good, …: under load on both wires, on kept and on fresh connections."""
    done = asyncio.Event()
    words: set[object] = set()
    token = running.idp.issue("alice")

    async def kept(version: str) -> int:
        async with httpx2.AsyncClient(timeout=30) as http:
            caller, count = Running(running.server, running.idp, http), 0
            while not done.is_set():
                words.add(await caller.said(name="relay-nap", arguments={}, token=token, version=version))
                count += 1
        return count

    async def fresh() -> int:
        count = 0
        while not done.is_set():
            async with httpx2.AsyncClient(timeout=30) as http:
                caller = Running(running.server, running.idp, http)
                words.add(await caller.said(name="relay-nap", arguments={"seconds": 0.05}))
                count += 1
        return count

    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(kept(version)) for version in (MODERN, HANDSHAKE) * 3]
        callers += [group.create_task(fresh()) for _ in range(2)]
        for number in range(8):
            written(word=f"word{number}")
            await running.server.reload()
            written(word="wrong")
            with pytest.raises(ConfigurationError):
                await running.server.reload()
        done.set()
    assert sum(task.result() for task in callers) > 50
    assert {f"word{number}" for number in range(1, 8)} <= words  # each of them served
    await closed(life, "word6")
    assert "end word7" not in life()


@pytest.fixture
def watched(written: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, list[str], Watch]]:
    monkeypatch.setattr("actas.mcp.reload.WATCH_SECONDS", 0.01)
    told: list[str] = []
    file = written(module='password = { "$secret" = "WORD" }')
    yield file, told, Watch(file, lambda: told.append("changed"), when=lambda: True)


async def _hears(told: list[str], times: int) -> None:
    async with asyncio.timeout(10):
        while len(told) < times:  # noqa: ASYNC110 -- a list tells nobody
            await asyncio.sleep(0.01)


async def test_a_changed_file_a_changed_secret_and_a_switched_link_are_seen(
    watched: tuple[Path, list[str], Watch], written: Callable[..., Path], tmp_path: Path
) -> None:
    file, told, watch = watched
    watching = asyncio.create_task(watch.run())
    file.write_text(file.read_text() + "# more\n")
    await _hears(told, 1)
    tmp_path.joinpath("WORD").write_text("a secret that was not there")
    await _hears(told, 2)
    tmp_path.joinpath("WORD").write_text("another one")
    await _hears(told, 3)
    data = tmp_path / "..data"  # as Kubernetes mounts a ConfigMap
    for number in (1, 2):
        version = tmp_path / f"..version{number}"
        version.mkdir()
        version.joinpath("actas.toml").write_text(f"# {number}\n")
    data.symlink_to("..version1")
    file.unlink()
    file.symlink_to("..data/actas.toml")
    await _hears(told, 4)
    swapped = tmp_path / "..swap"
    swapped.symlink_to("..version2")
    swapped.rename(data)
    await _hears(told, 5)
    watching.cancel()


async def test_a_file_that_is_still_being_written_is_left_alone(
    watched: tuple[Path, list[str], Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, told, watch = watched
    looks = iter([b"a", b"b", b"c", b"c"])
    ended = asyncio.Event()

    def look() -> bytes:
        try:
            return next(looks)
        except StopIteration:
            ended.set()
            return b"c"

    seen: list[int] = []
    monkeypatch.setattr(watch, "_look", look)
    monkeypatch.setattr(watch, "_changed", lambda: seen.append(1))
    watching = asyncio.create_task(watch.run())
    async with asyncio.timeout(10):
        while not ended.is_set():  # noqa: ASYNC110 -- set in another thread
            await asyncio.sleep(0.01)
    watching.cancel()
    assert seen == [1] and told == []
