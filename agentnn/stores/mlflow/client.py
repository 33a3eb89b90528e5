"""Any store that MLflow knows, read through MLflow's own client: correct though slow."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from agentnn.errors import NotFoundError, StoreUnavailable, UsageError
from agentnn.query.evaluation import matches, sorted_runs
from agentnn.query.runs import RunQuery
from agentnn.query.selection import Best, rank
from agentnn.records import PARENT_TAG, Artifact, DatasetInput, Experiment, Metric, ModelVersion, RegisteredModel, Run
from agentnn.stores.aggregates import Summarised, judged_values, summarised
from agentnn.stores.artifacts.files import RunFiles, RunSources, Source
from agentnn.stores.base import History
from agentnn.stores.destination import check_sqlite_path
from agentnn.stores.history_cache import HistoryCache, Trace, trace_of
from agentnn.stores.ids import is_experiment_id
from agentnn.stores.mlflow.calls import mlflow_call
from agentnn.stores.sql.sqlite_file import ReadOnlyDatabase, schema_revision, sqlite_path
from agentnn.stores.sql.where import LARGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

    from agentnn.query.runs import FieldKind, View
    from agentnn.query.selection import BestQuery
    from agentnn.settings import Settings
    from agentnn.stores.explained.between import Between

_PAGE = 1000
_NO_SUCH_ENDPOINT = ("error code 404", "ENDPOINT_NOT_FOUND")
_RUNS_IN_A_FILTER = 50
"""Ids in one request, which MLflow sends as part of a URL."""

_MANY = 5
"""Runs that are asked of a server one by one; of more, many at once."""

_RUNS_AT_ONCE = 20
"""Runs whose histories are read before what they come to is kept."""

_SERVERS = ("http:", "https:", "databricks")
_DATABASE_SERVERS = ("postgresql", "mysql")
_CONNECT_TIMEOUT_S = 10


def make_client(uri: str, settings: Settings, *, read: bool = True) -> MlflowClient:
    """An ``MlflowClient``, but never one that creates or migrates a database in order to read it."""
    if read and uri.lower().startswith("sqlite"):
        _refuse_to_migrate(uri)
    with mlflow_call(settings, read=read):
        from mlflow import MlflowClient

        if uri.lower().startswith(_DATABASE_SERVERS):
            _try_to_connect(uri)
        return MlflowClient(tracking_uri=uri, registry_uri=settings.registry_uri)


def _try_to_connect(uri: str) -> None:
    """Ask a database server once whether it lets us in; MLflow would ask for minutes."""
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.pool import NullPool

    limit = {} if "connect_timeout" in make_url(uri).query else {"connect_timeout": _CONNECT_TIMEOUT_S}
    create_engine(uri, poolclass=NullPool, connect_args=limit).connect().close()


def find_logged_model(client: MlflowClient, settings: Settings, run_id: str, name: str) -> LoggedModel | None:
    """The model that a run logged under a name; MLflow 3 keeps it beside the run's artifacts, MLflow 2 among them."""
    with mlflow_call(settings):
        run = client.get_run(run_id)
        ids = [output.model_id for output in (run.outputs.model_outputs if run.outputs else [])]
        models = [client.get_logged_model(model_id) for model_id in ids]
    return next((one for one in models if one.name == name), None)


def check_before_writing(uri: str) -> None:
    """Look at a SQLite path before MLflow does, which retries for minutes and migrates without asking.

    Raises:
        StoreUnavailable, CorruptDataError, NotAStoreError: See :func:`~agentnn.stores.destination.check_sqlite_path`.
        UsageError: The database's schema is not the installed MLflow's.
    """
    if uri.lower().startswith("sqlite"):
        path = sqlite_path(uri)
        check_sqlite_path(path)
        if path.exists() and path.stat().st_size:
            _refuse_to_migrate(uri)


def _refuse_to_migrate(uri: str) -> None:
    """Let MLflow open a database only where it has nothing to create and nothing to migrate."""
    path = sqlite_path(uri)
    found, wanted = schema_revision(path), _known_revisions()
    if found != wanted[0]:
        raise UsageError(
            f"{path} has schema {found or '(none)'}, the installed MLflow wants {wanted[0]}",
            hint=f"back it up, then: mlflow db upgrade sqlite:///{path}"
            if found in wanted
            else "a newer MLflow made it: pip install --upgrade mlflow",
        )
    lacking = _lacking_columns(path)
    if lacking:
        raise UsageError(
            f"{path} is not whole: it lacks {', '.join(lacking[:3])}", hint="restore a backup; nothing was changed"
        )


def _lacking_columns(path: Path) -> list[str]:
    """What MLflow's own tables should have and this database does not."""
    import mlflow.store.db.utils  # noqa: F401 - it registers all of MLflow's tables
    from mlflow.store.db.base_sql_model import Base

    database = ReadOnlyDatabase(path, required={})
    try:
        return sorted(
            f"{name}.{column.name}"
            for name, table in Base.metadata.tables.items()
            for columns in (database.columns(name),)
            for column in table.columns
            if column.name not in columns
        )
    finally:
        database.close()


def _known_revisions() -> list[str]:
    """The schema revisions that the installed MLflow knows, the newest first."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    scripts = ScriptDirectory.from_config(_get_alembic_config(db_url=""))
    return [script.revision for script in scripts.walk_revisions()]


class MlflowClientStore:
    """Reads runs through ``MlflowClient``.

    Args:
        uri: A tracking URI that MLflow can open.
        settings: Where credentials come from.
    """

    def __init__(self, uri: str, settings: Settings) -> None:
        self.uri = uri
        self._settings = settings
        self._client = make_client(uri, settings)
        self._between: Between | None = None

    def put_between(self, between: Between) -> None:
        """Let somebody look on who stands before the client."""
        self._client = between.client(self._client)
        self._between = between

    def list_experiments(self, view: View = "active") -> list[Experiment]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        with mlflow_call(self._settings):
            return [_experiment(one) for one in _pages(self._client.search_experiments, view_type=_view_type(view))]

    def find_experiment(self, *, name: str | None = None, experiment_id: str | None = None) -> Experiment | None:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        if experiment_id is not None and not is_experiment_id(experiment_id):
            return None
        try:
            with mlflow_call(self._settings):
                if experiment_id is not None:
                    return _experiment(self._client.get_experiment(experiment_id))
                found = self._client.get_experiment_by_name(name or "")
        except (NotFoundError, UsageError):  # an id that this store can't have is simply not there
            return None
        return None if found is None else _experiment(found)

    def search_runs(self, query: RunQuery) -> Iterator[Run]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        runs = (run for run in self._runs(query) if matches(query.filter, run))
        if query.order_by:
            yield from sorted_runs(runs, query.order_by)[: query.limit]
            return
        for count, run in enumerate(runs):
            if count == query.limit:
                return
            yield run

    def count_runs(self, query: RunQuery) -> dict[str, int]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        scope = RunQuery(query.experiment_ids, query.filter, view=query.view)
        return dict(Counter(run.status for run in self.search_runs(scope)))

    def find_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        names = self._experiment_names()
        if len(run_ids) > _MANY and self.uri.startswith(("http:", "https:")):
            return self._search_by_id(run_ids, names)
        found = []
        for run_id in run_ids:
            try:
                with mlflow_call(self._settings):
                    found.append(_run(self._client.get_run(run_id), names))
            except (NotFoundError, UsageError):
                continue
        return found

    def _search_by_id(self, run_ids: Sequence[str], names: Mapping[str, str]) -> list[Run]:
        """Many runs in few requests, in the order of their ids."""
        wanted = [run_id for run_id in dict.fromkeys(run_ids) if run_id.isalnum()]
        found: dict[str, Run] = {}
        for start in range(0, len(wanted), _RUNS_IN_A_FILTER):
            ids = ", ".join(f"'{run_id}'" for run_id in wanted[start : start + _RUNS_IN_A_FILTER])
            with mlflow_call(self._settings):
                page = self._client.search_runs(
                    list(names),
                    f"attributes.run_id IN ({ids})",
                    run_view_type=_view_type("all"),
                    max_results=_RUNS_IN_A_FILTER,
                )
            found |= {one.info.run_id: _run(one, names) for one in page}
        return [found[run_id] for run_id in run_ids if run_id in found]

    def field_keys(self, kind: FieldKind, query: RunQuery) -> list[str]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        attribute = {"metric": "metrics", "param": "params", "tag": "tags"}[kind]
        every = query._replace(limit=None, order_by=())
        return sorted({key for run in self.search_runs(every) for key in getattr(run, attribute)})

    def best_runs(self, query: BestQuery) -> Best:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        scope = RunQuery(query.scope.experiment_ids, query.scope.filter, view=query.scope.view)
        if query.aggregate != "last":
            return self._best_by_history(query, scope)
        runs = (run for run in self.search_runs(scope) if query.include_children or PARENT_TAG not in run.tags)
        return rank(query, ((run, run.metrics.get(query.metric)) for run in runs))

    def _best_by_history(self, query: BestQuery, scope: RunQuery) -> Best:
        cache = HistoryCache(self._settings, use=query.use_cache and self.uri.startswith(_SERVERS))
        cache = cache if self._between is None else self._between.cache(cache)
        traces: dict[str, Trace] = {}

        def note_trace(one: Any, run: Run) -> None:
            latest = [Metric(at.key, _finite_as_kept(at.value), at.step, at.timestamp) for at in _latest_points(one)]
            if trace := trace_of(run, query.metric, latest, now=cache.now()):
                traces[run.run_id] = trace

        found = (run for run in self._runs(scope, note_trace) if matches(scope.filter, run))
        runs = [run for run in found if query.include_children or PARENT_TAG not in run.tags]

        def read(missing: Sequence[Run]) -> Iterator[list[Summarised]]:
            for start in range(0, len(missing), _RUNS_AT_ONCE):
                histories = self.metric_histories(missing[start : start + _RUNS_AT_ONCE], (query.metric,))
                known = (summarised(one, traces.get(one.run_id)) for one in histories)
                yield [one for one in known if one is not None]

        values = judged_values(query, runs, traces, cache, read)
        return rank(query, ((run, values[run.run_id]) for run in runs))

    def metric_history(self, run_id: str, key: str) -> list[Metric]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        try:
            with mlflow_call(self._settings):
                points = self._client.get_metric_history(run_id, key)
        except NotFoundError:
            return []
        history = [Metric(key, _finite_as_kept(one.value), one.step, one.timestamp) for one in points]
        return sorted(history, key=lambda point: (point.step, point.timestamp, _sortable(point.value)))

    def metric_histories(self, runs: Sequence[Run], keys: Collection[str] | None = None) -> Iterator[History]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        for run in runs:
            for key in sorted(run.metrics if keys is None else run.metrics.keys() & set(keys)):
                points = self.metric_history(run.run_id, key)
                if points:
                    yield History(run.run_id, key, points)

    def list_artifacts(self, run: Run, path: str = "") -> list[Artifact]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self.run_files(run).entries(path)

    def run_files(self, run: Run) -> RunFiles:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        experiment = self.find_experiment(experiment_id=run.experiment_id)
        location = experiment.artifact_location if experiment is not None else None
        sources = RunSources(Source(run.artifact_uri, run.run_id), location, self._logged_models(run))
        return RunFiles(sources, self._settings)

    def _logged_models(self, run: Run) -> dict[str, Source]:
        """The models that a run logged, by name; a server of MLflow 2 knows none."""
        wanted = f"source_run_id = '{run.run_id}'"
        search = self._client.search_logged_models
        try:
            with mlflow_call(self._settings):
                found = list(_pages(search, experiment_ids=[run.experiment_id], filter_string=wanted))
        except NotFoundError:
            return {}
        except StoreUnavailable as error:
            if any(sign in error.message for sign in _NO_SUCH_ENDPOINT):
                return {}
            raise
        by_age = sorted(found, key=lambda one: one.creation_timestamp)
        return {one.name: Source(one.artifact_location, one.model_id) for one in by_age}

    def _runs(self, query: RunQuery, look: Callable[[Any, Run], None] | None = None) -> Iterator[Run]:
        """The runs of a query's experiments; each may be looked at as MLflow gives it."""
        names = self._experiment_names()
        experiment_ids = query.experiment_ids
        if experiment_ids is None:
            active_only = query.view == "active"
            experiment_ids = tuple(
                one.experiment_id for one in self.list_experiments("active" if active_only else "all")
            )
        experiment_ids = tuple(one for one in experiment_ids if is_experiment_id(one))
        if not experiment_ids:
            return
        all_are_wanted = query.filter is None and not query.order_by
        size = min(_PAGE, query.limit or _PAGE) if all_are_wanted else _PAGE
        token = None
        while True:
            with mlflow_call(self._settings):
                page = self._client.search_runs(
                    list(experiment_ids), run_view_type=_view_type(query.view), max_results=size, page_token=token
                )
            for one in page:
                run = _run(one, names)
                if look is not None:
                    look(one, run)
                yield run
            token = page.token
            if not token:
                return

    def _experiment_names(self) -> dict[str, str]:
        return {one.experiment_id: one.name for one in self.list_experiments("all")}


class MlflowClientRegistry:
    """Reads the model registry through ``MlflowClient``.

    Args:
        uri: A registry URI that MLflow can open.
        settings: Where credentials come from.
    """

    def __init__(self, uri: str, settings: Settings) -> None:
        self.uri = uri
        self._settings = settings
        self._client = make_client(uri, settings)

    def put_between(self, between: Between) -> None:
        """Let somebody look on who stands before the client."""
        self._client = between.client(self._client)

    def list_models(self) -> list[RegisteredModel]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        with mlflow_call(self._settings):
            models = list(_pages(self._client.search_registered_models))
            # A search gives no aliases: https://github.com/mlflow/mlflow/issues/16734
            models = [self._client.get_registered_model(one.name) for one in models]
        return sorted((_model(one, self._versions(one)) for one in models), key=lambda one: one.name)

    def find_model(self, name: str) -> RegisteredModel | None:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        found = self._find(name)
        return None if found is None else _model(found, self._versions(found))

    def list_model_versions(self, name: str) -> list[ModelVersion]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        model = self._find(name)
        return [] if model is None else self._versions(model)

    def versions_of_runs(self, run_ids: Sequence[str]) -> list[ModelVersion]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        wanted = [run_id for run_id in run_ids if run_id.isalnum()]
        found: list[Any] = []
        with mlflow_call(self._settings):
            for start in range(0, len(wanted), _RUNS_IN_A_FILTER):
                ids = ", ".join(f"'{run_id}'" for run_id in wanted[start : start + _RUNS_IN_A_FILTER])
                found += _pages(self._client.search_model_versions, filter_string=f"run_id IN ({ids})")
            # As with a search of models, what it gives may lack the aliases.
            models = [self._client.get_registered_model(name) for name in sorted({one.name for one in found})]
        held = {model.name: _aliases_by_version(model) for model in models}
        versions = [_version(one, held[one.name].get(int(one.version), ())) for one in found]
        return sorted(versions, key=lambda one: (one.name, -one.version))

    def _find(self, name: str) -> Any:
        if not name:
            return None
        try:
            with mlflow_call(self._settings):
                return self._client.get_registered_model(name)
        except (NotFoundError, UsageError):  # a name that no model can have is simply not there
            return None

    def _versions(self, model: Any) -> list[ModelVersion]:
        with mlflow_call(self._settings):
            found = search_versions(self._client, model.name)
        aliases = _aliases_by_version(model)
        versions = [_version(one, aliases.get(int(one.version), ())) for one in found]
        return sorted(versions, key=lambda one: -one.version)


def search_versions(client: MlflowClient, name: str) -> list[Any]:
    """The versions of a model, as MLflow's client finds them."""
    quote = next((one for one in "'\"" if one not in name), None)
    # A name with both kinds of quotes can't be written in MLflow's filter.
    only = f"name={quote}{name}{quote}" if quote else None
    return [one for one in _pages(client.search_model_versions, filter_string=only) if one.name == name]


def _aliases_by_version(model: Any) -> dict[int, tuple[str, ...]]:
    aliases: dict[int, tuple[str, ...]] = {}
    for alias, version in sorted(model.aliases.items()):
        aliases[int(version)] = (*aliases.get(int(version), ()), alias)
    return aliases


def _pages(search: Any, **arguments: Any) -> Iterator[Any]:
    """Everything that a paged search of MLflow finds; it stops at one page by itself, without a word."""
    token = None
    while True:
        page = search(page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


def _view_type(view: View) -> int:
    from mlflow.entities import ViewType

    return int({"active": ViewType.ACTIVE_ONLY, "deleted": ViewType.DELETED_ONLY, "all": ViewType.ALL}[view])


def _experiment(one: Any) -> Experiment:
    return Experiment(
        one.experiment_id,
        one.name,
        one.lifecycle_stage,
        one.artifact_location,
        one.creation_time,
        one.last_update_time,
        _texts(one.tags),
    )


def _run(one: Any, experiment_names: Mapping[str, str]) -> Run:
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
        metrics={key: _finite_as_kept(value) for key, value in one.data.metrics.items()},
        params=_texts(one.data.params),
        tags=_texts(one.data.tags),
        datasets=tuple(sorted((_dataset(item) for item in inputs), key=lambda item: (item.name, item.digest))),
    )


def _latest_points(one: Any) -> list[Any]:
    """The latest point of each metric of a run, which MLflow's own class keeps and does not show."""
    return list(getattr(one.data, "_metric_objs", ()))


def _dataset(item: Any) -> DatasetInput:
    context = next((tag.value for tag in item.tags if tag.key == "mlflow.data.context"), None)
    return DatasetInput(item.dataset.name, item.dataset.digest, context)


def _model(one: Any, versions: list[ModelVersion]) -> RegisteredModel:
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


def _version(one: Any, aliases: tuple[str, ...]) -> ModelVersion:
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


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: value for key, value in values.items() if value is not None}


def _finite_as_kept(value: float) -> float:
    """A metric's value; an infinity comes out of MLflow's SQL store as the largest double."""
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else float(value)


def _sortable(value: float) -> float:
    return 0.0 if math.isnan(value) else value
