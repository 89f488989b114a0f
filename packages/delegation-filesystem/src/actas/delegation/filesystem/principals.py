"""From a session to its folder: the template, and what is filled in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from actas.core.errors import ConfigurationError, PrincipalUnavailable
from actas.core.models import Session
from actas.delegation.filesystem.settings import FilesystemSettings

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")
_PLACEHOLDER = re.compile(r"\{(user|group)\}")
_COMPONENT = re.compile(r"(?:[A-Za-z0-9_.@ -]|\{user\}|\{group\})+")
_LONGEST = 255


class Template:
    """A folder with ``{user}`` and ``{group}`` in its path.

    Raises:
        ConfigurationError: it is none.
    """

    def __init__(self, text: str) -> None:
        names = text.split("/")[1:]
        first = next((index for index, name in enumerate(names) if "{" in name), len(names))
        problem = None
        if not text.startswith("/") or first == 0:
            problem = "write an absolute path with a folder of your own before the first placeholder: /srv/files/{user}"
        elif first == len(names):
            problem = "has neither {user} nor {group}: everybody would have the same folder"
        elif any(name in ("", ".", "..") for name in names) or "\0" in text:
            problem = "has an empty name, . or .. in it"
        elif not all(_COMPONENT.fullmatch(name) and not name.startswith(".") for name in names[first:]):
            problem = "from the first placeholder on: letters, digits, space and _ . @ -, {user} and {group}"
        elif any("{user}" in name and "{group}" in name for name in names):
            problem = "has {user} and {group} in one name, so that two users could have one folder: put / between them"
        if problem:
            raise ConfigurationError(f"root: {problem}")
        self.base = "/" + "/".join(names[:first])
        self._names = names[first:]
        self.fields = frozenset(_PLACEHOLDER.findall(text))

    def filled(self, values: Mapping[str, str]) -> tuple[bytes, ...]:
        """The names beneath ``base``."""
        return tuple(_PLACEHOLDER.sub(lambda found: values[found[1]], name).encode() for name in self._names)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a session is here."""

    name: str
    """The folder beneath the base; with ``os_user`` the operating system's user."""
    folder: tuple[bytes, ...]
    """The names of the folder beneath the base."""


class Principals:
    """Finds principals.

    Raises:
        ConfigurationError: the settings make no sense.
    """

    def __init__(self, settings: FilesystemSettings) -> None:
        self._template = Template(settings.root)
        self._settings = settings
        problems: list[str] = []
        grouped = "group" in self._template.fields
        if grouped != bool(settings.groups):
            problems.append("groups: list them where root has {group}, and only there")
        problems += [f"groups: {each!r} is no safe name" for each in settings.groups if not _SAFE.fullmatch(each)]
        if settings.group_claim is not None and not grouped:
            problems.append("group_claim: root has no {group}")
        if problems:
            raise ConfigurationError(problems)
        self.base = self._template.base
        self.shared = "user" not in self._template.fields
        """Whether several users have one folder."""

    def of(self, session: Session) -> Principal:
        """Who the session is. Does no I/O.

        Raises:
            PrincipalUnavailable: it has no name or group, or none that is safe. Only ``detail`` says which.
        """
        values: dict[str, str] = {}
        fields = self._template.fields
        if "user" in fields or self._settings.identity == "os_user":
            values["user"] = self._user(session)
        if "group" in fields:
            values["group"] = self._group(session)
        parts = self._template.filled(values)
        if any(len(each) > _LONGEST for each in parts):
            raise PrincipalUnavailable(detail="the name of the folder is too long")
        name = values["user"] if self._settings.identity == "os_user" else b"/".join(parts).decode()
        return Principal(name, parts)

    def _user(self, session: Session) -> str:
        field = self._settings.principal
        name: str | None = getattr(session, field)
        if not name:
            raise PrincipalUnavailable(detail=f"the session has no {field}")
        if not _SAFE.fullmatch(name):
            raise PrincipalUnavailable(detail=f"the session's {field} is no safe name")
        return name

    def _group(self, session: Session) -> str:
        claim = self._settings.group_claim
        held: frozenset[object]
        if claim is None:
            held = frozenset({session.role, *session.custom_roles})
        else:
            value = session.claims.get(claim)
            listed = cast("list[object]", value) if isinstance(value, list | tuple) else [value]
            held = frozenset(each for each in listed if isinstance(each, str))
        for group in self._settings.groups:
            if group in held:
                return group
        raise PrincipalUnavailable(detail="the session has none of the configured groups")
