"""In which line of the file a problem is: the validation knows paths, an operator's editor knows lines.

Not a TOML parser: it looks for the lines that begin a table or a key, which is where a problem is
shown. What it does not find has no line, and nothing is decided by it. JSON has no such lines.
"""

import contextlib
import re
from collections import Counter
from collections.abc import Generator, Mapping
from pathlib import Path

from actas.core import ConfigurationError
from actas.mcp.config_file import MAX_BYTES

_TABLE = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?")
_ELEMENT = re.compile(r"\s*\[\[\s*([^\[\]]+?)\s*\]\]\s*(?:#.*)?")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"\\]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"\\]*"|'[^']*'))*)\s*=""")
_PATH = re.compile(r"[A-Za-z0-9_.\[\]-]+")


@contextlib.contextmanager
def located(source: object) -> Generator[None]:
    """A ConfigurationError that is raised inside gets the lines of its problems, where ``source`` is a TOML file."""
    try:
        yield
    except ConfigurationError as error:
        known = _lines(source)
        if not known:
            raise
        raise ConfigurationError(
            [_with_line(problem, known) for problem in error.problems], detail=error.detail
        ) from error


def key_lines(text: str) -> Mapping[str, int]:
    """The line, counted from 1, of each table and key of a TOML document, by its path in one spelling."""
    found: dict[str, int] = {}
    elements: Counter[str] = Counter()
    table, quote = "", ""
    for number, line in enumerate(text.splitlines(), start=1):
        if quote:
            quote = "" if quote in line else quote
            continue
        if (match := _ELEMENT.fullmatch(line)) is not None:
            name = _spelled(match.group(1))
            table = f"{name}[{elements[name]}]"
            elements[name] += 1
            found.setdefault(table, number)
        elif (match := _TABLE.fullmatch(line)) is not None:
            table = _spelled(match.group(1))
            found.setdefault(table, number)
        elif (match := _KEY.match(line)) is not None:
            key = _spelled(match.group(1))
            found.setdefault(f"{table}.{key}" if table else key, number)
        quote = next((mark for mark in ('"""', "'''") if line.count(mark) % 2), "")
    return found


def _lines(source: object) -> Mapping[str, int]:
    if not isinstance(source, str | Path) or Path(source).suffix.lower() != ".toml":
        return {}
    try:
        with Path(source).open("rb") as file:
            return key_lines(file.read(MAX_BYTES).decode("utf-8"))
    except (OSError, ValueError):
        return {}


def _with_line(problem: str, known: Mapping[str, int]) -> str:
    """``problem`` with the line of its path, or of the nearest table around it."""
    path, colon, _ = problem.partition(":")
    if not colon or not _PATH.fullmatch(path):
        return problem
    name = _spelled(path)
    while name and name not in known:
        name = name[: max(name.rfind("."), name.rfind("["), 0)]
    return f"{problem} (line {known[name]})" if name else problem


def _spelled(path: str) -> str:
    """One spelling for ``snake_case`` and ``camelCase``, quoted or not."""
    return re.sub(r"[\s\"'_]", "", path).lower()
