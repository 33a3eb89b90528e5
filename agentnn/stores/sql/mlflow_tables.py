"""The tables and columns of MLflow's that questions stand on, and the error where they are not there."""

from __future__ import annotations

from collections.abc import Mapping

from agentnn.errors import AgentNNError

Tables = Mapping[str, frozenset[str]]

RUN_TABLES: Tables = {
    "experiments": frozenset({"experiment_id", "name", "artifact_location", "lifecycle_stage"}),
    "runs": frozenset(
        {
            "run_uuid", "name", "user_id", "status", "start_time", "end_time", "lifecycle_stage", "artifact_uri",
            "experiment_id",
        }
    ),
    "latest_metrics": frozenset({"key", "value", "is_nan", "run_uuid"}),
    "metrics": frozenset({"key", "value", "timestamp", "step", "is_nan", "run_uuid"}),
    "params": frozenset({"key", "value", "run_uuid"}),
    "tags": frozenset({"key", "value", "run_uuid"}),
    "experiment_tags": frozenset({"key", "value", "experiment_id"}),
}  # fmt: skip
"""The tables and columns that a question about runs stands on. They have not changed since MLflow 2.0."""

MODEL_TABLES: Tables = {
    "registered_models": frozenset({"name", "description", "creation_time", "last_updated_time"}),
    "model_versions": frozenset(
        {
            "name", "version", "current_stage", "status", "source", "run_id", "description", "user_id",
            "creation_time", "last_updated_time",
        }
    ),
    "registered_model_tags": frozenset({"name", "key", "value"}),
    "model_version_tags": frozenset({"name", "version", "key", "value"}),
}  # fmt: skip
"""The tables and columns that a question about registered models stands on."""


class SchemaMismatch(AgentNNError):
    """An MLflow database whose tables this reader does not know; MLflow itself may still read it."""

    exit_code = 2
