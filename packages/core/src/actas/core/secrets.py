"""Turns every ``{"$secret": "NAME"}`` of a configuration into its value, before anything is validated.

Looked up in this order: the file ``NAME`` in the secrets folder (what Docker, Kubernetes and systemd
mount), the environment variable ``NAME``, then the providers that plug-ins offer. What is found is a
:class:`~actas.core.secret.Secret`, so that no validation error can print it.
"""

import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from actas.core.errors import SecretError
from actas.core.protocols import SecretProvider
from actas.core.secret import Secret

REFERENCE = "$secret"
"""The one key of a reference."""
MAX_BYTES = 65_536
"""The longest secret that is read from a file: ample for a key with its certificate chain."""
MAX_DEPTH = 64
"""How deep a configuration may be nested."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


def resolve_secrets(
    config: Mapping[str, object],
    *,
    directory: Path = Path("/run/secrets"),
    environ: Mapping[str, str] | None = None,
    providers: Sequence[SecretProvider] = (),
) -> dict[str, object]:
    """A copy of ``config`` in which every reference is a ``Secret``; ``config`` itself is left alone.

    The result holds ``Secret`` also where a setting is typed ``str``: whoever validates it turns one
    into the other. ``environ`` is the process's own where it is None.

    Raises:
        SecretError: all references that are malformed or cannot be resolved, each with its path in
            the configuration and the secret's name. What a provider said is in ``detail`` alone.
    """
    resolution = _Resolution(directory, os.environ if environ is None else environ, providers)
    resolved = resolution.walk(config, "", 0)
    if resolution.problems:
        raise SecretError(resolution.problems, detail="\n".join(resolution.details) or None)
    return cast(dict[str, object], resolved)  # without a problem, a mapping became a dict


class _Unresolved(Exception):
    """Why a reference has no value; ``detail`` is what somebody else said about it."""

    def __init__(self, problem: str, detail: str | None = None) -> None:
        super().__init__(problem)
        self.detail = detail


class _Resolution:
    """One walk over one configuration. Asks for each name once, however often it is referred to."""

    def __init__(self, directory: Path, environ: Mapping[str, str], providers: Sequence[SecretProvider]) -> None:
        self._directory = directory
        self._environ = environ
        self._providers = providers
        self._known: dict[str, Secret | _Unresolved] = {}
        self.problems: list[str] = []
        self.details: list[str] = []

    def walk(self, value: object, path: str, depth: int) -> object:
        """``value`` with its references resolved; what is wrong is kept in ``problems``."""
        try:
            if depth > MAX_DEPTH:
                raise _Unresolved(f"nested deeper than {MAX_DEPTH} levels")
            if isinstance(value, Mapping):
                mapping = cast(Mapping[object, object], value)
                if REFERENCE in mapping:
                    if depth == 0:
                        raise _Unresolved("the whole configuration cannot be one secret")
                    return self._resolve(_name(mapping))
                return {key: self.walk(item, _member(path, key), depth + 1) for key, item in mapping.items()}
            if isinstance(value, list | tuple):
                items = cast(Sequence[object], value)
                return [self.walk(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(items)]
        except _Unresolved as unresolved:
            where = path or "(the configuration)"
            self.problems.append(f"{where}: {unresolved}")
            if unresolved.detail:
                self.details.append(f"{where}: {unresolved.detail}")
            return None
        return value

    def _resolve(self, name: str) -> Secret:
        if name not in self._known:
            try:
                self._known[name] = self._look_up(name)
            except _Unresolved as unresolved:
                self._known[name] = unresolved
        found = self._known[name]
        if isinstance(found, _Unresolved):
            raise _Unresolved(str(found), found.detail)
        return found

    def _look_up(self, name: str) -> Secret:
        text = _read(self._directory, name)
        if text is not None:
            return _checked(Secret(text), name, f"the file in {self._directory}")
        if name in self._environ:
            return _checked(Secret(self._environ[name]), name, "the environment variable")
        for provider in self._providers:
            secret = _ask(provider, name)
            if secret is not None:
                return _checked(secret, name, f"the answer of the provider '{provider.name}'")
        others = "".join(f", the provider '{provider.name}'" for provider in self._providers)
        raise _Unresolved(f"secret '{name}' is nowhere: looked in {self._directory}, the environment{others}")


def _name(reference: Mapping[object, object]) -> str:
    """The name in ``reference``. A malformed one is not repeated: it may be a value put there by mistake."""
    name = reference[REFERENCE]
    if len(reference) != 1:
        raise _Unresolved(f'a reference is {{"{REFERENCE}": "NAME"}} and has no other key')
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _Unresolved(
            f'"{REFERENCE}" takes a name: up to 128 of A-Z, a-z, 0-9, "_", "-" and ".", not beginning with "-" or "."'
        )
    return name


def _member(path: str, key: object) -> str:
    plain = isinstance(key, str) and _PLAIN_KEY.fullmatch(key)
    step = str(key) if plain else f"[{key!r}]"
    return f"{path}.{step}" if path and plain else f"{path}{step}"


def _read(directory: Path, name: str) -> str | None:
    """What the file holds, without its last line's end. A symlink may lead anywhere inside ``directory`` only.

    Kubernetes mounts each secret as such a symlink.
    """
    home = os.path.realpath(directory)
    file = os.path.realpath(os.path.join(home, name))
    if os.path.commonpath((home, file)) != home:
        raise _Unresolved(f"secret '{name}' is a link that leads out of {directory}")
    try:
        # O_NONBLOCK: a pipe must not hold up the start before it is seen to be no file.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _Unresolved(f"secret '{name}' in {directory} is not a regular file")
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _Unresolved(f"secret '{name}' in {directory} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise _Unresolved(f"secret '{name}' in {directory} is longer than {MAX_BYTES} bytes")
    return content.decode(errors="surrogateescape").removesuffix("\n").removesuffix("\r")


def _ask(provider: SecretProvider, name: str) -> Secret | None:
    try:
        secret = cast(object, provider.get(name))  # somebody else's code: its annotation is a promise
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"
        raise _Unresolved(f"the provider '{provider.name}' failed to look up secret '{name}'", detail) from None
    if secret is None or isinstance(secret, Secret):
        return secret
    raise _Unresolved(f"the provider '{provider.name}' returned a {type(secret).__name__} for secret '{name}'")


def _checked(secret: Secret, name: str, source: str) -> Secret:
    """An empty secret is a mistake wherever it comes from, and one that is not UTF-8 cannot be sent."""
    value = secret.reveal()
    if not value:
        raise _Unresolved(f"secret '{name}' is empty: {source} has nothing in it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Unresolved(f"secret '{name}' is not UTF-8 text: see {source}") from None
    return secret
