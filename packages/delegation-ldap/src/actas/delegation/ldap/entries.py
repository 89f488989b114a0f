"""What is done with one entry: read, compare, change; and one's own password."""

import math
import time
from collections.abc import Sequence

from actas.core.errors import InvalidParameters
from actas.delegation.ldap import messages
from actas.delegation.ldap.actions import Change
from actas.delegation.ldap.allowlists import AllowLists
from actas.delegation.ldap.conversation import Conversation
from actas.delegation.ldap.failures import COMPARE_FALSE, COMPARE_TRUE, SUCCESS, NoSuchEntry, refused
from actas.delegation.ldap.filters import EVERYTHING
from actas.delegation.ldap.names import Name
from actas.delegation.ldap.values import shown

_KINDS = {"add": 0, "delete": 1, "replace": 2}
_MOST_VALUES = 1000
_LONGEST = 1_000_000
_LONGEST_PASSWORD = 1024


def read(talk: Conversation, name: Name, attributes: Sequence[str], allowed: AllowLists) -> dict[str, object]:
    """One entry.

    Raises:
        NoSuchEntry: there is none, or it may not be seen.
    """
    seconds = max(1, math.ceil(talk.deadline - time.monotonic()))
    answer = talk.ask(messages.search(str(name), messages.BASE, EVERYTHING, attributes, size=1, seconds=seconds))
    if answer.end.code != SUCCESS:
        raise refused(answer.end, "Reading")
    if not answer.entries:
        raise NoSuchEntry("There is no such entry in the directory, or you may not see it.")
    return shown(answer.entries[0], allowed)


def compare(talk: Conversation, name: Name, attribute: str, value: str) -> bool:
    """Whether the entry has ``value``."""
    answer = talk.ask(messages.compare(str(name), attribute, octets(value, "value")))
    if answer.end.code not in (COMPARE_FALSE, COMPARE_TRUE):
        raise refused(answer.end, "The comparison")
    return answer.end.code == COMPARE_TRUE


def modify(talk: Conversation, name: Name, changes: Sequence[Change]) -> dict[str, object]:
    """Make all of ``changes``, or none."""
    if not changes or sum(1 + len(change.values) for change in changes) > _MOST_VALUES:
        raise InvalidParameters(f"changes: must be at least one, with at most {_MOST_VALUES} values.")
    made = [
        (_KINDS[change.operation], change.attribute, [octets(value, "values") for value in change.values])
        for change in changes
    ]
    if any(kind == 0 and not values for kind, _, values in made):
        raise InvalidParameters("values: add needs at least one.")
    answer = talk.tell(messages.modify(str(name), made))
    if answer.end.code != SUCCESS:
        raise refused(answer.end, "The change")
    return {"changed": True}


def change_password(talk: Conversation, old: str, new: str) -> dict[str, object]:
    """Change the password of whoever the directory sees."""
    for value in (old, new):
        if not value or len(octets(value, "old and new")) > _LONGEST_PASSWORD:
            raise InvalidParameters("old and new: both are needed, and neither may be very long.")
    answer = talk.tell(messages.change_password(old, new))
    if answer.end.code != SUCCESS:
        raise refused(answer.end, "The new password")
    return {"changed": True}


def octets(value: str, where: str) -> bytes:
    """``value`` in UTF-8. Raises InvalidParameters where it cannot be, or is very long."""
    try:
        made = value.encode()
    except UnicodeEncodeError:
        raise InvalidParameters(f"{where}: has half a surrogate pair.") from None
    if len(made) > _LONGEST:
        raise InvalidParameters(f"{where}: is too long.")
    return made
