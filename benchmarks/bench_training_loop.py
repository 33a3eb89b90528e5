"""What ``train_model`` adds to a training loop that is written by hand, with everything logged and checkpoints kept.

The two take turns in one process a network, do the same work and end with the same weights. The overhead is the ratio
of the medians; the control is the loop by hand in both turns, and what it shows is the noise.
"""

from __future__ import annotations

import os

import writing
from timing import middle, note, quantile

GOAL = 0.03
CONTROL = "control"
NETWORKS = ("mlp", "gru", "wide mlp")
COLUMNS = (
    "network",
    "threads",
    "samples/s by hand",
    "samples/s by `train_model`",
    "overhead",
    "quartiles of the pairs",
    "pairs",
    "goal",
)


def main() -> None:
    """Print a row a network and number of threads."""
    parser = writing.parser(__doc__, trackers=())
    parser.set_defaults(rounds=1)
    parser.add_argument("--pairs", type=int, default=10, help="turns of both, a round")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn, about")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, os.cpu_count() or 1}))
    options = parser.parse_args()
    asked = [(name, threads, kind) for threads in options.threads for name, kind in subjects(options.networks)]
    times: dict[tuple[str, int, str], dict[str, list[float]]] = {one: {"ours": [], "by_hand": []} for one in asked}
    for turn in writing.turns(asked, options.rounds):
        for subject in turn:
            name, threads, kind = subject
            note(f"{name}, {threads} threads {kind}")
            told = writing.measured(options, "peer_loop.py", name, options.pairs, options.seconds, threads, kind)
            for way, taken in times[subject].items():
                taken.extend(one / told["samples"] for one in told[way])
    rows = [row(*subject, **found) for subject, found in times.items()]
    writing.print_table("Training by `train_model` with everything logged, and by hand", COLUMNS, rows)


def subjects(networks: list[str]) -> list[tuple[str, str]]:
    """Give the networks, and the first one again as the control."""
    return [*((name, "") for name in networks), (networks[0], CONTROL)]


def row(name: str, threads: int, kind: str, *, ours: list[float], by_hand: list[float]) -> tuple[str, ...]:
    """Write one row, from seconds a sample; the goal is neither met nor missed when it lies between the quartiles."""
    own, peer = middle(sorted(ours)), middle(sorted(by_hand))
    pairs = sorted(one / other - 1 for one, other in zip(ours, by_hand, strict=True))
    low, high = quantile(pairs, 0.25), quantile(pairs, 0.75)
    verdict = "met" if high < GOAL else "MISSED" if low >= GOAL else "unclear"
    return (
        f"{name}, {kind}" if kind else name,
        str(threads),
        f"{1 / peer:,.0f}",
        f"{1 / own:,.0f}",
        f"{own / peer - 1:+.1%}",
        f"{low:+.1%} to {high:+.1%}",
        str(len(pairs)),
        "" if kind == CONTROL else f"< {GOAL:.0%} {verdict}",
    )


if __name__ == "__main__":
    main()
