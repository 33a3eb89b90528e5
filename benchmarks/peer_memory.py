"""Log many points with one tracker, ten at a call, and print how the memory of the process grew, as JSON.

    python benchmarks/peer_memory.py wandb 100000

Figures are in KiB: the peak over what the process had after the first calls, and the peaks of the processes that the
tracker started. They are read a few seconds after the last call, when threads and processes beside are well at work.
The run is not ended: to deliver a million points takes minutes, and the question is what training pays.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import redirect_stdout, suppress
from pathlib import Path

from peer_write import Caller
from trackers import TRACKERS

VALUES = 10
WARM_UP = 1000
SETTLE_S = 5.0


def status(key: str, pid: int | str = "self") -> int:
    """Give a figure of ``/proc/PID/status``, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{key}:")), 0)


def children() -> list[int]:
    """Give the processes that this one has started."""
    tasks = Path("/proc/self/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def main() -> None:
    """Measure one tracker."""
    name, points = sys.argv[1], int(sys.argv[2])
    with redirect_stdout(sys.stderr):
        context = TRACKERS[name].start(Path.cwd())
        session = context.__enter__()
        caller = Caller(session.log)
        for _ in range(WARM_UP):
            caller.call(VALUES)
        session.flush()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now (proc(5))
        before, began = status("VmRSS"), time.perf_counter()
        for _ in range(points // VALUES):
            caller.call(VALUES)
        took = time.perf_counter() - began
        time.sleep(SETTLE_S)
    helpers = children()
    found = {"growth": status("VmHWM") - before, "before": before, "took": took}
    print(json.dumps({**found, "helpers": sum(status("VmHWM", pid) for pid in helpers)}), flush=True)
    for pid in helpers:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    os._exit(0)


if __name__ == "__main__":
    main()
