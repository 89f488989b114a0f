"""Which paths are paths of a share, decided without asking anybody."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actas.delegation.kerberos.settings import KerberosSettings
from actas.delegation.kerberos.smb_checks import problems
from actas.delegation.kerberos.smb_failures import PathRefused
from actas.delegation.kerberos.smb_paths import Place, locate, segments
from actas.delegation.kerberos.smb_settings import (
    ShareLimitSettings,
    SharePoolSettings,
    ShareSettings,
    SmbSettings,
)

WHOLE = ShareSettings(server="Files.example.com", share="Data")
PART = ShareSettings(server="files.example.com", share="part", folder="Reports/2026")
SHARES = [WHOLE, PART]


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("//files.example.com/data", ""),
        ("//files.example.com/data/", ""),
        ("//FILES.example.COM/DATA/a/b.txt", "a\\b.txt"),
        ("\\\\files.example.com\\data\\a\\b.txt", "a\\b.txt"),
        ("//files.example.com/data/a/", "a"),
        ("//files.example.com/data/größe/雪 & co (1).txt", "größe\\雪 & co (1).txt"),
        ("//files.example.com/data/.hidden/com10.txt", ".hidden\\com10.txt"),
        ("//files.example.com/data/...a", "...a"),
        ("//files.example.com/data/%2e%2e/x", "%2e%2e\\x"),  # nobody decodes it
        ("//files.example.com/data/$RECYCLE", "$RECYCLE"),
    ],
)
def test_a_path_below_a_share_is_found(path: str, inside: str) -> None:
    place = locate(path, SHARES)
    assert (place.share, place.inside) == (WHOLE, inside)


def test_the_folder_of_a_share_is_written_as_the_operator_wrote_it() -> None:
    place = locate("//files.example.com/part/REPORTS/2026/June.txt", SHARES)
    assert place == Place(PART, "Reports\\2026\\June.txt", "//files.example.com/part/Reports/2026/June.txt")
    assert place.name == "June.txt"
    assert locate("//files.example.com/data", SHARES).name == "Data"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "//",
        "///files.example.com/data/x",
        "files.example.com/data/x",
        "/files.example.com/data/x",
        "/etc/hostname",
        "C:\\x",
        "file://files.example.com/data/x",
        "smb://files.example.com/data/x",
        "//files.example.com",
        "//files.example.com/",
        "//files.example.com//data",
        "//files.example.com/other/x",
        "//files.example.com/C$/x",
        "//files.example.com/IPC$/lsarpc",
        "//other.example.com/data/x",
        "//files.example.com:445/data/x",
        "//files.example.com@SSL/data/x",
        "//files.example.com./data/x",
        "//alice@files.example.com/data/x",
        "//127.0.0.1/data/x",
        "\\\\.\\pipe\\lsarpc",
        "\\\\?\\UNC\\files.example.com\\data\\x",
        "\\\\.\\C:\\x",
        "//./data/x",
        "//../data/x",
        "//files.example.com/../data/x",
        "//files.example.com/part",
        "//files.example.com/part/Reports",
        "//files.example.com/part/Reports/2025/x",
        "//files.example.com/part/Reports/20261/x",
    ],
)
def test_what_is_on_no_share_of_the_list_is_refused(path: str) -> None:
    with pytest.raises(PathRefused):
        locate(path, SHARES)


@pytest.mark.parametrize(
    "inner",
    [
        "..",
        ".",
        "a/..",
        "../../../etc/hostname",
        "a/../../b",
        "a\\..\\..\\b",
        "a/./b",
        "a//b",
        "/",
        "//",
        "a//",
        " ",
        "a /b",
        "a./b",
        "...",
        ".. ",
        "..\u00a0/.. /x",
        "a\0b",
        "a\x01",
        "a\x7f",
        "a\u0085b",
        "a\u2028b",
        "a\ud800",
        "a\uf03ab",  # a colon, to servers that map it
        "notes.txt::$DATA",
        "notes.txt:stream",
        "C:x",
        "a*",
        "a?.txt",
        'a"b',
        "a<b",
        "a>b",
        "a|b",
        "con",
        "NUL",
        "Aux.txt",
        "a/COM1/b",
        "lpt9.log.txt",
        "com¹",
        "conin$",
        "NUL .txt",
        "x" * 256,
        "/".join("a" * 65),
        "a/" * 3000,
    ],
)
def test_a_part_that_servers_read_in_ways_of_their_own_is_refused(inner: str) -> None:
    with pytest.raises(PathRefused):
        segments(inner)
    with pytest.raises(PathRefused):
        locate(f"//files.example.com/data/{inner}", SHARES)


@given(st.text(max_size=60) | st.from_regex(r"(//|\\\\)files\.example\.com[/\\]part[/\\Reports2026.: \0]{0,40}"))
@example("//files.example.com/part/reports/2026/../../x")
@example("//files.example.com/part/Reports/2026\\..\\..\\..\\x")
def test_no_path_leaves_its_share_or_its_folder(path: str) -> None:
    try:
        place = locate(path, SHARES)
    except PathRefused:
        return
    assert not re.search(r'[\0-\x1f/:*?"<>|]', place.inside)
    parts = place.inside.split("\\") if place.inside else []
    assert not {"", ".", ".."} & set(parts)
    if place.share is PART:
        assert parts[:2] == ["Reports", "2026"]


@given(st.text(max_size=40))
def test_a_path_that_was_shown_means_the_same_again(inner: str) -> None:
    try:
        place = locate(f"//files.example.com/data/{inner}", SHARES)
    except PathRefused:
        return
    assert locate(place.path, SHARES) == place


def told(settings: SmbSettings) -> list[str]:
    targets = ["cifs/files.example.com", "cifs/a"]
    return problems(KerberosSettings(principal="gw@EXAMPLE.COM", keytab="/k", targets=targets, smb=settings))


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        (SmbSettings(allow=[ShareSettings(server="a b", share="x")]), "allow.0.server"),
        (SmbSettings(allow=[ShareSettings(server="-x", share="x")]), "allow.0.server"),
        (SmbSettings(allow=[ShareSettings(server="", share="x")]), "allow.0.server"),
        (SmbSettings(allow=[ShareSettings(server="other.example.com", share="x")]), "allow.0.server"),
        (SmbSettings(allow=[ShareSettings(server="a", share="x", port=0)]), "allow.0.port"),
        (SmbSettings(allow=[ShareSettings(server="a", share="")]), "allow.0.share"),
        (SmbSettings(allow=[ShareSettings(server="a", share="x/y")]), "allow.0.share"),
        (SmbSettings(allow=[ShareSettings(server="a", share="..")]), "allow.0.share"),
        (SmbSettings(allow=[ShareSettings(server="a", share="ipc$")]), "allow.0.share"),
        (SmbSettings(allow=[ShareSettings(server="a", share="x", folder="/y")]), "allow.0.folder"),
        (SmbSettings(allow=[ShareSettings(server="a", share="x", folder="y/..")]), "allow.0.folder"),
        (SmbSettings(allow=[WHOLE, ShareSettings(server="files.EXAMPLE.com", share="DATA")]), "allow.1: "),
        (SmbSettings(allow=[WHOLE], pool=SharePoolSettings(total=0)), "pool.total"),
        (SmbSettings(allow=[WHOLE], limits=ShareLimitSettings(seconds=-1)), "limits.seconds"),
        (SmbSettings(allow=[WHOLE], permission=""), "permission"),
    ],
)
def test_a_typo_of_the_operators_is_told_with_its_place(settings: SmbSettings, where: str) -> None:
    (problem,) = told(settings)
    assert problem.startswith(f"smb.{where}")


def test_good_settings_have_no_problems() -> None:
    assert told(SmbSettings(allow=SHARES)) == []
    assert told(SmbSettings()) == []
