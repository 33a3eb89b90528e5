"""The contract that every store keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from agentnn.query.expressions import Field
    from agentnn.query.runs import FieldKind, RunQuery, View
    from agentnn.query.selection import Best, BestQuery
    from agentnn.records import Artifact, Experiment, Metric, ModelVersion, RegisteredModel, Run
    from agentnn.stores.artifacts.files import RunFiles


class History(NamedTuple):
    """A metric of a run: its values by (step, timestamp), at least one."""

    run_id: str
    key: str
    points: list[Metric]


class TrackingStore(Protocol):
    """Experiments and runs."""

    def list_experiments(self, view: View = "active") -> list[Experiment]:
        """The experiments, the newest first, as MLflow lists them."""

    def find_experiment(self, *, name: str | None = None, experiment_id: str | None = None) -> Experiment | None:
        """One experiment by its name or its id, deleted ones included."""

    def search_runs(self, query: RunQuery) -> Iterator[Run]:
        """The runs that a query asks for, in its order."""

    def count_runs(self, query: RunQuery) -> dict[str, int]:
        """How many runs a query is about, by status; its order and limit mean nothing here."""

    def find_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """The runs with these ids, in this order, deleted ones included; unknown ids are left out."""

    def best_runs(self, query: BestQuery) -> Best:
        """The best runs by a metric, as :mod:`agentnn.query.selection` defines best."""

    def field_keys(self, kind: FieldKind, query: RunQuery) -> list[str]:
        """The names of the metrics, params or tags that runs in scope have, sorted; a limit means nothing here."""

    def metric_history(self, run_id: str, key: str) -> list[Metric]:
        """Every logged value of a metric, by (step, timestamp); empty when there is none."""

    def metric_histories(self, runs: Sequence[Run], keys: Collection[str] | None = None) -> Iterator[History]:
        """The values of some metrics of some runs, or of all their metrics, each as :meth:`metric_history` gives them.

        They come one history after the other, run by run, by the metric's name; few questions are asked of the store,
        and memory grows with the longest history, not with their number.
        """

    def list_artifacts(self, run: Run, path: str = "") -> list[Artifact]:
        """The files and folders directly under a path of the run, sorted by path."""

    def run_files(self, run: Run) -> RunFiles:
        """The files of the run, the models that it logged among them."""


class ModelRegistry(Protocol):
    """Registered models and their versions."""

    def list_models(self) -> list[RegisteredModel]:
        """Every registered model, by name, with its aliases."""

    def find_model(self, name: str) -> RegisteredModel | None:
        """One registered model, with its aliases and tags."""

    def list_model_versions(self, name: str) -> list[ModelVersion]:
        """The versions of a model, newest first; empty when there is no such model."""

    def versions_of_runs(self, run_ids: Sequence[str]) -> list[ModelVersion]:
        """The versions of whatever model that these runs made, with their aliases, by name and the newest first."""


@runtime_checkable
class FindsFields(Protocol):
    """A store that says sooner whether runs have a field than what fields they have."""

    def has_field(self, field: Field, query: RunQuery) -> bool:
        """Whether a run in scope has this metric, param or tag; a limit means nothing here."""


@runtime_checkable
class FindsIds(Protocol):
    """A store that tells the ids of runs sooner than the runs."""

    def search_run_ids(self, query: RunQuery) -> Iterator[str]:
        """The ids of the runs that a query asks for, in its order."""


@runtime_checkable
class FindsNested(Protocol):
    """A store that finds nested runs sooner by other questions than by a filter for all of their parents."""

    def nested_in(self, parents: Sequence[str], view: View) -> list[Run]:
        """The runs that are nested directly in some, as MLflow orders runs."""


def search_run_ids(store: TrackingStore, query: RunQuery) -> Iterator[str]:
    """The ids of the runs that a query asks for, in its order."""
    if isinstance(store, FindsIds):
        return store.search_run_ids(query)
    return (run.run_id for run in store.search_runs(query))


def has_field(store: TrackingStore, field: Field, query: RunQuery) -> bool:
    """Whether a run in scope has a metric, a param or a tag of that name."""
    if isinstance(store, FindsFields):
        return store.has_field(field, query)
    match field.kind:
        case "metric" | "param" | "tag" as kind:
            return field.key in store.field_keys(kind, query)
    return False
