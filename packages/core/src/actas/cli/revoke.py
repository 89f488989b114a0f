"""``actas revoke``."""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from rich.text import Text

from actas.cli.output import console, show_json
from actas.core import ConfigurationError
from actas.core.secrets import resolve_secrets
from actas.mcp.config_file import read_file
from actas.mcp.schema import Problems, read_settings, rename
from actas.mcp.settings import Settings
from actas.oauth.denylist import Revocation
from actas.oauth.revocation import LATEST, append, entries
from actas.oauth.settings import RevocationSettings

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN = re.compile(r"([1-9]\d{0,5})([smhd])")


def write_down(config: Path, revocation: Revocation, *, as_json: bool) -> None:
    """Append ``revocation`` to the file that the configuration names. Raises ConfigurationError where that fails."""
    auth = _auth(config)
    path = _path(auth)
    if revocation.issuer is not None:
        _check_issuer(auth, revocation.issuer)
    entries(path)  # what the servers could not read must not look done
    append(path, revocation)
    if as_json:
        show_json(_described(revocation))
    else:
        console.print(Text(f"revoked {_sentence(revocation)}", style="bold green"), soft_wrap=True)


def show_revoked(config: Path, *, as_json: bool) -> None:
    """Everything that is revoked and has not ended. Raises ConfigurationError where the file cannot be read."""
    now = time.time()
    live = [entry for entry in entries(_path(_auth(config))) if entry.until > now]
    if as_json:
        show_json([_described(entry) for entry in live])
        return
    for entry in live:
        console.print(Text(_sentence(entry)), soft_wrap=True)
    if not live:
        console.print(Text("nothing is revoked", style="dim"))


def end_of(until: str | None, span: str | None) -> float:
    """When the entry ends, in seconds since the epoch: at ``until`` (ISO 8601), or after ``span`` (``90m``, ``12h``).

    Raises:
        ValueError: neither form fits, both are given, or it is past already.
    """
    if until is not None and span is not None:
        raise ValueError("--until and --for say the same thing: give one of them")
    if until is not None:
        moment = datetime.fromisoformat(until)
        if moment.tzinfo is None:
            raise ValueError("--until needs a time zone, such as 2027-01-31T12:00:00Z")
        if moment.timestamp() <= time.time():
            raise ValueError("--until is past already")
        return moment.timestamp()
    if span is not None:
        found = _SPAN.fullmatch(span)
        if found is None:
            raise ValueError("--for takes a number and s, m, h or d, such as 90m or 12h")
        return time.time() + int(found[1]) * _SECONDS[found[2]]
    return float("inf")


def _auth(config: Path) -> Mapping[str, object]:
    """The table ``auth`` and nothing else: in an emergency neither secrets nor plug-ins need be at hand."""
    problems = Problems()
    named = rename(Settings, read_file(config), "", problems)
    own = [problem for problem in problems if problem.startswith("auth.revocation")]
    if own:
        raise ConfigurationError(own)
    auth = cast("Mapping[str, object]", named).get("auth")
    return cast("Mapping[str, object]", auth) if isinstance(auth, dict) else {}


def _path(auth: Mapping[str, object]) -> Path:
    table = auth.get("revocation")
    if table is None:
        raise ConfigurationError("auth.revocation is not configured: no server of this configuration would heed it")
    problems = Problems()
    settings = read_settings(RevocationSettings, resolve_secrets({"it": table})["it"], "auth.revocation", problems)
    if settings is None:
        raise ConfigurationError(problems)
    return Path(settings.path)


def _check_issuer(auth: Mapping[str, object], issuer: str) -> None:
    trusted = auth.get("trusted_idps")
    tables = cast("list[object]", trusted) if isinstance(trusted, list) else []
    known = [cast("dict[str, object]", table).get("issuer") for table in tables if isinstance(table, dict)]
    if all(isinstance(each, str) for each in known) and issuer not in known:
        raise ConfigurationError(f"--issuer: {issuer} is not trusted here; a final slash counts")


def _described(entry: Revocation) -> dict[str, object]:
    ends = None if entry.until >= LATEST else datetime.fromtimestamp(entry.until, UTC).isoformat()
    return {entry.claim: entry.value, "issuer": entry.issuer, "until": ends}


def _sentence(entry: Revocation) -> str:
    described = _described(entry)
    issuer, until = described["issuer"] or "any issuer", described["until"]
    return f"{entry.claim} {entry.value} of {issuer}, {f'until {until}' if until else 'for good'}"
