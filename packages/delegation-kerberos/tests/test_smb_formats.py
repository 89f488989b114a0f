"""What a file server writes, when it writes nonsense: always an error of ours, never a hang."""

import struct
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actas.core.errors import DownstreamUnavailable
from actas.delegation.kerberos.smb_entries import Entry, entries, from_filetime, in_utc
from actas.delegation.kerberos.smb_failures import FileFailed, FileRefused, from_status, lost
from actas.delegation.kerberos.smb_whoami import names

ALICE = bytes.fromhex(
    "4c00000000000000040002000a000a00080002000500000000000000050000006100"
    "6c00690063006500"
    "00000c000200100002000e000e0014000200070000000000000007000000"
    "4500580041004d0050004c004500"
    "000000000000"
)
"""What Samba 4.17 answered to LsarGetUserName."""


def written(
    name: str, *, following: int = 0, attributes: int = 0x20, tag: int = 0, size: int = 5, length: int | None = None
) -> bytes:
    raw = name.encode("utf-16-le")
    head = struct.pack("<IIqqqqqqIII", following, 0, 0, 0, 133_000_000_000_000_000, 0, size, 0, attributes,
                       len(raw) if length is None else length, tag)  # fmt: skip
    return head + struct.pack("<BB24sHq", 0, 0, b"", 0, 7) + raw


def test_the_servers_word_on_the_user_is_read() -> None:
    assert names(ALICE) == ("EXAMPLE", "alice")


@pytest.mark.parametrize("length", range(0, len(ALICE)))
def test_half_an_answer_on_the_user_is_none(length: int) -> None:
    with pytest.raises(DownstreamUnavailable):
        names(ALICE[:length])


@pytest.mark.parametrize("status", [0xC0000022, 1])
def test_a_refusal_to_name_the_user_is_none(status: int) -> None:
    with pytest.raises(DownstreamUnavailable):
        names(ALICE[:-4] + struct.pack("<I", status))
    with pytest.raises(DownstreamUnavailable):
        names(bytes(8) + struct.pack("<III", 0, 0, status))


def test_nobody_is_not_a_user() -> None:
    with pytest.raises(DownstreamUnavailable):
        names(bytes(8) + struct.pack("<III", 0, 0, 0))


def test_a_user_without_a_domain_is_one() -> None:
    nowhere = ALICE[: ALICE.index(b"\x0c\x00\x02\x00\x10")] + struct.pack("<II", 0, 0)
    assert names(nowhere) == ("", "alice")


@given(st.binary(max_size=120) | st.binary(max_size=40).map(lambda end: ALICE[:40] + end))
def test_rubbish_on_the_user_is_an_error_of_ours(data: bytes) -> None:
    try:
        domain, name = names(data)
    except DownstreamUnavailable:
        return
    assert name and isinstance(domain, str)


def test_entries_are_read_one_after_another() -> None:
    first = written("a.txt") + bytes(6)
    page = written("a.txt", following=len(first)) + bytes(6) + written(".", attributes=0x10)
    assert [each.name for each in entries(page)] == ["a.txt"]
    assert list(entries(b"")) == []
    (entry,) = entries(written("a.txt"))
    assert entry.shown() == {
        "name": "a.txt", "type": "file", "size": 5, "modified": "2022-06-18T04:26:40.000Z", "hidden": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "tag", "kind"),
    [
        (0x20, 0, "file"),
        (0x10, 0, "directory"),
        (0x400, 0xA000000C, "link"),
        (0x410, 0xA0000003, "link"),
        (0x420, 0x80000013, "file"),  # deduplicated
        (0x20, 0xA000000C, "file"),  # no reparse point: the field means something else
    ],
)
def test_links_are_told_from_files_and_folders(attributes: int, tag: int, kind: str) -> None:
    (entry,) = entries(written("x", attributes=attributes, tag=tag))
    assert entry.kind == kind


def test_hidden_is_what_is_marked_or_named_so() -> None:
    marked, named, plain = (
        Entry(name, 0, None, attributes, 0) for name, attributes in (("a", 0x2), (".a", 0), ("a", 0))
    )
    assert (marked.hidden, named.hidden, plain.hidden) == (True, True, False)


@pytest.mark.parametrize(
    "page",
    [
        b"x",
        written("abc")[:-1],
        written("abc", length=2**31),
        written("abc", following=1) + written("abc"),
        written("abc", following=2**31),
        written("abc", size=-1),
    ],
)
def test_a_page_that_makes_no_sense_is_an_error(page: bytes) -> None:
    with pytest.raises(DownstreamUnavailable):
        list(entries(page))


@given(st.binary(max_size=400) | st.binary(max_size=300).map(lambda end: written("abc", following=112) + end))
def test_rubbish_for_a_page_ends(page: bytes) -> None:
    try:
        assert len(list(entries(page))) <= len(page) // 104 + 1
    except DownstreamUnavailable:
        pass


def test_times() -> None:
    assert from_filetime(0) is None
    assert from_filetime(-1) is None
    assert from_filetime(2**63 - 1) is None
    assert from_filetime(133_000_000_000_000_000) == "2022-06-18T04:26:40.000Z"
    assert in_utc(datetime(2026, 1, 2, 3, 4, 5)) == "2026-01-02T03:04:05.000Z"
    assert in_utc(datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=1)))) == "2026-01-02T02:00:00.000Z"
    assert in_utc(datetime(1601, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize("status", [0, 1, 0xC0000001, 0xC0000022, 0xC0000203, 0x80000005, 0xFFFFFFFF])
def test_each_status_is_an_error_that_says_nothing_of_the_servers(status: int) -> None:
    error = from_status(status)
    assert f"{status:#010x}" in (error.detail or "")
    assert f"{status:x}" not in error.message or status < 2
    assert error.code.startswith("kerberos_") or isinstance(error, DownstreamUnavailable)


def test_known_and_unknown() -> None:
    assert isinstance(from_status(0xC0000022), FileRefused)
    assert isinstance(from_status(0xC0009999), FileFailed)
    assert lost(error := FileFailed()) is error
    assert "secret" not in f"{lost(ValueError('secret')).detail}"
