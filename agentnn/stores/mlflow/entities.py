"""What MLflow's client gives, as records."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from agentnn.records import DatasetInput, Experiment, ModelVersion, RegisteredModel, Run
from agentnn.stores.sql.where import LARGEST

if TYPE_CHECKING:
    from collections.abc import Mapping


def experiment_of(one: Any) -> Experiment:
    """An experiment."""
    return Experiment(
        one.experiment_id,
        one.name,
        one.lifecycle_stage,
        one.artifact_location,
        one.creation_time,
        one.last_update_time,
        _texts(one.tags),
    )


def run_of(one: Any, experiment_names: Mapping[str, str]) -> Run:
    """A run; its experiment is known by its id."""
    inputs = one.inputs.dataset_inputs if one.inputs else []
    return Run(
        run_id=one.info.run_id,
        name=one.info.run_name or "",
        experiment_id=one.info.experiment_id,
        experiment=experiment_names.get(one.info.experiment_id, ""),
        status=one.info.status,
        lifecycle_stage=one.info.lifecycle_stage,
        start_time=one.info.start_time,
        end_time=one.info.end_time or None,
        user=one.info.user_id or None,
        artifact_uri=one.info.artifact_uri,
        metrics={key: finite_as_kept(value) for key, value in one.data.metrics.items()},
        params=_texts(one.data.params),
        tags=_texts(one.data.tags),
        datasets=tuple(sorted((_dataset(item) for item in inputs), key=lambda item: (item.name, item.digest))),
    )


def latest_points(one: Any) -> list[Any]:
    """The latest point of each metric of a run, which MLflow's own class keeps and does not show."""
    return list(getattr(one.data, "_metric_objs", ()))


def _dataset(item: Any) -> DatasetInput:
    context = next((tag.value for tag in item.tags if tag.key == "mlflow.data.context"), None)
    return DatasetInput(item.dataset.name, item.dataset.digest, context)


def model_of(one: Any, versions: list[ModelVersion]) -> RegisteredModel:
    """A registered model, of which the versions are known, the newest first."""
    stages: dict[str, int] = {}
    for version in versions:
        if version.stage != "None":
            stages.setdefault(version.stage, version.version)
    return RegisteredModel(
        one.name,
        one.description or None,
        one.creation_timestamp,
        one.last_updated_timestamp,
        latest_version=max((version.version for version in versions), default=None),
        version_count=len(versions),
        aliases={alias: int(version) for alias, version in sorted(one.aliases.items())},
        stages=stages,
        tags=_texts(one.tags),
    )


def version_of(one: Any, aliases: tuple[str, ...]) -> ModelVersion:
    """A version of a model, of which the aliases are known: a search gives none."""
    return ModelVersion(
        one.name,
        int(one.version),
        one.current_stage or "None",
        aliases,
        one.status,
        one.source,
        one.run_id or None,
        one.description or None,
        one.user_id or None,
        one.creation_timestamp,
        one.last_updated_timestamp,
        _texts(one.tags),
    )


def aliases_by_version(model: Any) -> dict[int, tuple[str, ...]]:
    """The aliases that a registered model gives its versions."""
    aliases: dict[int, tuple[str, ...]] = {}
    for alias, version in sorted(model.aliases.items()):
        aliases[int(version)] = (*aliases.get(int(version), ()), alias)
    return aliases


def finite_as_kept(value: float) -> float:
    """A metric's value; an infinity comes out of MLflow's SQL store as the largest double."""
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else float(value)


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: value for key, value in values.items() if value is not None}
