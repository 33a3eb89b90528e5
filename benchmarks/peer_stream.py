"""The peer of ``agentnn run list -n 0 -o jsonl``: ``MlflowClient`` page by page, a line of JSON a run.

MLFLOW_TRACKING_URI=sqlite:///mlflow.db python benchmarks/peer_stream.py 1000
"""

from __future__ import annotations

import json
import math
import sys

from mlflow import MlflowClient

page_size = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
client = MlflowClient()
everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
token = None
while True:
    page = client.search_runs(everywhere, max_results=page_size, page_token=token)
    for run in page:
        record = {key: value for key, value in run.info if key != "run_uuid"}
        record["metrics"] = {key: value if math.isfinite(value) else None for key, value in run.data.metrics.items()}
        print(json.dumps({**record, "params": run.data.params, "tags": run.data.tags}))
    token = page.token
    if not token:
        break
