"""Log with one tracker and print the nanoseconds of every call, as JSON.

    python benchmarks/peer_write.py wandb 500

The same values in the same order for every tracker: ten at a call, then one, first with a sleep of a millisecond
between the calls, as when a network is trained, then in a tight loop. ``bench_write_call.py`` runs this in a folder
and an environment of its own.
"""

from __future__ import annotations

import json
import random
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from trackers import TRACKERS, keys

if TYPE_CHECKING:
    from trackers import Log

# The bursts come last: what a tracker still has to write after one would slow the paced calls down.
MODES = {"paced, ten": (10, 0.001), "paced, one": (1, 0.001), "tight, one": (1, 0.0), "tight, ten": (10, 0.0)}
WARM_UP = 20


class Caller:
    """Logs seeded values at one step after the other, and remembers how many.

    Args:
        log: The tracker's function.
    """

    def __init__(self, log: Log) -> None:
        self.logged = 0
        self._log = log
        self._step = 0
        self._random = random.Random(0)

    def call(self, count: int) -> int:
        """Log ``count`` new values and give the nanoseconds that the call took."""
        values = {key: self._random.random() for key in keys(count)}
        self._step += 1
        began = time.perf_counter_ns()
        self._log(values, self._step)
        took = time.perf_counter_ns() - began
        self.logged += count
        return took

    def measure(self, count: int, pause: float, calls: int, limit: float) -> list[int]:
        """Make calls until there are enough or ``limit`` seconds have gone by; those of the warm-up are left out."""
        for _ in range(WARM_UP):
            self.call(count)
        times: list[int] = []
        ends = time.monotonic() + limit
        while len(times) < calls and time.monotonic() < ends:
            times.append(self.call(count))
            if pause:
                time.sleep(pause)
        return times


def main() -> None:
    """Measure one tracker; its own messages go to standard error."""
    name, calls = sys.argv[1], int(sys.argv[2])
    limit = float(sys.argv[3]) if len(sys.argv) > 3 else 10.0
    with redirect_stdout(sys.stderr):
        with TRACKERS[name].start(Path.cwd()) as session:
            caller = Caller(session.log)
            times = {mode: caller.measure(*kind, calls, limit) for mode, kind in MODES.items()}
            began = time.perf_counter()
        end = time.perf_counter() - began
    print(json.dumps({"times": times, "end": end, "logged": caller.logged}))


if __name__ == "__main__":
    main()
