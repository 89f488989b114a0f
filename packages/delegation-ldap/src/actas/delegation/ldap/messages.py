"""The messages of LDAP (RFC 4511), made and read by ldap3's own parts, without its state and its text of filters.

A filter is compiled from the tree; every value of it travels through ldap3 with each byte escaped.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from actas.delegation.ldap.filters import Extensible, Filter, Group, Match, Not, Present, Substrings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # ldap3 asks pyasn1 for names that it calls otherwise by now
    import ldap3

_ldap3: Any = ldap3  # Any: what its stubs say of the parts, all of which it has imported, has holes
_operation, _searching = _ldap3.operation, _ldap3.operation.search
_rfc4511, _rfc3062 = _ldap3.protocol.rfc4511, _ldap3.protocol.rfc3062
_reading, _asn1 = _ldap3.strategy.base.BaseStrategy, _ldap3.utils.asn1

PROXIED_AUTHORIZATION = "2.16.840.1.113730.3.4.18"
"""RFC 4370."""
PAGED_RESULTS = "1.2.840.113556.1.4.319"
"""RFC 2696."""
WHO_AM_I = "1.3.6.1.4.1.4203.1.11.3"
"""RFC 4532."""
MODIFY_PASSWORD = "1.3.6.1.4.1.4203.1.11.1"  # noqa: S105 -- an object identifier (RFC 3062)
BASE, ONE_LEVEL, SUBTREE = 0, 1, 2

_ENTRY, _REFERENCE, _EXTENDED, _INTERMEDIATE = 4, 19, 24, 25
_RESULTS = frozenset({1, 5, 7, 15, _EXTENDED})
"""Of bind, search, modify, compare and extended operations."""
_VALUE = 11
FIRST_NUMBER = 2**24
"""From here on, numbers of messages have four bytes."""
_PLACE = 0x7F7F7F7F
"""The number in whose place others are put, so that a message that is sent often is encoded once."""
_KEPT = 1024
"""Parts of messages that are made once, for pyasn1 takes its time."""
_MATCHES = {
    "=": _searching.MATCH_EQUAL,
    ">=": _searching.MATCH_GREATER_OR_EQUAL,
    "<=": _searching.MATCH_LESS_OR_EQUAL,
    "~=": _searching.MATCH_APPROX,
}
_SCOPES = [_rfc4511.Scope(number) for number in (BASE, ONE_LEVEL, SUBTREE)]
_NO_ALIAS, _VALUES_TOO = _rfc4511.DerefAliases(0), _rfc4511.TypesOnly(False)
_ESCAPES = [f"\\{byte:02x}" for byte in range(256)]

Control = tuple[str, bool, bytes]
"""Object identifier, whether the server must refuse what it does not know, and value."""


class Malformed(ValueError):
    """These bytes are no such message."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What is asked, before it has a number."""

    kind: str
    request: Any  # pyasn1's


@dataclass(frozen=True, slots=True)
class Request:
    """A whole message, but for its number: what goes before and after that."""

    before: bytes
    after: bytes

    def numbered(self, number: int) -> bytes:
        """The message with ``number``, from :data:`FIRST_NUMBER` on."""
        return self.before + number.to_bytes(4) + self.after


@dataclass(frozen=True, slots=True)
class Entry:
    """What a search found."""

    name: str
    attributes: dict[str, list[bytes]]


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


def proxied_authorization(authzid: str) -> Control:
    """The critical control: what goes with it is done as ``authzid`` (RFC 4370).

    Raises:
        ValueError: it is empty, which would be anonymous, or neither ``dn:`` nor ``u:`` with something behind it.
    """
    kind, _, name = authzid.partition(":")
    if kind not in ("dn", "u") or not name:
        raise ValueError("an authorization identity begins with dn: or u: and goes on")
    return PROXIED_AUTHORIZATION, True, authzid.encode()


def paged_results(size: int, cookie: bytes) -> Control:
    """The control that asks for a page."""
    made: Any = _ldap3.protocol.rfc2696.paged_search_control(criticality=False, size=size, cookie=cookie)
    return PAGED_RESULTS, False, bytes(made["controlValue"])


def who_am_i() -> Operation:
    """Asks whom the directory takes us for (RFC 4532)."""
    return Operation("extendedReq", _operation.extended.extended_operation(WHO_AM_I))


def change_password(old: str, new: str) -> Operation:
    """Changes the password of whoever this is done as (RFC 3062): nobody is named."""
    value = _rfc3062.PasswdModifyRequestValue()
    value["oldPasswd"], value["newPasswd"] = _rfc3062.OldPasswd(old.encode()), _rfc3062.NewPasswd(new.encode())
    return Operation("extendedReq", _operation.extended.extended_operation(MODIFY_PASSWORD, value))


def search(
    base: str, scope: int, what: Filter, attributes: Iterable[str], *, size: int = 0, seconds: int = 0
) -> Operation:
    """A search that follows no alias. ``size`` and ``seconds`` are limits; 0 is none."""
    request: Any = _rfc4511.SearchRequest()  # Any: pyasn1's
    request["baseObject"] = _rfc4511.LDAPDN(base)
    request["scope"], request["derefAliases"], request["typesOnly"] = _SCOPES[scope], _NO_ALIAS, _VALUES_TOO
    request["sizeLimit"], request["timeLimit"] = _rfc4511.Integer0ToMax(size), _rfc4511.Integer0ToMax(seconds)
    request["filter"] = _searching.compile_filter(_node(what))
    request["attributes"] = _selection(tuple(attributes))
    return Operation("searchRequest", request)


@lru_cache(_KEPT)
def _selection(attributes: tuple[str, ...]) -> Any:  # Any: pyasn1's
    return _searching.build_attribute_selection(attributes, None)


def compare(name: str, attribute: str, value: bytes) -> Operation:
    """Asks whether an entry has a value."""
    return Operation("compareRequest", _operation.compare.compare_operation(name, attribute, value, auto_encode=False))


def modify(name: str, changes: Iterable[tuple[int, str, Sequence[bytes]]]) -> Operation:
    """Changes an entry, those of one attribute in their order: 0 adds values, 1 deletes, 2 replaces."""
    listed: dict[str, list[tuple[int, list[bytes]]]] = {}
    for kind, attribute, values in changes:
        listed.setdefault(attribute, []).append((kind, list(values)))
    return Operation("modifyRequest", _operation.modify.modify_operation(name, listed, auto_encode=False))


def unbind() -> Operation:
    """Says goodbye."""
    return Operation("unbindRequest", _operation.unbind.unbind_operation())


def request(operation: Operation, controls: Sequence[Control]) -> Request:
    """The message that asks ``operation``."""
    message: Any = _rfc4511.LDAPMessage()  # Any: pyasn1's
    message["messageID"] = _rfc4511.MessageID(_PLACE)
    message["protocolOp"] = _rfc4511.ProtocolOp().setComponentByName(operation.kind, operation.request)
    if controls:
        message["controls"] = _listed(tuple(controls))
    before, place, after = bytes(_asn1.encode(message)).partition(_PLACE.to_bytes(4))  # the first: it comes first
    if not place:
        raise Malformed("a message without a number")
    return Request(before, after)


@lru_cache(_KEPT)
def _listed(controls: tuple[Control, ...]) -> Any:  # Any: pyasn1's
    return _ldap3.protocol.convert.build_controls_list(controls)


def size_of(data: bytes) -> int | None:
    """The size of the message that ``data`` begins with; None where too little of it is there to know.

    Raises:
        Malformed: it is none.
    """
    if data and data[0] != 0x30:
        raise Malformed("no LDAP message")
    size = _reading.compute_ldap_message_size(data)
    return None if size < 0 else int(size)


def take(data: bytes, answers: dict[int, Answer]) -> None:
    """Put one whole message where it belongs.

    Raises:
        Malformed: it is none, or belongs to no request of ours, as when the server says goodbye.
    """
    try:
        message = _asn1.decode_message_fast(data)
        answer = answers.get(message["messageID"])
        if answer is None or answer.done is not None:
            raise Malformed("an answer to nothing that was asked")
        kind, payload = message["protocolOp"], message["payload"]
        if kind == _ENTRY:
            name = bytes(payload[0][3]).decode()
            attributes = {
                bytes(pair[0][3]).decode(): [bytes(value[3]) for value in pair[1][3]]
                for pair in (each[3] for each in payload[1][3])
            }
            answer.entries.append(Entry(name, attributes))
        elif kind == _REFERENCE:
            answer.references += 1
        elif kind in _RESULTS:
            answer.done = _done(kind, payload, message["controls"] or ())
        elif kind != _INTERMEDIATE:
            raise Malformed("an answer of another kind")
    except Malformed:
        raise
    except Exception as error:  # what ldap3's decoder raises on bytes that are no message is any of these
        raise Malformed(f"no answer: {type(error).__name__}") from None


def _done(kind: int, payload: Any, controls: Any) -> Done:  # Any: ldap3's
    # Not by ldap3's own, which knows no result codes but those it lists.
    value = next((bytes(part[3]) for part in payload[3:] if kind == _EXTENDED and part[2] == _VALUE), None)
    cookie: bytes | None = None
    for control in controls:
        oid, said = _reading.decode_control_fast(control[3])
        if oid == PAGED_RESULTS:
            cookie = said["value"]["cookie"]
    return Done(int(payload[0][3]), bytes(payload[2][3]).decode(errors="replace"), value, cookie)


def _node(what: Filter) -> Any:  # ldap3's
    """The filter as ldap3 knows it before it compiles one."""
    match what:
        case Group():
            return _branch(_searching.AND if what.every else _searching.OR, what.parts)
        case Not():
            return _branch(_searching.NOT, (what.part,))
        case Match():
            said: dict[str, object] = {"attr": what.attribute, "value": _escaped(what.value)}
            return _searching.FilterNode(_MATCHES[what.how], said)
        case Present():
            return _searching.FilterNode(_searching.MATCH_PRESENT, {"attr": what.attribute})
        case Substrings():
            said = {"attr": what.attribute, "initial": _escaped(what.first), "final": _escaped(what.last)}
            said["any"] = [_escaped(each) for each in what.middle]
            return _searching.FilterNode(_searching.MATCH_SUBSTRING, said)
        case Extensible():
            said = {"attr": what.attribute, "matchingRule": what.rule, "dnAttributes": what.in_names}
            return _searching.FilterNode(_searching.MATCH_EXTENSIBLE, {**said, "value": _escaped(what.value)})


def _branch(tag: int, parts: Iterable[Filter]) -> Any:  # ldap3's
    node = _searching.FilterNode(tag)
    for part in parts:
        node.append(_node(part))
    return node


def _escaped(value: bytes) -> str:
    """Each byte as an escape (RFC 4515 section 3), which ldap3 makes the byte again."""
    return "".join([_ESCAPES[byte] for byte in value])
