"""One channel for each module, which carries nobody's identity: where it leads, how it is secured, what it may do."""

import json
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import grpc
import grpc.aio

from actas.core.errors import ConfigurationError
from actas.delegation.grpc.settings import GrpcSettings, TlsSettings

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_METADATA_BYTES = 16_384
"""Of an answer's headers and trailers."""
_FIRST_PAUSE, _LONGEST_PAUSE = 250, 5_000
"""Milliseconds between two attempts to connect."""
_THROTTLE = {"maxTokens": 50, "tokenRatio": 0.1}
"""When half of that many attempts have failed, nothing is tried again until others went well."""

Options = list[tuple[str, object]]


class Channels:
    """Makes the channel. Reads the certificates once.

    Raises:
        ConfigurationError: a file cannot be read.
    """

    def __init__(self, settings: GrpcSettings, idempotent: Iterable[str]) -> None:
        self._target = target(settings.targets)
        self._options = _options(settings, sorted(idempotent))
        self.credentials = None if settings.plaintext else _credentials(settings.tls)

    def channel(self) -> grpc.aio.Channel:
        """A new one, for the running event loop."""
        if self.credentials is None:
            return grpc.aio.insecure_channel(self._target, self._options)
        return grpc.aio.secure_channel(self._target, self.credentials, self._options)


def target(targets: Sequence[str]) -> str:
    """``targets`` as gRPC's name resolution wants them."""
    addresses = [address(each)[0] for each in targets]
    if isinstance(addresses[0], IPv4Address):
        return f"ipv4:{','.join(targets)}"
    if isinstance(addresses[0], IPv6Address):
        return f"ipv6:{','.join(targets)}"
    return f"dns:///{targets[0]}"


def address(written: str) -> tuple[IPv4Address | IPv6Address | str, int]:
    """Host and port of ``written``.

    Raises:
        ValueError: it has not both.
    """
    host, _, port = written.rpartition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("write host:port")
    if host.startswith("[") and host.endswith("]"):
        return IPv6Address(host[1:-1]), int(port)
    try:
        return IPv4Address(host), int(port)
    except ValueError:
        pass
    if (
        not host
        or not host.isascii()
        or not all(part.replace("-", "").replace("_", "").isalnum() for part in host.split("."))
    ):
        raise ValueError("its host is none; an IPv6 address stands in brackets")
    return host.lower(), int(port)


def problems(settings: GrpcSettings) -> Iterator[str]:
    """What is wrong with where the channel leads and how, each problem with its path."""
    found: list[IPv4Address | IPv6Address | str] = []
    for each in settings.targets:
        try:
            found.append(address(each)[0])
        except ValueError as error:
            yield f"targets: {each!r}: {error}"
    if not settings.targets:
        yield "targets: name one"
    if len(found) > 1 and (len({type(each) for each in found}) > 1 or isinstance(found[0], str)):
        yield "targets: several must be IP addresses, all IPv4 or all IPv6; of one name all addresses are used anyway"
    if settings.plaintext and not all(str(each) in _LOOPBACK for each in found):
        yield "plaintext: to the loopback only; a token would be readable on its way"
    tls = settings.tls
    if settings.plaintext and tls != TlsSettings():
        yield "tls: has no meaning with plaintext"
    if (tls.certificate_file is None) is not (tls.key_file is None):
        yield "tls: certificate_file and key_file belong together"
    if len(settings.targets) > 1 and not settings.plaintext and tls.server_name is None:
        yield "tls.server_name: needed where there are several addresses"


def _credentials(tls: TlsSettings) -> grpc.ChannelCredentials:
    roots = _read("ca_file", tls.ca_file)
    return grpc.ssl_channel_credentials(
        roots, _read("key_file", tls.key_file), _read("certificate_file", tls.certificate_file)
    )


def _read(setting: str, path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"tls.{setting}: {path} cannot be read: {error.strerror}") from None
    if b"-----BEGIN " not in content:
        raise ConfigurationError(f"tls.{setting}: {path} is no PEM file")
    return content


def _options(settings: GrpcSettings, idempotent: Sequence[str]) -> Options:
    limits, keepalive = settings.limits, settings.keepalive
    retries: Sequence[str] = idempotent if settings.retries.attempts > 1 else []
    options: Options = [
        ("grpc.max_send_message_length", limits.request_bytes),
        ("grpc.max_receive_message_length", limits.response_bytes),
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", _METADATA_BYTES),
        ("grpc.keepalive_time_ms", round(keepalive.seconds * 1000)),
        # The time for an answer has two names; which one counts depends on grpcio's version.
        ("grpc.keepalive_timeout_ms", round(keepalive.answer_seconds * 1000)),
        ("grpc.http2.ping_timeout_ms", round(keepalive.answer_seconds * 1000)),
        ("grpc.initial_reconnect_backoff_ms", _FIRST_PAUSE),
        ("grpc.max_reconnect_backoff_ms", _LONGEST_PAUSE),
        ("grpc.min_reconnect_backoff_ms", round(limits.connect_seconds * 1000)),
        # Neither the environment nor the DNS has a say in where calls go and how often.
        ("grpc.enable_http_proxy", 0),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.service_config", json.dumps(_service_config(settings, retries))),
        ("grpc.enable_retries", int(bool(retries))),
        # No other channel of this process uses our connections, and they end with it.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    name = settings.tls.server_name
    if name is not None:
        options += [("grpc.ssl_target_name_override", name), ("grpc.default_authority", name)]
    return options


def _service_config(settings: GrpcSettings, idempotent: Sequence[str]) -> dict[str, object]:
    config: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if idempotent:
        retries = settings.retries
        names = [dict(zip(("service", "method"), each.split("/"), strict=True)) for each in idempotent]
        policy = {
            "maxAttempts": retries.attempts,
            "initialBackoff": f"{retries.first_seconds:f}s",
            "maxBackoff": f"{retries.longest_seconds:f}s",
            "backoffMultiplier": retries.factor,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        config["methodConfig"] = [{"name": names, "retryPolicy": policy}]
        config["retryThrottling"] = _THROTTLE
    return config
