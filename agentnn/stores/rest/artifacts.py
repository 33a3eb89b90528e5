"""The files of runs that a tracking server keeps, listed and read over its own protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.errors import NotFoundError
from agentnn.stores.artifacts.files import RunFiles, RunSources, Source
from agentnn.stores.rest.experiments import find_experiment, pages
from agentnn.stores.rest.replies import NoSuchEndpoint
from agentnn.stores.rest.run_records import odd_answer

if TYPE_CHECKING:
    from agentnn.records import Run
    from agentnn.settings import Settings
    from agentnn.stores.rest.transport import Transport

_MODELS = 100


def run_files(transport: Transport, run: Run, settings: Settings) -> RunFiles:
    """The files of a run, and of the models that it logged."""
    experiment = find_experiment(transport, name=None, experiment_id=run.experiment_id)
    location = experiment.artifact_location if experiment is not None else None
    sources = RunSources(Source(run.artifact_uri, run.run_id), location, _logged_models(transport, run))
    return RunFiles(sources, settings)


def _logged_models(transport: Transport, run: Run) -> dict[str, Source]:
    """The models that a run logged, by name; a server of MLflow 2 knows none."""
    question = {
        "experiment_ids": [run.experiment_id],
        "filter": f"source_run_id = '{run.run_id}'",
        "max_results": _MODELS,
    }
    try:
        found = [one for page in pages(transport, "logged-models/search", question, "models") for one in page]
    except (NotFoundError, NoSuchEndpoint):
        return {}
    try:
        infos: list[dict[str, Any]] = [one["info"] for one in found]
        infos.sort(key=lambda info: int(info.get("creation_timestamp_ms") or 0))
        return {info["name"]: Source(info.get("artifact_uri"), info["model_id"]) for info in infos}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise odd_answer("a logged model") from error
