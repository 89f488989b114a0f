"""What operators write: both spellings, both formats, and every mistake named with its path."""

import copy
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actas.core import ConfigurationError
from actas.mcp import MCPOAuthServer
from actas.mcp.config import Configuration, parse
from actas.mcp.config_file import MAX_BYTES, read_file
from actas.mcp.config_lines import key_lines

IDP: dict[str, Any] = {"name": "main", "issuer": "https://idp.example", "audience": ["https://mcp.example/mcp"]}
GOOD: dict[str, Any] = {"auth": {"trusted_idps": [IDP]}}

PLUGIN = '''
from dataclasses import dataclass, field
from actas.core import Action, AuditSinkKind, DelegationResult, Health, MemorySink, ModuleKind, Receipt, Secret
from actas.core.hookspecs import hookimpl

@dataclass(frozen=True, kw_only=True)
class Inner:
    password: Secret
    """The password."""

@dataclass(frozen=True, kw_only=True)
class ToySettings:
    host: str
    """The host."""
    port: int = 1
    """The port."""
    keys: list[Secret] = field(default_factory=list)
    """Keys."""
    inner: Inner | None = None
    """More."""
    def __post_init__(self):
        if self.host == "bad":
            raise ValueError("host must not be bad")

class Module:
    actions = (Action(name="ping", description="Ping."), Action(name="pong", description="Pong."))
    def __init__(self, settings): self.settings = settings
    async def initialize(self): pass
    def principal(self, session): return session.username
    async def delegate(self, call):
        return DelegationResult(data="pong", receipt=Receipt(identity=call.session.username, method="x"))
    async def health_check(self): return Health(healthy=True)
    async def destroy(self): pass

def create(name, settings):
    if settings.host == "explodes":
        raise RuntimeError("value of a secret")
    return Module(settings)

@hookimpl
def actas_module_kinds(): return [ModuleKind(name="NAME", settings=ToySettings, create=create)]
'''
SINK = '''
from dataclasses import dataclass
from actas.core import AuditSinkKind, MemorySink
from actas.core.hookspecs import hookimpl

@dataclass(frozen=True, kw_only=True)
class SinkSettings:
    capacity: int
    """How many."""

@hookimpl
def actas_audit_sink_kinds():
    return [AuditSinkKind(name="NAME", settings=SinkSettings, create=lambda settings: MemorySink(settings.capacity))]
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two distributions on the path, as an installer would have left them."""
    for name, source in (("doortoy", PLUGIN), ("doorsink", SINK)):
        (tmp_path / f"{name}.py").write_text(source.replace("NAME", name))
        metadata = tmp_path / f"{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[actas]\n{name} = {name}\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("doortoy", "doorsink"):
        sys.modules.pop(name, None)


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    made = copy.deepcopy(GOOD)
    change(made)
    return made


def problems(written: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(written)
    return list(caught.value.problems)


def test_the_least_configuration_is_an_issuer() -> None:
    made = parse(GOOD)
    assert made.settings.mcp.port == 8080
    assert made.settings.auth.trusted_idps[0].audience == ["https://mcp.example/mcp"]


REFERENCE = {
    "auth": {
        "trustedIDPs": [
            {
                "name": "main",
                "issuer": "https://idp.example",
                "discoveryUrl": "https://idp.example/.well-known/openid-configuration",
                "jwksUri": "https://idp.example/jwks",
                "audience": "https://mcp.example/mcp",
                "algorithms": ["RS256", "ES256"],
                "claimMappings": {"legacyUsername": "legacy_name", "roles": "realm_access.roles", "userId": "sub"},
                "roleMappings": {
                    "admin": ["boss"],
                    "custom": {"auditor": ["audit"]},
                    "defaultRole": "guest",
                    "rejectUnmappedRoles": True,
                },
                "security": {"clockTolerance": 30, "maxTokenAge": 600, "requireNbf": True},
            }
        ],
        "permissions": {"admin": ["sql:admin"]},
    },
    "mcp": {"serverName": "tools", "allowedHosts": "tools.example", "maxBodyBytes": 4096},
}


def test_the_references_camel_case_is_understood() -> None:
    settings = parse(REFERENCE).settings
    (issuer,) = settings.auth.trusted_idps
    assert issuer.audience == ["https://mcp.example/mcp"]
    assert issuer.jwks_uri == "https://idp.example/jwks"
    assert issuer.discovery_url is not None
    assert issuer.claim_mappings.legacy_username == "legacy_name"
    assert issuer.role_mappings.reject_unmapped_roles is True
    assert issuer.role_mappings.custom == {"auditor": ["audit"]}
    assert (issuer.security.clock_tolerance, issuer.security.max_token_age) == (30, 600)
    assert (settings.mcp.server_name, settings.mcp.allowed_hosts) == ("tools", ["tools.example"])


def test_both_formats_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(REFERENCE))
    (tmp_path / "a.toml").write_text(
        '[mcp]\nserver_name = "tools"\nallowed_hosts = ["tools.example"]\nmax_body_bytes = 4096\n'
        '[auth.permissions]\nadmin = ["sql:admin"]\n'
        '[[auth.trusted_idps]]\nname = "main"\nissuer = "https://idp.example"\naudience = ["https://mcp.example/mcp"]\n'
        'discovery_url = "https://idp.example/.well-known/openid-configuration"\njwks_uri = "https://idp.example/jwks"\n'
        'algorithms = ["RS256", "ES256"]\n'
        'claim_mappings = {legacy_username = "legacy_name", roles = "realm_access.roles", user_id = "sub"}\n'
        "security = {clock_tolerance = 30, max_token_age = 600, require_nbf = true}\n"
        '[auth.trusted_idps.role_mappings]\nadmin = ["boss"]\ncustom = {auditor = ["audit"]}\n'
        'default_role = "guest"\nreject_unmapped_roles = true\n'
    )
    assert parse(read_file(tmp_path / "a.json")) == parse(read_file(tmp_path / "a.toml"))


WRONG: list[tuple[str, Callable[[dict[str, Any]], object], list[str]]] = [
    ("no issuers", lambda c: c["auth"].pop("trusted_idps"), ["auth.trusted_idps: is required"]),
    ("none", lambda c: c["auth"].update(trusted_idps=[]), ["auth: trusted_idps needs at least one identity provider"]),
    ("nothing", lambda c: c.clear(), ["auth: is required"]),
    ("unknown section", lambda c: c.update(mpc={}), ["mpc: unknown key; did you mean mcp?"]),
    ("unknown key", lambda c: c.update(mcp={"prot": 1}), ["mcp.prot: unknown key; did you mean port?"]),
    (
        "camelCase typo",
        lambda c: c.update(mcp={"serverNmae": "x"}),
        ["mcp.serverNmae: unknown key; did you mean server_name?"],
    ),
    (
        "mixed spelling",
        lambda c: c.update(mcp={"server_Name": "x"}),
        ["mcp.server_Name: unknown key; did you mean server_name?"],
    ),
    (
        "twice",
        lambda c: c.update(mcp={"serverName": "x", "server_name": "y"}),
        ["mcp.server_name: given twice, in two spellings of server_name"],
    ),
    (
        "wrong type",
        lambda c: c.update(mcp={"port": "many"}),
        ["mcp.port: should be a valid integer, unable to parse string as an integer"],
    ),
    ("list for a section", lambda c: c.update(mcp=[]), ["mcp: should be a table"]),
    ("null", lambda c: c.update(auth=None), ["auth: should be a table"]),
    ("out of range", lambda c: c.update(mcp={"port": 70000}), ["mcp: port must be between 0 and 65535"]),
    ("NaN", lambda c: c.update(mcp={"tool_timeout": float("nan")}), ["mcp.tool_timeout: should be a finite number"]),
    (
        "issuer's key",
        lambda c: c["auth"]["trusted_idps"][0].update(jwks="x"),
        ["auth.trusted_idps[0].jwks: unknown key; did you mean jwks_uri?"],
    ),
    (
        "issuer's type",
        lambda c: c["auth"]["trusted_idps"][0].update(audience=[1]),
        ["auth.trusted_idps[0].audience[0]: should be a valid string"],
    ),
    (
        "a table where a list of them should be",
        lambda c: c["auth"].update(trusted_idps=c["auth"]["trusted_idps"][0]),
        ["auth.trusted_idps: should be a list; in TOML each table of it begins with [[auth.trusted_idps]]"],
    ),
    (
        "a secret in a spelling of one's own",
        lambda c: c.update(mcp={"server_name": {"secret": "NAME"}}),
        ['mcp.server_name: should be a valid string; a secret is written { "$secret" = "NAME" }'],
    ),
    (
        "public host",
        lambda c: c.update(mcp={"host": "0.0.0.0"}),
        ["mcp: resource is required where host is not loopback: the URL by which clients reach this"],
    ),
    (
        "http resource",
        lambda c: c.update(mcp={"resource": "http://a.example/mcp"}),
        ["mcp: resource must be https unless it is on loopback"],
    ),
    (
        "resource with a query",
        lambda c: c.update(mcp={"resource": "https://a.example/mcp?x"}),
        ["mcp: resource must be an absolute http(s) URL without query and fragment (RFC 9728)"],
    ),
    (
        "resource with a password",
        lambda c: c.update(mcp={"resource": "https://me:pw@a.example/"}),
        ["mcp: resource must be a plain URL: no user name, and other letters percent-encoded"],
    ),
    (
        "resource with a line end",
        lambda c: c.update(mcp={"resource": "https://a.example/\r\nx: y"}),
        ["mcp: resource must be a plain URL: no user name, and other letters percent-encoded"],
    ),
    (
        "path",
        lambda c: c.update(mcp={"path": "mcp"}),
        ["mcp: path must start with /, lie outside /.well-known, and need no percent-encoding"],
    ),
    (
        "empty host",
        lambda c: c.update(mcp={"allowed_hosts": [""]}),
        ["mcp: allowed_hosts and allowed_origins: an empty string is no host and no origin"],
    ),
    (
        "modules as a list",
        lambda c: c.update(delegation={"modules": []}),
        ["delegation.modules: should be a valid dictionary"],
    ),
    (
        "module as a string",
        lambda c: c.update(delegation={"modules": {"a": "x"}}),
        ["delegation.modules.a: should be a valid dictionary"],
    ),
    (
        "audit",
        lambda c: c["auth"].update(audit={"on_failure": "ignore"}),
        ["auth.audit.on_failure: should be 'refuse' or 'alert'"],
    ),
    (
        "audit settings",
        lambda c: c["auth"].update(audit={"settings": {"a": 1}}),
        ["auth.audit.settings: only a plug-in's sink has settings; jsonl takes path"],
    ),
    (
        "unprintable key",
        lambda c: c.update({"\ud800": 1}),
        ["\\ud800: unknown key; known here: auth, mcp, delegation, limits, shared, plugins, secrets_directory"],
    ),
    (
        "key that is no string",
        lambda c: c.update({5: 1}),
        ["5: unknown key; known here: auth, mcp, delegation, limits, shared, plugins, secrets_directory"],
    ),
    (
        "secrets folder",
        lambda c: c.update(secrets_directory="a\0b", mcp={"server_name": {"$secret": "X"}}),
        ["secrets_directory: this is no name of a folder"],
    ),
]


@pytest.mark.parametrize(("change", "told"), [(change, told) for _, change, told in WRONG], ids=[w[0] for w in WRONG])
def test_a_mistake_is_told_with_its_path(change: Callable[[dict[str, Any]], object], told: list[str]) -> None:
    assert problems(changed(change)) == told


@pytest.mark.parametrize("section", ["role_mappings", "roleMappings"])
def test_a_custom_role_in_the_wrong_place_is_told_where_it_goes(section: str) -> None:
    (told,) = problems(changed(lambda c: c["auth"]["trusted_idps"][0].update({section: {"auditor": ["audit"]}})))
    assert told.startswith("auth.trusted_idps[0].role_mappings.auditor: unknown key")
    assert "a name of your own goes under auth.trusted_idps[0].role_mappings.custom" in told
    (told,) = problems(changed(lambda c: c["auth"].update(permissions={"auditor": ["x"]})))
    assert "a name of your own goes under auth.permissions.custom" in told


@pytest.mark.usefixtures("installed")
def test_modules_and_sinks_of_plug_ins_are_made_of_their_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOR_PASSWORD", "hunter2")
    made = parse(
        {
            **GOOD,
            "Delegation": {
                "modules": {
                    "one": {
                        "kind": "doortoy",
                        "host": {"$secret": "DOOR_PASSWORD"},
                        "keys": ["plain", {"$secret": "DOOR_PASSWORD"}],
                        "inner": {"password": {"$secret": "DOOR_PASSWORD"}},
                        "tools": ["pong"],
                        "prefix": "p",
                    },
                    "doortoy": {"host": "h", "keys": "single"},
                    "hidden": {"kind": "doortoy", "host": "h", "tools": []},
                }
            },
        }
    )
    one, two, hidden = made.modules
    assert hidden.tools == ()  # only for tools of one's own
    assert (one.name, one.prefix, one.tools) == ("one", "p", ("pong",))
    assert (two.name, two.prefix, two.tools) == ("doortoy", "doortoy", None)
    settings: Any = one.settings
    assert settings.host == "hunter2"  # a str by its type
    assert [key.reveal() for key in settings.keys] == ["plain", "hunter2"]
    assert settings.inner.password.reveal() == "hunter2"
    assert "hunter2" not in repr(settings.keys) + repr(settings.inner)
    other: Any = two.settings
    assert [key.reveal() for key in other.keys] == ["single"]


@pytest.mark.usefixtures("installed")
def test_a_plug_ins_sink_keeps_the_minutes() -> None:
    audit = {"kind": "doorsink", "settings": {"capacity": 5}}
    made = parse({"auth": {"trusted_idps": [IDP], "audit": audit}})
    assert made.audit_sink is not None
    assert problems({"auth": {"trusted_idps": [IDP], "audit": {**audit, "path": "x"}}}) == [
        "auth.audit.path: only jsonl takes a path; a plug-in's sink has settings"
    ]
    (told,) = problems({"auth": {"trusted_idps": [IDP], "audit": {"kind": "doortoy"}}})
    assert told == "auth.audit.kind: plug-in 'doortoy' of doortoy 1.0 offers no audit sink"
    (told,) = problems({**GOOD, "delegation": {"modules": {"doorsink": {}}}})
    assert told == "delegation.modules.doorsink: plug-in 'doorsink' of doorsink 1.0 offers no delegation module"


def test_a_secret_that_is_nowhere_makes_no_second_problem_of_the_issuer_that_is_a_secret_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOOR_ISSUER", "https://idp.example")
    told = problems(
        {
            "auth": {"trusted_idps": [{**IDP, "issuer": {"$secret": "DOOR_ISSUER"}}]},
            "mcp": {"server_name": {"$secret": "DOOR_NOWHERE"}},
        }
    )
    assert [line.partition(" is nowhere")[0] for line in told] == ["mcp.server_name: secret 'DOOR_NOWHERE'"]


@pytest.mark.usefixtures("installed")
def test_who_writes_a_secret_in_a_spelling_of_his_own_is_told_the_right_one() -> None:
    table = {"kind": "doortoy", "host": "h", "inner": {"password": {"secret": "DOOR_PASSWORD"}}}
    (told,) = problems({**GOOD, "delegation": {"modules": {"one": table}}})
    assert told == (
        'delegation.modules.one.inner.password: should be a string; a secret is written { "$secret" = "NAME" }'
    )


@pytest.mark.usefixtures("installed")
def test_a_module_without_a_kind_whose_name_is_no_plug_in_is_told_of_kind() -> None:
    modules = {"orders": {"host": "h"}, "other": {"kind": "orders-2", "host": "h"}, "grpc-2": {"kind": "doortoy"}}
    told = problems({**GOOD, "delegation": {"modules": modules}})
    assert [line.partition(":")[0] for line in told if "says which one in kind" in line] == [
        "delegation.modules.orders"
    ]


@pytest.mark.usefixtures("installed")
def test_everything_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOR_PASSWORD", "hunter2")
    told = problems(
        {
            "auth": {
                "trusted_idps": [{**IDP, "security": {"clock_tolerance": 1000}, "audiense": "x"}],
                "audit": {"kind": "doorsink", "settings": {"capacity": "lots"}},
            },
            "mcp": {"port": "x", "server_name": {"$secret": "DOOR_NOWHERE"}},
            "delegation": {
                "modules": {
                    "one": {"kind": "doortoy", "prot": 5, "keys": [{"$secret": "DOOR_PASSWORD"}, 7]},
                    "two": {"kind": "doorty"},
                    "three": {"kind": "doortoy", "host": "bad", "inner": {"password": {"$secret": "DOOR_GONE"}}},
                    "four": {"kind": "doortoy", "host": "h", "inner": {}, "port": {"$secret": "DOOR_PASSWORD"}},
                    "five": {"kind": "doortoy", "host": "h", "tools": "ping"},
                    "six": {"kind": 6},
                }
            },
            "plugins": ["doornone"],
        }
    )
    starts = [
        "auth.trusted_idps[0].audiense: unknown key; did you mean audience?",
        "plugins[0]: plug-in 'doornone' is not installed",
        "delegation.modules.two: plug-in 'doorty' is not installed",
        "mcp.server_name: secret 'DOOR_NOWHERE' is nowhere",
        "delegation.modules.three.inner.password: secret 'DOOR_GONE' is nowhere",
        "auth.trusted_idps[0].security: clock_tolerance must be 0 to 300",
        "mcp.port: should be a valid integer",
        "delegation.modules.one.prot: unknown key; did you mean port?",
        "delegation.modules.one.host: is required",
        "delegation.modules.one.keys[1]: should be a string",
        "delegation.modules.three: host must not be bad",
        "delegation.modules.four.inner.password: is required",
        "delegation.modules.four.port: should be a valid integer",
        "delegation.modules.five.tools: must be a list",
        "delegation.modules.six: kind and prefix must be strings",
        "auth.audit.settings.capacity: should be a valid integer",
    ]
    for start in starts:
        assert sum(line.startswith(start) for line in told) == 1, (start, told)
    assert len(told) == len(starts)
    assert "hunter2" not in str(told)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"host": "explodes"}, "delegation.modules.doortoy: the plug-in failed with RuntimeError"),
        ({"host": "h", "tools": ["pang"]}, "delegation.modules.doortoy.tools: no tool 'pang'; did you mean pong?"),
        ({"host": "h", "tools": ["!x*"]}, "delegation.modules.doortoy.tools: no tool 'x*'; there are doortoy-ping, "),
        ({"host": "h", "tools": ["ping", "pyng", "q"]}, "delegation.modules.doortoy.tools: no tool 'pyng'; did you"),
        ({"host": "h", "providers": []}, "delegation.modules.doortoy.providers: names none"),
        ({"host": "h", "providers": ["ip"]}, "delegation.modules.doortoy.providers: 'ip' is no trusted identity"),
        ({"host": "h", "providers": "ip"}, "delegation.modules.doortoy.providers: must be a list"),
        ({"host": "h", "prefix": "a b"}, "delegation.modules.doortoy: 'a b-ping' is no tool name"),
    ],
)
def test_what_a_module_refuses_is_told_with_its_name(table: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MCPOAuthServer({**GOOD, "delegation": {"modules": {"doortoy": table}}})
    assert caught.value.message.startswith(told)
    assert "value of a secret" not in repr(caught.value.__cause__)


FILES: list[tuple[str, bytes, str]] = [
    ("a.toml", b"", "auth: is required"),
    ("a.json", b"", "not well-formed JSON"),
    ("a.json", b"[]", "must be an object"),
    ("a.json", b'{"auth": 1,\n "auth": 2}', "the key 'auth' is given twice"),
    ("a.json", b'{"mcp": {"tool_timeout": NaN}}', "NaN is not JSON"),
    ("a.json", b"\x00", "not well-formed JSON"),
    ("a.toml", b"a = 1\n\x00", "line 2"),
    ("a.toml", b"[mcp]\nport = \n", "line 2"),
    ("a.json", b'{\n"mcp": {\n,', "line 3"),
    ("a.toml", b"[mcp]\n[mcp]\n", "line 2"),
    ("a.json", b"\xff\xfe{}", "it is not UTF-8"),
    ("a.json", b'{"a":' * 5000, "not well-formed JSON"),
    ("a.toml", b"a = " + b"[" * 5000, "not well-formed TOML"),
    ("a.json", b'{"mcp": {"port": ' + b"9" * 5000 + b"}}", "not well-formed JSON"),
    ("a.toml", b"a = " + b"9" * 5000, "not well-formed TOML"),
    ("a.json", b" " * (MAX_BYTES + 1), "longer than"),
    ("a.yaml", b"a: 1", "must end with .toml or .json"),
    (
        "a.json",
        b'{"delegation": {"modules": {"x": ' + b'{"a":' * 100 + b"1" + b"}" * 103,
        "nested deeper than 64 levels",
    ),
    ("a.json", b'{"auth": {"trusted_idps": {"$secret": 5}}}', 'auth.trusted_idps: "$secret" takes a name'),
    ("a.json", b'{"$secret": "X"}', "$secret: unknown key"),
]


@pytest.mark.parametrize(("name", "content", "told"), FILES, ids=range(len(FILES)))
def test_a_bad_file_is_refused_in_words(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        MCPOAuthServer(tmp_path / name)
    assert told in caught.value.message, caught.value.message


def test_what_is_no_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    for path in (tmp_path / "folder.toml", tmp_path / "none.toml", "a\0b.toml", "x" * 5000 + ".toml", "\ud800.toml"):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            MCPOAuthServer(path)
    if os.geteuid():
        (tmp_path / "closed.toml").touch(mode=0)
        with pytest.raises(ConfigurationError, match="cannot be read"):
            MCPOAuthServer(tmp_path / "closed.toml")


def test_a_bad_configuration_changes_nothing_of_what_was_read_before(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(GOOD))
    running: Configuration = parse(read_file(file))
    file.write_text('{"auth": \n\n oops}')
    with pytest.raises(ConfigurationError, match="line 3"):
        parse(read_file(file))
    assert running == parse(GOOD)


def test_parsing_leaves_what_it_was_given_alone() -> None:
    given = copy.deepcopy(REFERENCE)
    parse(given)
    assert given == REFERENCE


FILE = """
secrets_directory = "/nowhere"
[mcp]
portt = 1  # [not.a.table]
text = '''
[auth.nothing]
name = "x"
'''
[[auth.trustedIdps]]
name = "one"
issuer = "https://one.example"
audience = "x"
[[auth.trustedIdps]]
name = "two"
issuer = "https://two.example"
audience = "x"
security = { max_token_bytes = 1 }
[auth."permissions"]
user = 5
[delegation.modules.gone]
"""


def test_a_problem_of_a_toml_file_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "actas.toml"
    file.write_text(FILE)
    with pytest.raises(ConfigurationError) as caught:
        MCPOAuthServer(file)
    told = {problem.split(":")[0]: problem for problem in caught.value.problems}
    assert told["mcp.portt"].endswith(" (line 4)")
    assert told["mcp.text"].endswith(" (line 5)")
    assert told["auth.trusted_idps[1].security"].endswith(" (line 17)")
    assert told["auth.permissions.user"].endswith(" (line 19)")
    assert told["delegation.modules.gone"].endswith(" (line 20)")


@given(st.text())
def test_whatever_is_written_finding_lines_raises_nothing(text: str) -> None:
    assert all(0 < line <= len(text.splitlines()) for line in key_lines(text).values())
