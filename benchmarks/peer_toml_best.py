"""The peer of ``agentnn run best`` over TOML runs: a script as it is written without a library.

    python benchmarks/peer_toml_best.py checkpoints sharpe_ratio

It reads every run with ``toml``, makes one data frame with pandas, and takes the first row by the metric.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import toml

folder, metric = Path(sys.argv[1]), sys.argv[2]
rows = []
for config_file in folder.glob("*/*/config.toml"):
    config = toml.load(config_file)
    metrics = toml.load(config_file.with_name("metrics.toml"))
    rows.append({"run_id": config_file.parent.name, "status": config["_meta"]["status"], **metrics})
frame = pd.DataFrame(rows)
finished = frame[frame["status"] == "FINISHED"]
best = finished.sort_values(metric, ascending=False).iloc[0]
print(best["run_id"], best[metric], sep="\t")
