"""Filters: read to the end, and sent as what they say, which a decoder of the tests reads back."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldap3.operation.search import compile_filter, parse_filter
from ldap3.protocol.rfc4511 import LDAPMessage
from ldap3.utils.asn1 import encode
from ldap3.utils.conv import escape_filter_chars
from ldap_directory import data, dn, find, uids
from ldap_peers import elements, tlv
from pyasn1.codec.ber.decoder import decode

from actas.core import InvalidParameters
from actas.delegation.ldap import filters, messages
from actas.delegation.ldap.filter_structures import structured
from actas.delegation.ldap.filter_texts import parsed
from actas.delegation.ldap.filters import Extensible, Filter, Group, Match, Not, Present, Substrings
from actas.delegation.ldap.module import LdapDelegation

ATTRIBUTES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,8}(;[a-z0-9-]{1,5})?", fullmatch=True)
VALUES = st.binary(max_size=12)
SOME = st.binary(min_size=1, max_size=12)
HOW: tuple[filters.How, ...] = ("=", ">=", "<=", "~=")
ITEMS: st.SearchStrategy[Filter] = st.one_of(
    st.builds(Match, ATTRIBUTES, st.sampled_from(HOW), VALUES),
    st.builds(Present, ATTRIBUTES),
    st.builds(Substrings, ATTRIBUTES, VALUES, st.lists(SOME, max_size=3).map(tuple), SOME),
    st.builds(Substrings, ATTRIBUTES, SOME, st.lists(SOME, max_size=3).map(tuple), VALUES),
    st.builds(Extensible, ATTRIBUTES, st.none() | st.just("caseExactMatch"), st.booleans(), VALUES),
    st.builds(Extensible, st.none(), st.just("2.5.13.2"), st.booleans(), VALUES),
)
TREES = st.recursive(
    ITEMS,
    lambda inner: st.one_of(
        st.builds(Group, st.booleans(), st.lists(inner, min_size=1, max_size=3).map(tuple)), st.builds(Not, inner)
    ),
    max_leaves=8,
)


def written(what: Filter) -> str:
    """A writer of RFC 4515 that is not the module's, which has none."""

    def text(value: bytes) -> str:
        return "".join(f"\\{byte:02x}" if byte in b"\0()*\\" or byte > 126 else chr(byte) for byte in value)

    match what:
        case Group():
            return f"({'&' if what.every else '|'}{''.join(written(part) for part in what.parts)})"
        case Not():
            return f"(!{written(what.part)})"
        case Match():
            return f"({what.attribute}{what.how}{text(what.value)})"
        case Present():
            return f"({what.attribute}=*)"
        case Substrings():
            return f"({what.attribute}={'*'.join(text(each) for each in (what.first, *what.middle, what.last))})"
        case Extensible():
            rule = f":{what.rule}" if what.rule else ""
            return f"({what.attribute or ''}{':dn' if what.in_names else ''}{rule}:={text(what.value)})"


def read_back(operation: messages.Operation) -> bytes:
    return messages.request(operation, ()).numbered(messages.FIRST_NUMBER)


def sent(what: Filter) -> bytes:
    """The filter as it travels."""
    ((_, whole),) = elements(read_back(messages.search("dc=x", messages.SUBTREE, what, ["cn"])))
    tag, content = elements(elements(whole)[1][1])[6]
    return tlv(tag, content)


def tree(data: bytes) -> Filter:
    """What stands in RFC 4511 section 4.5.1 about these bytes."""
    ((tag, content),) = elements(data)
    inside = [] if tag == 0x87 else elements(content)
    match tag:
        case 0xA0 | 0xA1:
            return Group(tag == 0xA0, tuple(tree(tlv(kind, part)) for kind, part in inside))
        case 0xA2:
            return Not(tree(content))
        case 0x87:
            return Present(content.decode())
        case 0xA4:
            pieces = elements(inside[1][1])
            firsts, lasts = ([value for kind, value in pieces if kind == which] for which in (0x80, 0x82))
            middle = tuple(value for kind, value in pieces if kind == 0x81)
            return Substrings(inside[0][1].decode(), firsts[0] if firsts else b"", middle, lasts[0] if lasts else b"")
        case 0xA9:
            said = dict(inside)
            rule, attribute = said.get(0x81), said.get(0x82)
            return Extensible(
                None if attribute is None else attribute.decode(),
                None if rule is None else rule.decode(),
                said.get(0x84) == b"\xff",
                said[0x83],
            )
        case _:
            how: dict[int, filters.How] = {0xA3: "=", 0xA5: ">=", 0xA6: "<=", 0xA8: "~="}
            return Match(inside[0][1].decode(), how[tag], inside[1][1])


@given(TREES)
def test_what_is_sent_is_what_was_meant(what: Filter) -> None:
    assert tree(sent(what)) == what


def test_a_search_says_where_and_how_much_and_follows_no_alias() -> None:
    asked = messages.search("dc=x", messages.SUBTREE, Present("cn"), ["cn"], size=300, seconds=4)
    message, rest = decode(read_back(asked), asn1Spec=LDAPMessage())
    search = message["protocolOp"].getComponent()
    assert (str(search["baseObject"]), int(search["scope"]), int(search["derefAliases"])) == ("dc=x", 2, 0)
    assert (int(search["sizeLimit"]), int(search["timeLimit"])) == (300, 4) and not search["typesOnly"] and not rest
    assert [str(each) for each in search["attributes"]] == ["cn"]


@pytest.mark.parametrize(
    "text",
    ["(uid=a)", "(&(uid=a)(cn=*))", "(!(uid=a))", "(|(a>=1)(a<=2)(a~=3))", "(cn=a*b*c)", "(cn=*a)", "(cn:dn:1.2.3:=x)"],
)
def test_ldap3_writes_the_same_bytes(text: str) -> None:
    theirs = encode(compile_filter(parse_filter(text, None, False, False, None, False).elements[0]))
    assert sent(parsed(text)) == theirs


@given(TREES)
def test_what_is_written_is_read_as_it_was_meant(what: Filter) -> None:
    assert parsed(written(what)) == what


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_no_value_changes_a_structure(value: str) -> None:
    expected = Match("uid", "=", value.encode())
    assert structured({"attribute": "uid", "equals": value}) == expected
    assert parsed(f"(uid={escape_filter_chars(value)})") == expected
    whole = Group(True, (expected, Present("cn")))
    assert tree(sent(whole)) == whole


@given(st.text("()&|!=*\\<>~:;ab0-. \0", max_size=40))
def test_text_is_a_filter_to_its_end_or_none(text: str) -> None:
    try:
        what = parsed(text)
    except InvalidParameters:
        return
    assert text[0] == "(" and text[-1] == ")"
    assert parsed(written(what)) == what
    assert tree(sent(what)) == what


KEYS = st.sampled_from("and or not attribute equals present begins_with contains rule matches x".split())


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    )
)
def test_a_structure_is_a_filter_or_refused(said: Any) -> None:
    try:
        what = structured(said)
    except InvalidParameters:
        return
    assert tree(sent(what)) == what


@pytest.mark.parametrize(
    "text",
    [
        "", "()", "uid=a", "(uid=a", "(uid=a))", "(uid=a)(uid=b)", " (uid=a)", "(uid=a) ", "(&)", "(|)", "(!)",
        "(!(a=b)(c=d))",
        "(=a)", "(uid)", "(uid=a(b)", "(uid=\\)", "(uid=\\2)", "(uid=\\zz)", "(uid=a\0)", "(uid=**)", "(uid=a**b)",
        "(uid>=a*)",
        "(u id=a)", "(uid =a)", "(uid= a)x", "(&(uid=a)x)", "(:=x)", "(:dn:=x)", "(a:b:c:=x)", "(a:dn:b:c:=x)",
        "(a:=*)", "(1=a)", "(1.=a)", "(uid;=a)", "(ü=a)", "(" * 5000,
        "(&" * 500 + "(a=b)" + ")" * 500, "(!" * 13 + "(a=b)" + ")" * 13,
        f"(|{'(a=b)' * 300})", f"(a={'b' * 70_000})", "(uid=\ud800)",
    ],
)  # fmt: skip
def test_what_is_no_filter_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parsed(text)
    assert len(caught.value.message) < 300 and "\ud800" not in caught.value.message


def test_text_of_the_standards_own_examples() -> None:
    assert parsed("(cn=Babs Jensen)") == Match("cn", "=", b"Babs Jensen")
    assert parsed("(!(cn=Tim Howes))") == Not(Match("cn", "=", b"Tim Howes"))
    person, some = (
        Match("objectClass", "=", b"Person"),
        Group(False, (Match("sn", "=", b"Jensen"), Substrings("cn", b"Babs J", (), b""))),
    )
    assert parsed("(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))") == Group(True, (person, some))
    assert parsed("(o=univ*of*mich*)") == Substrings("o", b"univ", (b"of", b"mich"), b"")
    assert parsed("(seeAlso=)") == Match("seeAlso", "=", b"")
    assert parsed("(cn:caseExactMatch:=Fred Flintstone)") == Extensible(
        "cn", "caseExactMatch", False, b"Fred Flintstone"
    )
    assert parsed("(cn:=Betty Rubble)") == Extensible("cn", None, False, b"Betty Rubble")
    assert parsed("(sn:dn:2.4.6.8.10:=Barney Rubble)") == Extensible("sn", "2.4.6.8.10", True, b"Barney Rubble")
    assert parsed("(o:dn:=Ace Industry)") == Extensible("o", None, True, b"Ace Industry")
    assert parsed("(:1.2.3:=Wilma Flintstone)") == Extensible(None, "1.2.3", False, b"Wilma Flintstone")
    assert parsed("(:DN:2.4.6.8.10:=Dino)".replace("DN", "dn")) == Extensible(None, "2.4.6.8.10", True, b"Dino")
    assert parsed(r"(o=Parens R Us \28for all your parenthetical needs\29)") == Match(
        "o", "=", b"Parens R Us (for all your parenthetical needs)"
    )
    assert parsed(r"(cn=*\2A*)") == Substrings("cn", b"", (b"*",), b"")
    assert parsed(r"(filename=C:\5cMyFile)") == Match("filename", "=", rb"C:\MyFile")
    assert parsed(r"(bin=\00\00\00\04)") == Match("bin", "=", b"\0\0\0\4")
    assert parsed(r"(sn=Lu\c4\8di\c4\87)") == Match("sn", "=", "Lučić".encode())
    assert parsed("(1.3.6.1.4.1.1466.0=\\04\\02\\48\\69)") == Match("1.3.6.1.4.1.1466.0", "=", b"\4\2Hi")


def test_a_structure_says_the_same_as_text() -> None:
    said: dict[str, object] = {
        "and": [
            {"attribute": "a", "begins_with": "b", "contains": "c", "ends_with": "d"},
            {"or": [{"attribute": "a", "at_least": "1"}, {"attribute": "a", "at_most": "2"}]},
            {"not": {"attribute": "a", "sounds_like": "*"}},
            {"attribute": "a", "present": True},
            {"attribute": "a", "rule": "1.2.3", "matches": "x"},
        ]
    }
    assert structured(said) == parsed(r"(&(a=b*c*d)(|(a>=1)(a<=2))(!(a~=\2a))(a=*)(a:1.2.3:=x))")


@pytest.mark.anyio
@pytest.mark.parametrize("value", ["*)(uid=*", "*", "alice)(|(uid=*", "\\2a", "a\0", ")", "alice*"])
async def test_an_injected_filter_finds_nobody(module: LdapDelegation, value: str) -> None:
    assert uids(await data(module, "alice", find(filter={"attribute": "uid", "equals": value}))) == []
    assert uids(await data(module, "alice", find(filter=f"(uid={escape_filter_chars(value)})"))) == []


@pytest.mark.anyio
async def test_odd_values_are_found_by_what_they_are(module: LdapDelegation) -> None:
    for said in (
        {"attribute": "description", "equals": "a(b)*\\c"},
        {"attribute": "description", "begins_with": "a(b)*"},
        "(description=a\\28b\\29\\2a\\5cc)",
        "(description=*\\2a*)",
    ):
        assert uids(await data(module, "alice", find(filter=said))) == ["odd"]
    found = await data(module, "alice", find(filter="(&(uid=alice)(!(uid=bob)))", base=dn("alice"), scope="base"))
    assert uids(found) == ["alice"]


def test_the_module_puts_no_filter_together() -> None:
    """There is no writer of filter text in the package: what is sent is made from the tree."""
    from pathlib import Path

    package = Path(filters.__file__).parent
    assert not [path.name for path in package.glob("*.py") if re.search(r'f"\((?!\{)[a-zA-Z&|!]', path.read_text())]
