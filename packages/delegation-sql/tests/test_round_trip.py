"""Generated values of PostgreSQL's types: what arrives is the same for every JSON reader, and can be sent back.

The server itself says whether what was sent back is what it had: as a value, and as its text.
"""

import asyncio
import base64
import ipaddress
import json
from decimal import Decimal

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sql_gateway import Gateway, gateway_to

from actas.delegation.sql.settings import SqlSettings

Case = tuple[str, str]

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_INTS = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.sampled_from([2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, -(2**63), 2**63 - 1])
)
_DECIMALS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**60), max_value=10**60).map(lambda d: f"{d:f}"),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "0.00", "-1.50", "9007199254740993", "1" + "0" * 400]),
)
_ENDLESS = st.sampled_from(["infinity", "-infinity"])
_DATES = st.one_of(
    st.dates().map(str),
    st.tuples(st.integers(1, 4712), st.integers(1, 12), st.integers(1, 28)).map(
        lambda day: "{:04}-{:02}-{:02} BC".format(*day)
    ),
    st.sampled_from(["5874897-12-31", "4713-01-01 BC"]),
    _ENDLESS,
)
_CLOCKS = st.one_of(st.times().map(str), st.sampled_from(["24:00:00", "00:00:00.000001"]))
_INSTANTS = st.one_of(
    st.datetimes().map(str),
    st.tuples(st.integers(1, 4712), _CLOCKS).map(lambda at: f"{at[0]:04}-05-06 {at[1]} BC"),
    st.sampled_from(["294276-12-31 23:59:59.999999"]),
    _ENDLESS,
)
_ZONES = st.sampled_from(["+00", "+05:30", "-12", "+15:59:59", "-00:00:01"])
_INTERVALS = st.tuples(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.integers(-(10**15), 10**15)).map(
    lambda parts: "{} mons {} days {} us".format(*parts)
)
_ADDRESSES = st.one_of(st.ip_addresses().map(str), st.ip_addresses(v=4).map(lambda address: f"{address}/9"))
_NETWORKS = st.ip_addresses(v=6).map(lambda address: str(ipaddress.ip_network(f"{address}/48", strict=False)))
_BITS = st.text("01", min_size=1, max_size=70)


def _range(low: int, high: int) -> str:
    return f"({min(low, high)},{max(low, high)}]"


def _of(kind: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[Case]:
    return values.map(lambda value: (kind, value))


VALUES = st.one_of(
    _of("int8", _INTS.map(str)),
    _of("int2", st.integers(-(2**15), 2**15 - 1).map(str)),
    _of("numeric", _DECIMALS),
    _of("float8", st.floats().map(str)),
    _of("float4", st.floats(width=32).map(str)),
    _of("date", _DATES),
    _of("time", _CLOCKS),
    _of("timetz", st.tuples(_CLOCKS, _ZONES).map("".join)),
    _of("timestamp", _INSTANTS),
    _of("timestamptz", _INSTANTS),
    _of("interval", _INTERVALS),
    _of("uuid", st.uuids().map(str)),
    _of("bool", st.sampled_from(["t", "f"])),
    _of("text", _TEXT),
    _of("bytea", st.binary(max_size=20).map(lambda data: "\\x" + data.hex())),
    _of("inet", _ADDRESSES),
    _of("cidr", _NETWORKS),
    _of("macaddr8", st.integers(0, 2**64 - 1).map(lambda number: f"{number:016x}")),
    _of("varbit", _BITS),
    _of("money", st.integers(-(10**15), 10**15).map(lambda cents: f"{cents / 100:.2f}")),
    _of("int8range", st.builds(_range, st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62))),
    _of("nummultirange", st.builds(lambda a, b: f"{{{_range(a, b)}}}", st.integers(0, 99), st.integers(0, 99))),
    _of("point", st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)).map(str)),
    _of("mood", st.sampled_from(["good", "bad"])),
)
ARRAYS = st.sampled_from(
    [
        ("int8", _INTS),
        ("numeric", _DECIMALS),
        ("text", _TEXT),
        ("timestamptz", _INSTANTS),
        ("float8", st.floats().map(str)),
        ("interval", _INTERVALS),
        ("mood", st.sampled_from(["good", "bad"])),
        ("uuid", st.uuids().map(str)),
        ("int8range", st.builds(_range, st.integers(-9, 9), st.integers(-9, 9))),
    ]
).flatmap(
    lambda about: st.tuples(
        st.just(f"{about[0]}[]"),
        st.integers(1, 3).flatmap(
            lambda width: st.lists(st.lists(st.one_of(st.none(), about[1]), min_size=width, max_size=width), max_size=3)
        ),
    )
)
_NUMBERS = st.one_of(
    st.integers(), _INTS, st.decimals(allow_nan=False, allow_infinity=False), st.just(Decimal("1.23456789e-320"))
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_TEXT, inner, max_size=3)),
    max_leaves=8,
)


def same_for_every_reader(value: object) -> None:
    """A reader that counts in doubles, as JavaScript does, reads what one does that counts exactly."""
    text = json.dumps(value, allow_nan=False)
    assert json.loads(text, parse_int=float) == value


async def _came_and_went_back(gateway: Gateway, kind: str, sent: object) -> None:
    came = await gateway.value(f"SELECT %(sent)s::{kind} AS value", sent=sent)
    same_for_every_reader(came)
    back = f"%(back)s::{kind}"
    if kind == "bytea":
        assert isinstance(came, str)
        came, back = base64.b64decode(came, validate=True).hex(), "decode(%(back)s, 'hex')"
    same = f"SELECT %(sent)s::{kind} IS NOT DISTINCT FROM {back}, (%(sent)s::{kind})::text = ({back})::text"
    if kind == "point":
        same = same.replace(f"%(sent)s::{kind} IS NOT DISTINCT FROM {back}", "true")  # no equality that holds for NaN
    assert await gateway.rows(same, sent=sent, back=came) == [[True, True]], (kind, sent, came)


# What fails names its value: finding a smaller one would take minutes with a server.
_SETTINGS = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)


@_SETTINGS
@given(cases=st.lists(VALUES, min_size=20, max_size=60))
def test_a_value_of_any_type_can_be_sent_back(cases: list[Case], settings: SqlSettings) -> None:
    async def run() -> None:
        async with gateway_to(settings, allowed_types=["mood"]) as gateway:
            for kind, sent in cases:
                await _came_and_went_back(gateway, kind, sent)

    asyncio.run(run())


@_SETTINGS
@given(cases=st.lists(ARRAYS, min_size=10, max_size=30))
def test_an_array_of_any_shape_can_be_sent_back(cases: list[tuple[str, list[object]]], settings: SqlSettings) -> None:
    async def run() -> None:
        async with gateway_to(settings, allowed_types=["mood"]) as gateway:
            for kind, sent in cases:
                await _came_and_went_back(gateway, kind, sent)

    asyncio.run(run())


def _written(value: object) -> str:
    match value:
        case Decimal() | bool() | int() | None:
            return str(value) if not isinstance(value, bool) and value is not None else json.dumps(value)
        case list():
            return f"[{','.join(map(_written, value))}]"
        case dict():
            return f"{{{','.join(f'{json.dumps(key)}:{_written(item)}' for key, item in value.items())}}}"
        case _:
            return json.dumps(value)


def _equal(sent: object, came: object) -> bool:
    match sent:
        case bool() | None | str():
            return sent is came or sent == came
        case int() | Decimal():
            if isinstance(came, str):  # its digits, where a double would be another number, or may be one
                return Decimal(came) == sent and (abs(sent) >= 2**53 or Decimal(float(sent)) != sent)
            return isinstance(came, int | float) and Decimal(repr(came)) == sent
        case list():
            return isinstance(came, list) and len(sent) == len(came) and all(map(_equal, sent, came))
        case dict():
            return isinstance(came, dict) and sent.keys() == came.keys() and all(_equal(sent[k], came[k]) for k in sent)
        case _:
            return False


@_SETTINGS
@given(values=st.lists(JSON, min_size=5, max_size=20))
def test_json_arrives_with_the_same_numbers(values: list[object], settings: SqlSettings) -> None:
    async def run() -> None:
        async with gateway_to(settings) as gateway:
            for value in values:
                for kind in ("json", "jsonb"):
                    came = await gateway.value(f"SELECT %(sent)s::{kind}", sent=_written(value))
                    same_for_every_reader(came)
                    assert _equal(value, came), (value, came)

    asyncio.run(run())
