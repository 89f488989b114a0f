"""From files to one set of policies, or to all that is wrong with them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cedarpy import PolicySet

from actas.core.errors import ConfigurationError

MAX_BYTES = 1_048_576
"""The longest file."""


@dataclass(frozen=True, slots=True)
class Policies:
    """A set of policies, parsed, and where each of them stands."""

    parsed: PolicySet
    places: Mapping[str, str]
    """``file:line`` of each policy, by the id that the engine gives it."""


@dataclass(frozen=True, slots=True)
class _Statement:
    text: str
    place: str


def read_policies(files: Iterable[str]) -> Policies:
    """Read and parse ``files``.

    Raises:
        ConfigurationError: with everything that is wrong, each problem with its file and line.
    """
    problems: list[str] = []
    statements: list[_Statement] = []
    for file in files:
        try:
            found = [_Statement(text, f"{file}:{line}") for line, text in _split(_read(file))]
        except ConfigurationError as error:
            problems += error.problems
            continue
        if not found:
            problems.append(f"{file}: there is no policy in it")
        statements += found
    problems += [problem for each in statements for problem in _problems_of(each)]
    if problems:
        raise ConfigurationError(problems)
    # The engine numbers policies in the order of the text.
    places = {f"policy{number}": each.place for number, each in enumerate(statements)}
    return Policies(PolicySet.from_str("\n".join(each.text for each in statements)), places)


def _read(file: str) -> str:
    try:
        with Path(file).open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else "this is no name of a file"
        raise ConfigurationError(f"{file!r}: cannot be read: {why}") from error
    if len(content) > MAX_BYTES:
        raise ConfigurationError(f"{file}: cannot be read: it is longer than {MAX_BYTES} bytes")
    return text


def _problems_of(statement: _Statement) -> list[str]:
    """The engine says what is wrong and not where, so it is asked about one policy at a time."""
    try:
        parsed = PolicySet.from_str(statement.text)
    except ValueError as error:
        return [f"{statement.place}: in the policy that begins here: {error}"]
    if parsed.templates():
        return [
            f"{statement.place}: this is a template, which permits nobody anything: name a principal and a resource"
        ]
    return []


def _split(text: str) -> Iterator[tuple[int, str]]:
    """Each policy, up to its semicolon, with the line on which it begins."""
    line, start, start_line = 1, None, 1
    position = 0
    while position < len(text):
        end = _skipped(text, position)
        if end is None:
            character = text[position]
            if start is None and not character.isspace():
                start, start_line = position, line
            end = position + 1
            if character == ";" and start is not None:
                yield start_line, text[start:end]
                start = None
        elif text[position] == '"' and start is None:
            start, start_line = position, line
        line += text.count("\n", position, end)
        position = end
    if start is not None:
        yield start_line, text[start:]


def _skipped(text: str, position: int) -> int | None:
    """Where the comment or string that begins at ``position`` ends; None where none does."""
    if text.startswith("//", position):
        end = text.find("\n", position)
        return len(text) if end < 0 else end
    if text[position] != '"':
        return None
    position += 1
    while position < len(text) and text[position] != '"':
        position += 2 if text[position] == "\\" else 1
    return min(position + 1, len(text))
