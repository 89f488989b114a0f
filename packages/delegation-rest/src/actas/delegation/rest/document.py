"""An OpenAPI document: read within limits, and its references followed inside of it, never out."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast
from urllib.parse import unquote

from actas.http import strict_json

_MOST_BYTES = 10_000_000
_DEEPEST = 100
_LONGEST_CHAIN = 10
"""References that lead to references."""


class Document:
    """The document in ``file``.

    Raises:
        ValueError: it cannot be read, or is no OpenAPI 3.0 or 3.1 in JSON; says which.
    """

    def __init__(self, file: str) -> None:
        try:
            with Path(file).open("rb") as opened:
                text = opened.read(_MOST_BYTES + 1)
        except (OSError, ValueError) as error:
            raise ValueError(f"{file} cannot be read ({type(error).__name__})") from None
        if len(text) > _MOST_BYTES:
            raise ValueError(f"{file} is larger than {_MOST_BYTES // 1_000_000} MB")
        try:
            root = strict_json.loads(text, max_depth=_DEEPEST)
        except ValueError as error:
            raise ValueError(f"{file} is no JSON ({error}); YAML must be converted first") from None
        version = root.get("openapi") if isinstance(root, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] -- JSON
        if not isinstance(version, str) or not version.startswith(("3.0.", "3.1.")):
            raise ValueError(f"{file} is no OpenAPI document of version 3.0 or 3.1")
        self.root = cast("dict[str, object]", root)
        self.old = version.startswith("3.0.")
        """Whether schemas are those of OpenAPI 3.0, which are not JSON Schema yet."""

    def at(self, reference: str) -> object:
        """What ``reference``, ``#/components/…``, stands for. Raises ValueError where that is not in the document."""
        if not reference.startswith("#/"):
            raise ValueError("it refers to something outside of the document")
        value: object = self.root
        for step in reference[2:].split("/"):
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            value = cast("Mapping[str, object]", value).get(name) if isinstance(value, Mapping) else None
        if value is None:
            raise ValueError("it refers to something that is not in the document")
        return value

    def table(self, value: object) -> Mapping[str, object]:
        """``value``, or what it refers to, which must be an object. Raises ValueError where it is none."""
        for _ in range(_LONGEST_CHAIN):
            if not isinstance(value, Mapping):
                raise ValueError("an object is missing in it")
            found = cast("Mapping[str, object]", value)
            reference = found.get("$ref")
            if not isinstance(reference, str):
                return found
            value = self.at(reference)
        raise ValueError("its references lead in a circle")


def items(value: object) -> list[object]:
    """``value`` where it is a list; an empty one else."""
    return cast("list[object]", value) if isinstance(value, list) else []


def table(value: object) -> Mapping[str, object]:
    """``value`` where it is an object; an empty one else."""
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def words(value: object, most: int) -> str:
    """``value`` where it is text: on one line, without control characters, ``most`` characters at the most."""
    plain = " ".join(value.split()) if isinstance(value, str) else ""
    plain = "".join(each for each in plain if each.isprintable())
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"
