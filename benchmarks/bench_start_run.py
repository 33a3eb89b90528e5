"""How long it takes to start a run on a store that is warm: migrated, and written by another run just before.

Each tracker runs in a fresh process: the import, the first start in the process (for agentnn with what it imports only
then), and the next one. agentnn's sender is there from the run before.
"""

from __future__ import annotations

import writing
from timing import middle, note
from trackers import TRACKERS

GOAL_S = 0.050
COLUMNS = ("tracker", "import", "first start", "next start", "import and first start", "÷ agentnn's", "goal")


def main() -> None:
    """Print a row a tracker."""
    parser = writing.parser(__doc__)
    options = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in options.trackers}
    for turn, names in enumerate(writing.turns(options.trackers, options.rounds)):
        for name in names:
            note(f"round {turn + 1}: {name}")
            rounds[name].append(writing.measured(options, "peer_start.py", name, times=2))
    figures = {name: medians(found) for name, found in rounds.items()}
    own = figures.get("agentnn")
    rows = [row(name, found, own) for name, found in figures.items()]
    writing.print_table(f"Starting a run on a warm store of {options.runs:,} runs", COLUMNS, rows)


def medians(found: list[dict[str, float]]) -> dict[str, float]:
    """Give the median of each figure, and of the import and the first start together."""
    for one in found:
        one["both"] = one["import"] + one["first"]
    return {key: middle(sorted(one[key] for one in found)) for key in found[0]}


def row(name: str, figures: dict[str, float], own: dict[str, float] | None) -> tuple[str, ...]:
    """Write one row; the goal is agentnn's, for the first start."""
    times = [writing.duration(figures[key]) for key in ("import", "first", "next", "both")]
    ratio = f"{figures['both'] / own['both']:.3g}×" if own else "–"
    met = "met" if figures["first"] < GOAL_S else "MISSED"
    return (TRACKERS[name].label, *times, ratio, f"< {GOAL_S * 1000:.0f} ms {met}" if name == "agentnn" else "")


if __name__ == "__main__":
    main()
