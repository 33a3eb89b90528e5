"""Where an MLflow database says that the files of a run lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.stores.artifacts.files import RunFiles, RunSources, Source

if TYPE_CHECKING:
    from agentnn.records import Run
    from agentnn.settings import Settings
    from agentnn.stores.sql.dialect import Database


def run_files(database: Database, run: Run, location: str | None, settings: Settings) -> RunFiles:
    """The files of a run, and of the models that it logged.

    Args:
        database: MLflow's.
        run: Whose files.
        location: Where the run's experiment keeps its artifacts.
        settings: Name the store.
    """
    own = Source(run.artifact_uri, run.run_id)
    return RunFiles(RunSources(own, location, _logged_models(database, run.run_id)), settings)


def _logged_models(database: Database, run_id: str) -> dict[str, Source]:
    """The models that a run logged, by name; MLflow 3 keeps them beside the run's artifacts."""
    if not database.has(
        "logged_models", "model_id", "name", "artifact_location", "source_run_id", "lifecycle_stage",
        "creation_timestamp_ms",
    ):  # fmt: skip
        return {}
    rows = database.rows(
        "SELECT name, artifact_location, model_id FROM logged_models "
        "WHERE source_run_id = ? AND lifecycle_stage = 'active' ORDER BY creation_timestamp_ms",
        (run_id,),
    )
    return {name: Source(location, model_id) for name, location, model_id in rows}
