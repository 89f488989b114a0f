"""What docs/how-to/files.md says of systemd: what it gives, without being root, is enough; and it is given up too."""

import configparser
import sys
from pathlib import Path

import pytest
from os_ground import Homes
from test_os_user import as_user, greeting_for, talked_to

from actas.delegation.filesystem import becoming
from actas.delegation.filesystem.os_users import UNABLE

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "files.md"
NUMBERS = {"CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7}
"""By capabilities(7)."""


@pytest.fixture
def unit() -> configparser.SectionProxy:
    if not PAGE.exists():
        pytest.skip("the documentation is not here: this is not the repository")
    parser = configparser.ConfigParser()
    parser.read_string(PAGE.read_text().partition("```ini\n")[2].partition("```")[0])
    return parser["Service"]


def test_the_unit_gives_what_the_server_asks_for(unit: configparser.SectionProxy) -> None:
    assert unit["AmbientCapabilities"] == unit["CapabilityBoundingSet"]
    assert sorted(NUMBERS[each] for each in unit["AmbientCapabilities"].split()) == sorted(becoming.NEEDED)
    assert f"AmbientCapabilities={unit['AmbientCapabilities']}" in UNABLE and unit["NoNewPrivileges"] == "yes"


def test_these_capabilities_are_enough_and_are_given_up_too(unit: configparser.SectionProxy, homes: Homes) -> None:
    """Not root, but what the unit gives: there the kernel clears nothing by itself when the user changes."""
    numbers = [NUMBERS[each] for each in unit["AmbientCapabilities"].split()]
    held = sum(1 << each for each in numbers)
    script = f"""
import ctypes, os
from actas.delegation.filesystem import becoming, helper
for encoding in helper._ENCODINGS: helper.codecs.lookup(encoding)
libc = ctypes.CDLL(None)
for number in set(range(41)) - {set(numbers)!r}: libc.prctl(24, number, 0, 0, 0)  # CapabilityBoundingSet
assert libc.prctl(8, 1, 0, 0, 0) == 0
{as_user(homes.bob)}
header, those = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)({held}, {held}, {held}, 0, 0, 0)
assert libc.capset(header, those) == 0
for number in {numbers!r}: assert libc.prctl(47, 2, number, 0, 0) == 0  # AmbientCapabilities
assert libc.prctl(38, 1, 0, 0, 0) == 0  # NoNewPrivileges
assert becoming.can_become_others()
real = helper.serve
def serve(*arguments):
    said = becoming.status()
    assert said["Uid"].split() == ["{homes.alice.pw_uid}"] * 4, said
    assert {{said[each] for each in ("CapInh", "CapPrm", "CapEff", "CapAmb")}} == {{"0" * 16}}, said
    real(*arguments)
helper.serve = serve
helper.main()
"""
    answer, status = talked_to([sys.executable, "-I", "-c", script], greeting_for(homes.alice, homes))
    assert (answer, status) == ({"ready": True}, 0)
