"""Distinguished names and authorization identities: one value stays one value, whatever it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldap3.protocol.rfc4511 import LDAPMessage
from ldap3.utils.dn import parse_dn
from ldap_directory import NAME, PEOPLE, dn, module_for, user
from pyasn1.codec.ber.decoder import decode

from actas.core import PrincipalUnavailable
from actas.delegation.ldap import messages
from actas.delegation.ldap.names import Name, NotAName, escaped, parsed, same
from actas.delegation.ldap.principals import Template, safe
from actas.testing.slapd import Slapd

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
TYPES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,8}", fullmatch=True)
NAMES = st.builds(
    Name,
    st.lists(st.lists(st.tuples(TYPES, TEXT), min_size=1, max_size=2).map(tuple), min_size=1, max_size=4).map(tuple),
)


@given(NAMES)
def test_a_name_is_read_as_it_was_written(name: Name) -> None:
    assert parsed(str(name)) == name


@given(TEXT)
def test_any_value_is_one_value_of_its_template_and_ends_where_it_ends(value: str) -> None:
    made = Template(NAME).of(value)
    name = parsed(made.removeprefix("dn:"))
    assert name.parts[0] == (("uid", value),)
    assert name.is_in(parsed(PEOPLE)) and len(name.parts) == 4


@given(st.text('ab ,+="\\<>;', min_size=1, max_size=12))  # ldap3 wants # escaped everywhere, the standard does not
def test_an_independent_reader_sees_the_same_parts(value: str) -> None:
    made = parse_dn(f"uid={escaped(value)},{PEOPLE}", escape=False)
    assert [(kind, end) for kind, _, end in made] == [("uid", ","), ("ou", ","), ("dc", ","), ("dc", "")]


@given(st.text('ab ,+="\\<>;#0', max_size=24))
def test_text_is_a_name_to_its_end_or_none(text: str) -> None:
    try:
        name = parsed(text)
    except NotAName:
        return
    assert parsed(str(name)) == name


@pytest.mark.parametrize(
    "text",
    ["", "x", "=a", "ou=", "ou=a,", ",ou=a", "ou=a;dc=b", "ou=a<b", 'ou="a"', "ou=a\\", "ou=a\\zz", "ou=\\ff", "ou=#04",
     "ou=a\0", "ou=a+", "ou=a++cn=b", "o u=a", "1=a", "ou=a,,dc=b", "ou=\ud800", "ou=" + "a" * 9000],
)  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(NotAName):
        parsed(text)


def test_names_of_the_standards_own_examples() -> None:
    assert parsed("UID=jsmith,DC=example,DC=net").parts[0] == (("UID", "jsmith"),)
    assert parsed("OU=Sales+CN=J.  Smith,DC=example,DC=net").parts[0] == (("OU", "Sales"), ("CN", "J.  Smith"))
    assert parsed(r"CN=James \"Jim\" Smith\, III,DC=example,DC=net").parts[0] == (("CN", 'James "Jim" Smith, III'),)
    assert parsed(r"CN=Before\0dAfter,DC=example,DC=net").parts[0] == (("CN", "Before\rAfter"),)
    assert parsed(r"CN=Lu\C4\8Di\C4\87").parts[0] == (("CN", "Lučić"),)
    assert parsed(r"cn=\ a\ ").parts[0] == (("cn", " a "),)
    assert parsed("cn=a , dc=b").parts == ((("cn", "a"),), (("dc", "b"),))


def test_identities_are_compared_as_the_directory_compares_names() -> None:
    assert same("dn:uid=Alice,OU=people,dc=x", "dn:UID=alice,ou=People , dc=x")
    assert same("u:EXAMPLE\\Alice", "u:EXAMPLE\\alice")
    for one, other in [
        ("", ""), ("dn:", "dn:"), ("u:", "u:"), ("dn:uid=a", "u:uid=a"), ("dn:uid=a,dc=x", "dn:uid=a"),
        ("alice", "alice"), ("dn:x", "dn:X"), ("dn:uid=a\\,dc=x", "dn:uid=a,dc=x"),
        ("dn:uid=a+cn=b", "dn:uid=a"), ("x:a", "x:a"),
    ]:  # fmt: skip
        assert not same(one, other), (one, other)


@pytest.mark.parametrize("authzid", ["", "dn:", "u:", "alice", ":x", "DN:uid=a", " dn:uid=a"])
def test_an_empty_or_odd_authorization_identity_makes_no_control(authzid: str) -> None:
    with pytest.raises(ValueError, match="authorization identity"):
        messages.proxied_authorization(authzid)


@given(TEXT)
def test_the_control_is_critical_and_says_the_identity_and_nothing_else(value: str) -> None:
    control = messages.proxied_authorization(Template(NAME).of(value))
    message, rest = decode(
        messages.request(messages.who_am_i(), [control]).numbered(messages.FIRST_NUMBER), asn1Spec=LDAPMessage()
    )
    (sent,) = message["controls"]
    assert not rest and str(sent["controlType"]) == "2.16.840.1.113730.3.4.18" and bool(sent["criticality"])
    assert bytes(sent["controlValue"]).decode() == Template(NAME).of(value)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " a",
        "a ",
        "a  b",
        "a,b",
        "a+b",
        "a=b",
        "a\\b",
        "a/b",
        "a*b",
        "a(b",
        "a\0",
        "a\n",
        "ä",
        "a" * 65,
        "-a",
        ".a",
        "#a",
        "{}",
    ],
)
def test_names_that_are_not_safe_are_nobodys(directory: Slapd, name: str) -> None:
    assert not safe(name)
    with pytest.raises(PrincipalUnavailable):
        module_for(directory).principal(user(name))


def test_names_that_are_safe() -> None:
    assert all(safe(name) for name in ("a", "alice", "Jane Doe", "a.b-c_d@e.f", "_a", "9", "a" * 64))


@pytest.mark.parametrize(
    "template",
    [
        "",
        "uid={}",
        "dn:",
        "dn:uid=alice,dc=x",
        "dn:{}",
        "dn:{}=x",
        "dn:uid=a{},dc=x",
        "dn:uid={},ou={}",
        "u:",
        "u:alice",
        "u:{}{}",
        "u:a b{}",
        "x:{}",
    ],
)
def test_templates_that_are_none(template: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Template(template)


def test_templates() -> None:
    assert Template("u:EXAMPLE\\{}").of("alice") == "u:EXAMPLE\\alice"
    assert Template("u:{}@example.com").of("alice") == "u:alice@example.com"
    assert Template(NAME).of("alice") == f"dn:{dn('alice')}"
