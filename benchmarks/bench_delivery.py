"""Points a second that reach an MLflow SQLite store: agentnn's sender against MLflow's own client.

Every way has a copy of the same store and the same points; the ways take turns. Afterwards the points in the store are
counted. One call a step is so slow that it gets fewer points.
"""

from __future__ import annotations

import writing
from timing import middle, note, quantile

WAYS = {
    "sender": "agentnn's sender, running",
    "sender-start": "agentnn, with the start of run and sender",
    "log_batch": "`MlflowClient.log_batch`, 1000 points a call",
    "log_metrics": "`mlflow.log_metrics`, one call a step of ten",
}
COLUMNS = ("way", "points", "took", "points/s", "sender's points/s ÷ this, quartiles", "rounds")


def main() -> None:
    """Print a row a way."""
    parser = writing.parser(__doc__, trackers=())
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--call-points", type=int, default=2_000, help="points of one call a step")
    options = parser.parse_args()
    points = {way: options.call_points if way == "log_metrics" else options.points for way in WAYS}
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn, ways in enumerate(writing.turns(list(WAYS), options.rounds)):
        for way in ways:
            note(f"round {turn + 1}: {way}")
            found = writing.measured(options, "peer_deliver.py", way, points[way], kept_by="mlflow")
            rates[way].append(found["logged"] / found["took"])
    rows = [row(way, points[way], rates[way], rates["sender"]) for way in WAYS]
    writing.print_table(f"Delivery to a SQLite store of {options.runs:,} runs", COLUMNS, rows)


def row(way: str, points: int, rates: list[float], own: list[float]) -> tuple[str, ...]:
    """Write one row; the ratio is taken round by round."""
    rate = middle(sorted(rates))
    ratios = sorted(ours / theirs for ours, theirs in zip(own, rates, strict=True))
    ratio = f"{middle(ratios):.3g}× ({quantile(ratios, 0.25):.3g}–{quantile(ratios, 0.75):.3g})"
    cells = (f"{points:,}", writing.duration(points / rate), f"{rate:,.0f}")
    return (WAYS[way], *cells, "" if way == "sender" else ratio, str(len(rates)))


if __name__ == "__main__":
    main()
