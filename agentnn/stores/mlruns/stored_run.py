"""One run of a folder of runs: of its many files, those that a question needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from agentnn.errors import CorruptDataError
from agentnn.records import RUN_NAME_TAG, DatasetInput, Metric, Run
from agentnn.stores.mlruns.facts import HEAD, TEXT, VALUES
from agentnn.stores.mlruns.layout import METRICS, PARAMS, TAGS
from agentnn.stores.mlruns.meta import META
from agentnn.stores.mlruns.metric_values import points_in
from agentnn.stores.mlruns.names import is_name
from agentnn.stores.mlruns.reading import NOT_THERE, Damage, names_below, names_in, read_blocks, read_meta, read_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.query.selection import Aggregate
    from agentnn.records import Experiment
    from agentnn.stores.mlruns.facts import Files, Head

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
        value: Any = self._run.value(key) if self._kind == METRICS else self._run.text(self._kind, key)
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
        run_id: Its id, which is the name of its folder.
        folder: Its folder.
        experiment: Its experiment.
        files: Answer with what its files say.
        damage: Takes note of what can't be read.

    Attributes:
        run_id: Its id.
        folder: Its folder.
        head: What its ``meta.yaml`` says.

    Raises:
        OSError: It has no ``meta.yaml``.
        CorruptDataError: That is damaged, or of another run.
    """

    __slots__ = ("_damage", "_experiment", "_files", "folder", "head", "run_id")

    def __init__(self, run_id: str, folder: str, experiment: Experiment, files: Files, damage: Damage) -> None:
        self.run_id = run_id
        self.folder = folder
        self._experiment = experiment
        self._files = files
        self._damage = damage
        self.head: Head = files.ask(run_id, META, HEAD)

    @classmethod
    def read(
        cls, experiment_folder: str, run_id: str, experiment: Experiment, files: Files, damage: Damage
    ) -> StoredRun | None:
        """A run of an experiment; ``None`` when the folder is none, or that of another experiment.

        Raises:
            CorruptDataError: Its ``meta.yaml`` is damaged.
        """
        try:
            run = cls(run_id, f"{experiment_folder}/{run_id}", experiment, files, damage)
        except NOT_THERE:
            return None
        return run if run.head.experiment_id == experiment.experiment_id else None

    @property
    def order(self) -> tuple[float, str]:
        """What sorts runs as MLflow does."""
        start = self.head.start_time
        return math.inf if start is None else -start, self.run_id

    def record(self) -> Run:
        """The whole run, read from its files."""
        metrics = {key: value for key in self.keys(METRICS) if (value := self.value(key, of_all=False)) is not None}
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

    def value(self, key: str, aggregate: Aggregate = "last", *, of_all: bool = True) -> float | None:
        """One value of a metric, the latest by default; ``None`` when the run has none that can be read.

        Args:
            key: The metric's name.
            aggregate: Which value.
            of_all: Whether other runs are asked for it, too.
        """
        try:
            return value_of(self._files, self.run_id, key, aggregate, of_all=of_all)
        except (OSError, ValueError) as error:
            self._damage.tell(f"{self.folder}/{METRICS}/{key} is no metric of MLflow's: {error}")
            return None

    def text(self, kind: str, key: str) -> str | None:
        """A param or a tag; ``None`` when the run has none that can be read."""
        if not is_name(key):
            return None
        try:
            text: str = self._files.ask(self.run_id, f"{kind}/{key}", TEXT)
        except NOT_THERE:
            return None
        except (OSError, UnicodeDecodeError):
            return read_texts(f"{self.folder}/{kind}", (key,), self._damage).get(key)  # says what is wrong
        return text

    def points(self, key: str) -> list[Metric]:
        """Every value of a metric, by (step, timestamp); none when they can't be read."""
        path = f"{self.folder}/{METRICS}/{key}"
        try:
            return points_in(key, read_blocks(path)) if is_name(key) else []
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
        head = self.head
        return Run(
            self.run_id,
            head.name or tags.get(RUN_NAME_TAG, ""),
            self._experiment.experiment_id,
            self._experiment.name,
            head.status,
            head.stage,
            head.start_time,
            head.end_time,
            head.user,
            head.artifact_uri,
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


def value_of(files: Files, run_id: str, key: str, aggregate: Aggregate, *, of_all: bool = True) -> float | None:
    """One value of a metric of a run that need not be one; ``None`` when there is none.

    Raises:
        OSError, ValueError: The metric can't be read.
    """
    if not is_name(key):
        return None
    try:
        value: float | None = files.ask(run_id, f"{METRICS}/{key}", VALUES[aggregate], of_all=of_all)
    except NOT_THERE:
        return None
    return value
