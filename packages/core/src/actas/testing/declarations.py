"""Reading what a module declares: documented fields, names that could carry an identity, imports."""

import ast
import dataclasses
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
import typing
from collections.abc import Iterable, Iterator
from itertools import pairwise

from pluggy import PluginManager

from actas.core import ModuleKind, Secret, hookspecs

_IDENTITY = frozenset(
    "user username userid uid login principal role roles subject sub impersonate impersonation behalf token "
    "authorization password credential credentials identity actor session upn".split()
)
_SECRET = frozenset({"password", "passphrase", "secret", "apikey", "pin"})
_IDENTITY_PAIRS = ("act as", "run as", "as user", "sign in")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_IMPORT = "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"
_IMPORT_TIMEOUT = 60.0
"""Seconds."""


def could_carry_identity(name: str) -> bool:
    """Whether a parameter called ``name``, in any spelling, could say who acts: that is the session's alone."""
    words = [word.lower() for word in _WORD.findall(name)]
    return not _IDENTITY.isdisjoint(words) or any(pair in " ".join(words) for pair in _IDENTITY_PAIRS)


def field_descriptions(cls: type) -> dict[str, str]:
    """The docstring under each field of a dataclass, those of its bases included.

    Raises:
        OSError: there is no source to read them from.
    """
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if "__dataclass_fields__" in vars(each):
            found.update(_descriptions_in(each))
    return found


def _descriptions_in(cls: type) -> Iterator[tuple[str, str]]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    body = typing.cast(ast.ClassDef, tree.body[0]).body
    for statement, after in pairwise(body):
        match statement, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)
            case _:
                pass


def undocumented_fields(cls: type) -> list[str]:
    """The fields of a dataclass, and of the dataclasses in it, that say nothing of themselves: ``Class.field``."""
    missing: list[str] = []
    for each in dataclasses_in(cls):
        described = field_descriptions(each)
        silent = (field.name for field in dataclasses.fields(each) if not described.get(field.name))
        missing += [f"{each.__name__}.{name}" for name in silent]
    return missing


def dataclasses_in(cls: type) -> list[type]:
    """``cls`` and every dataclass among the types of its fields, each once."""
    found: list[type] = []
    open_ends: list[object] = [cls]
    while open_ends:
        hint = open_ends.pop()
        if isinstance(hint, type) and dataclasses.is_dataclass(hint) and hint not in found:
            found.append(hint)
            open_ends += field_types(hint).values()
        open_ends += typing.get_args(hint)
    return found


def field_types(cls: type) -> dict[str, object]:
    """The resolved type of each field of a dataclass."""
    names = {field.name for field in dataclasses.fields(cls)}
    return {name: hint for name, hint in typing.get_type_hints(cls).items() if name in names}


def plain_secrets(cls: type) -> list[str]:
    """The fields of a dataclass, and of those in it, that are called like a secret and are plain text.

    One with a text as its default is none: nobody's secret is the same everywhere.
    """
    found: list[str] = []
    for each in dataclasses_in(cls):
        known = {field.name for field in dataclasses.fields(each) if isinstance(field.default, str) and field.default}
        for name, hint in field_types(each).items():
            if name in known:
                continue
            called = not _SECRET.isdisjoint(word.lower() for word in _WORD.findall(name))
            kinds = {hint, *typing.get_args(hint)}
            if called and str in kinds and Secret not in kinds:
                found.append(f"{each.__name__}.{name}")
    return found


def kinds_of(module: str) -> list[ModuleKind]:
    """The kinds of module that a plug-in's module registers, as the server would hear of them.

    Raises:
        Exception: whatever importing or asking it raises.
    """
    manager = PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(importlib.import_module(module))
    manager.check_pending()
    return [kind for offered in manager.hook.actas_module_kinds() for kind in offered]


def imports_of(module: str, forbidden: Iterable[str]) -> list[str]:
    """Which of ``forbidden`` (packages or modules) a fresh interpreter has loaded once it imported ``module``.

    Raises:
        AssertionError: it cannot be imported by itself.
    """
    result = subprocess.run(  # noqa: S603 -- this very interpreter, and a name that the test's author wrote
        [sys.executable, "-c", _IMPORT, module],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=_IMPORT_TIMEOUT,
    )
    if result.returncode:
        raise AssertionError(f"{module} cannot be imported in a fresh interpreter:\n{result.stderr}")
    loaded: list[str] = json.loads(result.stdout.splitlines()[-1])
    return sorted({name for name in forbidden for each in loaded if each == name or each.startswith(f"{name}.")})
