"""The messages of LDAP (RFC 4511) that are sent and read here. No filter is ever text on the way there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from actas.delegation.ldap.ber import (
    ENUMERATED,
    OCTETS,
    SEQUENCE,
    SET,
    Malformed,
    boolean,
    elements,
    integer,
    number,
    text,
    tlv,
)
from actas.delegation.ldap.filters import Extensible, Filter, Group, Match, Not, Present, Substrings

PROXIED_AUTHORIZATION = "2.16.840.1.113730.3.4.18"
"""RFC 4370."""
PAGED_RESULTS = "1.2.840.113556.1.4.319"
"""RFC 2696."""
WHO_AM_I = "1.3.6.1.4.1.4203.1.11.3"
"""RFC 4532."""
MODIFY_PASSWORD = "1.3.6.1.4.1.4203.1.11.1"  # noqa: S105 -- an object identifier (RFC 3062)
BASE, ONE_LEVEL, SUBTREE = 0, 1, 2

_ENTRY, _DONE, _REFERENCE, _INTERMEDIATE = 0x64, 0x65, 0x73, 0x79
_RESULTS = frozenset({_DONE, 0x61, 0x67, 0x6F, 0x78})
"""searchResDone, bindResponse, modifyResponse, compareResponse, extendedResp."""
_MATCHES = {"=": 0xA3, ">=": 0xA5, "<=": 0xA6, "~=": 0xA8}


@dataclass(frozen=True, slots=True)
class Entry:
    """What a search found."""

    name: str
    attributes: list[tuple[str, list[bytes]]]


@dataclass(frozen=True, slots=True)
class Done:
    """How an operation ended. ``diagnostic`` is the server's own text: for the log only."""

    code: int
    diagnostic: str
    value: bytes | None = None
    """Of an extended operation."""
    cookie: bytes | None = None
    """Of a page (RFC 2696); None where the server did not page."""


@dataclass(slots=True)
class Answer:
    """All that came back for one request."""

    entries: list[Entry] = field(default_factory=list[Entry])
    references: int = 0
    """How often the server said that something is on another one. Where is not kept."""
    done: Done | None = None

    @property
    def end(self) -> Done:
        """How it ended. Raises Malformed where it has not."""
        if self.done is None:
            raise Malformed("no result")
        return self.done


def message(number_of_it: int, operation: bytes, controls: Sequence[bytes]) -> bytes:
    """An LDAPMessage."""
    return tlv(SEQUENCE, integer(number_of_it), operation, tlv(0xA0, *controls) if controls else b"")


def control(oid: str, value: bytes, *, critical: bool) -> bytes:
    """One control. A server that does not know one that is critical must refuse the operation."""
    return tlv(SEQUENCE, text(oid), boolean(True) if critical else b"", tlv(OCTETS, value))


def proxied_authorization(authzid: str) -> bytes:
    """The critical control: what goes with it is done as ``authzid`` (RFC 4370).

    Raises:
        ValueError: it is empty, which would be anonymous, or neither ``dn:`` nor ``u:`` with something behind it.
    """
    kind, _, name = authzid.partition(":")
    if kind not in ("dn", "u") or not name:
        raise ValueError("an authorization identity begins with dn: or u: and goes on")
    return control(PROXIED_AUTHORIZATION, authzid.encode(), critical=True)


def paged_results(size: int, cookie: bytes) -> bytes:
    """The control that asks for a page."""
    return control(PAGED_RESULTS, tlv(SEQUENCE, integer(size), tlv(OCTETS, cookie)), critical=False)


def who_am_i() -> bytes:
    """Asks whom the directory takes us for (RFC 4532)."""
    return tlv(0x77, text(WHO_AM_I, 0x80))


def change_password(old: str, new: str) -> bytes:
    """Changes the password of whoever this is done as (RFC 3062): nobody is named."""
    return tlv(0x77, text(MODIFY_PASSWORD, 0x80), tlv(0x81, tlv(SEQUENCE, text(old, 0x81), text(new, 0x82))))


def search(base: str, scope: int, what: Filter, attributes: Iterable[str], *, size: int = 0, seconds: int = 0) -> bytes:
    """A search that follows no alias. ``size`` and ``seconds`` are limits; 0 is none."""
    return tlv(
        0x63,
        text(base),
        integer(scope, ENUMERATED),
        integer(0, ENUMERATED),
        integer(size),
        integer(seconds),
        boolean(False),
        encoded(what),
        tlv(SEQUENCE, *(text(each) for each in attributes)),
    )


def compare(name: str, attribute: str, value: bytes) -> bytes:
    """Asks whether an entry has a value."""
    return tlv(0x6E, text(name), tlv(SEQUENCE, text(attribute), tlv(OCTETS, value)))


def modify(name: str, changes: Iterable[tuple[int, str, Sequence[bytes]]]) -> bytes:
    """Changes an entry: 0 adds values, 1 deletes, 2 replaces."""
    return tlv(
        0x66,
        text(name),
        tlv(
            SEQUENCE,
            *(
                tlv(
                    SEQUENCE,
                    integer(kind, ENUMERATED),
                    tlv(SEQUENCE, text(attribute), tlv(SET, *(tlv(OCTETS, value) for value in values))),
                )
                for kind, attribute, values in changes
            ),
        ),
    )


def unbind() -> bytes:
    """Says goodbye."""
    return tlv(0x42)


def encoded(what: Filter) -> bytes:
    """A filter as it travels."""
    match what:
        case Group():
            return tlv(0xA0 if what.every else 0xA1, *(encoded(part) for part in what.parts))
        case Not():
            return tlv(0xA2, encoded(what.part))
        case Match():
            return tlv(_MATCHES[what.how], text(what.attribute), tlv(OCTETS, what.value))
        case Present():
            return text(what.attribute, 0x87)
        case Substrings():
            pieces = [tlv(0x81, each) for each in what.middle]
            pieces[:0] = [tlv(0x80, what.first)] if what.first else []
            pieces += [tlv(0x82, what.last)] if what.last else []
            return tlv(0xA4, text(what.attribute), tlv(SEQUENCE, *pieces))
        case Extensible():
            rule = text(what.rule, 0x81) if what.rule else b""
            attribute = text(what.attribute, 0x82) if what.attribute else b""
            return tlv(0xA9, rule, attribute, tlv(0x83, what.value), boolean(True, 0x84) if what.in_names else b"")


def take(data: bytes, answers: dict[int, Answer]) -> None:
    """Put one whole message where it belongs.

    Raises:
        Malformed: it is none, or belongs to no request of ours, as when the server says goodbye.
    """
    ((_, content),) = elements(data)
    parts = list(elements(content))
    if len(parts) < 2:
        raise Malformed("a message without an operation")
    answer = answers.get(number(parts[0][1]))
    if answer is None or answer.done is not None:
        raise Malformed("an answer to nothing that was asked")
    tag, body = parts[1]
    if tag == _ENTRY:
        answer.entries.append(_entry(body))
    elif tag == _REFERENCE:
        answer.references += 1
    elif tag in _RESULTS:
        answer.done = _done(body, parts[2][1] if len(parts) > 2 else b"")
    elif tag != _INTERMEDIATE:
        raise Malformed("an answer of another kind")


def _entry(body: bytes) -> Entry:
    (_, name), (_, listed) = elements(body)
    attributes: list[tuple[str, list[bytes]]] = []
    for _, each in elements(listed):
        (_, described), (_, values) = elements(each)
        attributes.append((described.decode(), [value for _, value in elements(values)]))
    return Entry(name.decode(), attributes)


def _done(body: bytes, controls: bytes) -> Done:
    parts = list(elements(body))
    if len(parts) < 3:
        raise Malformed("a result without a code")
    value = next((content for tag, content in parts[3:] if tag == 0x8B), None)
    return Done(number(parts[0][1]), parts[2][1].decode(errors="replace"), value, _cookie(controls))


def _cookie(controls: bytes) -> bytes | None:
    for _, each in elements(controls):
        parts = list(elements(each))
        if len(parts) > 1 and parts[0][1] == PAGED_RESULTS.encode():
            ((_, value),) = elements(parts[-1][1])
            (_, _), (_, cookie) = elements(value)
            return cookie
    return None
