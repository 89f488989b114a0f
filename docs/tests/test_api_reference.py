"""The pages about Python names are current and complete: made from docstrings, of which none may be missing."""

from pathlib import Path

import api_reference
import griffe
import pluggy
import pytest
from api_reference import PAGES, PLUGIN, Chapter, Page
from docs_blocks import ROOT

from actas.core import hookspecs

SOURCE = '''
"""A module."""

from dataclasses import dataclass

__all__ = ["Thing", "do"]


@dataclass
class Thing:
    """A thing; ``mentioned`` is told here."""

    mentioned: int
    told: int = 3
    """Told below: a | b."""
    _private: int = 4

    def act(self, what: str) -> None:
        """Act, as :meth:`pkg.Thing.act` does.

        Args:
            what: to do.

        Raises:
            ValueError: it cannot be done.
        """

    @property
    def state(self) -> str:
        """How it is."""

    def _hidden(self): ...


async def do(*things: Thing) -> int:
    """Do it::

        do()

    It is quick.
    """
'''


def rendered(source: str, monkeypatch: pytest.MonkeyPatch) -> str:
    module = griffe.visit("sample", filepath=Path("sample.py"), code=source, docstring_parser="google")
    monkeypatch.setattr(api_reference, "loaded", lambda _: module)
    return api_reference.render(Page("sample.md", "# Sample\n", (Chapter("All", "sample"),)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.file)
def test_the_page_is_current(page: Page) -> None:
    there = (api_reference.REFERENCE / page.file).read_text(encoding="utf-8")
    assert there == api_reference.render(page).rstrip("\n") + "\n", "run tools/api_reference.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.file)
def test_every_public_name_of_the_packages_has_a_place(page: Page) -> None:
    assert api_reference.unplaced(page) == set()


def test_a_public_name_without_a_place_is_noticed() -> None:
    fewer = [chapter for chapter in PLUGIN.chapters if chapter.title != "Contracts"]
    assert "actas.core.protocols.DelegationModule" in api_reference.unplaced(Page("x.md", "# X\n", fewer))


def test_what_is_documented_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    page = rendered(SOURCE, monkeypatch)
    for line in (
        "### `Thing`",
        "| `mentioned` | `int` |  |  |",
        "| `told` | `int` | `3` | Told below: a \\| b. |",
        "| `state` | `str` |  | How it is. |",
        "    act(what: str) -> None",
        "Act, as `act` does.",
        "- `what`: to do.",
        "- raises `ValueError`: it cannot be done.",
        "    async do(*things: Thing) -> int",
        "Do it:",
        "    do()",
    ):
        assert line in page.splitlines(), line
    assert "_private" not in page and "_hidden" not in page


@pytest.mark.parametrize(
    ("documented", "missing"),
    [
        ('    """A thing; ``mentioned`` is told here."""\n', "sample.Thing"),
        ("; ``mentioned`` is told here", "sample.Thing.mentioned"),
        ('    """Told below: a | b."""\n', "sample.Thing.told"),
        ('        """How it is."""\n', "sample.Thing.state"),
        ('    """Do it::\n\n        do()\n\n    It is quick.\n    """\n', "sample.do"),
    ],
    ids=["class", "field", "another-field", "property", "function"],
)
def test_a_public_name_without_a_docstring_cannot_be_documented(
    documented: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SOURCE.count(documented) == 1
    silent = SOURCE.replace(documented, "        ...\n" if "def " in SOURCE[: SOURCE.index(documented)][-60:] else "")
    with pytest.raises(api_reference.Undocumented, match=missing):
        rendered(silent, monkeypatch)


def test_a_method_without_a_docstring_cannot_be_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(api_reference.Undocumented, match=r"sample\.Thing\.hidden"):
        rendered(SOURCE.replace("_hidden", "hidden"), monkeypatch)


def test_every_hook_is_on_the_page_and_every_one_of_them_is_shown_somewhere() -> None:
    """By the specifications that pluggy knows, not by their source."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    hooks = set(vars(manager.hook)) - {"_plugins"}
    page = (api_reference.REFERENCE / PLUGIN.file).read_text(encoding="utf-8")
    elsewhere = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "how-to").glob("*.md"))
    assert len(hooks) >= 4
    assert {hook for hook in hooks if f"### `{hook}`\n" not in page} == set()
    assert {hook for hook in hooks if hook not in elsewhere} == set(), "no how-to tells what it is for"
