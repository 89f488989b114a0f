"""Links lead somewhere, and tests that a page names are there."""

import re
from pathlib import Path

import pytest
from docs_blocks import PAGES, ROOT

_CODE = re.compile(r"^ *```.*?^ *```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_TEST = re.compile(r"`(test_\w+)`")


def missing(page: Path) -> list[str]:
    """The relative links of ``page`` that lead nowhere."""
    found: list[str] = []
    for target in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in _anchors(there)):
            found.append(target)
    return found


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ +(.+?) *$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert not missing(page)


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# One heading\n")
    page = tmp_path / "a.md"
    page.write_text("[a](b.md) [b](b.md#one-heading) [c](nowhere.md) [d](b.md#two)\n`[e](code.md)`\n")
    assert missing(page) == ["nowhere.md", "b.md#two"]


def test_every_page_of_the_documentation_is_in_its_index() -> None:
    docs = ROOT / "docs"
    listed = {(docs / target.partition("#")[0]).resolve() for target in _LINK.findall((docs / "README.md").read_text())}
    pages = {page for page in PAGES if page.is_relative_to(docs) and page.name != "README.md"}
    assert {page for page in pages if "decisions" not in page.parts} <= listed
    assert docs / "decisions" / "README.md" in listed


def test_every_test_that_a_page_names_is_there() -> None:
    sources = [
        *ROOT.glob("packages/*/tests/**/*.py"),
        *ROOT.glob("packages/core/src/actas/testing/*.py"),
        *ROOT.glob("docs/tests/*.py"),
    ]
    there = {name for source in sources for name in re.findall(r"def (test_\w+)", source.read_text(encoding="utf-8"))}
    named = {(page.name, name) for page in PAGES for name in _TEST.findall(page.read_text(encoding="utf-8"))}
    assert not {(page, name) for page, name in named if name not in there}
