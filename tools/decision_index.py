"""Make ``docs/decisions/README.md`` from the decisions' first lines.

``python tools/decision_index.py`` writes it; ``--check`` says whether it is current.
"""

import re
import sys
from pathlib import Path

from config_reference import main as write

FOLDER = Path(__file__).parent.parent / "docs" / "decisions"

HEAD = """\
# Decisions

<!-- Made by tools/decision_index.py from the pages' first lines. Change those, then run it. -->

Why things are as they are: one page each, in the order they were taken. A decision that is taken back
stays here and says what took its place.

| | |
|---|---|
"""


def render(folder: Path = FOLDER) -> str:
    """The whole page.

    Raises:
        ValueError: a page's first line does not begin with the number in its name, or two have one number.
    """
    rows: dict[int, str] = {}
    for page in sorted(folder.glob("[0-9]*.md")):
        number = int(page.name.partition("-")[0])
        first = re.match(rf"# {number}\. (\S.*)\n", page.read_text(encoding="utf-8"))
        if first is None or number in rows:
            raise ValueError(f"{page.name}: begins with `# {number}. ` and a title, and no other page has the number")
        rows[number] = f"| [{number}]({page.name}) | {first[1]} |\n"
    return HEAD + "".join(rows.values())


if __name__ == "__main__":
    sys.exit(write(FOLDER / "README.md", render))
