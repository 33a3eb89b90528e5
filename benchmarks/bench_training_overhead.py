"""What logging at every step adds to the training of a small network.

The same loop in turns with and without logging, in one process a tracker; the overhead is the ratio of the medians.
Once with one thread of PyTorch, where another core is free for what a tracker does beside, and once with a thread for
every core, where training pays for that too. The control logs nothing in either turn: what it shows is the noise, and a
difference below that says nothing. A turn has to last for several of the sender's rounds, which come twice a second: in
a shorter one delivery falls into the pause, and the overhead is not seen.
"""

from __future__ import annotations

import os

import writing
from timing import middle, note, quantile
from trackers import TRACKERS

GOAL = 0.02
CONTROL = "control"
COLUMNS = (
    "tracker",
    "threads",
    "a step without",
    "a step with",
    "overhead",
    "quartiles of the pairs",
    "pairs",
    "goal",
)


def main() -> None:
    """Print a row a tracker and number of threads."""
    parser = writing.parser(__doc__)
    parser.set_defaults(rounds=1)
    parser.add_argument("--pairs", type=int, default=10, help="turns with and without, a round")
    parser.add_argument("--steps", type=int, default=400, help="steps a turn; it should last a second or two")
    parser.add_argument("--values", type=int, default=10, help="values logged at a step")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, os.cpu_count() or 1}))
    options = parser.parse_args()
    names = [CONTROL, *options.trackers]
    asked = [(name, threads) for threads in options.threads for name in names]
    times: dict[tuple[str, int], dict[str, list[float]]] = {one: {"with": [], "without": []} for one in asked}
    for turn in writing.turns(asked, options.rounds):
        for name, threads in turn:
            note(f"{name}, {threads} threads")
            arguments = (name, options.pairs, options.steps, options.values, threads)
            checked = name if name in TRACKERS else ""
            found = writing.measured(options, "peer_train.py", *arguments, kept_by=checked)
            for way, taken in times[name, threads].items():
                taken.extend(found[way])
    rows = [row(name, threads, **found) for (name, threads), found in times.items()]
    writing.print_table(f"Training with {options.values} values logged at every step", COLUMNS, rows)


def row(name: str, threads: int, **times: list[float]) -> tuple[str, ...]:
    """Write one row; the goal is agentnn's, and neither met nor missed when it lies between the quartiles."""
    logged, plain = times["with"], times["without"]
    overhead = middle(sorted(logged)) / middle(sorted(plain)) - 1
    pairs = sorted(one / other - 1 for one, other in zip(logged, plain, strict=True))
    low, high = quantile(pairs, 0.25), quantile(pairs, 0.75)
    verdict = "met" if high < GOAL else "MISSED" if low >= GOAL else "unclear"
    return (
        TRACKERS[name].label if name in TRACKERS else name,
        str(threads),
        writing.duration(middle(sorted(plain))),
        writing.duration(middle(sorted(logged))),
        f"{overhead:+.1%}",
        f"{low:+.1%} to {high:+.1%}",
        str(len(pairs)),
        f"< {GOAL:.0%} {verdict}" if name == "agentnn" else "",
    )


if __name__ == "__main__":
    main()
