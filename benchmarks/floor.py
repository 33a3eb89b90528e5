"""The floor: one Typer command that finds the best run with sqlite3, and nothing else.

It is the yardstick for ``agentnn run best``: what start-up, Typer and the two queries cost at the least.

    python benchmarks/floor.py mlflow.db --metric sharpe_ratio
"""

from __future__ import annotations

import sqlite3
from pathlib import Path  # noqa: TC003  (Typer reads the annotations)

import typer

# NOT INDEXED: one sequential scan of the narrow metric table beats a random look-up a run.
TOP = """
    SELECT run_uuid, value FROM latest_metrics NOT INDEXED
    WHERE key = ? AND is_nan = 0 AND abs(value) < 1.7e308
    ORDER BY value {direction} LIMIT ?
"""
QUALIFIED = """
    SELECT run_uuid, start_time FROM runs
    WHERE run_uuid IN ({marks}) AND status = 'FINISHED' AND lifecycle_stage = 'active'
"""
FIRST_LOOK = 32

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def best_run(database: sqlite3.Connection, metric: str, mode: str) -> tuple[str, float] | None:
    """Take the top K values, then those K runs by key; K doubles while a better run may lie beyond."""
    count = FIRST_LOOK
    sign = -1 if mode == "max" else 1
    direction = "DESC" if mode == "max" else "ASC"
    while True:
        top = database.execute(TOP.format(direction=direction), (metric, count)).fetchall()
        values = dict(top)
        marks = ",".join("?" * len(top))
        runs = database.execute(QUALIFIED.format(marks=marks), list(values)).fetchall()
        found = sorted((sign * values[run], -start, run) for run, start in runs)
        complete = len(top) < count
        if found and (complete or values[found[0][2]] != top[-1][1]):
            return found[0][2], values[found[0][2]]
        if complete:
            return None
        count *= 2


@app.command()
def best(
    store: Path,
    metric: str = typer.Option("sharpe_ratio", "--metric", "-m"),
    mode: str = typer.Option("max", "--mode"),
) -> None:
    """Print the id and the value of the best run."""
    database = sqlite3.connect(f"{store.resolve().as_uri()}?mode=ro", uri=True)
    found = best_run(database, metric, mode)
    if found is None:
        raise typer.Exit(3)
    print(f"{found[0]}\t{found[1]!r}")


if __name__ == "__main__":
    app()
