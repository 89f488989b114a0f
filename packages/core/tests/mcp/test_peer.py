"""Who is on the other end: addresses and certificates, and whose word about them counts."""

import base64
import ipaddress
from collections.abc import Iterable
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from actas.core import AuthenticationError
from actas.mcp import certificates, forwarded
from actas.mcp.peer import Peers
from actas.mcp.settings import ProxySettings
from actas.testing.pki import CertificateAuthority

PROXIES = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> str:
    authority = CertificateAuthority(tmp_path_factory.mktemp("pki"))
    return authority.issue_client("agent").certificate.read_text()


def der_of(pem: str) -> bytes:
    return base64.b64decode("".join(pem.split("\n")[1:-2]))


def thumbprint_of(pem: str) -> str:
    return base64.urlsafe_b64encode(sha256(der_of(pem)).digest()).rstrip(b"=").decode()


def scope(client: str | None, headers: Iterable[tuple[str, str]] = (), **more: Any) -> dict[str, Any]:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {"client": None if client is None else (client, 1), "headers": encoded, **more}


def address(client: str | None, *values: str, header: str = "x-forwarded-for", trusted: list[str] = PROXIES) -> str:
    peers = Peers(ProxySettings(trusted=trusted, address_header=header))
    return peers.of(scope(client, [(header, value) for value in values])).address


@pytest.mark.parametrize(
    ("client", "values", "seen"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # anybody may write that
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["198.51.100.1, 10.9.9.9, 192.0.2.7"], "198.51.100.1"),
        ("10.1.2.3", ["10.9.9.9"], "10.9.9.9"),
        ("10.1.2.3", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.1.2.3", ["[2001:dead::1]:4711"], "2001:dead::1"),
        ("10.1.2.3", ["2001:DEAD:0::1"], "2001:dead::1"),
        ("10.1.2.3", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8::1", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["unknown"], "10.1.2.3"),
        ("10.1.2.3", ["1.1.1.1, _hidden, 10.9.9.9"], "10.9.9.9"),
        ("10.1.2.3", [""], "10.1.2.3"),
        ("10.1.2.3", [", ".join(["1.1.1.1"] + ["10.9.9.9"] * forwarded.MAX_HOPS)], "10.9.9.9"),
        ("fe80::1%eth0", ["198.51.100.1"], "fe80::1%eth0"),
        (None, ["198.51.100.1"], "unknown"),
    ],
)
def test_the_address_is_the_nearest_that_is_no_proxy_of_ours(client: str | None, values: list[str], seen: str) -> None:
    assert address(client, *values) == seen


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("for=198.51.100.1", "198.51.100.1"),
        ('For="[2001:dead::1]:4711";proto=https;by=10.0.0.1', "2001:dead::1"),
        ("for=1.1.1.1, for=198.51.100.1;host=evil", "198.51.100.1"),
        ('for="1.1.1.1, for=2.2.2.2", for=198.51.100.1', "198.51.100.1"),
        (r'for="198.51.100\.1"', "198.51.100.1"),
        ("for=198.51.100.1, for=10.9.9.9", "198.51.100.1"),
        ("for=198.51.100.1, proto=https", "10.1.2.3"),
        ("for=unknown", "10.1.2.3"),
        ("for=1.1.1.1;for=2.2.2.2", "10.1.2.3"),
        ("for=1.1.1.1 for=2.2.2.2", "10.1.2.3"),
        ('for="1.1.1.1', "10.1.2.3"),
        ("1.1.1.1", "10.1.2.3"),
        ("", "10.1.2.3"),
        ("for=198.51.100.1;a=" + "a" * forwarded.MAX_BYTES, "10.1.2.3"),
    ],
)
def test_the_address_of_the_standard_header_is_read_likewise(value: str, seen: str) -> None:
    assert address("10.1.2.3", value, header="forwarded") == seen
    assert address("203.0.113.9", value, header="forwarded") == "203.0.113.9"


def test_what_a_client_left_open_does_not_swallow_what_the_proxy_says() -> None:
    assert address("10.1.2.3", 'for="', "for=198.51.100.1", header="forwarded") == "198.51.100.1"
    assert address("10.1.2.3", 'for=", for=198.51.100.1', header="forwarded") == "10.1.2.3"


def test_without_proxies_nobody_is_believed() -> None:
    assert address("127.0.0.1", "198.51.100.1", trusted=[]) == "127.0.0.1"


def test_the_header_that_is_not_configured_is_not_read() -> None:
    peers = Peers(ProxySettings(trusted=PROXIES))
    assert peers.of(scope("10.1.2.3", [("forwarded", "for=198.51.100.1")])).address == "10.1.2.3"


@given(st.text(st.characters(max_codepoint=255), max_size=60) | st.text('0123456789.:[]=,;for"\\ ', max_size=60))
@example("[")
@example("1.2.3.4:")
@example("[::1]x")
@example("٣.1.1.1")
@settings(max_examples=300)
def test_whatever_a_proxy_writes_the_address_is_one(value: str) -> None:
    for header in forwarded.FORMATS:
        ipaddress.ip_address(address("10.1.2.3", value.encode(errors="replace").decode("latin-1"), header=header))


@given(
    st.lists(st.sampled_from(["1.1.1.1", "10.9.9.9", "x", "[::1]:5", " 2.2.2.2 "]), max_size=5), st.text(max_size=30)
)
def test_what_is_left_of_the_callers_address_changes_nothing(hops: list[str], forged: str) -> None:
    forged = forged.encode(errors="replace").decode("latin-1")
    assert address("10.1.2.3", ",".join([forged, *hops, "198.51.100.1"])) == "198.51.100.1"
    assert address("10.1.2.3", f"{forged},{','.join([*hops, '198.51.100.1'])}", "10.2.2.2") == "198.51.100.1"


def certificate(
    client: str, headers: Iterable[tuple[str, str]] = (), *, header: str | None = "client-cert", **more: Any
) -> str | None:
    peers = Peers(ProxySettings(trusted=PROXIES, certificate_header=header))
    return peers.of(scope(client, headers, **more)).certificate()


def forms(pem: str) -> dict[str, str]:
    """The same certificate in each header."""
    return {
        "client-cert": f":{base64.b64encode(der_of(pem)).decode()}:",
        "x-forwarded-client-cert": f'By=spiffe://x;Hash={sha256(der_of(pem)).hexdigest()};Subject="CN=a,O=\\"b;c\\""',
        "x-ssl-client-cert": quote(pem, safe=""),
    }


def test_a_proxy_may_pass_the_certificate_in_three_ways(pem: str) -> None:
    for header, value in forms(pem).items():
        assert certificate("10.1.2.3", [(header, value)], header=header) == thumbprint_of(pem)
        assert certificate("10.1.2.3", [(header, value)], header=header.title()) == thumbprint_of(pem)
        assert certificate("203.0.113.9", [(header, value)], header=header) is None
        assert certificate("10.1.2.3", [(header, value)], header="another") is None
        assert certificate("10.1.2.3", [(header, value)], header=None) is None
        assert certificate("10.1.2.3", header=header) is None
        with pytest.raises(AuthenticationError):
            certificate("10.1.2.3", [(header, value)] * 2, header=header)


def test_what_a_trusted_proxy_shows_of_itself_is_not_the_callers(pem: str) -> None:
    shown: dict[str, Any] = {"extensions": {"tls": {"client_cert_chain": (pem,), "client_cert_error": None}}}
    assert certificate("203.0.113.9", **shown) == thumbprint_of(pem)
    assert certificate("10.1.2.3", **shown) is None


@pytest.mark.parametrize("tls", [{}, {"client_cert_chain": ()}, {"client_cert_chain": None}])
def test_a_connection_without_a_certificate_has_none(tls: dict[str, Any]) -> None:
    assert certificate("203.0.113.9", extensions={"tls": tls}) is None
    assert certificate("203.0.113.9") is None


def test_a_certificate_that_the_host_could_not_verify_is_refused(pem: str) -> None:
    with pytest.raises(AuthenticationError):
        certificate(
            "203.0.113.9", extensions={"tls": {"client_cert_chain": (pem,), "client_cert_error": "self signed"}}
        )


def test_envoys_header_may_have_the_certificate_itself(pem: str) -> None:
    escaped, digest = quote(pem, safe=""), sha256(der_of(pem)).hexdigest()
    for good in (f'Cert="{escaped}"', f'hash={digest.upper()};CERT="{escaped}";Chain="x"', f"Hash={digest};"):
        assert certificates.from_xfcc(good.encode()) == thumbprint_of(pem)
    for bad in (
        "", "Subject=x", f"Hash={digest},Hash={digest}", f"Hash={digest};Hash={digest}", f"Hash={digest[:-1]}",
        f'Hash={"0" * 64};Cert="{escaped}"', f'Cert="{escaped}', "Hash", f"Hash={digest} ;x", f'Cert="{escaped}",By=x',
        f"Hash={digest};" + "a" * certificates.MAX_BYTES,
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"."):
            certificates.from_xfcc(bad.encode())


def test_a_certificate_that_is_none_is_refused(pem: str) -> None:
    one = quote(pem, safe="")
    for bad in ("", "x", one * 2, one.replace("BEGIN", "BEGAN"), pem.replace("M", "!", 1), "%", "a" * 40_000):
        with pytest.raises(ValueError, match=r"."):
            certificates.from_escaped_pem(bad.encode())
    nothing = quote(pem.split("\n")[0] + "\n" + pem.split("\n")[-2])
    with pytest.raises(ValueError, match="nothing"):
        certificates.from_escaped_pem(nothing.encode())
    for bad in ("", ":", "::", "::::", ":a:", "AAAA", ":AA=A:", ":AAAA:;a=1", f":{'A' * 40_000}:"):
        with pytest.raises(ValueError, match=r"."):
            certificates.from_client_cert(bad.encode())


@given(st.binary(max_size=80) | st.text('Hash=Cert";,\\:By0123456789abcdefABCDEF-', max_size=90).map(str.encode))
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_stands_in_a_certificate_header_is_a_thumbprint_or_no_certificate(value: bytes) -> None:
    for read in (certificates.from_client_cert, certificates.from_xfcc, certificates.from_escaped_pem):
        try:
            assert len(read(value)) == 43
        except ValueError:
            continue


@pytest.mark.parametrize(
    "wrong",
    [
        {"trusted": ["0.0.0.0/0"]}, {"trusted": ["::/0"]}, {"trusted": ["10.0.0.1/8"]}, {"trusted": ["proxy"]},
        {"trusted": [""]}, {"address_header": "x-real-ip"}, {"trusted": ["10.0.0.1"], "certificate_header": "a b"},
        {"certificate_header": "client-cert"},
    ],
)  # fmt: skip
def test_settings_that_trust_anybody_or_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"trusted|header"):
        ProxySettings(**wrong)
