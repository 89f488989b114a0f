"""All that a module can do, as the settings say; or all that is wrong with them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from actas.core.errors import ConfigurationError
from actas.core.models import Action, NoParameters
from actas.delegation.grpc import channels, identity
from actas.delegation.grpc.descriptors import Descriptors, from_file
from actas.delegation.grpc.methods import METHOD, Method, Signature, chosen, method, signature
from actas.delegation.grpc.settings import GrpcSettings

HEALTH, DESCRIBE = "health", "describe"
_MOST_ATTEMPTS = 5
"""gRPC makes no more."""
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Describe:
    """Parameters of ``describe``."""

    tool: str
    """The tool's name without its prefix, `get-order`."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What the settings declare."""

    methods: Mapping[str, Method]
    """By the action's name."""
    actions: tuple[Action, ...]
    descriptors: Descriptors | None
    """None where they come by reflection."""
    signatures: Mapping[str, Signature] = field(default_factory=dict[str, Signature])
    """By the method's name; empty where there are no descriptors yet."""


def declared(settings: GrpcSettings) -> Declared:
    """What the module can do.

    Raises:
        ConfigurationError: with everything that is wrong, each problem with its path.
    """
    problems = [*_plain_problems(settings), *channels.problems(settings), *identity.problems(settings)]
    descriptors = None
    if settings.descriptors is not None and settings.reflection is None:
        try:
            descriptors = from_file(settings.descriptors)
        except ConfigurationError as error:
            problems += error.problems
    methods = [] if problems else list(_methods(settings, descriptors, problems))
    names = [each.action.name for each in methods]
    problems += [
        f"allow: two methods would be the tool {name}: give one of them another in methods.…tool"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    taken = {HEALTH, DESCRIBE} & set(names)
    problems += [f"allow: the tool {name} is there already: give the method another in methods.…tool" for name in taken]
    health = settings.health.permission or settings.permission
    if not health:
        problems.append("health.permission: no permission: give it one, or the module")
    if problems:
        raise ConfigurationError(problems)
    actions = [each.action for each in methods]
    if descriptors is None:
        actions.append(
            Action(
                name=DESCRIBE,
                description="Look up the JSON Schema of a tool's parameters, before you call it.",
                parameters=Describe,
                permission=health,
            )
        )
    actions.append(
        Action(
            name=HEALTH,
            description="See whether the service answers you.",
            parameters=NoParameters,
            permission=health,
        )
    )
    signatures = {} if descriptors is None else signed([each.name for each in methods], descriptors)
    return Declared({each.action.name: each for each in methods}, tuple(actions), descriptors, signatures)


def signed(names: list[str], descriptors: Descriptors) -> dict[str, Signature]:
    """The signatures of the methods called ``names``.

    Raises:
        ConfigurationError: one of them cannot be called; says which, and why.
    """
    problems: list[str] = []
    found: dict[str, Signature] = {}
    for name in names:
        try:
            found[name] = signature(name, descriptors)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ConfigurationError(problems)
    return found


def _methods(settings: GrpcSettings, descriptors: Descriptors | None, problems: list[str]) -> Iterator[Method]:
    known = settings.allow if descriptors is None else descriptors.methods()
    try:
        names = list(dict.fromkeys(chosen(settings, known)))
    except ValueError as error:
        problems.append(str(error))
        return
    problems += [f"methods.{name}: allow does not have it" for name in settings.methods if name not in names]
    if not names:
        problems.append("allow: names no method: nothing could be called")
    for name in names:
        try:
            yield method(name, settings, descriptors)
        except ValueError as error:
            problems.append(f"{name}: {error}")


def _plain_problems(settings: GrpcSettings) -> Iterator[str]:
    if (settings.descriptors is None) is (settings.reflection is None):
        yield "descriptors: name a file, or say reflection = {}; one of them"
    if settings.reflection is not None:
        for name in (*settings.allow, *settings.exclude):
            if not METHOD.fullmatch(name):
                yield f"allow: {name!r}: with reflection, write whole names like shop.v1.Orders/GetOrder"
    limits, retries, keepalive = settings.limits, settings.retries, settings.keepalive
    positive: dict[str, float | None] = {
        "limits.seconds": limits.seconds,
        "limits.connect_seconds": limits.connect_seconds,
        "limits.items": limits.items,
        "limits.depth": limits.depth,
        "limits.values": limits.values,
        "limits.calls_per_user": limits.calls_per_user,
        "retries.first_seconds": retries.first_seconds,
        "retries.longest_seconds": retries.longest_seconds,
        "retries.factor": retries.factor,
        "keepalive.seconds": keepalive.seconds,
        "keepalive.answer_seconds": keepalive.answer_seconds,
    }
    for name, each in settings.methods.items():
        positive |= {f"methods.{name}.seconds": each.seconds, f"methods.{name}.items": each.items}
    if settings.reflection is not None:
        positive |= {"reflection.seconds": settings.reflection.seconds, "reflection.files": settings.reflection.files}
    for place, number in positive.items():
        if number is not None and not 0 < number < 1e6:
            yield f"{place}: must be more than 0, and less than a million"
    for place, number in {"request_bytes": limits.request_bytes, "response_bytes": limits.response_bytes}.items():
        if not 0 < number <= _MOST_BYTES:
            yield f"limits.{place}: must be more than 0, and {_MOST_BYTES} at most"
    if limits.depth > 64:
        yield "limits.depth: 64 at most; protobuf itself goes no deeper than 100"
    if not 1 <= retries.attempts <= _MOST_ATTEMPTS:
        yield f"retries.attempts: must be 1 to {_MOST_ATTEMPTS}"
