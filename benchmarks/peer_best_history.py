"""The peer of ``agentnn run best --aggregate max``: a script that asks ``MlflowClient`` for the history of every run.

    MLFLOW_TRACKING_URI=http://127.0.0.1:5000 python benchmarks/peer_best_history.py val_loss 200 said.txt

It searches all finished runs, and asks for the histories of every n-th one, as many as it is told (0 for all), since
those of ten thousand take minutes. It writes into a file how many runs there are and of how many it read the history,
how long that took in seconds, and the best of these.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

from mlflow import MlflowClient

metric, wanted, said = sys.argv[1], int(sys.argv[2]), sys.argv[3]
client = MlflowClient()
everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
runs, token = [], None
while True:
    page = client.search_runs(everywhere, "attributes.status = 'FINISHED'", max_results=1000, page_token=token)
    runs += [run.info.run_id for run in page if metric in run.data.metrics]
    token = page.token
    if not token:
        break
sample = runs[:: max(1, len(runs) // wanted)][:wanted] if wanted else runs
best = (-math.inf, "")
began = time.perf_counter()
for run_id in sample:
    values = [point.value for point in client.get_metric_history(run_id, metric)]
    finite = [value for value in values if math.isfinite(value) and abs(value) < sys.float_info.max]
    best = max(best, (max(finite, default=-math.inf), run_id))
took = time.perf_counter() - began
Path(said).write_text(f"{len(runs)} {len(sample)} {took} {best[1]}")
