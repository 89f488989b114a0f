"""How things look: rich where a person looks, plain where a pipe does."""

import json
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

console = Console(highlight=False)
"""Standard output. Rich itself leaves out colours and boxes' colours where it is no terminal."""
errors = Console(stderr=True, highlight=False)
"""Standard error."""


def show_problems(problems: Iterable[str]) -> None:
    """Every problem on a line of its own, on standard error."""
    problems = list(problems)
    errors.print(Text(f"{len(problems)} problem{'s' if len(problems) != 1 else ''}:", style="bold red"))
    for problem in problems:
        errors.print(Text("  ✗ " if errors.is_terminal else "  - ", style="red") + Text(problem), soft_wrap=True)


def show_json(content: object) -> None:
    """JSON on standard output, never coloured, never wrapped."""
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
