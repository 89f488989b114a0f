"""Reading a configuration's file: TOML or JSON, bounded, and nothing in it twice."""

import json
import tomllib
from pathlib import Path
from typing import cast

from actas.core import ConfigurationError

MAX_BYTES = 1_048_576
"""The longest configuration file."""


def read_file(path: Path) -> dict[str, object]:
    """The content of a TOML (``.toml``) or JSON (``.json``) file.

    Raises:
        ConfigurationError: it is missing, unreadable or not well-formed; says the line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else "this is no name of a file"
        raise ConfigurationError(f"{str(path)!r}: cannot be read: {why}") from error
    if len(content) > MAX_BYTES:
        raise ConfigurationError(f"{path}: cannot be read: it is longer than {MAX_BYTES} bytes")
    match path.suffix.lower():
        case ".toml":
            return _read_toml(path, text)
        case ".json":
            return _read_json(path, text)
        case _:
            raise ConfigurationError(f"{path}: the name must end with .toml or .json")


def _read_toml(path: Path, text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: not well-formed TOML: {error}") from error


def _read_json(path: Path, text: str) -> dict[str, object]:
    try:
        content = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: not well-formed JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: must be an object with the keys auth, mcp, delegation")
    return cast("dict[str, object]", content)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table: dict[str, object] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"the key {key!r} is given twice in one object")
        table[key] = value
    return table


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
