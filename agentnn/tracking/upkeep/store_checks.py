"""What may be wrong with the runs and the model versions of a store, from one look at those that may have something."""

from __future__ import annotations

import json
import math
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING

from agentnn.errors import NotFoundError
from agentnn.query.expressions import And, Comparison, Expression, Field, Not, Or
from agentnn.query.runs import RunQuery
from agentnn.records import PARENT_TAG
from agentnn.stores.artifacts.folder import local_folder
from agentnn.stores.mlflow.calls import mlflow_call
from agentnn.stores.mlflow.client import make_client
from agentnn.tracking.sending.delivery import NOT_FINITE_TAG
from agentnn.tracking.upkeep.dead_runs import is_ours
from agentnn.tracking.upkeep.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from mlflow import MlflowClient

    from agentnn.records import ModelVersion, Run
    from agentnn.settings import Settings
    from agentnn.stores.base import ModelRegistry, TrackingStore
    from agentnn.stores.run_writer import RunWriter

FORMER_PARENT_TAG = "agentnn.former_parent"
_TABLES_TAG = "mlflow.loggedArtifacts"
_MODELS_TAG = "mlflow.log-model.history"
_MOST_KEYS = 40
"""Of so many metrics SQLite picks out those that are not finite sooner than all runs are read."""


class Survey:
    """One look at every run that may have something.

    Attributes:
        running: The active runs that are RUNNING.
        findings: Metrics that are not finite, files that are not there.
    """

    def __init__(self, store: TrackingStore, settings: Settings) -> None:
        self._store = store
        self._stages: dict[str, str] = {}
        self._parents: dict[str, str] = {}
        self.running: list[Run] = []
        self.findings: list[Finding] = []
        for run in store.search_runs(RunQuery(filter=_suspicious(store, settings), view="all")):
            self._stages[run.run_id] = run.lifecycle_stage
            if run.parent_run_id is not None:
                self._parents[run.run_id] = run.parent_run_id
            if run.lifecycle_stage == "active":
                self._look_at(run)

    def with_children(self, run_ids: Collection[str]) -> set[str]:
        """Runs, and those that are nested in them, however deep."""
        found, children = set(run_ids), set(run_ids)
        while children:
            children = {child for child, parent in self._parents.items() if parent in children} - found
            found |= children
        return found

    def orphans(self, open_writer: Callable[[], RunWriter], told: Collection[str]) -> Iterator[Finding]:
        """The active runs whose parent is missing or deleted, or nested in themselves.

        Args:
            open_writer: Opens what takes a run out of a parent that can't be.
            told: The ids of runs that the user named.
        """
        unseen = {parent for parent in self._parents.values() if parent not in self._stages}
        self._stages |= {run.run_id: run.lifecycle_stage for run in self._store.find_runs(sorted(unseen))}
        cyclic = nested_in_themselves(self._parents)
        bad = [
            child
            for child, parent in self._parents.items()
            if self._stages[child] == "active" and (child in cyclic or self._stages.get(parent) != "active")
        ]
        for run in self._store.find_runs(bad):
            parent = self._parents[run.run_id]
            if run.run_id in cyclic:
                yield _orphan(run, f"nested in itself, through {parent}", open_writer, told)
            elif parent not in self._stages:
                yield _orphan(run, f"its parent {parent} is not in the store", open_writer, told)
            else:
                repair = f"agentnn run restore {parent}, or: agentnn run delete {run.run_id}"
                yield Finding.of_run("deleted-parent", run, f"its parent {parent} is deleted", repair)

    def _look_at(self, run: Run) -> None:
        if run.status == "RUNNING":
            self.running.append(run)
        if keys := _not_finite_keys(run):
            look = f"it never counts as best; to see when: agentnn run history {run.run_id} -m {quote(keys[0])}"
            found = f"NaN or infinite: {', '.join(keys)}"
            self.findings.append(Finding.of_run("non-finite", run, found, look, severity="notice"))
        if missing := _missing_files(run):
            restore = "restore the files, or move them back"
            self.findings.append(Finding.of_run("artifacts", run, f"not there: {', '.join(missing)}", restore))


def nested_in_themselves(parents: Mapping[str, str]) -> set[str]:
    """The runs that are among their own ancestors.

    Args:
        parents: The parent of each run that has one.
    """
    found: set[str] = set()
    seen: set[str] = set()
    for start in parents:
        path: dict[str, int] = {}
        here = start
        while here in parents and here not in seen:
            seen.add(here)
            path[here] = len(path)
            here = parents[here]
        if here in path:
            found |= {run_id for run_id, place in path.items() if place >= path[here]}
    return found


def version_findings(
    registry: ModelRegistry, store: TrackingStore, settings: Settings, only: Collection[str] | None
) -> Iterator[Finding]:
    """The model versions whose run is deleted or missing, or whose files are not there.

    Args:
        registry: The registry.
        store: The store of the runs.
        settings: Name both.
        only: Look at the versions that these runs made; all without it.
    """
    versions = [
        version
        for model in registry.list_models()
        for version in registry.list_model_versions(model.name)
        if only is None or version.run_id in only
    ]
    run_ids = dict.fromkeys(version.run_id for version in versions if version.run_id)
    runs = {run.run_id: run for run in store.find_runs(list(run_ids))}
    sources = _Sources(settings, runs)
    for version in versions:
        if version.run_id and (problem := _run_problem(version, runs, settings)):
            yield _of_version("deleted-run", version, *problem)
        if missing := sources.missing(version):
            yield _of_version("artifacts", version, f"its files are not there: {missing}", "restore the files")


def _suspicious(store: TrackingStore, settings: Settings) -> Expression | None:
    """A filter for the runs that may have something; none where the store would read all runs for it anyway."""
    has_tables = settings.tracking_uri.startswith(("sqlite", "toml:"))
    keys = store.field_keys("metric", RunQuery(view="all")) if has_tables else ()
    if not keys or len(keys) > _MOST_KEYS:
        return None
    tags = (PARENT_TAG, NOT_FINITE_TAG, _TABLES_TAG, _MODELS_TAG)
    return Or(
        (
            Comparison(Field("attribute", "status"), "=", "RUNNING"),
            *(Comparison(Field("tag", tag), "IS NOT NULL") for tag in tags),
            *(_is_not_finite(Field("metric", key)) for key in keys),
        )
    )


def _is_not_finite(metric: Field) -> Expression:
    """NaN compares with nothing."""
    finite = And((Comparison(metric, ">", -math.inf), Comparison(metric, "<", math.inf)))
    return And((Comparison(metric, "IS NOT NULL"), Not(finite)))


def _not_finite_keys(run: Run) -> list[str]:
    """The metrics that are not finite now, or were once."""
    once = (key for key in _json_list(run.tags.get(NOT_FINITE_TAG)) if isinstance(key, str))
    return sorted({*run.non_finite, *once})


def _missing_files(run: Run) -> list[str]:
    """The files of a run that its tags name, and that are not where they should be on this machine."""
    root = local_folder(run.artifact_uri) if _TABLES_TAG in run.tags or _MODELS_TAG in run.tags else None
    if root is None:
        return []
    tables = (one.get("path") for one in _json_list(run.tags.get(_TABLES_TAG)) if isinstance(one, dict))
    models = (one.get("artifact_path") for one in _json_list(run.tags.get(_MODELS_TAG)) if isinstance(one, dict))
    named = dict.fromkeys(path for path in (*tables, *models) if isinstance(path, str))
    return [str(root / path) for path in named if not (root / path).exists()]


def _json_list(text: str | None) -> list[object]:
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return []
    return found if isinstance(found, list) else []


def _orphan(run: Run, problem: str, open_writer: Callable[[], RunWriter], told: Collection[str]) -> Finding:
    if not is_ours(run) and run.run_id not in told:
        return Finding.of_run("orphan", run, problem, f"agentnn run doctor {run.run_id} --fix")
    action = partial(_take_out, run, open_writer)
    return Finding.of_run("orphan", run, problem, f"move the tag {PARENT_TAG} to {FORMER_PARENT_TAG}", action)


def _take_out(run: Run, open_writer: Callable[[], RunWriter]) -> None:
    open_writer().log_batch(run.run_id, tags={FORMER_PARENT_TAG: run.tags[PARENT_TAG]})
    open_writer().delete_tag(run.run_id, PARENT_TAG)


def _run_problem(version: ModelVersion, runs: Mapping[str, Run], settings: Settings) -> tuple[str, str] | None:
    run = runs.get(version.run_id or "")
    if run is not None and run.lifecycle_stage == "deleted":
        return f"its run {run.run_id} is deleted", f"agentnn run restore {run.run_id}"
    if run is None and settings.registry_uri == settings.tracking_uri:  # else it may be in another store
        return f"its run {version.run_id} is not in the store", "register the model again, from a run that is there"
    return None


class _Sources:
    """Where the files of model versions lie.

    Args:
        settings: Name the store.
        runs: The runs of the versions, by id.
    """

    def __init__(self, settings: Settings, runs: Mapping[str, Run]) -> None:
        self._settings = settings
        self._runs = runs
        self._client: MlflowClient | None = None

    def missing(self, version: ModelVersion) -> str | None:
        """What should be there on this machine and is not; ``None`` when nothing is missing or it lies elsewhere."""
        source = version.source or ""
        if source.startswith("models:/m-"):
            try:
                source = self._location_of(source.removeprefix("models:/"))
            except NotFoundError:
                return source
        elif source.startswith("runs:/"):
            run_id, _, path = source.removeprefix("runs:/").partition("/")
            run = self._runs.get(run_id)
            source = f"{run.artifact_uri}/{path}" if run else ""
        folder = local_folder(source)
        return None if folder is None or folder.exists() else str(folder)

    def _location_of(self, model_id: str) -> str:
        """Where a logged model of MLflow 3 lies."""
        if self._client is None:
            self._client = make_client(self._settings.tracking_uri, self._settings)
        with mlflow_call(self._settings):
            return str(self._client.get_logged_model(model_id).artifact_location)


def _of_version(check: str, version: ModelVersion, problem: str, repair: str) -> Finding:
    return Finding(check, problem, repair, run_id=version.run_id, model=f"{version.name}/{version.version}")
