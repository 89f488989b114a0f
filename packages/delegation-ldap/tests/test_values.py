"""From a directory's bytes to JSON."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actas.delegation.ldap.allowlists import AllowLists
from actas.delegation.ldap.messages import Entry
from actas.delegation.ldap.settings import LdapSettings
from actas.delegation.ldap.values import shown

ATTRIBUTES = ["cn", "member", "objectSid", "objectGUID", "thumbnailPhoto"]
ALLOWED = AllowLists(
    LdapSettings(urls=["ldaps://x"], identity="kerberos", authzid="u:{}", bases=["dc=x"], attributes=ATTRIBUTES)
)


def made(**attributes: list[bytes]) -> dict[str, Any]:
    return shown(Entry("cn=x", {name.replace("_", ";"): values for name, values in attributes.items()}), ALLOWED)


def test_text_is_text_and_what_is_none_is_base64_and_said_so() -> None:
    assert made(cn=["Lučić".encode(), b""]) == {"entry": "cn=x", "attributes": {"cn": ["Lučić", ""]}}
    assert made(cn=[b"a", b"\xff"])["attributes"] == {"cn": ["YQ==", "/w=="]}
    assert made(cn=[b"a", b"\xff"])["base64"] == ["cn"]
    assert made(cn=[b"a\0b"])["base64"] == ["cn"]
    assert made(thumbnailPhoto=[b"text"])["base64"] == ["thumbnailPhoto"], "always, whatever is in it"


def test_sids_and_guids_are_readable() -> None:
    sid = bytes.fromhex("010500000000000515000000") + b"".join(n.to_bytes(4, "little") for n in (1, 2, 3, 500))
    guid = bytes(range(16))
    read = made(objectSid=[sid], objectGUID=[guid])
    assert read["attributes"] == {
        "objectSid": ["S-1-5-21-1-2-3-500"],
        "objectGUID": ["03020100-0504-0706-0809-0a0b0c0d0e0f"],
    }
    assert made(objectSid=[sid[:-1]])["base64"] == ["objectSid"]
    assert made(objectSid=[b""])["base64"] == ["objectSid"]


def test_a_part_of_a_large_attribute_is_called_by_its_name_and_incomplete() -> None:
    entry = Entry("cn=x", {"member": [], "member;range=0-1": [b"a", b"b"]})
    assert shown(entry, ALLOWED) == {
        "entry": "cn=x",
        "attributes": {"member": ["a", "b"]},
        "incomplete": ["member"],
    }
    last = shown(Entry("cn=x", {"member;range=1500-*": [b"z"]}), ALLOWED)
    assert last["attributes"] == {"member": ["z"]} and "incomplete" not in last


def test_what_is_not_on_the_list_is_dropped_with_whatever_options() -> None:
    assert made(sn=[b"x"], CN_lang=[b"y"], userPassword=[b"z"])["attributes"] == {"CN;lang": ["y"]}


@given(st.dictionaries(st.sampled_from(ATTRIBUTES), st.lists(st.binary(max_size=20), max_size=3)))
def test_any_bytes_are_json(attributes: dict[str, list[bytes]]) -> None:
    read = shown(Entry("cn=x", attributes), ALLOWED)
    assert json.loads(json.dumps(read)) == read
