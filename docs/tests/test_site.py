"""The site: what is listed is there, what is there is listed, and nothing is broken or fetched from elsewhere.

The whole of it is made, as strictly, by ``nox -s site``.
"""

from pathlib import Path

import build_site
import pytest
from docs_blocks import ROOT

INDEX = """\
# Documentation

## Learn

- [First](first.md)

## Do

### With databases

- [One thing](how/one.md)
    - [A part of it](how/part.md): with words after it

### With others

- [Another](how/another.md)

## Decisions

- [All](decisions/README.md)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    files = {
        "README.md": "# Home\n",
        "docs/README.md": INDEX,
        "docs/first.md": "# First\n",
        "docs/how/one.md": "# One\n",
        "docs/how/part.md": "# Part\n",
        "docs/how/another.md": "# Another\n",
        "docs/decisions/README.md": "# All\n\n[second](0002-thus.md) [third](more/README.md)\n",
        "docs/decisions/0001-so.md": "# 1. So\n",
        "docs/decisions/0002-thus.md": "# 2. Thus\n",
        "docs/decisions/more/README.md": "# More\n",
        "docs/tests/notes.md": "# Nobody's\n",
        "docs/site/site.css": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_index_is_the_navigation_and_a_folder_of_decisions_needs_no_list(repository: Path) -> None:
    part = "docs/how/part.md"
    assert build_site.navigation(repository) == [
        {"Home": [{"actas": "README.md"}, {"Documentation": "docs/README.md"}]},
        {"Learn": [{"First": "docs/first.md"}]},
        {
            "Do": [
                {"With databases": [{"One thing": [{"One thing": "docs/how/one.md"}, {"A part of it": part}]}]},
                {"With others": [{"Another": "docs/how/another.md"}]},
            ]
        },
        {
            "Decisions": [
                {
                    "All": [
                        {"All": "docs/decisions/README.md"},
                        {"2. Thus": "docs/decisions/0002-thus.md"},
                        {"More": "docs/decisions/more/README.md"},
                        {"1. So": "docs/decisions/0001-so.md"},
                    ]
                }
            ]
        },
    ]  # fmt: skip
    assert build_site.unlisted(repository, build_site.navigation(repository)) == []


def test_a_page_that_is_not_listed_stops_the_build(repository: Path) -> None:
    (repository / "docs/how/new.md").write_text("# New\n")
    with pytest.raises(build_site.SiteError, match=r"docs/README\.md: does not list docs/how/new\.md"):
        build_site.build(repository, repository / "made")


def test_a_page_that_is_listed_and_not_there_stops_the_build(repository: Path) -> None:
    (repository / "docs/first.md").unlink()
    with pytest.raises(build_site.SiteError, match=r"docs/first\.md is not there"):
        build_site.build(repository, repository / "made")


def test_every_page_of_this_repository_is_listed() -> None:
    assert build_site.unlisted(ROOT, build_site.navigation(ROOT)) == []


def test_a_page_keeps_its_place_and_brings_the_files_that_it_links_to(repository: Path) -> None:
    (repository / "examples").mkdir()
    (repository / "examples/server.py").write_text("print()\n")
    page = "# First\n\n[the server](../examples/server.py)\n\n```toml actas.toml\n[mcp]\n```\n"
    (repository / "docs/first.md").write_text(page)
    build_site.stage(repository, repository / "made")
    assert (repository / "made/examples/server.py").read_text() == "print()\n"
    assert '```toml title="actas.toml"\n[mcp]' in (repository / "made/docs/first.md").read_text()
    assert not (repository / "made/docs/tests").exists()


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ('<a href="there.html#yes">', None),
        ('<a href="https://elsewhere.example">', None),
        ('<img src="data:image/png;base64,AA==">', None),
        ('<a href="nowhere.html">', "leads nowhere"),
        ('<a href="there.html#no">', "without such a heading"),
        ('<a href="#no">', "without such a heading"),
        ('<img src="nowhere.png">', "leads nowhere"),
        ('<script src="https://cdn.example/x.js"></script>', "fetched from elsewhere"),
        ('<script src="//cdn.example/x.js"></script>', "fetched from elsewhere"),
        ('<link rel="stylesheet" href="https://fonts.example/css">', "fetched from elsewhere"),
        ('<link rel="preconnect" href="https://fonts.example" crossorigin>', "fetched from elsewhere"),
        ('<iframe src="http://frames.example">', "fetched from elsewhere"),
    ],
)
def test_a_finished_page_that_is_broken_or_fetches_from_elsewhere_is_noticed(
    page: str, told: str | None, tmp_path: Path
) -> None:
    (tmp_path / "there.html").write_text('<h1 id="yes">There</h1>')
    (tmp_path / "index.html").write_text(page)
    found = list(build_site.check(tmp_path))
    assert (told is None) == (not found)
    assert told is None or told in found[0]


@pytest.mark.parametrize(
    "sheet", ["@import 'https://fonts.example/x.css';", "a { background: url(https://x.example/a.png) }"]
)
def test_a_style_sheet_that_fetches_from_elsewhere_is_noticed(sheet: str, tmp_path: Path) -> None:
    (tmp_path / "site.css").write_text(sheet)
    assert "fetched from elsewhere" in next(build_site.check(tmp_path))
