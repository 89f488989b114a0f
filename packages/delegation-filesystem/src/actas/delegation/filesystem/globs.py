"""Names by a pattern with ``*`` and ``?``. No regular expression: its time is bounded by name times pattern."""


def fits(pattern: str, name: str) -> bool:
    """Whether all of ``name`` fits ``pattern``: ``*`` stands for any characters, ``?`` for one, all else for itself."""
    at = start = back = 0
    star = -1
    while at < len(name):
        if start < len(pattern) and pattern[start] == "*":
            star, back = start, at
            start += 1
        elif start < len(pattern) and pattern[start] in ("?", name[at]):
            at, start = at + 1, start + 1
        elif star >= 0:
            back += 1
            at, start = back, star + 1
        else:
            return False
    return not pattern[start:].strip("*")
