"""The peer of ``agentnn report``: a page as one writes it by hand, with ``MlflowClient``, pandas and Plotly.

It holds the table of the runs, a line chart for each metric with the curves of some of them, and a scatter chart, and
nothing of what makes a report: no best run, no differences, no policy, no dark mode.

    MLFLOW_TRACKING_URI=sqlite:///mlflow.db python benchmarks/peer_report.py PAGE [--curves N] RUN RUN…
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from mlflow import MlflowClient


def main() -> None:
    """Write the page, and print how many runs are in it."""
    page, *run_ids = sys.argv[1:]
    curves = 25
    if run_ids[:1] == ["--curves"]:
        curves, run_ids = int(run_ids[1]), run_ids[2:]
    if run_ids[:1] == ["--file"]:
        run_ids = Path(run_ids[1]).read_text().split()
    client = MlflowClient()
    wanted, found, token = set(run_ids), [], None
    experiments = [one.experiment_id for one in client.search_experiments()]
    while True:
        some = client.search_runs(experiments, max_results=1000, page_token=token)
        found += [run for run in some if run.info.run_id in wanted]
        token = some.token
        if not token:
            break
    rows = [{"run": run.info.run_name, "id": run.info.run_id, **run.data.metrics, **run.data.params} for run in found]
    table = pd.DataFrame(rows)
    metrics = sorted({key for run in found for key in run.data.metrics})
    parts = [table.to_html(index=False)]
    for place, metric in enumerate(metrics):
        figure = go.Figure()
        for run in found[:curves]:
            points = sorted(client.get_metric_history(run.info.run_id, metric), key=lambda one: one.step)
            if len(points) > 1:
                figure.add_scatter(
                    x=[one.step for one in points], y=[one.value for one in points], name=run.info.run_name
                )
        parts.append(figure.to_html(full_html=False, include_plotlyjs=place == 0))
    if len(metrics) > 1 and len(found) > 1:
        figure = go.Figure(go.Scatter(x=table[metrics[0]], y=table[metrics[1]], mode="markers"))
        parts.append(figure.to_html(full_html=False, include_plotlyjs=False))
    Path(page).write_text(f"<!doctype html><meta charset=utf-8>{''.join(parts)}", encoding="utf-8")
    print(len(found))


if __name__ == "__main__":
    main()
