r"""Paths as callers write them, and names as they are shown: one spelling for each name, and nothing that misleads.

A name is bytes to the kernel. Where they are UTF-8 that a reader sees for what it is, the name is shown as text; each
byte of anything else is shown as ``\xHH``. What is shown is what a caller writes to come back to it. Every name has
this one spelling: :func:`parts` refuses all others, so that ``\x2e\x2e`` is no way to write ``..``.
"""

import re
import unicodedata

from actas.delegation.filesystem.failures import PathRefused

OWN = b".actas-"
"""How names of our own temporary files begin. Nobody is shown them, and no path may have them."""

_LONGEST_NAME = 255
_LONGEST_PATH = 4000
_PLAIN = re.compile(r"[A-Za-z0-9 _.,+=@()#-]*")
"""What needs no second look."""
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 _.,+=@()#-]*(?:/[A-Za-z0-9_][A-Za-z0-9 _.,+=@()#-]*)*")
"""Nor this: each name begins with a letter or digit, so it is none of ``.``, ``..`` and our own."""
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of characters that are not seen, or that change how others are: control, format, surrogate, private,
unassigned, line and paragraph separators."""
_LIKE_OURS = frozenset({"", ".", ".."})


def is_own(name: bytes) -> bool:
    """Whether it is a temporary file of ours, also where the file system ignores case."""
    return name[: len(OWN)].lower() == OWN


def shown(name: bytes) -> str:
    """The one spelling of ``name``."""
    text = name.decode(errors="surrogateescape")
    if _PLAIN.fullmatch(text):
        return text
    return _escaped(text, all_of_it=not unicodedata.is_normalized("NFC", text) or _looks_like_another(text))


def _escaped(text: str, *, all_of_it: bool) -> str:
    """``all_of_it``: every character that is not ASCII."""
    return "".join(
        "".join(f"\\x{byte:02x}" for byte in each.encode(errors="surrogateescape"))
        if each == "\\" or unicodedata.category(each) in _HIDDEN or (all_of_it and not each.isascii())
        else each
        for each in text
    )


def _looks_like_another(name: str) -> bool:
    """Whether normalisation makes a separator or a step upwards of it, as of a fullwidth solidus."""
    plain = unicodedata.normalize("NFKC", name)
    return plain in _LIKE_OURS or any(each in plain and each not in name for each in "/\\\0")


def parts(path: str, *, deepest: int, new: bool = False) -> tuple[bytes, ...]:
    """The names in a path that a caller wrote; none where it is empty: the folder itself.

    Args:
        deepest: how many names there may be.
        new: whether its last name is to be made: then it is a plain one.

    Raises:
        PathRefused: it is none. Nothing was looked at.
    """
    if not path:
        return ()
    if len(path) <= _LONGEST_NAME and path.count("/") < deepest and _PLAIN_PATH.fullmatch(path):
        return tuple(path.encode().split(b"/"))
    if len(path) > _LONGEST_PATH:
        raise PathRefused("path: is too long.", detail=f"longer than {_LONGEST_PATH} characters")
    if path.startswith("/"):
        raise PathRefused(
            "path: begins at your folder, without a / in front; the folder itself is the empty path.",
            detail="an absolute path",
        )
    found = tuple(_meant(each) for each in path.split("/"))
    if len(found) > deepest:
        raise PathRefused(f"path: has more than {deepest} names.", detail="deeper than limits.depth")
    if sum(map(len, found)) + len(found) > _LONGEST_PATH:
        raise PathRefused("path: is too long.", detail=f"longer than {_LONGEST_PATH} bytes")
    if new and "\\" in path.rpartition("/")[2]:
        raise PathRefused("path: give new files and folders names without \\x.", detail="an escape in a new name")
    return found


def _meant(text: str) -> bytes:
    """The name that is spelled so."""
    name = _bytes_of(text)
    if shown(name) != text:
        raise PathRefused(
            "path: a name is not written as a list shows it.", detail="another spelling than the one of that name"
        )
    if name in (b"", b".", b".."):
        raise PathRefused(
            "path: has a name that is empty, . or .. in it. Your folder itself is the empty path.",
            detail="an empty name, . or ..",
        )
    if b"/" in name or b"\0" in name:
        raise PathRefused("path: has a / or NUL inside of a name.", detail="a separator that was escaped")
    if len(name) > _LONGEST_NAME:
        raise PathRefused("path: has a name that is too long.", detail=f"a name longer than {_LONGEST_NAME} bytes")
    if is_own(name):
        raise PathRefused("path: has a name that is reserved.", detail="the name of a temporary file of ours")
    if not name.isascii() and _looks_like_another(name.decode(errors="surrogateescape")):
        raise PathRefused("path: has characters that pass for others.", detail="normalises to a separator or ..")
    return name


def _bytes_of(text: str) -> bytes:
    r"""Each ``\xHH`` is a byte; half a character becomes another one, which is then no spelling of it."""
    if "\\" not in text:
        return text.encode(errors="replace")
    made = bytearray()
    end = 0
    for found in _ESCAPE.finditer(text):
        made += text[end : found.start()].encode(errors="replace")
        made.append(int(found[1], 16))
        end = found.end()
    return bytes(made + text[end:].encode(errors="replace"))


def joined(names: tuple[bytes, ...]) -> str:
    """A path as it is shown."""
    return "/".join(map(shown, names))


def name(text: str) -> bytes:
    """One name, as a list shows it.

    Raises:
        PathRefused: it is none.
    """
    if "/" in text:
        raise PathRefused("after: is a name that a list gave as next.", detail="a path where a name is needed")
    return _meant(text)
