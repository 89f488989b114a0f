"""Whether the server's memory stays flat: ``nox -s bench -- memory``.

200,000 calls by 20,000 users, each with a token of his own, all limits switched on. Every user comes once before one
comes again, which is the worst that the caches can meet. The server's resident memory is read after each round of all
users; the slope is that of a line through the second half of them.
"""

import argparse
import asyncio
import statistics
from pathlib import Path

from mcp_calls import Server, issue, load, provider, request

WIRE = "2026-07-28"


def resident(server: Server) -> int:
    """Bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text().split("VmRSS:")[1]
    return int(status.split()[0]) * 1024


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    with provider(options.rounds, options.users, "Ed25519") as run:
        messages = [request(WIRE, "tools/call", issue(run.key, f"user-{number}")) for number in range(options.users)]
        server = Server("actas, limits on", 1, run.environment)
        try:
            points = [(0, resident(server))]
            print(f"start    {points[0][1] / 1e6:8.1f} MB")
            for round_ in range(options.rounds):
                asyncio.run(load(server.port, messages))
                points.append(((round_ + 1) * options.users, resident(server)))
                print(f"{points[-1][0]:8} {points[-1][1] / 1e6:8.1f} MB", flush=True)
        finally:
            server.process.terminate()
            server.process.wait()
        second_half = points[len(points) // 2 :]
        slope = statistics.linear_regression([at for at, _ in second_half], [used for _, used in second_half]).slope
        print(f"slope over the second half: {slope:.2f} bytes per call")


if __name__ == "__main__":
    main()
