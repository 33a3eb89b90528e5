"""The peer of ``agentnn run best``: a script that asks ``MlflowClient`` for the first run by a metric.

    MLFLOW_TRACKING_URI=sqlite:///mlflow.db python benchmarks/peer_best.py sharpe_ratio

It does less than ``run best``: an unfinished run or an infinite value may win.
"""

from __future__ import annotations

import sys

from mlflow import MlflowClient

metric = sys.argv[1] if len(sys.argv) > 1 else "sharpe_ratio"
client = MlflowClient()
everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
found = client.search_runs(everywhere, order_by=[f"metrics.{metric} DESC"], max_results=1)
for run in found:
    print(run.info.run_id, run.data.metrics.get(metric), sep="\t")
