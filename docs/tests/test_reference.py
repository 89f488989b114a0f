"""The reference pages are current and complete."""

import dataclasses
import re
from pathlib import Path

import config_reference
import decision_index
import error_reference
import pytest
import typer.main
from docs_blocks import ROOT

from actas.cli.main import app
from actas.core import ActasError, AuditEvent
from actas.core.discovery import installed, load
from actas.mcp.settings import Settings
from actas.testing.declarations import dataclasses_in

REFERENCE = ROOT / "docs" / "reference"


def read(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    told: int = 1
    """A number that somebody described."""
    untold: int = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner
    """Something inside."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Told:
    max_age: float | None = None
    """Seconds | or none."""
    names: list[str]
    """Some names."""


@pytest.mark.parametrize(
    ("page", "render"),
    [
        ("configuration.md", config_reference.render),
        ("errors.md", error_reference.render),
        ("../decisions/README.md", decision_index.render),
    ],
    ids=["configuration", "errors", "decisions"],
)
def test_the_generated_page_is_current(page: str, render) -> None:
    assert read(page) == render().rstrip("\n") + "\n", "run the tool in tools/ that its first lines name"


@pytest.mark.parametrize("change", ["edited", "missing"])
def test_a_page_that_is_not_current_is_noticed(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    monkeypatch.setattr("sys.argv", ["tool"])
    assert config_reference.main(page, lambda: "as it should be\n") == 0
    monkeypatch.setattr("sys.argv", ["tool", "--check"])
    assert config_reference.main(page, lambda: "as it should be\n") == 0
    page.write_text("another") if change == "edited" else page.unlink()
    assert config_reference.main(page, lambda: "as it should be\n") == 1
    assert "out of date" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("second", "works"),
    [("# 2. Thus", True), ("# 3. Thus", False), ("# Thus", False), ("# 2.", False)],
)
def test_a_decision_is_listed_by_its_number_and_title(second: str, works: bool, tmp_path: Path) -> None:
    (tmp_path / "0001-so.md").write_text("# 1. So\n\nBecause.\n")
    (tmp_path / "0002-thus.md").write_text(f"{second}\n\nBecause.\n")
    if works:
        listed = decision_index.render(tmp_path)
        assert listed.endswith("| [1](0001-so.md) | So |\n| [2](0002-thus.md) | Thus |\n")
        (tmp_path / "0002-other.md").write_text("# 2. Other\n")
    with pytest.raises(ValueError, match=r"0002-\w+\.md"):
        decision_index.render(tmp_path)


def test_a_setting_without_a_docstring_cannot_be_documented() -> None:
    with pytest.raises(ValueError, match=r"Inner\.untold"):
        config_reference.section("", Outer, "A plug-in's settings")


def test_a_setting_is_shown_with_both_spellings_type_default_and_description() -> None:
    lines = config_reference.section("there", Told, "Toy")
    assert "| `max_age`<br>`maxAge` | number | none | Seconds \\| or none. |" in lines
    assert "| `names` | list of strings | **required** | Some names. |" in lines


def test_every_setting_is_on_the_page() -> None:
    page = read("configuration.md")
    offers = [load([name]).offers[name] for name in config_reference.first_party()]
    kinds = [kind.settings for offer in offers for kind in (offer.module_kind, offer.authorizer_kind) if kind]
    assert len(kinds) > 1, "the plug-ins of this project are to be installed where the documentation is tested"
    for cls in [each for root in (Settings, *kinds) for each in dataclasses_in(root)]:
        for field in dataclasses.fields(cls):
            assert f"| `{field.name}`" in page, f"{cls.__name__}.{field.name}"


def test_every_link_inside_the_page_leads_to_a_heading_of_it() -> None:
    page = read("configuration.md")
    anchors = {
        "".join(each for each in heading.lower() if each.isalnum() or each in "_-")
        for heading in re.findall(r"^#+ `?(.*?)`?$", page, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= anchors


def test_every_error_code_is_on_the_page() -> None:
    page = read("errors.md")
    targets = [installed()[name].target for name in config_reference.first_party()]
    packages = [*error_reference.OURS, *(target.rpartition(".")[0] for target in targets)]
    codes = {error.code for error in error_reference.errors_in(packages)}
    assert ActasError.code in codes
    assert len(codes) > 20
    for code in codes:
        assert f"| `{code}` |" in page, code
    unknown = set(error_reference.OPERATOR) - codes
    assert not unknown, f"advice for codes that there are not: {unknown}"


def test_every_field_of_an_audit_event_is_on_the_page_and_no_other() -> None:
    table = re.findall(r"^\| `(\w+)` \|", read("audit.md"), re.MULTILINE)
    assert table == [field.name for field in dataclasses.fields(AuditEvent)]


def test_every_command_and_option_is_on_the_page_and_no_other() -> None:
    """In the command's own chapter: an option of another command does not count."""
    head, *chapters = re.split(r"^## `actas ", read("cli.md"), flags=re.MULTILINE)
    told = {
        re.split(r"[ `]", chapter)[0]: set(re.findall(r"^\| `(--[a-z-]+)", chapter, re.MULTILINE))
        for chapter in chapters
    }
    root = typer.main.get_command(app)
    assert told == {name: _options(command) - {"--help"} for name, command in root.commands.items()}
    assert {option for option in _options(root) if f"`{option}`" not in head} == set()


def test_every_argument_of_a_command_is_in_its_heading() -> None:
    for name, command in typer.main.get_command(app).commands.items():
        (heading,) = re.findall(rf"^## `actas {name}\b(.*)`$", read("cli.md"), re.MULTILINE)
        declared = [each for each in command.params if each.param_type_name == "argument"]
        words = [each.metavar or each.name.upper() for each in declared]
        arguments = [word if each.required else f"[{word}]" for each, word in zip(declared, words, strict=True)]
        assert heading.split() == arguments, name


def _options(command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


def test_every_threat_says_of_which_kinds_it_is_what_stops_it_and_what_shows_it() -> None:
    text = (ROOT / "docs" / "explanation" / "security.md").read_text()
    model = text[text.index("## The threat model") : text.index("## What is not protected")]
    rows = [line for line in model.splitlines() if line.startswith("| ") and not line.startswith("| |")]
    assert len(rows) > 60
    kinds = {kind for row in rows for kind in row.split("|")[1].split()}
    assert kinds == set("STRIDE")
    assert all(row.split("|")[1].strip() and "`test_" in row for row in rows)
