"""How the conformance suite judges what a module gave or raised. Each function raises AssertionError."""

import asyncio
import inspect
import json
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from actas.core import (
    ActasError,
    AuditEvent,
    DelegationModule,
    DelegationResult,
    Health,
    PrincipalUnavailable,
    Receipt,
    Session,
)
from actas.testing.attacks import MARKER
from actas.testing.module_kit import BLOCKED, TOKEN

_LONGEST = 1000
"""Characters of a message."""
_NEVER_SAID = (TOKEN, MARKER, "Traceback (most recent", 'File "')


def expect(fact: bool, otherwise: str) -> None:
    """Fail with the sentence ``otherwise`` where ``fact`` is False."""
    __tracebackhide__ = True
    if not fact:
        raise AssertionError(otherwise)


def principal(module: DelegationModule, session: Session) -> str:
    """The session's principal, which must be a name."""
    name: object = module.principal(session)
    if inspect.iscoroutine(name):
        name.close()
    if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance] -- foreign code
        raise AssertionError(f"principal() gave a {type(name).__name__} or nothing instead of a name")
    return name


def own(module: DelegationModule, session: Session, result: object) -> None:
    """The result must be JSON with a receipt of the session's own identity."""
    if not isinstance(result, DelegationResult):
        raise AssertionError(f"delegate() gave a {type(result).__name__} instead of a DelegationResult")
    receipt: object = result.receipt
    if not isinstance(receipt, Receipt):  # pyright: ignore[reportUnnecessaryIsInstance] -- foreign code
        raise AssertionError("the result has no receipt")
    expect(receipt.identity == principal(module, session), "the receipt names somebody else than the caller")
    expect(bool(receipt.method), "the receipt does not say how the identity was taken on")
    words = [*receipt.details.keys(), *receipt.details.values()]
    expect(all(isinstance(word, str) for word in words), "the receipt's details are not all text")  # pyright: ignore[reportUnnecessaryIsInstance] -- foreign code
    try:
        json.dumps(result.data, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"the data is not JSON: {type(error).__name__}") from None


def safe(error: Exception, when: str) -> None:
    """The error must be one of ours with a message that says nothing private."""
    if isinstance(error, AssertionError):
        raise error
    expect(isinstance(error, ActasError), f"{when} raised {type(error).__qualname__}, which is none of ours")
    if isinstance(error, ActasError):
        _harmless(error.message, f"the message of {type(error).__name__} from {when}")
        expect(TOKEN not in f"{error.detail}", f"{when}: the token is in the error's detail")
        expect(bool(error.code) and error.code == type(error).code, f"{type(error).__name__} has no stable code")


def told(health: object) -> Health:
    """The health, which must be one, with a message that says nothing private."""
    if not isinstance(health, Health):
        raise AssertionError(f"health_check() gave a {type(health).__name__} instead of a Health")
    _harmless(health.message, "the health's message")
    return health


def _harmless(message: str, whose: str) -> None:
    expect(len(message) <= _LONGEST, f"{whose} has {len(message)} characters")
    said = [private for private in _NEVER_SAID if private in message]
    expect(not said, f"{whose} says something private: a token, a parameter or a traceback")


def only(events: Sequence[AuditEvent], action: str) -> AuditEvent:
    """The one event that there must be."""
    expect(len(events) == 1, f"one call of {action} was recorded {len(events)} times")
    return events[0]


@contextmanager
def refusing(otherwise: str) -> Generator[None, None, None]:
    """What is done inside must raise PrincipalUnavailable, and say nothing private."""
    try:
        yield
    except PrincipalUnavailable as error:
        safe(error, "a hostile name")
    except ActasError as error:
        raise AssertionError(f"a hostile name must raise PrincipalUnavailable, not {type(error).__name__}") from None
    else:
        raise AssertionError(otherwise)


async def ended(task: asyncio.Future[DelegationResult], seconds: float, what: str) -> None:
    """The task must end within ``seconds``."""
    started = time.monotonic()
    await asyncio.wait({task}, timeout=seconds)
    if not task.done() or time.monotonic() - started > seconds + BLOCKED:
        task.cancel()
        raise AssertionError(f"{what} did not end within {seconds:g} s")
