"""The suite passes an honest module, and each of its rules fails the module that breaks it."""

import asyncio
import inspect
import logging
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from actas.core import (
    Action,
    ConfigurationError,
    Credential,
    DelegationCall,
    DelegationError,
    DelegationModule,
    DelegationRefused,
    DelegationResult,
    DownstreamUnavailable,
    Effect,
    Health,
    LimitExceeded,
    PrincipalUnavailable,
    Receipt,
    Secret,
    Session,
)
from actas.testing.attacks import HOSTILE_NAMES, MARKER
from actas.testing.conformance import ModuleConformance, ModuleKit
from actas.testing.declarations import could_carry_identity

pytestmark = pytest.mark.anyio

EXCHANGED = "exchanged-token-that-nobody-may-see-"
USERS = {"alice": "Good morning", "bob": "Good evening"}
PERMISSIONS = frozenset({"greet"})
ALICE = Session(issuer="https://idp.example", subject="u-1", username="alice", provider="p", permissions=PERMISSIONS)
BOB = Session(issuer="https://idp.example", subject="u-2", username="bob", provider="p", permissions=PERMISSIONS)


@dataclass(frozen=True)
class Settings:
    farewell: str = "Bye"
    """What to say at the end."""


@dataclass(frozen=True)
class Line:
    text: str = ""
    """What to add."""


@dataclass(frozen=True)
class Greet:
    word: str = "Hello"
    """The word to greet with."""
    pause: float = 0.0
    """Seconds to wait before."""
    lines: list[Line] = field(default_factory=list[Line])
    """What to say after."""
    note: str | None = None
    """What to remember."""
    extra: dict[str, str] = field(default_factory=dict[str, str])
    """What else there is to say."""


GREET = Action(name="greet", description="Greet the caller by name.", parameters=Greet, permission="greet")


class Greeter:
    """Greets, in this process, as the user: an honest module."""

    actions: Sequence[Action] = (GREET,)

    def __init__(self, alive: bool = True) -> None:
        self.alive = alive
        self.started = False

    async def initialize(self) -> None:
        if not self.alive:
            raise DownstreamUnavailable
        self.started = True

    def principal(self, session: Session) -> str:
        if not re.fullmatch(r"[a-z]{1,63}", session.username):
            raise PrincipalUnavailable(detail=f"username {session.username!r}")
        return session.username

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        who = self.principal(call.session)
        if not self.started:
            raise DownstreamUnavailable
        return await self.greet(who, call)

    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        parameters = given(call)
        await asyncio.sleep(parameters.pause)
        if "\x00" in parameters.word:
            raise DelegationRefused("A word has no NUL in it.", detail="NUL")
        return result(who, f"{parameters.word}, {who}! {USERS.get(who)}.")

    async def health_check(self) -> Health:
        return Health(healthy=self.started)

    async def destroy(self) -> None:
        self.started = False


def given(call: DelegationCall) -> Greet:
    assert isinstance(call.parameters, Greet)
    return call.parameters


def result(who: Any, data: object = None) -> DelegationResult:  # Any: also what is no name
    return DelegationResult(data=data, receipt=Receipt(identity=who, method="in-process"))


def token_of(call: DelegationCall) -> str:
    return call.session.token.reveal() if call.session.token else ""


def kit_of(make: Any, **changes: Any) -> ModuleKit:  # Any: modules that break the Protocol
    return replace(
        ModuleKit(
            make=make,
            alice=ALICE,
            bob=BOB,
            parameters={"greet": {"lines": [Line()], "extra": {"a": "b"}}},
            settings=Settings,
            slow=("greet", {"pause": 10.0}),
            make_dead=lambda: Greeter(alive=False),
            grace=0.2,
            patience=0.5,
        ),
        **changes,
    )


PLUGIN = """
import sys
from dataclasses import dataclass
from actas.core.hookspecs import hookimpl
from actas.core.protocols import CredentialUse, ModuleKind

@dataclass
class Others: ...

suite = sys.modules.get({suite!r})  # not there where it is imported alone
Settings = suite.Settings if suite else Others

{hook}
"""
OFFERED = "@hookimpl\ndef actas_module_kinds(): return [ModuleKind({}, create=print)]"
OFFERS = {
    "light_plugin": OFFERED.format("'greet', Settings"),
    "unmarked_plugin": "def actas_module_kinds(): return [ModuleKind('greet', Settings, create=print)]",
    "other_plugin": OFFERED.format("'greet', Others"),
    "misnamed_plugin": OFFERED.format("'Greet me', Settings"),
    "needy_plugin": OFFERED.format("'greet', Settings, credential=CredentialUse.REQUIRED"),
    "ticketed_plugin": OFFERED.format("'greet', Settings, tickets=CredentialUse.REQUIRED"),
}


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The importable module of a plug-in that is light, and of some that are not."""
    for name, hook in OFFERS.items():
        (tmp_path / f"{name}.py").write_text(PLUGIN.format(suite=__name__, hook=hook))
    (tmp_path / "heavy_plugin.py").write_text("import mailbox\n")
    (tmp_path / "greedy_plugin.py").write_text("import actas.testing.declarations\n")
    (tmp_path / "broken_plugin.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))  # pyright: ignore[reportUnknownMemberType] -- pytest leaves it untyped
    return "light_plugin"


class Issued:
    """What stands in for the token exchange."""

    async def obtain(self, session: Session) -> Credential:
        return Credential(token=Secret(f"{EXCHANGED}{session.subject}"), subject=session.subject, expires_at=2e9)

    async def discard(self, session: Session, refused: Credential) -> None: ...

    def plan(self, session: Session) -> Mapping[str, object]:
        return {}


class Place:
    """A downstream that can be away, and has something that it lets only bob have."""

    def __init__(self) -> None:
        self.away = False

    @contextmanager
    def outage(self) -> Generator[None]:
        self.away = True
        yield
        self.away = False


class Visitor(Greeter):
    """Asks the downstream each time, and believes it."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place

    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        if self.place.away:
            raise DownstreamUnavailable
        if given(call).word == "Psst" and who != "bob":
            raise DelegationRefused
        return await super().greet(who, call)

    async def health_check(self) -> Health:
        return Health(healthy=self.started and not self.place.away)


def visiting(make: Any = Visitor, **changes: Any) -> dict[str, Any]:  # Any: modules of all sorts
    place = Place()
    kit = {"make": lambda: make(place), "outage": place.outage, "denied": ("greet", {"word": "Psst"})}
    return {**kit, **changes}


class TestAnHonestModule(ModuleConformance):
    @pytest.fixture
    def kit(self, plugin: str) -> ModuleKit:
        return kit_of(
            **visiting(),
            plugin=plugin,
            heavy_imports=["mailbox", "psycopg"],
            grace=5.0,
            patience=30.0,
        )


# What follows are modules that each break one rule.


class WithoutPrincipal:
    actions = (GREET,)

    async def initialize(self) -> None: ...
    async def delegate(self, call: DelegationCall) -> None: ...
    async def health_check(self) -> None: ...
    async def destroy(self) -> None: ...


def declaring(*actions: Action) -> type[Greeter]:
    return type("Declaring", (Greeter,), {"actions": actions})


class ChangesActions(Greeter):
    async def initialize(self) -> None:
        await super().initialize()
        self.actions = (*self.actions, replace(GREET, name="more"))


class DiffersFromItsSibling(Greeter):
    made = 0

    def __init__(self) -> None:
        super().__init__()
        DiffersFromItsSibling.made += 1
        self.actions = (replace(GREET, name=f"greet-{self.made}"),)


@dataclass(frozen=True)
class Silent:
    word: str = "Hello"


@dataclass(frozen=True)
class Nested:
    inner: list[Silent] = field(default_factory=list[Silent])
    """Documented, but what is in it is not."""


@dataclass(frozen=True)
class Impersonating:
    onBehalfOf: str = ""
    """Whom to act for."""


class NoDataclass:
    word: str


class AlwaysBob(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        return result("bob")


class WithoutReceipt(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        return DelegationResult(data=1, receipt=None)  # type: ignore[arg-type]  # the point


class GivesNothing(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        return None  # type: ignore[return-value]  # the point


class WithoutMethod(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        return DelegationResult(data=1, receipt=Receipt(identity=who, method=""))


class NoJson(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        return result(who, {1, 2})


class NumberInDetails(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        details: Any = {"pid": 7}
        return DelegationResult(data=1, receipt=Receipt(identity=who, method="m", details=details))


class OneForAll(Greeter):
    def principal(self, session: Session) -> str:
        return "service"


class ReadsFiles(Greeter):
    def principal(self, session: Session) -> str:
        with open("/dev/null"):
            return super().principal(session)


class AsksTheNetwork(Greeter):
    def principal(self, session: Session) -> str:
        socket.getaddrinfo("127.0.0.1", 80)
        return super().principal(session)


class Counts(Greeter):
    asked = 0

    def principal(self, session: Session) -> str:
        self.asked += 1
        return super().principal(session) + "s" * (self.asked > 50)


class NamesByToken(Greeter):
    def principal(self, session: Session) -> str:
        return super().principal(session) + "x" * (session.token is None)


class RemembersTheLast(Greeter):
    last = ""

    def principal(self, session: Session) -> str:
        return self.last or super().principal(session)

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        self.last = call.session.username
        return result(self.last)


class AsyncPrincipal(Greeter):
    async def principal(self, session: Session) -> str:  # type: ignore[override]  # the point
        return session.username


class NoPrincipal(Greeter):
    def principal(self, session: Session) -> str:
        return ""


class BelievesNames(Greeter):
    def principal(self, session: Session) -> str:
        return session.username


class BelievesNamesInCalls(Greeter):
    async def delegate(self, call: DelegationCall) -> DelegationResult:
        return result(call.session.username)


class RefusesNamesWithOthersErrors(Greeter):
    def principal(self, session: Session) -> str:
        if session.username not in USERS:
            raise ValueError("no")
        return session.username


class RefusesNamesWithAnotherError(Greeter):
    def principal(self, session: Session) -> str:
        if session.username not in USERS:
            raise DelegationError
        return session.username


class BelievesParameters(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        parameters = given(call)
        return result(parameters.note if parameters.note in USERS else who)


class BelievesKeys(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        return result(given(call).extra.get("X-Forwarded-User", who))


class MixesReceipts(Greeter):
    current = ""

    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        self.current = who
        await asyncio.sleep(0.001)
        return result(self.current)


class MixesData(Greeter):
    current = ""

    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        self.current = who
        await asyncio.sleep(0.001)
        return result(who, USERS[self.current])


class StarvesBob(Greeter):
    seen = 0

    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        self.seen += 1
        if self.seen > 4 and who == "bob":
            raise LimitExceeded
        return result(who)


class IgnoresItsEnd(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        try:
            await asyncio.sleep(given(call).pause)
        except asyncio.CancelledError:
            await asyncio.sleep(1.0)
            raise
        return result(who)


class BlocksTheLoop(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        time.sleep(2.0 if given(call).pause else 0.0)  # noqa: ASYNC251 -- the point
        return result(who)


class NeverSlow(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        return result(who)


class BrokenByItsEnd(Greeter):
    broken = False

    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        if self.broken:
            raise DelegationError
        self.broken = True
        await asyncio.sleep(given(call).pause)
        self.broken = False
        return result(who)


class KeepsItsLock(Greeter):
    def __init__(self) -> None:
        super().__init__()
        self.lock = asyncio.Lock()

    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        await self.lock.acquire()
        await asyncio.sleep(given(call).pause)
        self.lock.release()
        return result(who)


class SwallowsCancellation(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        try:
            await asyncio.sleep(given(call).pause)
        except asyncio.CancelledError:
            return result(who)
        return result(who)


class ServesTheCancelledOne(Greeter):
    interrupted = ""

    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        if self.interrupted:
            return result(self.interrupted)
        self.interrupted = who
        await asyncio.sleep(given(call).pause)
        self.interrupted = ""
        return result(who)


class Raises(Greeter):
    """``error`` with ``{word}``, ``{token}`` filled in, where the word is odd."""

    error: Any = ValueError
    text = "failed"
    detail: str | None = None

    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        word = given(call).word
        if MARKER in word:
            text = self.text.format(word=word, token=token_of(call))
            if self.detail is None:
                raise self.error(text)
            raise self.error(text, detail=self.detail.format(token=token_of(call)))
        return result(who)


def raising(error: type[Exception], text: str = "failed", detail: str | None = None) -> type[Raises]:
    return type("Raising", (Raises,), {"error": error, "text": text, "detail": detail})


class NoCode(DelegationError):
    code = ""


class RaisesForever(Greeter):
    odd = False

    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        if self.odd:
            raise DelegationError
        self.odd = MARKER in given(call).word
        return result(who)


class NeedsItsStart(Greeter):
    async def delegate(self, call: DelegationCall) -> DelegationResult:
        if not self.started:
            raise AttributeError("'NoneType' object has no attribute 'execute'")
        return await super().delegate(call)


class AnotherAfterItsEnd(Greeter):
    async def delegate(self, call: DelegationCall) -> DelegationResult:
        return await super().delegate(call) if self.started else result("nobody")


class Prints(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        os.write(1, token_of(call).encode())
        return result(who)


class Logs(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        logging.getLogger("greeter").debug("called", extra={"headers": {"Authorization": token_of(call)}})
        return result(who)


class Returns(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        return DelegationResult(data=1, receipt=Receipt(identity=who, method="m", details={"token": token_of(call)}))


class Remembers(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        self.cache = {who: token_of(call)}
        return result(who)


class TellsTheCause(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        if given(call).word == MARKER:
            raise DelegationRefused from ValueError(token_of(call))
        return result(who)


class Health_(Greeter):
    """Does ``what`` when its health is asked for."""

    what: Any = None

    async def health_check(self) -> Health:
        if inspect.iscoroutinefunction(self.what):
            await self.what()
        if isinstance(self.what, Exception):
            raise self.what
        return self.what  # type: ignore[no-any-return]  # the point


def health(what: object) -> type[Health_]:
    return type("Healthy", (Health_,), {"what": staticmethod(what) if inspect.iscoroutinefunction(what) else what})


async def hang() -> None:
    await asyncio.sleep(3600)


async def block() -> None:
    time.sleep(1.5)  # noqa: ASYNC251 -- the point


class DeadAndWell(Greeter):
    def __init__(self) -> None:
        super().__init__(alive=False)

    async def health_check(self) -> Health:
        return Health(healthy=True)


class DeadAndBusy(Greeter):
    async def delegate(self, call: DelegationCall) -> DelegationResult:
        return result("alice")


class DeadWithOthersErrors(Greeter):
    async def delegate(self, call: DelegationCall) -> DelegationResult:
        raise ConnectionRefusedError(111, "10.0.0.7")


class DeadFromTheStart(Greeter):
    async def initialize(self) -> None:
        raise ConnectionRefusedError(111, "10.0.0.7")


class DeadAndWaiting(Greeter):
    async def initialize(self) -> None:
        await hang()


class DestroysOnce(Greeter):
    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, int] = {"all": 1}

    async def destroy(self) -> None:
        self.held.pop("all")


class DestroysOnlyWhatStarted(Greeter):
    connection: Any = None

    async def initialize(self) -> None:
        await super().initialize()
        self.connection = asyncio.Event()

    async def destroy(self) -> None:
        self.connection.set()


class HangsAtItsEnd(Greeter):
    async def destroy(self) -> None:
        await hang()


class LeavesTasks(Greeter):
    async def initialize(self) -> None:
        await super().initialize()
        self.task = asyncio.ensure_future(asyncio.sleep(5))


class LeavesThreads(Greeter):
    async def initialize(self) -> None:
        await super().initialize()
        threading.Thread(target=time.sleep, args=(2,), name="left behind", daemon=True).start()


class LeavesDescriptors(Greeter):
    left: list[int] = []  # noqa: RUF012 -- one for all, so that the test can close them

    async def initialize(self) -> None:
        await super().initialize()
        self.left.append(os.open("/dev/null", os.O_RDONLY))


class LeavesProcesses(Greeter):
    left: list["subprocess.Popen[bytes]"] = []  # noqa: RUF012 -- one for all, so that the test can end them

    async def initialize(self) -> None:
        await super().initialize()
        self.left.append(await asyncio.to_thread(subprocess.Popen, ["sleep", "5"]))


class WaitsForCalls(Greeter):
    running = 0

    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        self.running += 1
        try:
            return await super().greet(who, call)
        finally:
            self.running -= 1

    async def destroy(self) -> None:
        while self.running:  # noqa: ASYNC110 -- a bad module
            await asyncio.sleep(0.01)


class KeepsWhatACallOpened(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        if given(call).pause:
            LeavesDescriptors.left.append(os.open("/dev/null", os.O_RDONLY))
        return await super().greet(who, call)


class PrintsWhatWasExchanged(Greeter):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        assert call.credential is not None
        print(call.credential.token.reveal())
        return result(who)


class AlwaysWell(Visitor):
    async def health_check(self) -> Health:
        return Health(healthy=True)


class GivesUpForGood(Visitor):
    gone = False

    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        self.gone = self.gone or self.place.away
        if self.gone:
            raise DownstreamUnavailable
        return await super().greet(who, call)


class NeverWellAgain(GivesUpForGood):
    async def health_check(self) -> Health:
        return Health(healthy=not self.gone and not self.place.away)


class BreaksInAnOutage(Visitor):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        if self.place.away:
            raise ConnectionResetError(104, "10.0.0.7")
        return await super().greet(who, call)


class AsksAsTheService(Visitor):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        return result(who, "what only bob may have")


class FailsWhereItIsDenied(Visitor):
    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        try:
            return await super().greet(who, call)
        except DelegationRefused:
            raise DelegationError from None


class LeavesWhatItBegan(Greeter):
    async def initialize(self) -> None:
        LeavesDescriptors.left.append(os.open("/dev/null", os.O_RDONLY))
        raise DownstreamUnavailable


class CallsItAMisconfiguration(Greeter):
    async def initialize(self) -> None:
        raise ConfigurationError("nobody answers")


class StartsOnce(Visitor):
    tried = False

    async def initialize(self) -> None:
        if self.tried or self.place.away:
            self.tried = True
            raise DownstreamUnavailable
        await super().initialize()


class HalfStarted(Visitor):
    tried = False

    async def initialize(self) -> None:
        if self.place.away and not self.tried:
            self.tried = True
            raise DownstreamUnavailable
        self.started = not self.tried


class SharesItsConnection(Greeter):
    open: list[str] = []  # noqa: RUF012 -- the point

    async def initialize(self) -> None:
        await super().initialize()
        self.open.append("connection")

    async def greet(self, who: str, call: DelegationCall) -> DelegationResult:
        if not self.open:
            raise DownstreamUnavailable
        return result(who)

    async def destroy(self) -> None:
        self.open.clear()


@dataclass(frozen=True)
class Careless:
    proxy_password: str | None = None
    """Opens the proxy."""


def dead(make: Any) -> dict[str, Any]:  # Any: modules of all sorts
    return {"make_dead": make}


Plant = tuple[str, Any, Mapping[str, Any], str]
PLANTS: list[Plant] = [
    ("it_satisfies_the_protocol", WithoutPrincipal, {}, "lacks a member"),
    ("each_action_has_a_name", declaring(), {}, "without actions"),
    ("each_action_has_a_name", declaring(GREET, GREET), {}, "used twice"),
    ("each_action_has_a_name", declaring(replace(GREET, name="Greet me")), {}, "write names"),
    ("each_action_has_a_name", declaring(replace(GREET, tool="a.b")), {}, "write names"),
    ("each_action_has_a_name", declaring(replace(GREET, description="")), {}, "no description"),
    ("each_action_has_a_name", declaring(replace(GREET, timeout=0)), {}, "more than 0 s"),
    ("each_action_has_a_name", declaring(replace(GREET, effect="maybe")), {}, "no Effect"),  # type: ignore[arg-type]
    ("its_actions_stay_the_same", ChangesActions, {}, "changed between"),
    ("its_actions_stay_the_same", DiffersFromItsSibling, {}, "different actions"),
    ("every_parameter_has_a_docstring", declaring(replace(GREET, parameters=NoDataclass)), {}, "no dataclass"),
    ("every_parameter_has_a_docstring", declaring(replace(GREET, parameters=Silent)), {}, "under Silent.word"),
    ("every_parameter_has_a_docstring", declaring(replace(GREET, parameters=Nested)), {}, "under Silent.word"),
    ("no_parameter_could_carry", declaring(replace(GREET, parameters=Impersonating)), {}, "not onBehalfOf"),
    ("its_settings_are_a_dataclass", Greeter, {"settings": NoDataclass}, "no dataclass"),
    ("its_settings_are_a_dataclass", Greeter, {"settings": Silent}, "under Silent.word"),
    ("a_setting_that_holds", Greeter, {"settings": Careless}, "Careless.proxy_password: whatever prints"),
    ("the_plugin_offers", Greeter, {"plugin": "unmarked_plugin"}, "marked with @hookimpl"),
    ("the_plugin_offers", Greeter, {"plugin": "other_plugin"}, "other settings than the kit's"),
    ("the_plugin_offers", Greeter, {"plugin": "misnamed_plugin"}, "write kinds like"),
    ("the_plugin_offers", Greeter, {"plugin": "needy_plugin"}, "needs a credential, and the kit has none"),
    ("the_plugin_offers", Greeter, {"plugin": "light_plugin", "credentials": Issued()}, "never uses a credential"),
    ("the_plugin_offers", Greeter, {"plugin": "ticketed_plugin"}, "needs a ticket, and the kit has none"),
    ("importing_the_plugin", Greeter, {"plugin": "heavy_plugin", "heavy_imports": ["mailbox"]}, "imports mailbox"),
    ("importing_the_plugin", Greeter, {"plugin": "greedy_plugin"}, "imports actas.testing"),
    ("importing_the_plugin", Greeter, {"plugin": "broken_plugin"}, "cannot be imported"),
    ("alice_and_bob_each", AlwaysBob, {}, "somebody else"),
    ("alice_and_bob_each", WithoutReceipt, {}, "no receipt"),
    ("alice_and_bob_each", GivesNothing, {}, "gave a NoneType"),
    ("alice_and_bob_each", WithoutMethod, {}, "does not say how"),
    ("alice_and_bob_each", NoJson, {}, "not JSON"),
    ("alice_and_bob_each", NumberInDetails, {}, "not all text"),
    ("alice_and_bob_each", Greeter, {"parameters": {}}, "no parameters for"),
    ("alice_and_bob_each", Greeter, {"parameters": {"greet": {}, "wave": {}}}, "no action of the module"),
    ("a_principal_is_pure", OneForAll, {}, "the same principal"),
    ("a_principal_is_pure", ReadsFiles, {}, "does I/O: open"),
    ("a_principal_is_pure", AsksTheNetwork, {}, "does I/O: socket.getaddrinfo"),
    ("a_principal_is_pure", Counts, {}, "several names"),
    ("a_principal_is_pure", NamesByToken, {}, "depends on the token"),
    ("a_principal_is_pure", RemembersTheLast, {}, "when bob made a call"),
    ("a_principal_is_pure", AsyncPrincipal, {}, "gave a coroutine"),
    ("a_principal_is_pure", NoPrincipal, {}, "or nothing"),
    ("a_hostile_name", BelievesNames, {}, "principal\\(\\) accepts"),
    ("a_hostile_name", BelievesNamesInCalls, {}, "delegate\\(\\) of greet accepts"),
    ("a_hostile_name", RefusesNamesWithOthersErrors, {}, "no"),
    ("a_hostile_name", RefusesNamesWithAnotherError, {}, "must raise PrincipalUnavailable"),
    ("parameters_cannot_choose", BelievesParameters, {}, "somebody else"),
    ("parameters_cannot_choose", BelievesKeys, {}, "somebody else"),
    ("interleaved_calls", MixesReceipts, {}, "somebody else"),
    ("interleaved_calls", MixesData, {}, "other data than alone"),
    ("interleaved_calls", StarvesBob, {}, "none of bob's"),
    ("the_deadline_is_honoured", IgnoresItsEnd, {}, "did not end within"),
    ("the_deadline_is_honoured", BlocksTheLoop, {}, "did not end within"),
    ("the_deadline_is_honoured", NeverSlow, {}, "gave NoneType"),
    ("the_deadline_is_honoured", BrokenByItsEnd, {}, "failed"),
    ("a_cancelled_call_ends", IgnoresItsEnd, {}, "cancelled greet did not end"),
    ("a_cancelled_call_ends", SwallowsCancellation, {}, "swallowed"),
    ("a_cancelled_call_ends", KeepsItsLock, {}, "delegate\\(\\) of greet did not end"),
    ("a_cancelled_call_ends", ServesTheCancelledOne, {}, "somebody else"),
    ("errors_are_ours", raising(ValueError), {}, "none of ours"),
    ("errors_are_ours", raising(DelegationError, "no word {word}"), {}, "private"),
    ("errors_are_ours", raising(DelegationError, "no {token}"), {}, "private"),
    ("errors_are_ours", raising(DelegationError, "Traceback (most recent call last)"), {}, "private"),
    ("errors_are_ours", raising(DelegationError, "x" * 2000), {}, "2000 characters"),
    ("errors_are_ours", raising(DelegationError, "failed", "with {token}"), {}, "token is in the error's detail"),
    ("errors_are_ours", raising(NoCode), {}, "no stable code"),
    ("errors_are_ours", RaisesForever, {}, "failed"),
    ("a_destroyed_module", NeedsItsStart, {}, "none of ours"),
    ("a_destroyed_module", AnotherAfterItsEnd, {}, "somebody else"),
    ("the_token_is_in_no", Prints, {}, "token was printed"),
    ("the_token_is_in_no", Logs, {}, "token was printed"),
    ("the_token_is_in_no", Returns, {}, "token was printed"),
    ("the_token_is_in_no", Remembers, {}, "token was printed"),
    ("the_token_is_in_no", TellsTheCause, {}, "token was printed"),
    ("the_token_is_in_no", PrintsWhatWasExchanged, {"credentials": Issued()}, "exchanged for the caller's was printed"),
    ("its_health_is_told", health(hang), {}, "did not end within"),
    ("its_health_is_told", health(block), {}, "did not end within"),
    ("its_health_is_told", health(Health(healthy=False, message="ill")), {}, "says that it does not: ill"),
    ("its_health_is_told", health(ValueError("broken")), {}, "broken"),
    ("its_health_is_told", health(True), {}, "gave a bool"),
    ("its_health_is_told", health(Health(healthy=True, message='File "x"')), {}, "private"),
    ("a_dead_downstream", Greeter, dead(DeadAndWell), "calls itself healthy"),
    ("a_dead_downstream", Greeter, dead(lambda: DeadAndBusy(alive=False)), "though the downstream is dead"),
    ("a_dead_downstream", Greeter, dead(lambda: DeadWithOthersErrors(alive=False)), "none of ours"),
    ("a_dead_downstream", Greeter, dead(DeadFromTheStart), "none of ours"),
    ("a_dead_downstream", Greeter, dead(DeadAndWaiting), "did not end within"),
    ("a_downstream_that_goes_away", None, visiting(AlwaysWell), "calls itself healthy"),
    ("a_downstream_that_goes_away", None, visiting(GivesUpForGood), "does not answer"),
    ("a_downstream_that_goes_away", None, visiting(NeverWellAgain), "does not notice"),
    ("a_downstream_that_goes_away", None, visiting(BreaksInAnOutage), "none of ours"),
    ("a_start_that_fails", Greeter, dead(LeavesWhatItBegan), "3 descriptors"),
    ("a_start_that_fails", Greeter, dead(CallsItAMisconfiguration), "raised ConfigurationError"),
    ("it_starts_when", None, visiting(StartsOnce), "does not notice"),
    ("it_starts_when", None, visiting(HalfStarted), "does not notice"),
    ("two_of_its_kind", SharesItsConnection, {}, "does not answer"),
    ("destroy_may_be_called_twice", DestroysOnce, {}, "all"),
    ("destroy_may_be_called_twice", DestroysOnlyWhatStarted, {}, "NoneType"),
    ("destroy_may_be_called_twice", HangsAtItsEnd, {}, "did not end within"),
    ("destroy_releases", LeavesTasks, {}, "the task "),
    ("destroy_releases", LeavesThreads, {}, "the thread left behind"),
    ("destroy_releases", LeavesDescriptors, {}, "3 descriptors"),
    ("destroy_releases", LeavesProcesses, {}, "the process "),
    ("it_can_be_destroyed_during", WaitsForCalls, {}, "destroy\\(\\) during a call did not end"),
    ("it_can_be_destroyed_during", IgnoresItsEnd, {}, "cancelled after destroy\\(\\), did not end"),
    ("it_can_be_destroyed_during", KeepsWhatACallOpened, {}, "1 descriptors"),
    ("a_call_through_the_pipeline", AlwaysBob, {}, "did not recognise"),
    ("a_call_through_the_pipeline", Greeter, {"alice": replace(ALICE, permissions=frozenset())}, "may not"),
    ("what_the_downstream_denies", None, visiting(AsksAsTheService), "gave alice what only bob"),
    ("what_the_downstream_denies", None, visiting(FailsWhereItIsDenied), "recorded as failed"),
    ("a_refusal_on_the_pipeline", BelievesNames, {}, "DID NOT RAISE"),
    ("a_refusal_on_the_pipeline", RefusesNamesWithOthersErrors, {}, "recorded as"),
]
RULES = {
    name.removeprefix("test_"): rule for name, rule in inspect.getmembers(ModuleConformance) if name[:5] == "test_"
}


def rule_called(start: str) -> tuple[str, Any]:
    ((name, rule),) = ((name, rule) for name, rule in RULES.items() if name.startswith(start))
    return name, rule


@pytest.mark.parametrize(("start", "make", "changes", "message"), PLANTS)
async def test_the_rule_fails_the_module_that_breaks_it(
    start: str,
    make: Any,
    changes: dict[str, Any],
    message: str,
    plugin: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    _, rule = rule_called(start)
    at_hand = {
        "kit": kit_of(**{"make": make, **changes}),
        "name": HOSTILE_NAMES["newline"],
        "moment": 0.01,
        "text": MARKER,
        "caplog": caplog,
        "capfd": capfd,
    }
    wanted = list(inspect.signature(rule).parameters)[1:]
    with pytest.raises((Exception, pytest.fail.Exception), match=message):
        outcome = rule(ModuleConformance(), **{name: at_hand[name] for name in wanted})
        if inspect.isawaitable(outcome):
            await outcome
    while LeavesDescriptors.left:
        os.close(LeavesDescriptors.left.pop())
    while LeavesProcesses.left:
        with LeavesProcesses.left.pop() as process:
            process.kill()


def test_every_rule_is_seen_to_fail_something() -> None:
    assert {rule_called(start)[0] for start, *_ in PLANTS} == set(RULES)


@pytest.mark.parametrize(
    "start",
    [
        "its_settings",
        "a_setting_that_holds",
        "the_plugin_offers",
        "importing_the_plugin",
        "the_deadline",
        "it_can_be_destroyed_during",
        "a_dead_downstream",
        "a_downstream_that_goes_away",
        "a_start_that_fails",
        "it_starts_when",
        "what_the_downstream_denies",
    ],
)
async def test_a_rule_that_the_kit_has_nothing_for_is_skipped_by_name(start: str) -> None:
    _, rule = rule_called(start)
    kit = kit_of(Greeter, settings=None, slow=None, make_dead=None)
    with pytest.raises(pytest.skip.Exception, match="the kit"):
        outcome = rule(ModuleConformance(), kit)
        if inspect.isawaitable(outcome):
            await outcome


@pytest.mark.parametrize(
    "name",
    "user userName USERNAME as_user on_behalf_of onBehalfOf runAs act_as access_token sub impersonate X-Authorization"
    " principal role subjectId HTTPUser".split(),
)
def test_a_name_that_could_carry_an_identity_is_known_in_any_spelling(name: str) -> None:
    assert could_carry_identity(name)


@pytest.mark.parametrize(
    "name", ["sql", "max_tokens", "substring", "table", "subscription", "roll", "runtime", "users_max"]
)
def test_other_names_are_left_in_peace(name: str) -> None:
    assert not could_carry_identity(name)


def test_an_honest_module_is_one_to_the_type_checker_too() -> None:
    module: DelegationModule = Greeter()
    assert module.actions[0].effect is Effect.READ
    assert issubclass(ConfigurationError, Exception)
