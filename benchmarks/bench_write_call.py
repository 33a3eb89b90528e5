"""The cost of one logging call, seen by the caller: ten values, or one, at a step.

Every tracker logs the same values in a process of its own, on the same machine in the same run; the trackers take
turns. Each round gives the median and the 99th percentile of its calls; printed are the medians over the rounds. The
end of the run is what the caller waits for afterwards: for agentnn until the sender has delivered everything.
"""

from __future__ import annotations

from typing import Any

import writing
from timing import middle, note, quantile
from trackers import TRACKERS

MODES = {
    "paced, ten": "ten values, 1 ms between calls",
    "tight, ten": "ten values, tight loop",
    "paced, one": "one value, 1 ms between calls",
    "tight, one": "one value, tight loop",
}
COLUMNS = ("tracker", "median", "p99", "median ÷ agentnn's", "p99 ÷ agentnn's", "calls a round")


def main() -> None:
    """Print a table a mode, and one of the ends."""
    parser = writing.parser(__doc__)
    parser.add_argument("--calls", type=int, default=500, help="calls a round, in each of the four modes")
    parser.add_argument("--limit", type=float, default=1.5, help="seconds after which a slow tracker makes no more")
    options = parser.parse_args()
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in options.trackers}
    for turn, names in enumerate(writing.turns(options.trackers, options.rounds)):
        for name in names:
            note(f"round {turn + 1}: {name}")
            arguments = (name, options.calls, options.limit)
            checked = name if turn == 0 else ""
            rounds[name].append(writing.measured(options, "peer_write.py", *arguments, kept_by=checked))
    for mode, title in MODES.items():
        print_mode(f"One logging call: {title}", mode, rounds)
    ends = {name: middle(sorted(found["end"] for found in results)) for name, results in rounds.items()}
    rows = [(TRACKERS[name].label, writing.duration(end)) for name, end in ends.items()]
    writing.print_table("The end of the run after these calls", ("tracker", "end"), rows)


def print_mode(title: str, mode: str, rounds: dict[str, list[dict[str, Any]]]) -> None:
    """Print the table of one mode."""
    figures = {name: figures_of([found["times"][mode] for found in results]) for name, results in rounds.items()}
    own = figures.get("agentnn")
    rows = []
    for name, (median, high, calls) in figures.items():
        ratios = (f"{median / own[0]:.3g}×", f"{high / own[1]:.3g}×") if own else ("–", "–")
        cells = (writing.duration(median), writing.duration(high), *ratios, f"{calls:.0f}")
        rows.append((TRACKERS[name].label, *cells))
    writing.print_table(title, COLUMNS, rows)


def figures_of(rounds: list[list[int]]) -> tuple[float, float, float]:
    """Give the medians over the rounds: of their medians and 99th percentiles in seconds, and of their calls."""
    ordered = [sorted(nanoseconds / 1e9 for nanoseconds in times) for times in rounds]
    return (
        middle(sorted(middle(times) for times in ordered)),
        middle(sorted(quantile(times, 0.99) for times in ordered)),
        middle(sorted(float(len(times)) for times in ordered)),
    )


if __name__ == "__main__":
    main()
