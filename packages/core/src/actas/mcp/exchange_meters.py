"""What token exchange does, for whoever measures: OpenTelemetry's API, which is idle until somebody brings its SDK.

The counters are read when they are exported, and cost a call nothing. They go on across reloads.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

Totals = Counter[tuple[str, str]]
"""How often, by what happened and for which module; an empty name is the cache's, which all modules share."""

COUNTED = {
    "hits": "Calls that found their token kept.",
    "misses": "Calls that did not.",
    "refreshed_ahead": "Tokens that were exchanged anew before they ended, because they were in use.",
    "unreadable": "Entries that did not open: sealed with another secret, or changed by somebody.",
    "purged": "Entries that were forgotten because of a revocation.",
    "evicted": "Entries that left for newer ones.",
    "exchanged": "Tokens that the provider gave, and that were good.",
    "refused": "Exchanges that the provider refused, or whose token was not good.",
    "unavailable": "Exchanges that the provider did not answer.",
}
"""``actas.exchange.…``: what each counter counts, since the process began."""

_live: list["Measured"] = []
_past: Totals = Counter()


class Measured(Protocol):
    """The exchanges of one configuration."""

    def totals(self) -> Totals:
        """What has happened since it was opened."""
        ...

    @property
    def entries(self) -> int:
        """Tokens that are kept."""
        ...

    def left_alone(self) -> Iterable[tuple[str, bool]]:
        """For each module: whether its provider has failed repeatedly and is not asked for a while."""
        ...


def watch(measured: Measured) -> None:
    """Count ``measured`` from now on."""
    _live.append(measured)


def forget(measured: Measured) -> None:
    """``measured`` has ended; what it counted stays counted."""
    if measured in _live:
        _live.remove(measured)
        _past.update(measured.totals())


def _counted(name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        together = Counter(_past)
        for each in tuple(_live):
            together.update(each.totals())
        for (what, module), count in together.items():
            if what == name:
                yield Observation(count, {"module": module} if module else {})

    return observe


def _entries(_: CallbackOptions) -> Iterable[Observation]:
    yield Observation(sum(each.entries for each in tuple(_live)))


def _left_alone(_: CallbackOptions) -> Iterable[Observation]:
    for each in tuple(_live):
        for module, alone in each.left_alone():
            yield Observation(int(alone), {"module": module})


_meter = get_meter("actas")
for _name, _description in COUNTED.items():
    _meter.create_observable_counter(f"actas.exchange.{_name}", callbacks=[_counted(_name)], description=_description)
_meter.create_observable_gauge("actas.exchange.entries", callbacks=[_entries], description="Tokens that are kept.")
_meter.create_observable_gauge(
    "actas.exchange.left_alone",
    callbacks=[_left_alone],
    description="1 while a module's provider has failed repeatedly and is not asked for a while.",
)
