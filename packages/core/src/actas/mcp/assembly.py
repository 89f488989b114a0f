"""From a configuration to the parts that a server is made of."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from actas.core import ActasError, AuditSink, ConfigurationError, DelegationModule, JsonLinesSink, NullSink
from actas.core.errors import places, under
from actas.mcp.config import JSONL, Configuration, ConfiguredModule, parse, read_file
from actas.mcp.settings import AuthSettings, McpSettings, Settings, is_loopback
from actas.oauth.binding import BindingChecker
from actas.oauth.dpop import ProofVerifier
from actas.oauth.nonces import Nonces
from actas.oauth.replay import MemoryReplayStore

logger = logging.getLogger(__name__)


def configuration(given: Path | str | Mapping[str, object] | Settings) -> Configuration:
    """The configuration in whatever form it is given.

    Raises:
        ConfigurationError: with everything that is wrong.
    """
    match given:
        case Settings():
            if given.delegation.modules or given.plugins or given.auth.audit.kind != JSONL:
                raise ConfigurationError("Settings name no plug-ins: give the configuration as a mapping")
            return Configuration(settings=given)
        case Path() | str():
            return parse(read_file(Path(given)))
        case _:
            return parse(given)


def created(module: ConfiguredModule) -> DelegationModule:
    """The module, not initialised. Raises ConfigurationError: each of the plug-in's problems with its path."""
    path = f"delegation.modules.{module.name}"
    try:
        return module.kind.create(module.name, module.settings)
    except ActasError as error:
        raise under(path, error) from error
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{path}: {error.name} is not installed; install the plug-in anew") from error
    except Exception as error:  # a plug-in's defect, whose text may repeat a setting
        logger.error("creating the module %s raised %s", module.name, places(error))
        raise ConfigurationError(f"{path}: the plug-in failed with {type(error).__name__}") from None


def audit_sink(made: Configuration) -> AuditSink:
    """Where the minutes go, as the configuration says."""
    audit = made.settings.auth.audit
    if not audit.enabled:
        return NullSink()
    if made.audit_sink is not None:
        kind, settings = made.audit_sink
        return kind.create(settings)
    return JsonLinesSink(None if audit.path is None else Path(audit.path))


def binding_checker(auth: AuthSettings, resource: str) -> BindingChecker:
    """What holds tokens for ``resource`` to whom they are bound to."""
    secret = auth.dpop.nonce_secret
    verifier = ProofVerifier(
        resource,
        store=MemoryReplayStore(time.time),
        nonces=Nonces(None if secret is None else secret.reveal().encode(), time.time),
        require_nonce=auth.dpop.require_nonce,
    )
    return BindingChecker(auth.trusted_idps, verifier)


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
