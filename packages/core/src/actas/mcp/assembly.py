"""From a configuration to the parts that a server is made of."""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from actas.core import (
    ActasError,
    AuditSink,
    ConfigurationError,
    DelegationModule,
    JsonLinesSink,
    NamedAuthorizer,
    NullSink,
)
from actas.core.errors import places, under
from actas.mcp.config import JSONL, Configuration, parse
from actas.mcp.config_file import read_file
from actas.mcp.config_modules import ConfiguredModule
from actas.mcp.settings import DpopSettings, McpSettings, Settings, SharedSettings, is_loopback
from actas.mcp.shared_windows import SharedWindows
from actas.oauth.nonces import Nonces
from actas.oauth.shared_store import SharedStore

logger = logging.getLogger(__name__)

_Built = TypeVar("_Built")


def configuration(given: Path | str | Mapping[str, object] | Settings) -> Configuration:
    """The configuration in whatever form it is given.

    Raises:
        ConfigurationError: with everything that is wrong.
    """
    match given:
        case Settings():
            named = given.delegation.modules or given.plugins or given.auth.authorizers
            if named or given.auth.audit.kind != JSONL:
                raise ConfigurationError("Settings name no plug-ins: give the configuration as a mapping")
            return Configuration(settings=given)
        case Path() | str():
            return parse(read_file(Path(given)))
        case _:
            return parse(given)


def created(module: ConfiguredModule) -> DelegationModule:
    """The module, not initialised. Raises ConfigurationError: each of the plug-in's problems with its path."""
    path = f"delegation.modules.{module.name}"
    return _built(path, partial(module.kind.create, module.name, module.settings))


def _built(path: str, create: Callable[[], _Built]) -> _Built:
    """What a plug-in makes of its settings, which the configuration has at ``path``."""
    try:
        return create()
    except ActasError as error:
        raise under(path, error) from error
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{path}: {error.name} is not installed; install the plug-in anew") from error
    except Exception as error:  # a plug-in's defect, whose text may repeat a setting
        logger.error("creating what %s names raised %s", path, places(error))
        raise ConfigurationError(f"{path}: the plug-in failed with {type(error).__name__}") from None


def authorizers(made: Configuration) -> list[NamedAuthorizer]:
    """The authorisers, not initialised, by their kind; those that share one by kind and number.

    Raises ConfigurationError: each of a plug-in's problems with its path.
    """
    kinds = [each.kind.name for each in made.authorizers]
    made_so_far: list[NamedAuthorizer] = []
    for index, each in enumerate(made.authorizers):
        name = kinds[index] if kinds.count(kinds[index]) == 1 else f"{kinds[index]}[{index}]"
        built = _built(each.path, partial(each.kind.create, each.settings))
        made_so_far.append(NamedAuthorizer(name, built, each.path))
    return made_so_far


def audit_sink(made: Configuration) -> AuditSink:
    """Where the minutes go, as the configuration says."""
    audit = made.settings.auth.audit
    if not audit.enabled:
        return NullSink()
    if made.audit_sink is not None:
        kind, settings = made.audit_sink
        return kind.create(settings)
    return JsonLinesSink(None if audit.path is None else Path(audit.path))


def shared_store(settings: SharedSettings) -> SharedStore | None:
    """What several processes share, if they do. Raises ConfigurationError where packages are missing."""
    return None if settings.url is None else SharedStore(settings.revealed_url(), settings.tls_options())


def shared_windows(settings: Settings, store: SharedStore | None) -> SharedWindows | None:
    """Where several processes count together, if they do. Raises ConfigurationError where packages are missing."""
    return None if store is None else SharedWindows(store, settings.mcp.resource_at(settings.mcp.port))


def nonces(dpop: DpopSettings) -> Nonces:
    """What makes the nonces for DPoP proofs, and knows them again."""
    secret = dpop.nonce_secret
    return Nonces(None if secret is None else secret.reveal().encode(), time.time)


def allowed_hosts(settings: McpSettings, resource: str) -> list[str]:
    """How clients may call us: as ``resource`` has it, with and without its scheme's own port; and where we listen."""
    parts = urlsplit(resource)
    name = bracketed(parts.hostname or "")
    own_port = 443 if parts.scheme == "https" else 80
    port = parts.port or own_port
    called = [f"{name}:{port}", name] if port == own_port else [f"{name}:{port}"]
    listening = ["127.0.0.1:*", "localhost:*", "[::1]:*"] if is_loopback(settings.host) else []
    return [*called, f"{bracketed(settings.host)}:*", *listening, *settings.allowed_hosts]


def bracketed(host: str) -> str:
    """``host`` as a URL has it: an IPv6 address goes into brackets."""
    return f"[{host}]" if ":" in host else host
