"""What can be read: lists, parts of files, facts, and searches."""

import base64
import os
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace

import pytest
from files_gateway import ALICE, BOB, Gateway, Ground, Way, gateway

from actas.delegation.filesystem import searching
from actas.delegation.filesystem.listing import Names
from actas.delegation.filesystem.settings import LimitSettings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def files(ground: Ground, way: Way) -> AsyncGenerator[Gateway]:
    async with gateway(ground, way) as opened:
        yield opened


async def test_each_user_reads_in_a_folder_of_their_own(files: Gateway) -> None:
    assert await files.text("notes.txt") == "notes of alice\n"
    assert await files.text("notes.txt", BOB) == "notes of bob\n"
    assert await files.text("papers/plan.md", BOB) == "# The plan of bob\n"


async def test_the_receipt_says_in_which_folder_and_with_which_account(files: Gateway, way: Way) -> None:
    result = await files.pipeline.delegate(ALICE, "files", "read", {"path": "notes.txt"})
    receipt = result.receipt
    assert (receipt.identity, receipt.method) == ("alice", "service:folder")
    assert receipt.details == {"process_uid": str(os.geteuid()), "way": way.name}


async def test_a_list_is_sorted_and_goes_on_where_it_ended(files: Gateway, ground: Ground) -> None:
    for index in range(25):
        (ground.alice / "papers" / f"{index:02}").touch()
    seen: list[str] = []
    after = None
    while True:
        page = await files.call("list", path="papers", limit=10, after=after)
        seen += [each["name"] for each in page["entries"]]
        after = page["next"]
        if after is None:
            break
        assert len(page["entries"]) == 10
    assert seen == [*(f"{index:02}" for index in range(25)), "plan.md"]


async def test_a_list_tells_what_each_entry_is_and_follows_no_link(files: Gateway, ground: Ground) -> None:
    (ground.alice / "link").symlink_to(ground.outside / "secret.txt")
    os.mkfifo(ground.alice / "pipe")
    (ground.alice / "old").touch()
    os.utime(ground.alice / "old", (0, 1_000_000_000))
    entries = {each["name"]: each for each in (await files.call("list"))["entries"]}
    assert {name: each["type"] for name, each in entries.items()} == {
        "link": "link", "notes.txt": "file", "old": "file", "papers": "folder", "pipe": "FIFO",
    }  # fmt: skip
    assert entries["notes.txt"]["size"] == 15 and entries["link"]["size"] is None
    assert entries["old"]["modified"] == "2001-09-09T01:46:40+00:00"


def test_a_time_that_no_calendar_has_is_none() -> None:
    from actas.delegation.filesystem.facts import brief

    for when, told in [(0, "1970-01-01T00:00:00+00:00"), (1 << 41, None), (-(1 << 50), None)]:
        assert brief(os.stat_result((0o100644, 1, 1, 1, 0, 0, 7, 0, when, 0)))["modified"] == told


async def test_info_tells_rights_and_names_and_of_a_link_that_it_is_one(files: Gateway, ground: Ground) -> None:
    (ground.alice / "notes.txt").chmod(0o640)
    told = await files.call("info", path="notes.txt")
    assert told == {
        "path": "notes.txt", "type": "file", "size": 15, "modified": told["modified"], "mode": "0640",
        "rights": "rw-r-----", "owner_id": os.getuid(), "group_id": os.getgid(), "names": 1,
    }  # fmt: skip
    (ground.alice / "link").symlink_to("notes.txt")
    assert (await files.call("info", path="link"))["type"] == "link"
    assert (await files.call("info"))["type"] == "folder"


async def test_a_range_is_read_and_says_where_it_goes_on(files: Gateway, ground: Ground) -> None:
    (ground.alice / "notes.txt").write_text("0123456789")
    first = await files.call("read", path="notes.txt", length=4)
    assert (first["content"], first["next_offset"], first["size"]) == ("0123", 4, 10)
    assert (await files.call("read", path="notes.txt", offset=4, length=100))["content"] == "456789"
    last = await files.call("read", path="notes.txt", offset=9, length=1)
    assert (last["content"], last["next_offset"]) == ("9", None)
    beyond = await files.call("read", path="notes.txt", offset=1000)
    assert (beyond["content"], beyond["next_offset"], beyond["length"]) == ("", None, 0)


@pytest.mark.parametrize("encoding", ["auto", "utf-8", "utf-16-le", "utf-16-be", "latin-1", "cp1252"])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 100])
async def test_no_length_cuts_a_character_and_the_parts_are_the_whole(
    files: Gateway, ground: Ground, encoding: str, length: int
) -> None:
    text = "aé€😀\r\nz" if encoding.startswith(("auto", "utf")) else "aé\r\nz"
    (ground.alice / "text").write_bytes(text.encode("utf-8" if encoding == "auto" else encoding))
    pieces: list[str] = []
    offset: int | None = 0
    while offset is not None:
        part = await files.call("read", path="text", offset=offset, length=length, encoding=encoding)
        assert part["encoding"] == encoding.replace("auto", "utf-8")
        pieces.append(part["content"])
        offset = part["next_offset"]
    assert "".join(pieces) == text


@pytest.mark.parametrize("text", ["é", "€", "😀"])
async def test_an_offset_inside_of_a_character_is_refused_and_says_where_it_begins(
    files: Gateway, ground: Ground, text: str
) -> None:
    (ground.alice / "text").write_text(f"ab{text}c", encoding="utf-8")
    for offset in range(3, 2 + len(text.encode())):
        assert await files.code("read", path="text", offset=offset) == "invalid_parameters"
        read = await files.call("read", path="text", offset=offset, encoding="base64")
        assert base64.b64decode(read["content"]) == f"ab{text}c".encode()[offset:]


@pytest.mark.parametrize(
    "data", [b"\x00\x01", b"text\x00", b"\xff\xfe", b"\xe2\x82", b"ok\xc3", b"\x80abc", "é".encode("latin-1")]
)
async def test_what_is_no_text_comes_as_base64(files: Gateway, ground: Ground, data: bytes) -> None:
    (ground.alice / "data").write_bytes(data)
    read = await files.call("read", path="data")
    assert (read["encoding"], base64.b64decode(read["content"]), read["next_offset"]) == ("base64", data, None)
    if b"\0" not in data:  # which UTF-8 can write, so that who asks for text gets it
        assert await files.code("read", path="data", encoding="utf-8") == "filesystem_not_text"


async def test_bytes_that_only_look_like_half_a_character_come_as_base64(files: Gateway, ground: Ground) -> None:
    (ground.alice / "data").write_bytes(b"aaaa\xbf\xbf\xbf")
    read = await files.call("read", path="data", offset=5)
    assert (read["encoding"], base64.b64decode(read["content"])) == ("base64", b"\xbf\xbf")


async def test_binary_goes_on_in_parts_too(files: Gateway, ground: Ground) -> None:
    data = os.urandom(2000) + b"\0"
    (ground.alice / "data").write_bytes(data)
    got, offset = b"", 0
    while offset is not None:
        part = await files.call("read", path="data", offset=offset, length=700)
        got += base64.b64decode(part["content"])
        offset = part["next_offset"]
    assert got == data


async def test_a_read_gives_no_more_than_the_limit(ground: Ground, way: Way) -> None:
    (ground.alice / "big").write_text("x" * 5000)
    async with gateway(ground, way, limits=LimitSettings(read_bytes=1000)) as files:
        read = await files.call("read", path="big", length=4000)
    assert (read["length"], read["next_offset"], read["size"]) == (1000, 1000, 5000)


@pytest.mark.parametrize(
    ("action", "parameters"),
    [
        ("read", {"path": "notes.txt", "offset": -1}),
        ("read", {"path": "notes.txt", "offset": 2**63}),
        ("read", {"path": "notes.txt", "length": 0}),
        ("read", {"path": "notes.txt", "encoding": "utf-16-le", "offset": 1}),
        ("list", {"limit": 0}),
        ("list", {"limit": 1001}),
        ("search", {}),
        ("search", {"name": "*", "limit": 0}),
        ("search", {"name": "x" * 300}),
        ("search", {"content": "x" * 2000}),
    ],
)
async def test_numbers_and_texts_out_of_bounds_are_refused(
    files: Gateway, action: str, parameters: dict[str, object]
) -> None:
    assert await files.code(action, **parameters) == "invalid_parameters"


@pytest.mark.parametrize(
    ("action", "path", "code"),
    [
        ("read", "nothing", "filesystem_not_found"),
        ("list", "nothing", "filesystem_not_found"),
        ("info", "nothing/below", "filesystem_not_found"),
        ("read", "papers", "filesystem_wrong_kind"),
        ("read", "", "filesystem_wrong_kind"),
        ("list", "notes.txt", "filesystem_wrong_kind"),
        ("read", "notes.txt/x", "filesystem_wrong_kind"),
        ("search", "notes.txt", "filesystem_wrong_kind"),
    ],
)
async def test_what_is_not_there_or_of_another_kind_is_told_as_such(
    files: Gateway, action: str, path: str, code: str
) -> None:
    more = {"name": "*"} if action == "search" else {}
    assert await files.code(action, path=path, **more) == code


async def test_a_user_without_a_folder_is_told_so(files: Gateway, ground: Ground) -> None:
    carol = replace(ALICE, subject="id-of-carol", username="carol", legacy_username="carol")
    assert await files.code("list", carol) == "filesystem_no_folder"
    (ground.base / "carol").write_text("a file, where a folder should be")
    assert await files.code("list", carol) == "filesystem_no_folder"
    (ground.base / "carol").unlink()
    (ground.base / "carol").symlink_to("bob")
    assert await files.code("list", carol) == "filesystem_no_folder"


async def test_a_search_finds_names_and_contents_and_where(files: Gateway, ground: Ground) -> None:
    (ground.alice / "papers" / "deep").mkdir()
    (ground.alice / "papers" / "deep" / "Plan B.md").write_text("first\nsecond: the needle is here, look\nthird needle")
    found = await files.call("search", content="needle")
    assert found["truncated"] is None and found["skipped"] == 0
    (match,) = found["found"]
    assert match["path"] == "papers/deep/Plan B.md" and match["line"] == 2
    assert match["excerpt"] == "second: the needle is here, look"
    there = await files.call("read", path=match["path"], offset=match["offset"], length=6)
    assert there["content"] == "needle"

    async def named(pattern: str, **more: object) -> list[str]:
        return [each["path"] for each in (await files.call("search", name=pattern, **more))["found"]]

    assert await named("*.md") == ["papers/deep/Plan B.md", "papers/plan.md"]
    assert await named("plan*") == ["papers/plan.md"]
    assert await named("PLAN*", ignore_case=True) == ["papers/deep/Plan B.md", "papers/plan.md"]
    assert await named("????.md", path="papers") == ["papers/plan.md"]
    assert await named("deep") == ["papers/deep"]
    assert await named("*.md", content="NEEDLE", ignore_case=True) == ["papers/deep/Plan B.md"]
    assert await named("*.md", content="NEEDLE") == []


@pytest.mark.parametrize("at", [0, 1, 262_140, 262_143, 262_144, 262_145, 524_287, 700_000])
async def test_a_text_is_found_where_two_pieces_meet(files: Gateway, ground: Ground, at: int) -> None:
    data = bytearray(b"." * 800_000)
    data[at : at + 6] = b"needle"
    data[100_000:100_001] = b"\n"
    (ground.alice / "long").write_bytes(data)
    (match,) = (await files.call("search", content="needle"))["found"]
    assert (match["offset"], match["line"]) == (at, 2 if at > 100_000 else 1)
    assert "needle" in match["excerpt"] and len(match["excerpt"]) <= 206


async def test_one_character_and_several_lines_are_found_too(files: Gateway, ground: Ground) -> None:
    (ground.alice / "two").write_text("one\ntwo\nthree€\n")
    assert (await files.call("search", content="€"))["found"][0]["line"] == 3
    assert (await files.call("search", content="z"))["found"] == []
    (match,) = (await files.call("search", content="two\nthree"))["found"]
    assert (match["line"], match["excerpt"]) == (2, "two\nthree")


async def test_a_search_says_which_bound_ended_it(ground: Ground, way: Way) -> None:
    for index in range(30):
        (ground.alice / f"file{index:02}").write_text("needle")
    with (ground.alice / "zz-sparse").open("wb") as sparse:
        sparse.truncate(10**12)

    async def cut(limits: LimitSettings, **asked: object) -> tuple[object, int]:
        async with gateway(ground, way, limits=limits) as files:
            answer = await files.call("search", **asked)
        return answer["truncated"], len(answer["found"])

    assert await cut(LimitSettings(), name="file*", limit=5) == ("limit", 5)
    assert await cut(LimitSettings(), name="file*", limit=30) == (None, 30)
    assert (await cut(LimitSettings(entries=10), name="file*"))[0] == "entries"
    assert (await cut(LimitSettings(search_bytes=10), content="needle"))[0] == "bytes"
    assert await cut(LimitSettings(search_seconds=0.3, search_bytes=10**12), content="needle") == ("time", 30)
    assert (await cut(LimitSettings(entries=3), name="nothing"))[0] == "entries"
    (ground.bob / "a-folder").mkdir()
    for index in range(3):
        (ground.bob / "a-folder" / str(index)).touch()
    async with gateway(ground, way, limits=LimitSettings(entries=4)) as files:
        assert (await files.call("search", BOB, name="nothing"))["truncated"] == "entries", "in the folder above"


async def test_many_small_files_cost_a_search_no_more_than_what_is_in_them(ground: Ground, way: Way) -> None:
    for index in range(50):
        (ground.alice / "papers" / f"small{index:02}").write_text("small")
    (ground.alice / "papers" / "z").write_text("needle")
    async with gateway(ground, way, limits=LimitSettings(search_bytes=1_000)) as files:
        answer = await files.call("search", content="needle")
        assert [each["path"] for each in answer["found"]] == ["papers/z"] and answer["truncated"] is None


async def test_a_search_goes_no_deeper_than_paths_may_be(ground: Ground, way: Way) -> None:
    folder = ground.alice
    for _ in range(6):
        folder = folder / "d"
        folder.mkdir()
        (folder / "needle").touch()
    async with gateway(ground, way, limits=LimitSettings(depth=4)) as files:
        found = await files.call("search", name="needle")
        assert [each["path"] for each in found["found"]] == ["d/d/d/needle", "d/d/needle", "d/needle"]
        assert await files.code("read", path="d/d/d/d/needle") == "filesystem_path_refused"


def test_patterns_take_time_by_name_times_pattern() -> None:
    import time

    from actas.delegation.filesystem.globs import fits

    started = time.process_time()
    assert not fits("*a" * 120 + "b", "a" * 255)
    assert time.process_time() - started < 2, "a few ten thousand steps"
    for pattern, name, does in [
        ("*", "", True), ("", "", True), ("", "a", False), ("?", "", False), ("a*", "a", True), ("*a", "ba", True),
        ("a*b*c", "a1b2c", True), ("a*b*c", "a1c2b", False), ("**", "x", True), ("[a]", "a", False),
        ("[a]", "[a]", True),
        ("?*?", "a", False), ("?*?", "ab", True), ("*.t?t", "x.txt", True), ("a?c", "abd", False),
    ]:  # fmt: skip
        assert fits(pattern, name) is does, (pattern, name)


async def test_a_link_in_a_search_is_a_name_and_no_way(files: Gateway, ground: Ground) -> None:
    (ground.alice / "out").symlink_to(ground.outside)
    (ground.alice / "secret-link").symlink_to(ground.outside / "secret.txt")
    assert (await files.call("search", content="secret"))["found"] == []
    found = (await files.call("search", name="*"))["found"]
    assert [each["path"] for each in found] == ["notes.txt", "out", "papers", "papers/plan.md", "secret-link"]


async def test_a_search_holds_no_more_names_than_it_may_look_at(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders in folders, each with many names of which the first leads on: all of those above wait meanwhile."""
    here = ground.alice
    for _ in range(10):
        here = here / "a"
        here.mkdir()
        for number in range(30):
            (here / f"f{number}").touch()
    listed: list[bytes] = []

    class Counting(Names):
        def __iter__(self) -> Iterator[bytes]:
            for name in super().__iter__():
                listed.append(name)
                yield name

    monkeypatch.setattr(searching, "Names", Counting)
    async with gateway(ground, limits=LimitSettings(entries=100)) as files:
        answer = await files.call("search", name="f29", path="a")
    assert answer["truncated"] == "entries" and len(listed) == 100
    assert [each["path"] for each in answer["found"]][-3:] == ["a/a/a/f29", "a/a/f29", "a/f29"]
