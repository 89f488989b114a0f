"""Paths: what operators and documents write, and what models fill in. Nothing here leaves the place it was given.

A value fills one segment. It is refused where any server behind us could take it for more than that: with a slash or
backslash, or what normalisation makes one; with dots alone; with percent signs that are an encoding already.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from actas.http.errors import RequestRefused

_LONGEST = 1024
"""Characters of one value."""
_LONGEST_PATH = 8000
"""Characters of a whole path; most servers refuse what goes on."""
_SEPARATES = re.compile(
    r"[/\\\u2044\u2215\u2216\u29f5\u29f8\u29f9]"  # slashes, and what some servers' character sets map to one
    r"|[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]"  # controls, halves of characters, line ends
    r"|%(?:[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})"  # decoded once too often, this is anything
)
_PARAMETER = re.compile(r"\{([^{}/]{1,64})\}")
_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]*")
_KEPT = "!$&'()*+,;=:@"
"""What may stand in a segment as it is (RFC 3986 section 3.3), besides letters, digits and ``-._~``."""
ANY_TAIL = "**"


def segment(value: str) -> str:
    """``value``, percent-encoded into one segment.

    Raises:
        RequestRefused: it could become more than that, or nothing at all.
    """
    check_segment(value)
    return quote(value, safe="")


def check_segment(text: str) -> None:
    """Raises RequestRefused where ``text`` is not surely one segment, and a name in it."""
    normal = unicodedata.normalize("NFKC", text)
    if len(text) > _LONGEST or _SEPARATES.search(text) or _SEPARATES.search(normal):
        raise RequestRefused(
            "A value for the path has a slash, a backslash, a control character or a percent encoding in it, or is too"
            " long. Give the plain value; it is encoded for you.",
            detail="a path value that could leave its segment",
        )
    visible = "".join(each for each in normal if unicodedata.category(each) != "Cf")
    if not visible.partition(";")[0].strip(". "):
        raise RequestRefused(
            "A value for the path is empty or has only dots. Give the name or id of one thing.",
            detail="a path value that is empty or made of dots",
        )


class Template:
    """A path with places for values: ``/customers/{id}/notes``.

    Raises:
        ValueError: it is no such path; says why.
    """

    def __init__(self, text: str) -> None:
        if not text.startswith("/"):
            raise ValueError("a path begins with /")
        self.text = text
        self._segments = [_parts(each, last) for each, last in _split(text)]
        self.names = tuple(part for parts in self._segments for part in parts[1::2])
        if len(set(self.names)) != len(self.names):
            raise ValueError("a name occurs twice in the path")

    def fill(self, values: Mapping[str, str]) -> str:
        """The path, encoded; it has as many segments as the template.

        Raises:
            RequestRefused: a value is missing or not fit for a segment.
        """
        return "".join(f"/{_filled(parts, values)}" for parts in self._segments)


def _split(text: str) -> list[tuple[str, bool]]:
    segments = text[1:].split("/")
    return [(each, index == len(segments) - 1) for index, each in enumerate(segments)]


def _parts(text: str, last: bool) -> list[str]:
    """Literals and names in turn, a literal first and last."""
    parts = _PARAMETER.split(text)
    if not all(_LITERAL.fullmatch(literal) for literal in parts[::2]):
        raise ValueError("only letters, digits and -._~!$&'()*+,;=:@ may stand in a path; write parameters as {name}")
    if len(parts) == 1 and not text.partition(";")[0].strip(".") and not (last and not text):
        raise ValueError("a path has no empty segment and none of dots")
    return parts


def _filled(parts: Sequence[str], values: Mapping[str, str]) -> str:
    if len(parts) == 1:
        return parts[0]
    missing = [name for name in parts[1::2] if name not in values]
    if missing:
        raise RequestRefused("A value for the path is missing.", detail="a path value is missing")
    given = [values[part] if index % 2 else part for index, part in enumerate(parts)]
    check_segment("".join(given))  # together they may be what neither is alone
    return "".join(segment(part) if index % 2 else quote(part, safe=_KEPT) for index, part in enumerate(given))


class AllowList:
    """Methods and paths that may be requested.

    Raises:
        ValueError: a line is not ``METHOD /path``; says which.
    """

    def __init__(self, lines: Sequence[str], methods: Sequence[str]) -> None:
        self._allowed = [_line(line, methods) for line in lines]
        self.methods = tuple(dict.fromkeys(method for method, _ in self._allowed))

    def encoded(self, method: str, path: str) -> str:
        """``path``, in which nothing is encoded yet, as it is sent.

        Raises:
            RequestRefused: this method and path are not allowed, or the path is none.
        """
        if not path.startswith("/") or "?" in path or "#" in path:
            raise RequestRefused(
                "The path must begin with / and go on below the service's own address, without ? and #: the query goes"
                " into query.",
                detail="a path that is none",
            )
        if len(path) > _LONGEST_PATH:
            raise RequestRefused("The path is too long.", detail="the path is too long")
        segments = path[1:].split("/")
        for allowed, pattern in self._allowed:
            if method == allowed and _fits(segments, pattern):
                literals = dict(enumerate(pattern[:-1] if pattern[-1] == ANY_TAIL else pattern))
                return "".join(f"/{literals.get(index) or segment(each)}" for index, each in enumerate(segments))
        raise RequestRefused(
            "This method and path are not among those that are allowed. The tool's description has them.",
            detail="not among the methods and paths that are allowed",
        )


def _line(line: str, methods: Sequence[str]) -> tuple[str, list[str | None]]:
    method, _, path = line.partition(" ")
    if method not in methods:
        raise ValueError(f"{line!r} must be a method ({', '.join(methods)}), a space and a path")
    open_ended = path.endswith(f"/{ANY_TAIL}")
    head = path.removesuffix(f"/{ANY_TAIL}") if open_ended else path
    try:
        segments = Template(head).text[1:].split("/") if head or not open_ended else []
    except ValueError as error:
        raise ValueError(f"{line!r}: {error}") from None
    pattern = [None if _PARAMETER.fullmatch(each) else each for each in segments]
    if any(each is not None and (not each or "{" in each) for each in pattern):
        raise ValueError(f"{line!r}: a path ends without a slash here, and a parameter is a whole segment")
    return method, [*pattern, ANY_TAIL] if open_ended else pattern


def _fits(segments: Sequence[str], pattern: Sequence[str | None]) -> bool:
    open_ended = pattern[-1] == ANY_TAIL
    fixed = pattern[:-1] if open_ended else pattern
    if len(segments) < len(fixed) or (len(segments) > len(fixed)) != open_ended:
        return False
    return all(wanted in (None, each) for each, wanted in zip(segments, fixed, strict=False))
