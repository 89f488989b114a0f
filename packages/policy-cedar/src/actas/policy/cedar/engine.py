"""The engine, kept behind one file: Cedar, through cedarpy, in this process."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import cedarpy

Json = dict[str, Any]  # Any: JSON as Cedar has it


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine says to one request."""

    allowed: bool
    policies: Mapping[str, str | None]
    """Those that decided, by the engine's id, with the text of their ``@id``."""
    errors: list[str]
    """Messages of policies that could not be evaluated, or of a request that could not be read."""


def entities_of(entities: list[Json], base: cedarpy.Entities | None = None) -> cedarpy.Entities:
    """What the engine knows, parsed; ``base`` and these. Raises ValueError, whose text may hold anything."""
    text = json.dumps(entities)
    if base is None:
        return cedarpy.Entities.from_json_str(text)  # pyright: ignore[reportUnknownMemberType] -- its schema is a bare dict
    return base.with_added_json_str(text)  # pyright: ignore[reportUnknownMemberType] -- likewise


def evaluate(requests: list[Json], policies: cedarpy.PolicySet, entities: cedarpy.Entities) -> list[Answer]:
    """Put all ``requests`` to the engine; one answer each, in their order."""
    results = cedarpy.is_authorized_batch(requests, policies, entities)  # pyright: ignore[reportUnknownMemberType] -- its dicts are bare
    return [_answer(result) for result in results]


def _answer(result: cedarpy.AuthzResult) -> Answer:
    told = result.diagnostics
    names = cast("dict[str, str]", told.id_annotations_by_reason)  # pyright: ignore[reportUnknownMemberType] -- a bare dict
    return Answer(
        result.decision is cedarpy.Decision.Allow, {each: names.get(each) for each in told.reasons}, list(told.errors)
    )
