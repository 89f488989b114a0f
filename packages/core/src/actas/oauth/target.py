"""URLs that are compared, not fetched: the ``htu`` of a DPoP proof (RFC 9449 section 4.3)."""

import re

MAX_LENGTH = 2048
"""Characters of a URL that is looked at."""

_URL = re.compile(
    r"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?)://"
    r"(?P<host>[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{0,5}))?"
    r"(?P<path>(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*)"
    r"(?:[?#][!-~]*)?"
)
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def normal(url: str) -> str | None:
    """``url`` without query and fragment, normalised by syntax and scheme (RFC 3986 sections 6.2.2 and 6.2.3).

    None where it is no http(s) URL, names a user, or is longer than :data:`MAX_LENGTH`. Does no I/O.
    """
    found = _URL.fullmatch(url) if len(url) <= MAX_LENGTH else None
    if found is None:
        return None
    scheme, host = found["scheme"].lower(), found["host"].lower()
    port = int(found["port"] or 0)
    where = f":{port}" if port not in (0, _DEFAULT_PORTS[scheme]) else ""
    return f"{scheme}://{host}{where}{_without_dots(_ESCAPE.sub(_unescaped, found['path']))}"


def _unescaped(escape: re.Match[str]) -> str:
    """RFC 3986 section 6.2.2.2: what needs no escape has none, and the others are in upper case."""
    character = chr(int(escape[0][1:], 16))
    return character if character in _UNRESERVED else escape[0].upper()


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4, for a path that is empty or begins with a slash; an empty one becomes ``/``."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
