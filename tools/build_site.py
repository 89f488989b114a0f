"""Make the site of the documentation: ``python tools/build_site.py FOLDER``, into ``FOLDER/site``.

The repository's Markdown files are the pages, each where it is in the repository: links lead to the same things here
and there. The navigation is what ``docs/README.md`` lists. A link that leads nowhere, a page that is not listed, and
anything that a reader's browser would fetch from another server are errors.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parent.parent
INDEX = Path("docs/README.md")
HOME = Path("README.md")
PAGES = ("*.md", "docs/**/*.md", "packages/*/README.md", "examples/README.md", "examples/*/README.md")
CONFIGURATION = Path("docs/site/site.toml")

_ITEM = re.compile(r"^(?P<indent> *)- \[(?P<title>[^\]]+)\]\((?P<target>[^)#\s]+)\)", re.MULTILINE)
_LINK = re.compile(r"\]\((?P<target>[^)#\s]+)[^)\s]*\)")
_FENCE = re.compile(r"^(?P<start> *```[\w-]+) +(?P<title>[^\n`\"]+)$", re.MULTILINE)

Nav = list[dict[str, "str | Nav"]]
"""As MkDocs has it: titles with the page, or with what is inside."""


class SiteError(Exception):
    """The site cannot be made, or is not as it should be; the message lists why."""


def pages(root: Path) -> list[Path]:
    """The pages, relative to ``root``."""
    found = {page.relative_to(root) for pattern in PAGES for page in root.glob(pattern)}
    return sorted(page for page in found if "tests" not in page.parts)


def navigation(root: Path) -> Nav:
    """What ``docs/README.md`` lists: a tab for each chapter, a section for each heading and list inside.

    The README of a folder of which nothing else is listed brings the pages below it, in the order in which it links to
    them itself.
    """
    listed = {page for page in _listed(root)}
    tabs: Nav = [{"Home": [{"actas": HOME.as_posix()}, {"Documentation": INDEX.as_posix()}]}]
    for title, text in _chapters(root.joinpath(INDEX).read_text(encoding="utf-8"), "## "):
        if title:
            sections = list(_chapters(text, "### "))
            inside: Nav = []
            for heading, part in sections:
                items = _items(root, part, listed)
                inside += [{heading: items}] if heading else items
            tabs += [{title: inside}]
    return tabs


def _chapters(text: str, mark: str) -> Iterator[tuple[str, str]]:
    """Titles and texts; what stands before the first heading has no title."""
    head, *rest = re.split(rf"^{mark}", text, flags=re.MULTILINE)
    yield "", head
    for chapter in rest:
        title, _, body = chapter.partition("\n")
        yield title.strip(), body


def _listed(root: Path) -> Iterator[Path]:
    for match in _ITEM.finditer(root.joinpath(INDEX).read_text(encoding="utf-8")):
        yield _page(root, match["target"])


def _page(root: Path, target: str) -> Path:
    return root.joinpath(INDEX.parent, target).resolve().relative_to(root)


def _items(root: Path, text: str, listed: set[Path]) -> Nav:
    found: Nav = []
    for match in _ITEM.finditer(text):
        page = _page(root, match["target"])
        item: Nav = [{match["title"]: page.as_posix()}]
        others = [each for each in pages(root) if page.parent in each.parents and each != page]
        if page.name == "README.md" and others and not listed.intersection(others):
            item = [{match["title"]: [{match["title"]: page.as_posix()}, *_titled(root, page, others)]}]
        if match["indent"]:
            last = found[-1]
            ((title, inside),) = last.items()
            last[title] = [*(inside if isinstance(inside, list) else [{title: inside}]), *item]
        else:
            found += item
    return found


def _titled(root: Path, readme: Path, others: Iterable[Path]) -> Nav:
    text = (root / readme).read_text(encoding="utf-8")

    def place(page: Path) -> tuple[int, Path]:
        return text.find(f"]({page.relative_to(readme.parent).as_posix()})") % (len(text) + 1), page

    return [{_heading(root / page): page.as_posix()} for page in sorted(others, key=place)]


def _heading(page: Path) -> str:
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ").strip()


def unlisted(root: Path, nav: Nav) -> list[Path]:
    """The pages that the navigation does not lead to."""
    there = set(_leaves(nav))
    return [page for page in pages(root) if page.as_posix() not in there]


def _leaves(nav: Nav) -> Iterator[str]:
    for item in nav:
        for inside in item.values():
            if isinstance(inside, str):
                yield inside
            else:
                yield from _leaves(inside)


def stage(root: Path, to: Path) -> None:
    """Copy the pages, and the files that they link to, each into its own place under ``to``."""
    for page in pages(root):
        text = (root / page).read_text(encoding="utf-8")
        _write(to / page, _FENCE.sub(r'\g<start> title="\g<title>"', text))
        for match in _LINK.finditer(text):
            file = (root / page.parent / unquote(match["target"])).resolve()
            if file.is_file() and file.suffix != ".md" and file.is_relative_to(root):
                _write(to / file.relative_to(root), file.read_bytes())
    style = CONFIGURATION.with_suffix(".css")
    _write(to / style, (root / style).read_bytes())


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def build(root: Path, folder: Path) -> Path:
    """Make the site in ``folder``.

    Raises:
        SiteError: something in it is not as it should be.
    """
    shutil.rmtree(folder, ignore_errors=True)
    nav = navigation(root)
    missing = [page for page in _leaves(nav) if not (root / page).is_file()]
    outside = unlisted(root, nav)
    if missing or outside:
        wrong = [f"{INDEX}: {page} is not there" for page in missing]
        raise SiteError("\n".join([*wrong, *(f"{INDEX}: does not list {page}" for page in outside)]))
    stage(root, folder / "pages")
    settings = tomllib.loads((root / CONFIGURATION).read_text(encoding="utf-8"))
    settings["project"] |= {"docs_dir": "pages", "site_dir": "site", "nav": nav}
    _write(folder / "zensical.toml", _toml(settings))
    done = subprocess.run([sys.executable, "-m", "zensical", "build", "--clean", "--strict"], cwd=folder)
    if done.returncode:
        raise SiteError("zensical found what stands above")
    problems = list(check(folder / "site"))
    if problems:
        raise SiteError("\n".join(problems))
    return folder / "site"


def _toml(settings: dict[str, object]) -> str:
    """``settings`` as TOML, which the standard library reads and does not write: all but the first level inline."""
    lines: list[str] = []
    for table, inside in settings.items():
        assert isinstance(inside, dict)
        lines += [f"[{table}]", *(f"{key} = {_value(value)}" for key, value in inside.items())]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "{ " + ", ".join(f"{_string(key)} = {_value(each)}" for key, each in value.items()) + " }"
        case list():
            return "[" + ", ".join(_value(each) for each in value) + "]"
        case _:
            return _string(value)


def _string(value: object) -> str:
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass
class Page(HTMLParser):
    """What a finished page has: ids, links, and what a browser fetches to show it."""

    path: Path
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.update(given[name] for name in ("id", "name") if name in given)
        if "src" in given or tag == "link":
            self.fetched.append(given.get("src") or given.get("href", ""))
        elif "href" in given:
            self.links.append(given["href"])


def check(site: Path) -> Iterator[str]:
    """What is wrong with a finished site: links that lead nowhere, and what is fetched from elsewhere."""
    there = {path: Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    for path, page in there.items():
        name = path.relative_to(site)
        for target in [*page.links, *page.fetched]:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.fetched and parts.scheme != "data":
                    yield f"{name}: {target} is fetched from elsewhere"
                continue
            leads = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if leads.is_dir():
                leads /= "index.html"
            if not leads.is_file():
                yield f"{name}: {target} leads nowhere"
            elif parts.fragment and leads in there and unquote(parts.fragment) not in there[leads].ids:
                yield f"{name}: {target} leads to a page without such a heading"
    for sheet in [*site.rglob("*.css"), *site.rglob("*.js")]:
        for url in re.findall(r"(?:url\(|@import )[\"']?(https?:[^\"')]+)", sheet.read_text(encoding="utf-8")):
            yield f"{sheet.relative_to(site)}: {url} is fetched from elsewhere"


def main() -> int:
    """Make it, or say what is wrong."""
    try:
        site = build(ROOT, Path(sys.argv[1]).resolve())
    except SiteError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"The site: {site}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
