"""Paths as a hostile model writes them: what is none is refused before anything is opened, and nothing leads out."""

import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import suppress

import pytest
from files_gateway import ALICE, SECRET, WAYS, Gateway, Ground, Way, gateway
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from actas.core import ActasError
from actas.delegation.filesystem.bases import Base
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.failures import PathRefused
from actas.delegation.filesystem.names import is_own, name, parts, shown
from actas.delegation.filesystem.roots import Root
from actas.testing.attacks import io_during

pytestmark = pytest.mark.anyio

NONE: dict[str, str] = {
    "up": "..",
    "up and down": "../bob/notes.txt",
    "up in the middle": "papers/../../bob/notes.txt",
    "up at the end": "papers/..",
    "here": ".",
    "here in the middle": "papers/./plan.md",
    "absolute": "/etc/passwd",
    "double slash": "//srv/share/../../../etc/hostname",
    "empty in the middle": "papers//plan.md",
    "slash at the end": "papers/",
    "NUL": "notes.txt\0.png",
    "backslash": "..\\bob\\notes.txt",
    "escaped up": r"\x2e\x2e/bob/notes.txt",
    "escaped dot": r".\x2e/bob/notes.txt",
    "escaped slash": r"papers\x2fplan.md",
    "escaped slash and up": r"..\x2f..\x2fetc",
    "escaped NUL": r"notes.txt\x00",
    "escaped letter": r"\x6eotes.txt",
    "escaped in capitals": r"a\xFFb",
    "half an escape": r"a\x4",
    "newline": "notes.txt\n",
    "carriage return": "notes\r.txt",
    "escape character": "\x1b[31m",
    "delete character": "a\x7f",
    "C1": "a\x85b",
    "right to left": "cod\u202etxt.exe",
    "zero width": "notes\u200b.txt",
    "byte order mark": "\ufeffnotes.txt",
    "line separator": "a\u2028b",
    "half a character": "a\ud800b",
    "fullwidth slash": "..\uff0fbob",
    "fullwidth dots": "\uff0e\uff0e/bob",
    "two dot leader": "\u2025/bob",
    "fullwidth backslash": "a\uff3cb",
    "small reverse solidus": "a\ufe68b",
    "account of": "a\u2100b",
    "decomposed": unicodedata.normalize("NFD", "é.txt"),
    "reserved": ".actas-0123",
    "reserved in capitals": "papers/.ACTAS-0123",
    "long name": "x" * 256,
    "long name in bytes": "é" * 128,
    "long path": "/".join(["x" * 200] * 25),
    "deep": "/".join("x" * 33),
}


@pytest.mark.parametrize("path", NONE.values(), ids=NONE)
async def test_what_is_no_path_is_refused_before_anything_is_opened(ground: Ground, path: str) -> None:
    async with gateway(ground) as files:
        for action, more in [
            ("read", {}), ("list", {}), ("info", {}), ("search", {"name": "*"}), ("delete", {}),
            ("write", {"content": "x", "replace": True}), ("make-directory", {}), ("rename", {"to": "x"}),
        ]:  # fmt: skip
            assert await files.code(action, path=path, **more) == "filesystem_path_refused", action
        assert await files.code("rename", path="notes.txt", to=path) == "filesystem_path_refused"
        asked = files.module._rules  # what judges it runs in this thread, and opens nothing at all
        from actas.delegation.filesystem.actions import ReadFile

        def judge() -> type[Exception] | None:
            try:
                asked.operation("read", ReadFile(path=path))
            except ActasError as error:
                return type(error)
            return None

        watched = io_during(judge)
        assert watched.answer is PathRefused and watched.events == frozenset()
    assert sorted(each.name for each in ground.alice.iterdir()) == ["notes.txt", "papers"]
    assert [each.name for each in ground.outside.iterdir()] == ["secret.txt"]


@pytest.mark.parametrize(
    "path", ["~", "~bob/notes.txt", "%2e%2e/bob", "%2e%2e%2fbob", "$HOME", "....", "...", "..notes", "a:b"]
)
async def test_what_means_nothing_to_the_kernel_is_a_name_like_any_other(ground: Ground, way: Way, path: str) -> None:
    async with gateway(ground, way) as files:
        assert await files.code("read", path=path) == "filesystem_not_found"
        if "/" not in path:
            await files.call("write", path=path, content="just a name")
            assert await files.text(path) == "just a name"


ODD = [
    b"caf\xe9.txt", b"\xff", b"a\nb", b"a\\b", b"tab\there", b"\xc3\xa9", "e\u0301".encode(), "\u202etxt".encode(),
    "\u2025".encode(), "a\uff0fb".encode(), b"\xed\xa0\x80", "👩‍👩‍👧".encode(), b"\\x41", b" ", b"-rf", b"*",
    b"caf\xc3", b"x\x80" * 60, "ﬁ".encode(), "Å".encode(),
]  # fmt: skip


async def test_every_name_is_shown_in_one_way_and_addressed_by_it(ground: Ground, way: Way) -> None:
    for index, odd in enumerate(ODD):
        made = os.open(os.fsencode(ground.alice / "papers") + b"/" + odd, os.O_CREAT | os.O_WRONLY)
        os.write(made, str(index).encode())
        os.close(made)
    async with gateway(ground, way) as files:
        listed = await files.names("papers")
        for odd in ODD:
            spelled = shown(odd)
            assert spelled in listed and spelled.encode(), "it can be sent as JSON"
            if odd in ("\u2025".encode(), "a\uff0fb".encode()):
                assert await files.code("read", path=f"papers/{spelled}") == "filesystem_path_refused"
                continue
            read = await files.call("read", path=f"papers/{spelled}")
            assert read["content"] == str(ODD.index(odd)) and read["path"] == f"papers/{spelled}"
        assert len(set(listed)) == len(ODD) + 1
        found = (await files.call("search", path="papers", content="1", limit=200))["found"]
        assert {each["path"].partition("/")[2] for each in found} == {
            shown(each) for index, each in enumerate(ODD) if "1" in str(index)
        }
        page = await files.call("list", path="papers", limit=3)
        seen = []
        while page["next"] is not None:
            seen += page["entries"]
            page = await files.call("list", path="papers", limit=3, after=page["next"])
        assert [each["name"] for each in [*seen, *page["entries"]]] == listed


@given(st.binary(min_size=1, max_size=60))
def test_what_is_shown_leads_back_to_the_name_or_nowhere(odd: bytes) -> None:
    odd = odd.replace(b"/", b"").replace(b"\0", b"")
    if odd in (b"", b".", b"..") or is_own(odd):
        return
    spelled = shown(odd)
    spelled.encode()
    assert all(unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for each in spelled)
    try:
        assert parts(spelled, deepest=1) == (odd,) == (name(spelled),)
    except PathRefused:
        folded = unicodedata.normalize("NFKC", odd.decode(errors="surrogateescape"))
        assert folded in ("", ".", "..") or set(folded) & set("/\\\0")


@given(st.text(max_size=40), st.text(max_size=40))
def test_two_spellings_never_mean_the_same_name(one: str, other: str) -> None:
    def meant(text: str) -> bytes | None:
        try:
            return name(text)
        except PathRefused:
            return None

    assert meant(one) is None or one == other or meant(one) != meant(other)


def test_a_cursor_is_one_name() -> None:
    assert name("plan.md") == b"plan.md"
    for none in ("a/b", "..", ""):
        with pytest.raises(PathRefused):
            name(none)


PIECES = st.sampled_from(
    ["..", ".", "", "/", "\\", "\0", "papers", "plan.md", "notes.txt", "in", "out", "loop", "up", "self", "proc",
     "deep", "\uff0f", "\u2025", r"\x2e", r"\x2f", "~", "...", " ", "bob", "alice", "etc", "passwd",
     "secret.txt", "outside"]
)  # fmt: skip
PATHS = st.one_of(
    st.lists(PIECES, max_size=8).map("/".join), st.lists(PIECES, max_size=8).map("".join), st.text(max_size=60)
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("papers/in/../../bob")
@example("self/root/etc/passwd")
@example("up/bob/notes.txt")
@given(path=PATHS)
def test_whatever_is_asked_for_what_is_opened_lies_beneath_the_folder(maze: Ground, way: Way, path: str) -> None:
    """The oracle is another: what the kernel says was opened, and ``realpath`` of what was asked for."""
    root = Root(Base(str(maze.base)), (b"alice",), way, Budget(float("inf")))
    home = os.path.realpath(maze.alice)
    try:
        names = parts(path, deepest=32)
        for fd in opened_by(root, names):
            opened = os.readlink(f"/proc/self/fd/{fd}")
            assert opened == home or opened.startswith(home + "/"), opened
            written = os.path.join(home, *map(os.fsdecode, names))
            assert opened == written.rstrip("/")
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                assert os.path.realpath(written) == opened
    except PathRefused:
        pass
    finally:
        root.close()


def opened_by(root: Root, names: tuple[bytes, ...]) -> Iterator[int]:
    """In each way in which anything is opened."""
    with suppress(ActasError, OSError):
        fd, _ = root.look(names)
        yield fd
        os.close(fd)
    with suppress(ActasError, OSError):
        fd, _ = root.file(names)
        yield fd
        os.close(fd)
    for folder in (root.opened, root.entered):
        with suppress(ActasError, OSError), folder(names) as fd:
            yield fd


@pytest.fixture(scope="module")
def maze(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A folder full of links that lead out, around, and up."""
    ground = Ground(tmp_path_factory.mktemp("maze"))
    for folder in (ground.alice, ground.alice / "papers"):
        (folder / "out").symlink_to(ground.outside)
        (folder / "up").symlink_to("..")
        (folder / "loop").symlink_to("loop")
        (folder / "self").symlink_to("/proc/self")
        (folder / "proc").symlink_to("/proc/self/root")
        (folder / "secret.txt").symlink_to(ground.outside / "secret.txt")
        (folder / "in").symlink_to(folder)
    (ground.alice / "deep" / "deep" / "deep").mkdir(parents=True)
    return ground


async def test_no_link_of_the_maze_gives_the_secret(maze: Ground, way: Way) -> None:
    async with gateway(maze, way) as files:
        for path in ["out/secret.txt", "secret.txt", "up/bob/notes.txt", "self/root/etc/passwd", "proc/etc/passwd",
                     "papers/up/up/bob/notes.txt", "in/notes.txt", "loop", "loop/x"]:  # fmt: skip
            assert await files.code("read", path=path) in ("filesystem_not_plain", "filesystem_wrong_kind"), path
            top = path.removeprefix("papers/").partition("/")[0]
            assert await files.code("list", path=top) in (
                "filesystem_not_plain", "filesystem_wrong_kind",
            )  # fmt: skip
        everything = [await files.call("search", name="*"), await files.call("search", content=SECRET[:6])]
    assert SECRET not in str(everything) and everything[1]["found"] == []


def test_both_ways_were_tried(ground: Ground) -> None:
    assert [each.name for each in WAYS] == ["openat2", "stepwise"]
    assert Gateway(ground.settings()).module.principal(ALICE) == "alice"
