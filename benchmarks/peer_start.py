"""Start two runs with one tracker and print the seconds of the import and of both starts, as JSON.

python benchmarks/peer_start.py mlflow
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

from trackers import TRACKERS


def main() -> None:
    """Measure one tracker; the runs end at once, outside the clock."""
    tracker = TRACKERS[sys.argv[1]]
    with redirect_stdout(sys.stderr):
        began = time.perf_counter()
        tracker.load()
        found = {"import": time.perf_counter() - began}
        for start in ("first", "next"):
            began = time.perf_counter()
            context = tracker.start(Path.cwd())
            context.__enter__()
            found[start] = time.perf_counter() - began
            context.__exit__(None, None, None)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
