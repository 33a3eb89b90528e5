"""The peer of ``agentnn model list``: a script that asks ``MlflowClient`` for the registered models.

MLFLOW_TRACKING_URI=sqlite:///mlflow.db python benchmarks/peer_models.py
"""

from __future__ import annotations

from mlflow import MlflowClient

for model in MlflowClient().search_registered_models():
    print(model.name, [version.version for version in model.latest_versions], model.aliases, sep="\t")
