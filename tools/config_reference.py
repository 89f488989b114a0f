"""Make ``docs/reference/configuration.md`` from the settings and the docstrings under their fields.

``python tools/config_reference.py`` writes it; ``--check`` says whether it is current. Every plug-in of
this project that is installed is in it, found through its entry point.
"""

import dataclasses
import enum
import sys
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

from actas.core import Secret
from actas.core.discovery import installed, load
from actas.mcp.settings import Settings
from actas.oauth.exchange.settings import ExchangeSettings
from actas.testing.declarations import dataclasses_in, field_descriptions, field_types, undocumented_fields

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "configuration.md"

HEAD = """\
# Configuration

<!-- Made by tools/config_reference.py from the settings' docstrings. Change those, then run it. -->

One file, TOML (`.toml`) or JSON (`.json`). `actas check FILE` says everything that is wrong with it at once.

- Keys are written in snake_case or in camelCase: `trusted_idps`, `trustedIdps` and `trustedIDPs` are one key. Both
  are given below where they differ. Names of your own (modules, roles) are taken as they are.
- An unknown key is an error, with the nearest known one suggested.
- Where a list of strings is expected, one string will do.
- Wherever a string is expected, `{ "$secret" = "NAME" }` takes it from a file or the environment:
  [secrets](../how-to/secrets.md).
- A relative path begins at the folder that the server was started in, wherever the configuration is.
- `[]` in a heading: the section is one item of a list, `[[auth.trusted_idps]]` in TOML.
"""

_WORDS = {str: "string", Secret: "string", int: "integer", float: "number", bool: "true or false", object: "anything"}
_PLURALS = {"string": "strings", "table": "tables"}


def render() -> str:
    """The whole page.

    Raises:
        ValueError: a field has no docstring.
    """
    parts = [HEAD, *section("", Settings, "The whole file")]
    exchange = "delegation.modules.NAME.token_exchange"
    parts += section(exchange, ExchangeSettings, "Token exchange, in the table of a module that works with a token")
    for name in first_party():
        plugins = load([name])
        offer = plugins.offers[name]
        if offer.module_kind is not None:
            path, title = f"delegation.modules.{name}", f"Modules of kind `{name}`"
            parts += section(path, offer.module_kind.settings, title, of=offer.plugin.distribution)
        if offer.audit_sink_kind is not None:
            title = f"The audit sink `{name}`"
            parts += section("auth.audit.settings", offer.audit_sink_kind.settings, title, of=offer.plugin.distribution)
        if offer.authorizer_kind is not None:
            title = f"Authorizers of kind `{name}`"
            parts += section("auth.authorizers[]", offer.authorizer_kind.settings, title, of=offer.plugin.distribution)
    return "\n".join(parts)


def first_party() -> list[str]:
    """The entry points of this project's own plug-ins."""
    return [
        name
        for name, plugin in installed().items()
        if plugin.distribution.startswith(("actas-delegation-", "actas-policy-"))
    ]


def section(path: str, cls: type, title: str, *, of: str | None = None) -> list[str]:
    """A heading, a table of the fields, and the sections of the dataclasses among them.

    Raises:
        ValueError: a field, here or deeper, has no docstring.
    """
    silent = undocumented_fields(cls)
    if silent:
        raise ValueError(f"no docstring under {', '.join(silent)}: an operator would not know what it is for")
    lines = [f"## {title}", ""]
    if of is not None:
        lines += [f"From the plug-in `{of}`; in the table `[{path}]`.", "", *_about(cls)]
    lines += _table(path, cls)
    for inner, each in _inner(path, cls):
        lines += [f"### `{inner}`", "", *_about(each), *_table(inner, each)]
    return lines


def _inner(path: str, cls: type) -> Iterator[tuple[str, type]]:
    for name, hint in field_types(cls).items():
        own = dataclasses_in_hint(hint)
        if own is not None:
            here = f"{path}.{name}" if path else name
            here += "[]" if typing.get_origin(hint) is list else ""
            yield here, own
            yield from _inner(here, own)


def dataclasses_in_hint(hint: object) -> type | None:
    """The dataclass that a field's type holds: itself, in a list, or as an alternative to None."""
    for part in (hint, *typing.get_args(hint)):
        if isinstance(part, type) and dataclasses.is_dataclass(part):
            return dataclasses_in(part)[0]
    return None


def _about(cls: type) -> list[str]:
    return [(cls.__doc__ or "").strip().replace("\n    ", "\n"), ""]


def _table(path: str, cls: type) -> list[str]:
    described, hints = field_descriptions(cls), field_types(cls)
    lines = ["| key | type | default | |", "|---|---|---|---|"]
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        inner = dataclasses_in_hint(hint)
        kind = f"[{'tables' if typing.get_origin(hint) is list else 'table'}](#{_anchor(path, field.name, hint)})"
        cells = [_spelled(field.name), kind if inner else type_text(hint), default_text(field), described[field.name]]
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return [*lines, ""]


def _anchor(path: str, name: str, hint: object) -> str:
    """GitHub's anchor of a heading: lower case, everything but letters, digits, ``_`` and ``-`` left out."""
    return "".join(each for each in f"{path}{name}".lower() if each.isalnum() or each in "_-")


def _spelled(name: str) -> str:
    head, *rest = name.split("_")
    camel = head + "".join(part.capitalize() for part in rest)
    return f"`{name}`" if camel == name else f"`{name}`<br>`{camel}`"


def type_text(hint: object) -> str:
    """What an operator may write for a field of this type. Raises ValueError where nobody said so."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_text(part) for part in arguments if part is not types.NoneType)
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of {_plural(type_text(arguments[0]))}"
    if origin is dict:
        return f"table of {_plural(type_text(arguments[1]))}" if arguments[1] is not object else "table"
    word = next((word for kind, word in _WORDS.items() if hint is kind), None)
    if word is not None:
        return word
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return ", ".join(f"`{member}`" for member in hint)
    raise ValueError(f"_WORDS does not say what an operator writes for {hint}")


def _plural(text: str) -> str:
    first, _, rest = text.partition(" ")
    return f"{_PLURALS.get(first, first + 's')}{' ' if rest else ''}{rest}"


def default_text(field: "dataclasses.Field[object]") -> str:
    """The default, or that there is none."""
    factory = field.default_factory
    if field.default is dataclasses.MISSING and factory is dataclasses.MISSING:
        return "**required**"
    value = field.default if factory is dataclasses.MISSING else factory()
    match value:
        case None:
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case str():
            return f'`"{value}"`'
        case list():
            return "`[" + ", ".join(f'"{item}"' for item in typing.cast("list[object]", value)) + "]`"
        case dict():
            return "`{}`"
        case int() | float():
            return f"`{value}`"
        case _:
            return "its defaults"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def main(page: Path = PAGE, make: Callable[[], str] = render) -> int:
    """Write ``page``, or with ``--check`` say whether it is current."""
    text = make().rstrip("\n") + "\n"
    if "--check" not in sys.argv:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
        return 0
    if page.exists() and page.read_text(encoding="utf-8") == text:
        return 0
    print(f"{page} is out of date: run {sys.argv[0]}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
