"""Names with ``*`` in them, which stands for anything; and which of a module's actions become tools."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from actas.core import Action, ConfigurationError

_NOT = "!"


def fits(pattern: str, name: str) -> bool:
    """Whether ``name`` fits, in time that no name can make grow beyond its length."""
    if "*" not in pattern:
        return pattern == name
    first, *middle, last = pattern.split("*")
    if len(name) < len(first) + len(last) or not name.startswith(first) or not name.endswith(last):
        return False
    rest = name[len(first) : len(name) - len(last)]
    for part in middle:
        _, found, rest = rest.partition(part) if part else ("", "*", rest)
        if not found:
            return False
    return True


def chosen(actions: Iterable[Action], written: Sequence[str] | None, *, prefix: str, path: str) -> list[Action]:
    """The actions that become tools.

    Args:
        written: names and patterns of those that do, and after a ``!`` of those that do not; with the latter alone,
            all others do. A name is the tool's, with or without its prefix, or the action's. None: all.
        path: where ``written`` stands in the configuration.

    Raises:
        ConfigurationError: a name or pattern fits nothing; with the nearest one that would.
    """
    listed = list(actions)
    names = {each.name: (each.name, each.tool or each.name, f"{prefix}-{each.tool or each.name}") for each in listed}
    if written is None:
        return listed
    _all_fit(written, names, path)
    wanted = [pattern for pattern in written if not pattern.startswith(_NOT)]
    unwanted = [pattern[1:] for pattern in written if pattern.startswith(_NOT)]
    if unwanted and not wanted:
        wanted = ["*"]
    return [
        action
        for action in listed
        if _any_fits(wanted, names[action.name]) and not _any_fits(unwanted, names[action.name])
    ]


def _all_fit(written: Sequence[str], names: Mapping[str, tuple[str, ...]], path: str) -> None:
    problems: list[str] = []
    for pattern in written:
        name = pattern.removeprefix(_NOT)
        if any(_any_fits([name], each) for each in names.values()):
            continue
        near = get_close_matches(name, [each for action in names.values() for each in action], n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(each[-1] for each in names.values())}"
        problems.append(f"{path}: no tool {name!r}; {hint}")
    if problems:
        raise ConfigurationError(problems)


def _any_fits(patterns: Iterable[str], names: Iterable[str]) -> bool:
    return any(fits(pattern, name) for pattern in patterns for name in names)
