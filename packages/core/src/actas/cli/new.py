"""``actas new``: a plug-in's whole distribution, from the templates beside this file.

A template is written as the plug-in ``example-plugin`` would be; its two spellings are replaced by the author's name.
"""

import errno
import keyword
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import typer
from rich.text import Text

from actas.cli.kinds import KINDS, Kind, KindName
from actas.cli.output import console
from actas.core.discovery import OURS, installed

_TEMPLATES = "templates"
_SUFFIX = ".tmpl"
_HIDDEN = {"gitignore": ".gitignore", "github": ".github"}
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 40
"""Characters of a name: the longest lines of the templates have room for that many."""
_EDIT = re.compile(r"EDIT (\d+): (.*?)(?:\"\"\")?$", re.MULTILINE)
_COMMON = frozenset("build hatchling mypy pip pyright pytest ruff test tests twine".split())
"""Packages that are at work where a plug-in is tested and built."""


def new_plugin(name: str, kind: KindName) -> None:
    """Write the distribution ``name`` into a new folder of that name, and say what to do next.

    Raises:
        typer.BadParameter: the name is none for it, or the folder is there. Nothing was written.
    """
    problem = name_problem(name)
    if problem is not None:
        raise typer.BadParameter(problem, param_hint="NAME")
    try:
        write(rendered(name, KINDS[kind], kind), Path(name).absolute())
    except FileExistsError:
        raise typer.BadParameter(f"{name} is there already", param_hint="NAME") from None
    except OSError as error:
        raise typer.BadParameter(f"{name} cannot be written: {error.strerror}", param_hint="NAME") from error
    console.print(Text(f"{name}/ is a plug-in that works, of the kind {kind}. Next:", style="bold"))
    upgrade = "python -m pip install --upgrade pip"  # --group came with pip 25.1; Python 3.11 brings an older one
    for command in (f"cd {name}", upgrade, "pip install -e . --group dev", "pytest", "grep -rn EDIT ."):
        console.print(Text(f"  {command}"), soft_wrap=True)


def name_problem(name: str) -> str | None:
    """Why no plug-in can be called ``name``; None where one can."""
    if not _NAME.fullmatch(name):
        suggestion = re.sub(r"[^a-z0-9]+", "-", re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", name).lower()).strip("-")
        better = f", such as {suggestion}" if _NAME.fullmatch(suggestion) and len(suggestion) <= _LONGEST else ""
        return f"write it in lower-case letters, digits and hyphens, a letter first{better}"
    if len(name) > _LONGEST:
        return f"{_LONGEST} characters at most: it is part of each tool's name"
    package = name.replace("-", "_")
    if keyword.iskeyword(package) or keyword.issoftkeyword(package):
        return "it is a word of Python's own"
    if package in sys.stdlib_module_names:
        return "Python's standard library has a module of this name"
    if name in OURS or package in ("actas", "example_plugin") or package in _COMMON:
        return "this name is taken, by actas itself or by what plug-ins are built and tested with"
    return _taken(name, package)


def _taken(name: str, package: str) -> str | None:
    """By whom of those who are installed; an earlier one of the author's own is no hindrance."""
    claim = installed().get(name)
    claimants = set[str]() if claim is None else {each.distribution for each in (claim, *claim.rivals)}
    owners = claimants | set(packages_distributions().get(package, []))
    if name in claimants:
        owners.discard(name)
    return f"{', '.join(sorted(owners))} is installed and has this name" if owners else None


def rendered(name: str, kind: Kind, kind_name: str) -> Mapping[str, str]:
    """The text of each file of the distribution, by its path."""
    spellings = {"example-plugin": name, "example_plugin": name.replace("-", "_")}
    texts: dict[str, str] = {}
    root = files("actas.cli") / _TEMPLATES
    for folder in ("common", "exchanging" if kind.exchanging else "named", kind_name):
        for path, text in _files_in(root / folder, ()):
            filled = _replaced(text, {f"@{key}@": value for key, value in kind.fragments(_compatible()).items()})
            texts[_replaced(path, spellings)] = _replaced(filled, spellings)
    texts["README.md"] = texts["README.md"].replace("@edits@", "\n".join(_edits(texts)))
    return dict(sorted(texts.items()))


def _files_in(folder: Traversable, above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files_in(entry, (*above, _HIDDEN.get(entry.name, entry.name)))
        elif entry.name.endswith(_SUFFIX):
            file = entry.name.removesuffix(_SUFFIX)
            yield "/".join((*above, _HIDDEN.get(file, file))), entry.read_text(encoding="utf-8")


def _replaced(text: str, words: Mapping[str, str]) -> str:
    for word, by in words.items():
        text = text.replace(word, by)
    return text


def _edits(texts: Mapping[str, str]) -> Iterator[str]:
    """The places that an author changes, as lines of a table, in their order."""
    found = [
        (int(number), path, what.rstrip(".")) for path, text in texts.items() for number, what in _EDIT.findall(text)
    ]
    for number, path, what in sorted(found):
        yield f"| {number} | `{path}` | {what} |"


def _compatible() -> str:
    """What a plug-in that is written now demands of actas: this minor version, and no other."""
    major, minor, *_ = version("actas").split(".")
    return f"~={major}.{minor}.0"


def write(texts: Mapping[str, str], target: Path) -> None:
    """Write the files to the new folder ``target``: all of them, or, whatever happens, none.

    Raises:
        FileExistsError: something is there, or is by now.
        OSError: it cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as made:
        making = Path(made) / target.name  # a folder inside has the permissions that its author's folders have
        for path, text in texts.items():
            file = making / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        if os.path.lexists(target):  # be it an empty folder, which a rename would replace
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        making.rename(target)
