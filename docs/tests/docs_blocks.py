"""The project's Markdown pages and the code blocks in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for where in ("*.md", "packages/*/*.md", "docs/**/*.md", "examples/README.md", "examples/*/README.md")
    for path in ROOT.glob(where)
)
WALKED = {
    "docs/tutorial/first-server.md",
    "docs/tutorial/rest-as-the-user.md",
    "docs/tutorial/ten-minutes.md",
    "docs/tutorial/your-first-plugin.md",
    "docs/how-to/write-a-plugin.md",
    "docs/how-to/decide-with-a-policy.md",
    "docs/how-to/why-was-alice-refused.md",
}
"""Pages whose files are written and whose commands are executed, in their order."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=indent)```\s*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block. ``title`` is the rest of its info string: the name of a file."""

    page: str
    line: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def walked(self) -> bool:
        """Whether the whole page is executed, and the block with it."""
        return self.page in WALKED

    def commands(self) -> Iterator[str]:
        """The commands of a console block: lines after ``$``, continued after a backslash."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield line[2:].strip()


def blocks(page: str | Path) -> list[Block]:
    """The blocks of one page, in order."""
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    found: list[Block] = []
    for match in _FENCE.finditer(text):
        language, _, title = match["info"].strip().partition(" ")
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(path.relative_to(ROOT).as_posix(), line, language, title.strip(), match["text"]))
    return found


def all_blocks(language: str) -> list[Block]:
    """The blocks of one language on all pages."""
    return [block for page in PAGES for block in blocks(page) if block.language == language]
