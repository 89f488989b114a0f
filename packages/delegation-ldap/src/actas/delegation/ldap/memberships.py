"""Whose groups: level by level from the entry upwards, within bounds, each group once."""

import math
import time

from actas.delegation.ldap import messages
from actas.delegation.ldap.allowlists import IN_CHAIN, AllowLists
from actas.delegation.ldap.conversation import Conversation
from actas.delegation.ldap.failures import SIZE_LIMIT, SUCCESS, refused
from actas.delegation.ldap.filters import Extensible, Filter, Group, Match
from actas.delegation.ldap.messages import Entry
from actas.delegation.ldap.names import Name, NotAName, parsed
from actas.delegation.ldap.settings import GroupSettings
from actas.delegation.ldap.values import shown

_AT_ONCE = 50
"""Members that one search asks about."""
_NAMED_BY = "cn"


def groups_of(
    talk: Conversation, name: Name, base: Name, settings: GroupSettings, allowed: AllowLists, *, nested: bool
) -> dict[str, object]:
    """The groups that ``name`` is in. ``truncated`` where there are more than are returned."""
    if settings.in_chain and nested:
        rule = Extensible(settings.attribute, IN_CHAIN, False, str(name).encode())
        found, more = _asked(talk, base, rule, settings.most)
        kept = found[: settings.most]
        return _result(kept, more or len(found) > settings.most, allowed)
    seen = {name.key}
    open_ends, kept, more = [str(name)], list[Entry](), False
    for _ in range(settings.deepest if nested else 1):
        level, cut = _level(talk, base, settings, open_ends)
        more, open_ends = more or cut, list[str]()
        for entry in level:
            try:
                key = parsed(entry.name).key
            except NotAName:
                continue
            if key in seen:
                continue
            seen.add(key)
            if len(kept) == settings.most:
                return _result(kept, True, allowed)
            kept.append(entry)
            open_ends.append(entry.name)
        if not open_ends:
            return _result(kept, more, allowed)
    return _result(kept, more or nested, allowed)


def _level(talk: Conversation, base: Name, settings: GroupSettings, members: list[str]) -> tuple[list[Entry], bool]:
    found: list[Entry] = []
    more = False
    for at in range(0, len(members), _AT_ONCE):
        parts = [Match(settings.attribute, "=", member.encode()) for member in members[at : at + _AT_ONCE]]
        some, cut = _asked(talk, base, parts[0] if len(parts) == 1 else Group(False, tuple(parts)), settings.most)
        found += some
        more = more or cut
    return found, more


def _asked(talk: Conversation, base: Name, what: Filter, most: int) -> tuple[list[Entry], bool]:
    seconds = max(1, math.ceil(talk.deadline - time.monotonic()))
    request = messages.search(
        str(base), messages.SUBTREE, what, [_NAMED_BY, "description"], size=most + 1, seconds=seconds
    )
    answer = talk.ask(request)
    if answer.end.code not in (SUCCESS, SIZE_LIMIT):
        raise refused(answer.end, "The search for groups")
    return answer.entries, answer.end.code == SIZE_LIMIT


def _result(found: list[Entry], more: bool, allowed: AllowLists) -> dict[str, object]:
    made: dict[str, object] = {"groups": [shown(entry, allowed) for entry in found], "truncated": more}
    if more:
        made["notice"] = "There are more groups than are shown here, or they are nested deeper than is followed."
    return made
