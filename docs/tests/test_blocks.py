"""Every example works: Python runs, TOML is a configuration, and commands exist."""

import json
import re
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer.main
from docs_blocks import ROOT, Block, all_blocks
from docs_stage import Place, answers, run_python, serving

from actas.cli.main import app
from actas.mcp import MCPOAuthServer
from actas.mcp.config import parse
from actas.testing.tokens import generate_key

KEY = json.dumps(generate_key("ES256").as_dict(private=True))
"""What secrets hold that are private keys."""
CONFIGURATIONS = [block for block in all_blocks("toml") if not block.walked and block.title != "pyproject.toml"]
SCRIPTS = [block for block in all_blocks("python") if not block.walked]
CONSOLES = all_blocks("console")

OTHERS = frozenset("cat cd curl export git grep jq ldapwhoami patch psql pytest sort sudo source tail uniq".split())
"""Programs that are not ours: nothing is known of their arguments."""

BASE = {
    "mcp": {"resource": "https://mcp.example.com/mcp"},
    "auth": {"trusted_idps": [{"name": "idp", "issuer": "https://login.example.com", "audience": "https://a.example"}]},
}
"""What a part of a configuration is a part of."""


@pytest.mark.parametrize("block", SCRIPTS, ids=str)
def test_python_runs(block: Block, place: Place, environment: dict[str, str]) -> None:
    """What serves must serve, and its tools must answer alice without an error."""
    if ".run()" not in block.text and "uvicorn.run(" not in block.text:
        run_python(block.text, place.folder, environment)
        return
    text = block.text.replace("port=8080", f"port={place.port}")
    (place.folder / "block.py").write_text(text, encoding="utf-8")
    with serving(["python", "-W", "error", "block.py"], place.folder, place.port, environment):
        given = (route_answers if "DoorMiddleware" in text else mcp_answers)(place)
    assert given, "the block serves nothing of its own"
    assert all(isinstance(answer, dict) for answer in given.values()), given
    assert "laptop" in str(given)
    assert "desk" not in str(given), "alice was given what is bob's"


def mcp_answers(place: Place) -> dict[str, object]:
    return answers(place.url, place.token("alice"), but=["sql-", "user-info", "health-check"])


def route_answers(place: Place) -> dict[str, object]:
    """What the routes of a web application that need no parameter answer alice, and nobody without a token."""
    origin = place.url.removesuffix("/mcp")
    alice = {"authorization": f"Bearer {place.token('alice')}"}
    assert httpx2.get(f"{origin}/health", trust_env=False).status_code == 200
    assert httpx2.get(f"{origin}/orders", trust_env=False).status_code == 401
    stepping_up = httpx2.post(f"{origin}/orders", headers=alice, trust_env=False)
    assert (stepping_up.status_code, "orders.write" in stepping_up.headers["www-authenticate"]) == (403, True)
    return {"/orders": httpx2.get(f"{origin}/orders", headers=alice, trust_env=False).json()}


@pytest.mark.anyio
@pytest.mark.parametrize("block", CONFIGURATIONS, ids=str)
async def test_toml_is_a_configuration(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole one must make a server as it is; a part is put into one that works."""
    monkeypatch.chdir(tmp_path)
    written = tomllib.loads(block.text)
    for name in re.findall(r'"?\$secret"? *= *"([^"]+)"', block.text):
        monkeypatch.setenv(name, KEY if name.endswith("_KEY") else "https://login.example.com/from-a-secret")
    if "trusted_idps" in written.get("auth", {}):
        await MCPOAuthServer(written).release()
    else:
        parse(_merged(_base_for(written), written))


def _base_for(written: Mapping[str, Any]) -> Mapping[str, object]:  # Any: TOML
    """BASE, with the providers whose users its modules are for in the place of its own."""
    modules = written.get("delegation", {}).get("modules", {}).values()
    named = dict.fromkeys(name for module in modules for name in module.get("providers", ()))
    trusted = [{"name": name, "issuer": f"https://{name}.example", "audience": "https://a.example"} for name in named]
    return {**BASE, "auth": {"trusted_idps": trusted}} if trusted else BASE


def _merged(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    both = {key: base[key] for key in base if key not in over}
    for key, value in over.items():
        inner = base.get(key)
        both[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return both


@pytest.mark.parametrize("block", CONSOLES, ids=str)
def test_commands_exist(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = list(block.commands())
    assert commands, "a console block without a command after $"
    monkeypatch.setenv("ACTAS_TOKEN", "a token")
    for command in commands:
        check_command(command)


@pytest.mark.parametrize(
    "command",
    [
        "make nonsense",
        "actas nonsense",
        "actas check --nonsense actas.toml",
        "actas run",
        'pip install "actas[nonsense]"',
        "pip install -e packages/nonsense",
        "pip install somebody-elses",
        "nox -s nonsense",
        "nonsense",
        "cat token | actas nonsense",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(command: str) -> None:
    with pytest.raises(AssertionError):
        check_command(command)


def check_command(line: str) -> None:
    """Raises AssertionError where a command, an option, a target or an extra of ours does not exist."""
    simple: list[list[str]] = [[]]
    words = iter(shlex.split(line, comments=True))
    for word in words:
        if word in ("|", "&&", "||", ";", "&"):
            simple.append([])
        elif word in (">", "<", ">>"):
            next(words)
        else:
            simple[-1].append(word)
    for each in simple:
        _check_simple(_bare(each))


def _bare(words: list[str]) -> list[str]:
    """Without assignments, and with the program's name alone."""
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if words and words[0] == "." and words[1:]:
        return ["source", *words[1:]]
    return [words[0].rpartition("/")[2], *words[1:]] if words else []


def _check_simple(words: list[str]) -> None:
    match words:
        case ["make", *targets]:
            wanted = {word for word in targets if not re.match(r"-|\w+=", word)}
            there = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
            assert wanted <= there, f"no such target: {wanted - there}"
        case ["actas", *arguments]:
            _check_actas(arguments)
        case ["pip" | "uv", *rest] if "install" in rest:
            _check_install(rest[rest.index("install") + 1 :])
        case ["nox", "-s", *sessions]:
            there = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE))
            wanted = {re.sub(r"\(.*", "", each) for each in sessions[: (*sessions, "--").index("--")] if each[0] != "-"}
            assert wanted <= there, f"no such session: {wanted - there}"
        case ["nox"] | ["pip", "check"]:
            pass
        case ["python" | "python3" as program, *arguments]:
            assert arguments, program
            if arguments[0].startswith(("tools/", "benchmarks/", "examples/")):
                assert (ROOT / arguments[0]).exists(), arguments[0]
        case [program, *_]:
            assert program in OTHERS, f"what is {program}?"
        case _:
            raise AssertionError("nothing to run")


def _check_actas(arguments: list[str]) -> None:
    root = typer.main.get_command(app)
    if arguments in (["--help"], ["--version"]):
        return
    assert arguments and arguments[0] in root.commands, f"actas has no command {arguments[:1]}"
    if arguments[1:] == ["--help"]:
        return
    try:
        root.commands[arguments[0]].make_context(arguments[0], list(arguments[1:]))
    except Exception as error:
        raise AssertionError(f"actas {shlex.join(arguments)}: {error}") from error


def _check_install(arguments: list[str]) -> None:
    projects = [tomllib.loads(path.read_text())["project"] for path in ROOT.glob("packages/*/pyproject.toml")]
    extras = {project["name"]: set(project.get("optional-dependencies", {})) for project in projects}
    folders = {path.parent.relative_to(ROOT).as_posix(): path for path in ROOT.glob("packages/*/pyproject.toml")}
    for wanted in arguments:
        if wanted.startswith("-") or wanted in ("fastapi", "nox", "uv", "mcp", "."):
            continue
        name, _, chosen = wanted.rstrip("]").partition("[")
        if name in folders:
            name = tomllib.loads(folders[name].read_text())["project"]["name"]
        assert name in extras, f"no distribution of ours: {wanted}"
        unknown = set(filter(None, chosen.split(","))) - extras[name]
        assert not unknown, f"{name} has no extra {unknown}"
