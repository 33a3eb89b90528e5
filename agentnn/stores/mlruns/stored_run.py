"""One run of a folder of runs: of its many files, those that a question needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from agentnn.errors import CorruptDataError
from agentnn.records import RUN_NAME_TAG, DatasetInput, Metric, Run
from agentnn.stores.mlruns.layout import METRICS, PARAMS, TAGS
from agentnn.stores.mlruns.meta import META, STATUSES, is_run_meta
from agentnn.stores.mlruns.metric_values import latest_value, points_in
from agentnn.stores.mlruns.names import is_name
from agentnn.stores.mlruns.reading import NOT_THERE, Damage, names_below, names_in, read_bytes, read_meta, read_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.records import Experiment

_DATASETS, _INPUTS = "datasets", "inputs"
_CONTEXT_TAG = "mlflow.data.context"
Value = TypeVar("Value")


class Values(Mapping[str, Value]):
    """Metrics, params or tags of a run, each of which is read when it is asked for.

    Args:
        run: The run.
        kind: The folder of the values.
    """

    __slots__ = ("_kind", "_run")

    def __init__(self, run: StoredRun, kind: str) -> None:
        self._run = run
        self._kind = kind

    def __getitem__(self, key: str) -> Value:
        value: Any = self._run.latest(key) if self._kind == METRICS else self._run.text(self._kind, key)
        if value is None:
            raise KeyError(key)
        return value  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[str]:
        return iter(self._run.keys(self._kind))

    def __len__(self) -> int:
        return len(self._run.keys(self._kind))


class StoredRun:
    """A run, of which only ``meta.yaml`` has been read.

    Args:
        folder: Its folder.
        experiment: Its experiment.
        meta: What its ``meta.yaml`` says.
        damage: Takes note of what can't be read.
    """

    __slots__ = ("_damage", "_experiment", "_meta", "folder")

    def __init__(self, folder: str, experiment: Experiment, meta: dict[str, Any], damage: Damage) -> None:
        self.folder = folder
        self._experiment = experiment
        self._meta = meta
        self._damage = damage

    @classmethod
    def read(cls, folder: str, experiment: Experiment, damage: Damage) -> StoredRun | None:
        """The run of a folder; ``None`` when it is none, or that of another experiment.

        Raises:
            CorruptDataError: Its ``meta.yaml`` is damaged.
        """
        meta = read_meta(folder)
        if meta is None:
            return None
        is_whole = is_run_meta(meta) and meta.get("status", 1) in STATUSES
        if not is_whole or meta["run_id"] != folder.rpartition("/")[2]:
            raise CorruptDataError(f"{folder}/{META} is not of this run", hint="restore it from a backup")
        return cls(folder, experiment, meta, damage) if str(meta["experiment_id"]) == experiment.experiment_id else None

    @property
    def run_id(self) -> str:
        """The id."""
        return str(self._meta["run_id"])

    @property
    def stage(self) -> str:
        """The life-cycle stage."""
        return str(self._meta.get("lifecycle_stage", "active"))

    @property
    def status(self) -> str:
        """The status."""
        return STATUSES[self._meta.get("status", 1)]

    @property
    def order(self) -> tuple[float, str]:
        """What sorts runs as MLflow does."""
        start = self._meta["start_time"]
        return math.inf if start is None else -start, self._meta["run_id"]

    def record(self) -> Run:
        """The whole run."""
        metrics = {key: value for key in self.keys(METRICS) if (value := self.latest(key)) is not None}
        params = read_texts(f"{self.folder}/{PARAMS}", None, self._damage)
        return self._as_run(metrics, params, read_texts(f"{self.folder}/{TAGS}", None, self._damage), self._datasets())

    def glance(self, *, datasets: bool = False) -> Run:
        """The run to look at: of its values each is read when it is asked for.

        Args:
            datasets: Whether somebody looks at its data sets.
        """
        return self._as_run(
            Values(self, METRICS),
            Values(self, PARAMS),
            Values(self, TAGS),
            self._datasets() if datasets else (),
        )

    def latest(self, key: str) -> float | None:
        """The latest value of a metric; ``None`` when the run has none that can be read."""
        path = f"{self.folder}/{METRICS}/{key}"
        try:
            return latest_value(read_bytes(path)) if is_name(key) else None
        except NOT_THERE:
            return None
        except (OSError, ValueError) as error:
            self._damage.tell(f"{path} is no metric of MLflow's: {error}")
            return None

    def text(self, kind: str, key: str) -> str | None:
        """A param or a tag; ``None`` when the run has none that can be read."""
        return read_texts(f"{self.folder}/{kind}", (key,), self._damage).get(key)

    def points(self, key: str) -> list[Metric]:
        """Every value of a metric, by (step, timestamp); none when they can't be read."""
        path = f"{self.folder}/{METRICS}/{key}"
        try:
            return points_in(key, read_bytes(path)) if is_name(key) else []
        except NOT_THERE:
            return []
        except (OSError, ValueError) as error:
            self._damage.tell(f"{path} is no metric of MLflow's: {error}")
            return []

    def keys(self, kind: str) -> list[str]:
        """The names of the run's metrics, params or tags."""
        return [name for name in names_below(f"{self.folder}/{kind}", self._damage) if is_name(name)]

    def _as_run(
        self,
        metrics: Mapping[str, float],
        params: Mapping[str, str],
        tags: Mapping[str, str],
        datasets: tuple[DatasetInput, ...],
    ) -> Run:
        meta = self._meta
        return Run(
            meta["run_id"],
            meta.get("run_name") or tags.get(RUN_NAME_TAG, ""),
            self._experiment.experiment_id,
            self._experiment.name,
            self.status,
            self.stage,
            meta["start_time"],
            meta.get("end_time") or None,
            meta["user_id"] or None,
            meta.get("artifact_uri"),
            metrics,
            params,
            tags,
            datasets,
        )

    def _datasets(self) -> tuple[DatasetInput, ...]:
        found = []
        for folder in names_in(f"{self.folder}/{_INPUTS}", self._damage):
            dataset = self._dataset(f"{self.folder}/{_INPUTS}/{folder}")
            if dataset is not None:
                found.append(dataset)
        return tuple(sorted(found, key=lambda one: (one.name, one.digest)))

    def _dataset(self, folder: str) -> DatasetInput | None:
        try:
            said = read_meta(folder)
            if said is None or said.get("source_type") != "DATASET":
                return None
            source = str(said.get("source_id")).rpartition("/")[2]
            dataset = read_meta(f"{self.folder.rpartition('/')[0]}/{_DATASETS}/{source}")
        except CorruptDataError as error:
            self._damage.tell(error.message)
            return None
        tags = said.get("tags") or {}
        return None if dataset is None else DatasetInput(dataset["name"], dataset["digest"], tags.get(_CONTEXT_TAG))
