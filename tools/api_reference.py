"""Make the pages about Python names from their docstrings: ``docs/reference/{plugin,server,testing}-api.md``.

``python tools/api_reference.py`` writes them; ``--check`` says whether they are current. A public name without a
docstring is an error.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import griffe
from config_reference import main as write

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"


@dataclass(frozen=True)
class Chapter:
    """The public names of some modules: those of ``__all__``, or ``names`` where they are given."""

    title: str
    module: str
    about: str = ""
    of: Sequence[str] = ()
    """Modules in which a name of ``__all__`` must be defined to be in this chapter; everything where it is empty."""
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """One page."""

    file: str
    head: str
    chapters: Sequence[Chapter]


CORE = "actas.core"
ERRORS = "Errors"
"""The chapter whose classes are told in a table: they differ in little."""
PLUGIN = Page(
    "plugin-api.md",
    """\
# Plug-in API

What a plug-in is written against. `actas.core` needs pluggy and nothing else; each name is imported from the
package that its chapter names. Step by step: [write a plug-in](../how-to/write-a-plugin.md).
""",
    (
        Chapter(
            "Hooks",
            f"{CORE}.hookspecs",
            "A plug-in implements those it has something for, each marked with `@hookimpl`. They only register: none is"
            " asynchronous, none has an argument, none sees a token.",
            names=(
                "actas_module_kinds",
                "actas_audit_sink_kinds",
                "actas_authorizer_kinds",
                "actas_secret_providers",
                "hookimpl",
            ),
        ),
        Chapter("Contracts", CORE, "What a plug-in implements; nothing needs to be inherited.",
                of=("protocols", "tickets")),
        Chapter("Values", CORE, "What travels along the road.", of=("models", "credentials", "events", "secret")),
        Chapter("The road", CORE, "For programs that use the core without the server.",
                of=("pipeline", "registry", "audit", "authority", "authorization", "roles")),
        Chapter("Small helps", CORE, "For modules.", of=("progress", "subjects")),
        Chapter(ERRORS, CORE, "Codes, messages and what an operator does: [errors](errors.md).", of=("errors",)),
        Chapter("HTTP", "actas.http", "With `actas[http]`: the one client, for modules that speak HTTP."),
    ),
)  # fmt: skip
SERVER = Page(
    "server-api.md",
    """\
# Server API

What a server of your own is made from; everything here is imported from the package that its chapter names. Settings
are in the [configuration](configuration.md).
""",
    (
        Chapter("The server, and doors", "actas.mcp", "With `actas[server]`."),
        Chapter("A door before FastMCP", "actas.mcp.for_fastmcp", "With `actas[fastmcp]`.", names=("FastMCPDoor",)),
        Chapter("Tokens", "actas.oauth", "With `actas[oauth]`."),
        Chapter("The service behind", "actas.oauth.receiving", "With `actas[oauth]`.", names=("ReceivingMiddleware",)),
    ),
)
TESTING = Page(
    "testing-api.md",
    """\
# Testing kit

Real parts for tests, with `actas[testing]`: what every plug-in must pass, an identity provider with real signatures,
and real servers. Everything listens on this machine only.
""",
    (
        Chapter("Modules", "actas.testing.conformance", "The suite that every module must pass."),
        Chapter("Authorisers", "actas.testing.authorizers", "The suite that every authoriser must pass.",
                names=("AuthorizerConformance", "AuthorizerKit")),
        Chapter("Identity provider", "actas.testing.idp", names=("IdentityProvider", "DemoUser")),
        Chapter("Its clients", "actas.testing.idp_clients", names=("DemoClient",)),
        Chapter("Credentials", "actas.testing.credentials", names=("IssuedCredentials",)),
        Chapter("Users", "actas.testing.module_kit", names=("user",)),
        Chapter("A service that takes tokens", "actas.testing.token_service",
                names=("TokenService", "Asked", "Answered", "Tokens")),
        Chapter("The whole road", "actas.testing.road",
                names=("Road", "configuration", "exchange", "exchanging", "running")),
        Chapter("OpenLDAP", "actas.testing.slapd", names=("Slapd", "person", "service")),
        Chapter("PostgreSQL", "actas.testing.postgres", names=("EmbeddedPostgres", "DebianPostgres")),
        Chapter("Redis", "actas.testing.redis", names=("RedisServer",)),
        Chapter("Kerberos", "actas.testing.kdc", names=("KerberosRealm", "password_of")),
        Chapter("File shares", "actas.testing.samba", names=("SambaServer",)),
        Chapter("Users of the operating system", "actas.testing.os_users", names=("OsUsers",)),
        Chapter("Fixtures", "actas.testing.fixtures",
                "Import those you want into your `conftest.py`. What is missing fails in CI and skips elsewhere."),
    ),
)  # fmt: skip
PAGES = (PLUGIN, SERVER, TESTING)
ELSEWHERE = {
    r"actas\.core\.events\.AuditEvent": "[audit events](audit.md)",
    r".*settings\.\w+": "[configuration](configuration.md)",
}
"""Classes whose fields have a page of their own, that is held to them."""

HEAD = "<!-- Made by tools/api_reference.py from the docstrings. Change those, then run it. -->"


class Undocumented(ValueError):
    """Public names without a docstring."""


def render(page: Page) -> str:
    """The whole page.

    Raises:
        Undocumented: names that are public have no docstring; all of them are named.
    """
    title, _, rest = page.head.partition("\n")
    lines, silent = [title, "", HEAD, rest], list[str]()
    for chapter in page.chapters:
        lines += [f"## {chapter.title}", "", *filter(None, [f"`{chapter.module}`. {chapter.about}".strip()]), ""]
        things = members(chapter)
        lines += _errors(things, silent) if chapter.title == ERRORS else []
        for thing in things if chapter.title != ERRORS else things[:1]:
            lines += entry(thing, silent)
    if silent:
        raise Undocumented(f"no docstring: {', '.join(silent)}")
    return "\n".join(lines)


@cache
def _everything() -> griffe.Object | griffe.Alias:
    """All packages, read once and not imported: they share the namespace ``actas``."""
    sources = [str(path) for path in ROOT.glob("packages/*/src")]
    return griffe.load("actas", search_paths=sources, docstring_parser="google", resolve_aliases=True)


def loaded(module: str) -> griffe.Module:
    """One module."""
    found = _everything()[module.partition(".")[2]]
    assert isinstance(found, griffe.Module)
    return found


def members(chapter: Chapter) -> list[griffe.Object]:
    """The chapter's names, contracts and values in the order of their source."""
    module = loaded(chapter.module)
    names = chapter.names or [str(name) for name in module.exports or public(module)]
    things = [_object(module, name) for name in names]
    if chapter.of:
        places = [f"{chapter.module}.{name}" for name in chapter.of]
        things = [thing for thing in things if thing.module.path in places]
        return sorted(things, key=lambda thing: (places.index(thing.module.path), thing.lineno or 0))
    return things


def public(module: griffe.Module) -> Iterator[str]:
    """What a module without ``__all__`` defines and does not hide: fixtures."""
    for name, member in module.members.items():
        if not name.startswith("_") and not member.is_alias and "pytest.fixture" in _decorators(member):
            yield name


def _decorators(member: griffe.Object | griffe.Alias) -> str:
    return " ".join(str(each.value) for each in member.decorators) if member.is_function else ""


def _object(module: griffe.Module, name: str) -> griffe.Object:
    found = module[name]
    return found.final_target if found.is_alias else found


def unplaced(page: Page) -> set[str]:
    """What ``__all__`` of a page's packages has, and no chapter of it."""
    told = {thing.path for chapter in page.chapters for thing in members(chapter)}
    packages = {chapter.module for chapter in page.chapters if chapter.of}
    there = {_object(loaded(each), str(name)).path for each in packages for name in loaded(each).exports or ()}
    return there - told


def entry(thing: griffe.Object, silent: list[str]) -> list[str]:
    """A name, what is said of it, and what it has."""
    if not thing.has_docstring:
        silent.append(thing.path)
    if isinstance(thing, griffe.Class):
        return [*_head(thing, _bases(thing)), *text(thing), *_attributes(thing, silent), *_methods(thing, silent)]
    if isinstance(thing, griffe.Function):
        return [*_head(thing, signature(thing)), *text(thing)]
    value = f" = {thing.value}" if isinstance(thing, griffe.Attribute) and thing.value else ""
    return [*_head(thing, f"{thing.name}{value}"), *text(thing)]


def _errors(things: Sequence[griffe.Object], silent: list[str]) -> list[str]:
    rows: list[str] = []
    for thing in things:
        assert isinstance(thing, griffe.Class)
        if not thing.has_docstring:
            silent.append(thing.path)
        base = ", ".join(str(each) for each in thing.bases)
        said = _paragraph(thing.docstring.value.partition("\n\n")[0]) if thing.docstring else ""
        code = (
            thing.all_members["code"].final_target if thing.all_members["code"].is_alias else thing.all_members["code"]
        )
        cells = [f"`{thing.name}`", f"`{base}`", str(code.value).replace("'", "`"), said]
        rows.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return ["| class | is a | code | |", "|---|---|---|---|", *rows, ""]


def _head(thing: griffe.Object, shown: str) -> list[str]:
    return [f"### `{thing.name}`", "", *([f"    {shown}", ""] if shown != thing.name else [])]


def _bases(thing: griffe.Class) -> str:
    own = thing.members.get("__init__")
    if isinstance(own, griffe.Function) and "dataclass" not in thing.labels and own.parameters:
        return signature(own).replace("__init__(", f"{thing.name}(", 1).removesuffix(" -> None")
    bases = [str(base).rpartition(".")[2] for base in thing.bases]
    return f"class {thing.name}({', '.join(bases)})" if bases else thing.name


def signature(function: griffe.Function) -> str:
    """As it is written, without ``self``."""
    shown = str(function.signature())
    return f"async {shown}" if "async" in function.labels else shown


def _attributes(thing: griffe.Class, silent: list[str]) -> list[str]:
    page = next((page for pattern, page in ELSEWHERE.items() if re.fullmatch(pattern, thing.path)), None)
    if page is not None:
        return [f"Its fields: {page}.", ""]
    rows: list[str] = []
    about = thing.docstring.value if thing.docstring else ""
    for name, member in thing.members.items():
        shown = isinstance(member, griffe.Attribute) and not name.startswith("_") and not _configures(member)
        if not shown:
            continue
        said = _paragraph(member.docstring.value) if member.docstring else ""
        if not said and not _mentioned(name, about) and not _error_word(thing, name):
            silent.append(member.path)
        cells = [f"`{name}`", _code(member.annotation), _code(_default(member)), said]
        rows.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return ["| attribute | type | default | |", "|---|---|---|---|", *rows, ""] if rows else []


def _configures(member: griffe.Attribute) -> bool:
    """pytest's own words in a class of tests are nothing that an author sets."""
    return member.name == "pytestmark"


def _mentioned(name: str, about: str) -> bool:
    """Whether a class's own docstring tells of the attribute, or of the argument that it was."""
    return f"``{name}``" in about or re.search(rf"^ +{name}: ", about, re.MULTILINE) is not None


def _error_word(thing: griffe.Class, name: str) -> bool:
    """What every error class has is told once, at the base."""
    return thing.module.path.endswith(".errors") and name in ("code", "default_message", "outcome")


def _default(member: griffe.Attribute) -> str:
    """Of a field; what ``__init__`` assigns is none."""
    value = "" if member.value is None or "class-attribute" not in member.labels else str(member.value)
    factory = re.search(r"default_factory=(?:lambda: *)?(.+?)(?:, \w+=|\)$)", value)
    if value.startswith("field("):
        plain = re.search(r"default=([^,)]+)", value)
        return plain[1] if plain else "its own" if factory else ""
    return value


def _methods(thing: griffe.Class, silent: list[str]) -> list[str]:
    lines: list[str] = []
    rules: list[str] = []
    for name, member in thing.all_members.items():
        target = member.final_target if member.is_alias else member
        if not isinstance(target, griffe.Function) or name.startswith("_") or "property" in target.labels:
            continue
        if name.startswith("test_"):
            rules.append(f"- {name.removeprefix('test_').replace('_', ' ')}")
            continue
        if "pytest.fixture" in _decorators(target):
            continue
        if name not in thing.members and not thing.module.path.startswith("actas.testing"):
            continue
        if not target.has_docstring:
            silent.append(target.path)
        lines += [f"#### `{thing.name}.{name}`", "", f"    {signature(target)}", "", *text(target)]
    return [*lines, *(["Its rules:", "", *rules, ""] if rules else [])]


def text(thing: griffe.Object) -> list[str]:
    """The docstring as Markdown: what is said, then arguments and errors as lists."""
    lines: list[str] = []
    for section in thing.docstring.parsed if thing.docstring else []:
        if section.kind is griffe.DocstringSectionKind.text:
            lines += [_prose(section.value), ""]
        elif section.kind is griffe.DocstringSectionKind.parameters:
            lines += [*(f"- `{each.name}`: {_paragraph(each.description)}" for each in section.value), ""]
        elif section.kind is griffe.DocstringSectionKind.raises:
            lines += [*(f"- raises `{each.annotation}`: {_paragraph(each.description)}" for each in section.value), ""]
        else:
            raise ValueError(f"{thing.path}: nobody said how a section of {section.kind.value} looks")
    return lines


def _prose(said: str) -> str:
    """Paragraphs, with our few words of reStructuredText as Markdown; an example is an indented block."""
    said = re.sub(r"^::\n", "", said, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", _inline(re.sub(r"::$", ":", said, flags=re.MULTILINE))).strip()


def _inline(said: str) -> str:
    return re.sub(r":\w+:`[~.]?([^`]+)`", lambda role: f"`{role[1].rpartition('.')[2]}`", said).replace("``", "`")


def _paragraph(said: str) -> str:
    return " ".join(_inline(said).split())


def _code(value: object) -> str:
    return f"`{value}`" if value is not None and str(value) else ""


def _cell(value: str) -> str:
    return " ".join(value.replace("|", "\\|").split())


def make(pages: Iterable[Page] = PAGES) -> int:
    """Write the pages, or with ``--check`` say whether they are current."""
    return max(write(REFERENCE / page.file, lambda page=page: render(page)) for page in pages)


if __name__ == "__main__":
    sys.exit(make())
