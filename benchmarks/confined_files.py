"""What it costs to read a file confined to a folder, against ``open(path).read()``.

Interleaved batches; a ratio is the median of the batches'. Both give text, decoded; ``open`` is called with the whole
path. Lines for each size: the confined open and read by itself (folder, file, checks, the kernel's word for where it
was, text, everything closed again), by openat2 and step by step; then the same through the module, with its thread and
its receipt, against a plain read in a thread. The files are in the cache. Where a file was changed in the last ten
seconds, one more look is needed: that is the line "changed just now".
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from actas.core.models import DelegationCall, Session
from actas.delegation.filesystem.actions import ReadFile
from actas.delegation.filesystem.bases import Base
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.module import FilesystemDelegation
from actas.delegation.filesystem.operations import Operation, Rules, carry_out
from actas.delegation.filesystem.settings import FilesystemSettings, LimitSettings
from actas.delegation.filesystem.ways import AtOnce, Stepwise

_SIZES = {"4 KB": (4096, 2.0, 200), "1 MB": (1_000_000, 1.1, 10)}
_SETTLES = 10.5
_ALICE = Session(issuer="i", subject="a", username="alice", legacy_username="alice", provider="p")


def _timed(run: Callable[[], object], times: int) -> float:
    """Seconds of CPU for each call."""
    start = time.process_time()
    for _ in range(times):
        run()
    return (time.process_time() - start) / times


def _compare(base: Path, name: str, batches: int, said: str) -> None:
    _, target, times = _SIZES[name]
    plainly = str(base / "alice" / "papers" / name)
    tree = Base(str(base))
    rules = Rules(LimitSettings(), None, hard_links=False)

    def operation() -> Operation:
        return rules.operation("read", ReadFile(path=f"papers/{name}"))

    def plain() -> object:
        with open(plainly, encoding="utf-8") as file:
            return file.read()

    deadline = time.monotonic() + 3600

    def by(way: AtOnce | Stepwise) -> Callable[[], object]:
        return lambda: carry_out(operation(), tree, (b"alice",), rules, way, Budget(deadline))

    runs = [plain, by(AtOnce()), by(Stepwise())]
    for run in runs:
        _timed(run, times)
    seen = [[_timed(run, times) for run in runs] for _ in range(batches)]
    alone, at_once, stepwise = (statistics.median(each) * 1e6 for each in zip(*seen, strict=True))
    ratio = statistics.median(each[1] / each[0] for each in seen)
    steps = statistics.median(each[2] / each[0] for each in seen)
    print(
        f"{name}, {said}"
        f"   open().read() {alone:7.1f} µs   confined {at_once:7.1f} µs   ratio {ratio:4.2f} (target <= {target})"
        f"   stepwise {stepwise:7.1f} µs, {steps:4.2f}"
    )


async def _through_the_module(base: Path, name: str, batches: int) -> None:
    """What a call of the module takes on top: its thread, its receipt."""
    _, _, times = _SIZES[name]
    module = FilesystemDelegation(FilesystemSettings(root=f"{base}/{{user}}", permission="use"))
    path = str(base / "alice" / "papers" / name)

    def call() -> DelegationCall:
        return DelegationCall(
            session=_ALICE,
            action=module.actions[1],
            parameters=ReadFile(path=f"papers/{name}"),
            deadline=time.monotonic() + 30,
            request_id="r",
        )

    def plain() -> str:
        with open(path, encoding="utf-8") as file:
            return file.read()

    async def timed(threaded: bool) -> float:
        start = time.process_time()
        for _ in range(times):
            if threaded:
                await asyncio.to_thread(plain)
            else:
                await module.delegate(call())
        return (time.process_time() - start) / times

    seen = [(await timed(True), await timed(False)) for _ in range(batches)]
    threaded, ours = (statistics.median(each) * 1e6 for each in zip(*seen, strict=True))
    ratio = statistics.median(each[1] / each[0] for each in seen)
    print(f"{name}   in a thread   {threaded:7.1f} µs   module   {ours:7.1f} µs   ratio {ratio:4.2f}")
    await module.destroy()


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=100, help="batches for each line")
    batches = parser.parse_args().batches
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        (base / "alice" / "papers").mkdir(parents=True)
        for name, (size, _, _) in _SIZES.items():
            (base / "alice" / "papers" / name).write_text("x" * size)
        _compare(base, "4 KB", 1, "changed just now")
        time.sleep(_SETTLES)
        for name in _SIZES:
            _compare(base, name, batches, "settled")
        for name in _SIZES:
            asyncio.run(_through_the_module(base, name, batches))


if __name__ == "__main__":
    main()
