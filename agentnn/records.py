"""What comes back from a store: immutable records, made of the standard library alone.

Times are integers, milliseconds since the Unix epoch in UTC, as MLflow keeps them; ``to_dict`` gives the stable
JSON form, in which times are ISO 8601 and a value that JSON can't hold is ``None`` and named in ``non_finite``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeVar

    Value = TypeVar("Value")

PARENT_TAG = "mlflow.parentRunId"
RUN_NAME_TAG = "mlflow.runName"
COMMIT_TAG = "mlflow.source.git.commit"
PROMPT_TAG = "mlflow.prompt.is_prompt"
"""MLflow keeps prompts among the models, tells them by this tag, and shows them apart."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def iso_time(milliseconds: int | None) -> str | None:
    """Milliseconds since the epoch as ISO 8601 in UTC, to the millisecond; ``None`` stays ``None``.

    A time outside the years 1 to 9999 can't be written so, and gives ``None``.
    """
    if milliseconds is None:
        return None
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def finite_or_none(value: float | None) -> float | None:
    """The value, or ``None`` where it is missing, NaN or infinite."""
    return value if value is not None and math.isfinite(value) else None


class Experiment(NamedTuple):
    """A named group of runs.

    Attributes:
        experiment_id: The id that the store gave it.
        name: Its name, unique in the store.
        lifecycle_stage: ``active`` or ``deleted``.
        artifact_location: The folder or URI below which the files of its runs lie.
        creation_time, last_update_time: Milliseconds since the epoch; ``None`` where the store does not say.
        tags: Texts by name.
    """

    experiment_id: str
    name: str
    lifecycle_stage: str = "active"
    artifact_location: str | None = None
    creation_time: int | None = None
    last_update_time: int | None = None
    tags: Mapping[str, str] = _NOTHING

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "experiment_id": self.experiment_id,
            "name": self.name,
            "lifecycle_stage": self.lifecycle_stage,
            "artifact_location": self.artifact_location,
            "creation_time": iso_time(self.creation_time),
            "last_update_time": iso_time(self.last_update_time),
            "tags": in_order(self.tags),
        }


class DatasetInput(NamedTuple):
    """A data set that a run names as its input; ``context`` says what for (``training``, …)."""

    name: str
    digest: str
    context: str | None = None


def non_finite_keys(metrics: Mapping[str, float]) -> list[str]:
    """The names of the metrics that are NaN or infinite, sorted."""
    return sorted(key for key, value in metrics.items() if not math.isfinite(value))


def in_order(values: Mapping[str, Value]) -> dict[str, Value]:
    """The same by its keys' order: each store gives them in one of its own, and their JSON is to be the same."""
    return {key: values[key] for key in sorted(values)}


@dataclass(frozen=True, slots=True)
class Run:
    """One training run.

    Attributes:
        run_id: The id that the store gave it: 32 hexadecimal digits, in most stores.
        name: Its name; several runs may have the same.
        experiment_id, experiment: Id and name of its experiment.
        status: ``RUNNING``, ``SCHEDULED``, ``FINISHED``, ``FAILED`` or ``KILLED``.
        lifecycle_stage: ``active`` or ``deleted``.
        start_time, end_time: Milliseconds since the epoch; ``None`` where there is none.
        user: Who ran it.
        artifact_uri: The folder or URI of its files.
        metrics: The latest value of each metric, that of the greatest (step, timestamp, value); NaN and infinities too.
        params, tags: Texts by name, as MLflow keeps them.
        datasets: The data sets that it names as its inputs.
    """

    run_id: str
    name: str
    experiment_id: str
    experiment: str
    status: str
    lifecycle_stage: str = "active"
    start_time: int | None = None
    end_time: int | None = None
    user: str | None = None
    artifact_uri: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    datasets: tuple[DatasetInput, ...] = ()

    @property
    def parent_run_id(self) -> str | None:
        """The id of the run that this one is nested in."""
        return self.tags.get(PARENT_TAG)

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end; ``None`` while one of the two is missing."""
        if self.start_time is None or self.end_time is None:
            return None
        return (self.end_time - self.start_time) / 1000

    @property
    def non_finite(self) -> list[str]:
        """The names of the metrics that are NaN or infinite."""
        return non_finite_keys(self.metrics)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: the whole record, a stable contract."""
        return {
            "run_id": self.run_id,
            "name": self.name,
            "experiment_id": self.experiment_id,
            "experiment": self.experiment,
            "status": self.status,
            "lifecycle_stage": self.lifecycle_stage,
            "start_time": iso_time(self.start_time),
            "end_time": iso_time(self.end_time),
            "duration_s": self.duration_s,
            "user": self.user,
            "parent_run_id": self.parent_run_id,
            "artifact_uri": self.artifact_uri,
            "metrics": {key: finite_or_none(self.metrics[key]) for key in sorted(self.metrics)},
            "params": in_order(self.params),
            "tags": in_order(self.tags),
            "non_finite": self.non_finite,
        }


class Metric(NamedTuple):
    """One logged value of a metric.

    Attributes:
        key: The metric's name.
        value: The value; it may be NaN or an infinity.
        step: The step that it was logged at.
        timestamp: When that was, in milliseconds since the epoch.
    """

    key: str
    value: float
    step: int
    timestamp: int

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "key": self.key,
            "step": self.step,
            "timestamp": iso_time(self.timestamp),
            "value": finite_or_none(self.value),
            "non_finite": [] if math.isfinite(self.value) else ["value"],
        }


class Artifact(NamedTuple):
    """A file or a folder of a run.

    Attributes:
        path: Where it lies, relative to the run's files.
        is_dir: Whether it is a folder.
        size: Bytes; ``None`` for a folder, and where the store does not tell.
    """

    path: str
    is_dir: bool
    size: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"path": self.path, "is_dir": self.is_dir, "size": self.size}


class RegisteredModel(NamedTuple):
    """A name in the model registry.

    Attributes:
        name: The name.
        description: What was written about it.
        creation_time, last_updated_time: Milliseconds since the epoch.
        latest_version: The greatest version number; ``None`` without versions.
        version_count: How many versions there are.
        aliases: The version that each alias names.
        stages: The version in each stage; of several the newest.
        tags: Texts by name.
        metrics: Those of the newest version's run, where they were asked for.
    """

    name: str
    description: str | None = None
    creation_time: int | None = None
    last_updated_time: int | None = None
    latest_version: int | None = None
    version_count: int = 0
    aliases: Mapping[str, int] = _NOTHING
    stages: Mapping[str, int] = _NOTHING
    tags: Mapping[str, str] = _NOTHING
    metrics: Mapping[str, float] = _NOTHING

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "name": self.name,
            "description": self.description,
            "creation_time": iso_time(self.creation_time),
            "last_updated_time": iso_time(self.last_updated_time),
            "latest_version": self.latest_version,
            "version_count": self.version_count,
            "aliases": in_order(self.aliases),
            "stages": in_order(self.stages),
            "tags": in_order(self.tags),
            "metrics": {key: finite_or_none(self.metrics[key]) for key in sorted(self.metrics)},
            "non_finite": non_finite_keys(self.metrics),
        }


class ModelVersion(NamedTuple):
    """One version of a registered model.

    Attributes:
        name: The model's name.
        version: Its number, from 1.
        stage: ``None``, ``Staging``, ``Production`` or ``Archived``; MLflow deprecates stages.
        aliases: The names that point at it, such as ``champion``.
        status: ``READY``, or what MLflow says of one that can't be used.
        source: The folder or URI of its files, as MLflow keeps it.
        run_id: The run that made it; ``None`` where there is none.
        description: What was written about it.
        user: Who registered it.
        creation_time, last_updated_time: Milliseconds since the epoch.
        tags: Texts by name.
        metrics: Those of its run, where they were asked for.
    """

    name: str
    version: int
    stage: str = "None"
    aliases: tuple[str, ...] = ()
    status: str = "READY"
    source: str | None = None
    run_id: str | None = None
    description: str | None = None
    user: str | None = None
    creation_time: int | None = None
    last_updated_time: int | None = None
    tags: Mapping[str, str] = _NOTHING
    metrics: Mapping[str, float] = _NOTHING

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "name": self.name,
            "version": self.version,
            "stage": self.stage,
            "aliases": list(self.aliases),
            "status": self.status,
            "source": self.source,
            "run_id": self.run_id,
            "description": self.description,
            "user": self.user,
            "creation_time": iso_time(self.creation_time),
            "last_updated_time": iso_time(self.last_updated_time),
            "tags": in_order(self.tags),
            "metrics": {key: finite_or_none(self.metrics[key]) for key in sorted(self.metrics)},
            "non_finite": non_finite_keys(self.metrics),
        }
