"""How the memory of a training process grows while it logs, ten values at a call, as fast as it can.

The growth is the peak over what the process had after the first calls. Beside it stand the peaks of the processes that
the tracker started, such as agentnn's sender: the machine pays for them too. Both are read five seconds after the last
call. MLflow's own calls keep nothing back, and a million points would take it a quarter of an hour: it is measured when
it is asked for.
"""

from __future__ import annotations

import writing
from timing import middle, note
from trackers import TRACKERS

COLUMNS = ("tracker", "points", "before", "growth, peak", "processes it started, peak", "logging took")


def main() -> None:
    """Print a row a tracker, and agentnn's for a million points."""
    parser = writing.parser(__doc__, trackers=[name for name in TRACKERS if name != "mlflow"])
    parser.set_defaults(rounds=1)
    parser.add_argument("--points", type=int, default=100_000, help="for every tracker")
    parser.add_argument("--own-points", type=int, default=1_000_000, help="for agentnn, a second time")
    options = parser.parse_args()
    asked = [(name, options.points) for name in options.trackers]
    if "agentnn" in options.trackers and options.own_points != options.points:
        asked.append(("agentnn", options.own_points))
    rows = []
    for name, points in asked:
        note(f"{name}: {points:,} points")
        found = [writing.measured(options, "peer_memory.py", name, points) for _ in range(options.rounds)]
        figures = {key: middle(sorted(one[key] for one in found)) for key in found[0]}
        rows.append(row(name, points, figures))
    writing.print_table("Memory of the process that logs", COLUMNS, rows)


def row(name: str, points: int, figures: dict[str, float]) -> tuple[str, ...]:
    """Write one row."""
    helpers = f"{figures['helpers'] / 1024:.0f} MiB" if figures["helpers"] else "none"
    sizes = (f"{figures['before'] / 1024:.0f} MiB", f"{figures['growth'] / 1024:.1f} MiB", helpers)
    return (TRACKERS[name].label, f"{points:,}", *sizes, writing.duration(figures["took"]))


if __name__ == "__main__":
    main()
