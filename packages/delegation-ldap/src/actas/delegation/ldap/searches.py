"""Searching: pages (RFC 2696) that are collected within limits, and where the rest begins."""

import json
import math
import time
from dataclasses import dataclass, field

from actas.core.errors import LimitExceeded
from actas.delegation.ldap import messages
from actas.delegation.ldap.allowlists import AllowLists
from actas.delegation.ldap.conversation import Conversation
from actas.delegation.ldap.failures import SIZE_LIMIT, SUCCESS, refused
from actas.delegation.ldap.filters import Filter
from actas.delegation.ldap.names import Name
from actas.delegation.ldap.settings import LimitSettings
from actas.delegation.ldap.values import shown


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to search for."""

    base: Name
    scope: int
    what: Filter
    attributes: list[str]
    limit: int
    """Entries to return at most."""
    passed_over: int = 0
    """Entries to leave out at the beginning."""


@dataclass(slots=True)
class Found:
    """What came, as JSON."""

    entries: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    more: bool = False
    """There are more: after ``seen`` of them."""
    seen: int = 0
    elsewhere: bool = False
    """The directory said that a part is on another server, where nobody looked."""
    size: int = 0


def search(talk: Conversation, wanted: Wanted, allowed: AllowLists, limits: LimitSettings) -> Found:
    """Collect the pages. What is begun is given up where enough has come, so that the link is as it was.

    Raises:
        RequestFailed, AccessRefused, NoSuchEntry and their like: the directory said no.
    """
    if wanted.passed_over > limits.passed_over:
        raise LimitExceeded(f"A cursor passes over {limits.passed_over} entries at most. Use a narrower filter.")
    last = wanted.passed_over + wanted.limit
    if last < limits.page:
        return _at_once(talk, wanted, allowed, limits, last + 1)
    request = _request(talk, wanted, 0)  # every page must be asked for in the same words
    found, cookie = Found(), b""
    while True:
        answer = talk.ask(request, messages.paged_results(min(limits.page, last - found.seen), cookie))
        full = _take(found, _good(answer), wanted, allowed, limits.bytes)
        cookie = answer.end.cookie or b""
        found.more = full or bool(cookie) or answer.end.code == SIZE_LIMIT
        if not cookie:
            return found
        if full or found.seen >= last:
            talk.ask(request, messages.paged_results(0, cookie))  # RFC 2696 section 3: it was enough
            return found


def _at_once(talk: Conversation, wanted: Wanted, allowed: AllowLists, limits: LimitSettings, size: int) -> Found:
    """What fits into one page needs no pages: one entry too many says that there are more."""
    found = Found()
    answer = talk.ask(_request(talk, wanted, size))
    full = _take(found, _good(answer), wanted, allowed, limits.bytes)
    found.more = full or answer.end.code == SIZE_LIMIT
    return found


def _good(answer: messages.Answer) -> messages.Answer:
    if answer.end.code not in (SUCCESS, SIZE_LIMIT):
        raise refused(answer.end, "The search")
    return answer


def _request(talk: Conversation, wanted: Wanted, size: int) -> messages.Operation:
    return messages.search(
        str(wanted.base),
        wanted.scope,
        wanted.what,
        wanted.attributes,
        size=size,
        seconds=max(1, math.ceil(talk.deadline - time.monotonic())),
    )


def _take(found: Found, came: messages.Answer, wanted: Wanted, allowed: AllowLists, most_bytes: int) -> bool:
    """Whether that was too much, and something was left out."""
    found.elsewhere = found.elsewhere or came.references > 0
    for entry in came.entries:
        if found.seen < wanted.passed_over:
            found.seen += 1
            continue
        made = shown(entry, allowed)
        size = len(json.dumps(made, ensure_ascii=False).encode())
        if len(found.entries) >= wanted.limit or (found.entries and found.size + size > most_bytes):
            return True
        found.size += size
        found.seen += 1
        found.entries.append(made)
    return False
