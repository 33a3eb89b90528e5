"""What every store promises, held over each of them on the same data.

A new store joins by a line in ``STORES`` and, where it keeps models, one in ``REGISTRIES``: a function that opens the
MLflow database of this module, or what ``write_stores`` has put beside it. What is expected is worked out by hand, not
asked of another store.

What a store of TOML runs can't promise: where files lie, since a run's folder is where its artifacts are; a run without
a start or a name, since such a run started when its file was written and is called by its id; and models.
"""

from __future__ import annotations

import math
import shutil
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import execute
from generated_stores import (
    METRICS,
    NOON,
    ExperimentSpec,
    Point,
    RunSpec,
    StoreSpec,
    examples,
    expressions,
    points,
    run_id,
    seeded_store,
    stores,
    write_store,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mirrored_stores import SERVERS, Mirrors
from mlruns_stores import write_mlruns_store
from real_stores import MlflowServer, make_equal
from toml_stores import write_toml_store

from agentnn.errors import NotFoundError, UnsafeError
from agentnn.query.evaluation import matches, natural_order, sorted_runs
from agentnn.query.filters import parse_filter, parse_order
from agentnn.query.runs import OrderBy, RunQuery
from agentnn.query.selection import AGGREGATES, BestQuery, Excluded, aggregate_history
from agentnn.records import PARENT_TAG, RUN_NAME_TAG, Artifact, DatasetInput, Metric, ModelVersion, Run
from agentnn.settings import Settings
from agentnn.stores.mlflow.registry import MlflowClientRegistry
from agentnn.stores.mlflow.store import MlflowClientStore
from agentnn.stores.mlruns.store import MlrunsStore
from agentnn.stores.opening import open_registry, open_store
from agentnn.stores.rest.registry import RestRegistry
from agentnn.stores.rest.store import RestStore
from agentnn.stores.sql.registry import SqlRegistry
from agentnn.stores.sql.store import SqlStore
from agentnn.stores.toml.asking.store import TomlStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agentnn.query.expressions import Expression
    from agentnn.stores.base import ModelRegistry, TrackingStore


def toml_folder_beside(database: Path | str) -> Path:
    """Where the TOML runs are that are those of a database."""
    return Path(str(database).removeprefix("sqlite:///")).with_name("checkpoints")


def mlruns_folder_beside(database: Path | str) -> Path:
    """Where the folder of runs is that are those of a database."""
    return Path(str(database).removeprefix("sqlite:///")).with_name("folder of runs")


MIRRORS: list[Mirrors] = []
"""The session's, since a function that opens a store is given no fixture."""


@pytest.fixture(scope="module", autouse=True)
def _mirrors(mirrors: Mirrors) -> Iterator[None]:
    MIRRORS.append(mirrors)
    yield
    MIRRORS.clear()


class Served:
    """The session's server, which holds what was last asked for."""

    server: MlflowServer
    database: Path
    holds: tuple[object, ...] = ()

    @classmethod
    def url(cls, uri: str) -> str:
        """The address of a server of the rows of a database."""
        database = Path(uri.removeprefix("sqlite:///"))
        state = (database, database.stat().st_mtime_ns)
        if cls.holds != state:
            make_equal(cls.database, database)
            cls.holds = state
        return cls.server.url


@pytest.fixture(scope="module", autouse=True)
def _served(mlflow_server: MlflowServer, _server_database: Path) -> None:
    Served.server, Served.database, Served.holds = mlflow_server, _server_database, ()


def over_rest(uri: str) -> TrackingStore:
    """The rows of a database, behind a server."""
    store = open_store(Settings(Served.url(uri), registry_uri=uri))
    assert isinstance(store, RestStore)
    return store


def registry_over_rest(uri: str) -> ModelRegistry:
    """The models of a database, behind a server."""
    registry = open_registry(Settings(uri, registry_uri=Served.url(uri)))
    assert isinstance(registry, RestRegistry)
    return registry


STORES: dict[str, Callable[[str], TrackingStore]] = {
    "sql": SqlStore,
    "mlflow_client": lambda uri: MlflowClientStore(uri, Settings(uri, registry_uri=uri)),
    "toml": lambda uri: TomlStore(Settings(f"toml:{toml_folder_beside(uri)}")),
    "mlruns": lambda uri: MlrunsStore(Settings(str(mlruns_folder_beside(uri)))),
    "postgresql": lambda uri: MIRRORS[0].of("postgresql", uri).store,
    "mysql": lambda uri: MIRRORS[0].of("mysql", uri).store,
    "server": over_rest,
}
REGISTRIES: dict[str, Callable[[str], ModelRegistry]] = {
    "sql": SqlRegistry,
    "mlflow_client": lambda uri: MlflowClientRegistry(uri, Settings(uri, registry_uri=uri)),
    "postgresql": lambda uri: MIRRORS[0].of("postgresql", uri).registry,
    "mysql": lambda uri: MIRRORS[0].of("mysql", uri).registry,
    "server": registry_over_rest,
}

HUGE = Point(1e16, 0), Point(1.0, 1), Point(-1e16, 2)
EXPERIMENTS = (
    ExperimentSpec(0, "Default", creation_time=NOON),
    ExperimentSpec(1, "alpha / β", creation_time=NOON + 5, tags={"team": "quant"}),
    ExperimentSpec(2, "deleted one", "deleted", creation_time=NOON + 5),
    ExperimentSpec(3, "empty", creation_time=NOON + 9),
    ExperimentSpec(12, "twelve", creation_time=NOON + 5),
)
RUNS = (
    RunSpec(
        run_id(1), 1, "lstm", start_time=NOON, end_time=NOON + 1500, params={"lr": "0.001", "opt": "adam", "q": "it's"},
        metrics={"m": points(3.0, -1.0, 7.0, 2.0), "loss": points(0.25)}, tags={"team": "a"},
        datasets=(DatasetInput("prices", "d1", "training"), DatasetInput("news", "d2", None)),
    ),
    RunSpec(
        run_id(2), 1, "gru 🚀", start_time=NOON + 1, params={"lr": "1e-2", "opt": "ADAM", "q": 'say "hi"'},
        metrics={"m": points(math.nan, 5.0, 2.0), "loss": points(math.nan)}, tags={PARENT_TAG: run_id(1), "team": "b"},
        datasets=(DatasetInput("prices", "d1", "validation"),),
    ),
    RunSpec(
        run_id(3), 1, "mlp", start_time=NOON + 1, params={"lr": "10", "opt": "sgd"},
        metrics={"m": points(1.0, math.inf), "loss": points(math.inf)}, tags={PARENT_TAG: run_id(1)},
    ),
    RunSpec(run_id(4), 0, "open", "RUNNING", start_time=NOON + 2, metrics={"m": points(9.0), "loss": points(0.0)}),
    RunSpec(run_id(5), 0, "failed", "FAILED", metrics={"m": points(math.nan)}, params={"opt": ""}),
    RunSpec(run_id(6), 0, "nothing", start_time=NOON - 50),
    RunSpec(run_id(7), 0, "tie", start_time=NOON - 1, metrics={"m": points(2.0), "val/loss è": points(1.0)}),
    RunSpec(run_id(8), 12, "tie", start_time=NOON - 1, metrics={"m": (Point(4.0, 3, NOON), Point(2.0, 3, NOON + 1))}),
    RunSpec(run_id(9), 0, "removed", lifecycle_stage="deleted", metrics={"m": points(99.0), "only here": points(1.0)}),
    RunSpec(run_id(10), 2, "buried", metrics={"m": points(77.0), "buried": points(1.0)}, params={"buried": "1"}),
    RunSpec(run_id(11), 2, "buried twice", lifecycle_stage="deleted"),
    RunSpec(run_id(12), 12, "huge", start_time=NOON - 9, metrics={"sum": HUGE}, tags={"note": "line\nbreak 100%"}),
    RunSpec(run_id(13), 12, None, start_time=NOON - 9, metrics={"sum": points(0.1)}, tags={RUN_NAME_TAG: "of 2021"}),
    RunSpec(run_id(14), 12, "steps", start_time=NOON - 10, metrics={
        "odd": (
            Point(1.0, 5, NOON), Point(2.0, 0, NOON + 9), Point(3.0, 5, NOON - 1), Point(4.0, -1, NOON),
            Point(0.5, 5, NOON),
        ),
    }),
)  # fmt: skip
STORE = StoreSpec(EXPERIMENTS, RUNS)
ALL_RUNS = STORE.expected_runs()


def write_stores(database: Path, store: StoreSpec) -> None:
    """Replace everything in an MLflow database, and in the folder of TOML runs beside it."""
    write_store(database, store)
    write_toml_store(toml_folder_beside(database), store)
    write_mlruns_store(mlruns_folder_beside(database), store)


@pytest.fixture(scope="module")
def contract_uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The database of the runs above."""
    database = tmp_path_factory.mktemp("contract") / "mlflow.db"
    shutil.copyfile(template_database, database)
    write_stores(database, STORE)
    return f"sqlite:///{database}"


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, contract_uri: str) -> TrackingStore:
    """Each store in turn."""
    return STORES[request.param](contract_uri)


def numbers(runs: Iterable[Run]) -> list[int]:
    """Runs by the number that their id was made of."""
    return [int(run.run_id, 16) for run in runs]


def artifacts_of(store: TrackingStore, experiment_id: object, run_id: str) -> str:
    """Where a store keeps the artifacts of a run."""
    place = f"{location_of(store)}/{experiment_id}/{run_id}"
    return place if isinstance(store, TomlStore) else f"{place}/artifacts"


def location_of(store: TrackingStore) -> str:
    """The folder in which the folders of all experiments are."""
    return str(store.base_dir) if isinstance(store, TomlStore) else "/nowhere"


def kept_by(store: TrackingStore, runs: Iterable[Run]) -> list[Run]:
    """Runs as a store must give them back: a store of TOML runs says where their files are, whatever was specified."""
    return [replace(one, artifact_uri=artifacts_of(store, one.experiment_id, one.run_id)) for one in runs]


def in_scope(query: RunQuery, store: TrackingStore | None = None) -> list[Run]:
    """The runs that a query is about, worked out from the specification, in the natural order."""
    deleted_experiments = {str(one.experiment_id) for one in EXPERIMENTS if one.lifecycle_stage == "deleted"}
    found = [
        run
        for run in (ALL_RUNS if store is None else kept_by(store, ALL_RUNS))
        if query.view in ("all", run.lifecycle_stage)
        and (
            run.experiment_id in query.experiment_ids
            if query.experiment_ids is not None
            else query.view != "active" or run.experiment_id not in deleted_experiments
        )
        and matches(query.filter, run)
    ]
    return sorted(found, key=natural_order)


def same(runs: Iterable[Run]) -> list[tuple[Any, ...]]:
    """Runs in which NaN equals NaN and the order of a mapping does not count."""
    return [
        tuple(
            {key: str(one) for key, one in value.items()} if isinstance(value := getattr(run, name), dict) else value
            for name in Run.__dataclass_fields__
        )
        for run in runs
    ]


class TestExperiments:
    @pytest.mark.parametrize(("view", "ids"), [("active", [3, 1, 12, 0]), ("deleted", [2]), ("all", [3, 1, 2, 12, 0])])
    def test_they_come_newest_first_then_by_number(self, store: TrackingStore, view: Any, ids: list[int]) -> None:
        assert [one.experiment_id for one in store.list_experiments(view)] == [str(one) for one in ids]

    def test_an_experiment_carries_all_its_fields(self, store: TrackingStore) -> None:
        found = store.find_experiment(name="alpha / β")
        assert found is not None
        assert found.to_dict() == {
            "experiment_id": "1",
            "name": "alpha / β",
            "lifecycle_stage": "active",
            "artifact_location": f"{location_of(store)}/1",
            "creation_time": "2023-11-14T22:13:20.005Z",
            "last_update_time": "2023-11-14T22:13:20.005Z",
            "tags": {"team": "quant"},
        }
        assert store.find_experiment(experiment_id="1") == found

    def test_deleted_ones_are_found_by_name_and_by_id(self, store: TrackingStore) -> None:
        found = store.find_experiment(name="deleted one")
        assert found is not None
        assert (found.experiment_id, found.lifecycle_stage) == ("2", "deleted")
        assert store.find_experiment(experiment_id="2") == found

    @pytest.mark.parametrize("name", ["none", "", "ALPHA / β", "1", "default"])
    def test_an_unknown_name_is_none(self, store: TrackingStore, name: str) -> None:
        assert store.find_experiment(name=name) is None

    @pytest.mark.parametrize("experiment_id", ["99", "Default", "", "-1", "1.0", "٣", "9" * 30])
    def test_an_unknown_or_impossible_id_is_none(self, store: TrackingStore, experiment_id: str) -> None:
        assert store.find_experiment(experiment_id=experiment_id) is None


class TestSearch:
    @pytest.mark.parametrize("view", ["active", "deleted", "all"])
    @pytest.mark.parametrize(
        "experiment_ids", [None, (), ("0",), ("1", "12"), ("2",), ("3",), ("99",), ("0", "2", "99")]
    )
    def test_scope_and_view_and_order(self, store: TrackingStore, view: Any, experiment_ids: Any) -> None:
        query = RunQuery(experiment_ids, view=view)
        assert same(store.search_runs(query)) == same(in_scope(query, store))

    @pytest.mark.parametrize("experiment_ids", [("Default",), ("",), ("abc", "0"), ("9" * 30,), ("9" * 30, "0")])
    def test_an_id_that_no_experiment_can_have_finds_nothing(
        self, store: TrackingStore, experiment_ids: tuple[str, ...]
    ) -> None:
        query = RunQuery(experiment_ids)
        assert numbers(store.search_runs(query)) == numbers(in_scope(query, store))

    @pytest.mark.parametrize("limit", [0, 1, 2, 5, 9, 10, 1000])
    def test_a_limit_cuts_off_the_end(self, store: TrackingStore, limit: int) -> None:
        everything = numbers(in_scope(RunQuery(), store))
        assert numbers(store.search_runs(RunQuery(limit=limit))) == everything[:limit]
        by_metric = (OrderBy(*parse_order("metrics.m DESC")),)
        ordered = numbers(sorted_runs(in_scope(RunQuery(), store), by_metric))
        assert numbers(store.search_runs(RunQuery(order_by=by_metric, limit=limit))) == ordered[:limit]

    @pytest.mark.parametrize(
        ("filter_text", "expected"),
        [
            ("metrics.m > 2 OR params.opt = 'adam'", [4, 3, 1]),
            ("NOT metrics.m > 0", [5, 12, 13, 14, 6]),
            ("NOT (metrics.m > 0 OR tags.note IS NOT NULL)", [5, 13, 14, 6]),
            ("(status = 'RUNNING' OR status = 'FAILED') AND NOT metrics.m = 9", [5]),
            ("metrics.m != 2", [4, 3, 5]),
            ("metrics.m NOT IN (2, 9)", [3, 5]),
            ("metrics.m IN (9, inf)", [4, 3]),
            ("metrics.m = inf", [3]),
            ("metrics.loss < inf", [4, 1]),
            ("metrics.`val/loss è` >= 1", [7]),
            ("params.lr < '1e-2'", [1]),
            ("params.lr <= 0.01", [2, 1]),
            ("params.lr > 0.5 OR params.lr = 0.001", [3, 1]),
            ("params.lr IN ('10', 0.001)", [3, 1]),
            ("params.opt ILIKE 'adam'", [2, 1]),
            ("params.opt LIKE 'adam'", [1]),
            ("params.opt NOT ILIKE 'a%'", [3, 5]),
            ("params.opt =~ '(?i)^A.*m$'", [2, 1]),
            ("params.opt !~ 'a|s'", [2, 5]),
            ("params.opt = ''", [5]),
            ("params.q = 'it''s'", [1]),
            ('params.q = "it\'s"', [1]),
            ("params.q = 'say \"hi\"'", [2]),
            ("params.q LIKE '%\"\"%' OR params.q LIKE '%''%'", [1]),
            ("tags.note LIKE '%\n%100%'", [12]),
            ("tags.note =~ 'line.break'", []),
            ("parent_run_id = '00000000000000000000000000000001'", [2, 3]),
            ("parent_run_id IS NULL AND experiment_id = '1'", [1]),
            ("run_name = 'of 2021'", [13]),
            ("run_name =~ '🚀'", [2]),
            ("name LIKE 't_e'", [7, 8]),
            ("run_id LIKE '%b' OR run_id LIKE '%e'", [14]),
            ("run_name >= '10' AND run_name < 'h'", [2, 5]),
            ("end_time IS NOT NULL", [1]),
            ("end_time > '2023-11-14T22:13:21'", [1]),
            ("start_time = 1700000000001", [2, 3]),
            ("datasets.name = 'prices'", [2, 1]),
            ("datasets.name != 'prices'", [1]),
            ("datasets.context IN ('training')", [1]),
            ("datasets.context IS NULL AND datasets.name IS NOT NULL", []),
            ("NOT datasets.name = 'news' AND datasets.digest = 'd1'", [2]),
            ("lifecycle_stage = 'active' AND user = 'ana' AND status != 'FINISHED'", [4, 5]),
            ("artifact_uri LIKE '/nowhere/12/%'", [8, 12, 13, 14]),
        ],
    )
    def test_the_whole_filter_language(self, store: TrackingStore, filter_text: str, expected: list[int]) -> None:
        query = RunQuery(filter=parse_filter(filter_text.replace("/nowhere", location_of(store))))
        assert numbers(store.search_runs(query)) == expected
        assert store.count_runs(query) == Counter(run.status for run in in_scope(query, store))

    @pytest.mark.parametrize(
        ("keys", "expected"),
        [
            (["metrics.m"], [2, 1, 7, 8, 4, 3, 5]),
            (["metrics.m DESC"], [3, 4, 2, 1, 7, 8, 5]),
            (["metrics.loss DESC"], [3, 1, 4, 2]),
            (["params.lr"], [1, 2, 3]),
            (["params.lr DESC"], [3, 2, 1]),
            (["params.opt"], [5, 2, 1, 3]),
            (["params.opt DESC"], [3, 1, 2, 5]),
            (["end_time DESC"], [1]),
            (["run_name", "experiment_id"], [5, 2, 12, 1, 3, 6, 13, 4, 14, 7, 8]),
            (["experiment_id DESC", "start_time"], [14, 12, 13, 8, 1, 2, 3, 6, 7, 5, 4]),
            (["status", "tags.team DESC"], [5, 2, 1]),
        ],
    )
    def test_sort_keys_with_ties_and_what_is_missing_at_the_end(
        self, store: TrackingStore, keys: list[str], expected: list[int]
    ) -> None:
        order = tuple(OrderBy(*parse_order(key)) for key in keys)
        found = list(store.search_runs(RunQuery(order_by=order)))
        assert numbers(found)[: len(expected)] == expected
        assert numbers(found) == numbers(sorted_runs(in_scope(RunQuery(), store), order))

    def test_counts_are_by_status_and_ignore_order_and_limit(self, store: TrackingStore) -> None:
        assert store.count_runs(RunQuery()) == {"FINISHED": 9, "RUNNING": 1, "FAILED": 1}
        by_metric = (OrderBy(*parse_order("metrics.m")),)
        assert store.count_runs(RunQuery(order_by=by_metric, limit=1)) == {"FINISHED": 9, "RUNNING": 1, "FAILED": 1}
        assert store.count_runs(RunQuery(view="deleted")) == {"FINISHED": 2}
        assert store.count_runs(RunQuery(("2",), view="all")) == {"FINISHED": 2}
        assert store.count_runs(RunQuery(("3",))) == {}

    @given(expressions())
    @settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_generated_filters_find_what_they_mean(self, store: TrackingStore, expression: Expression) -> None:
        query = RunQuery(filter=expression, view="all")
        assert numbers(store.search_runs(query)) == numbers(in_scope(query, store))


class TestFinding:
    def test_runs_come_in_the_order_asked_for_whatever_their_stage(self, store: TrackingStore) -> None:
        wanted = [run_id(number) for number in (9, 1, 10, 6)]
        found = store.find_runs(wanted)
        assert numbers(found) == [9, 1, 10, 6]
        by_id = {run.run_id: run for run in kept_by(store, ALL_RUNS)}
        assert same(found) == same(by_id[one] for one in wanted)

    @pytest.mark.parametrize("unknown", ["no such run", "", "'", "0" * 31, run_id(1).upper() + "x", "a/b", "🚀"])
    def test_unknown_ids_are_left_out(self, store: TrackingStore, unknown: str) -> None:
        assert numbers(store.find_runs([run_id(3), unknown, run_id(2)])) == [3, 2]
        assert store.find_runs([unknown]) == []

    def test_no_ids_give_no_runs_and_an_id_twice_the_run_twice(self, store: TrackingStore) -> None:
        assert store.find_runs([]) == []
        assert numbers(store.find_runs([run_id(3), run_id(3)])) == [3, 3]

    def test_every_field_of_a_run_is_there(self, store: TrackingStore) -> None:
        (run,) = store.find_runs([run_id(1)])
        assert run.to_dict() == {
            "run_id": run_id(1),
            "name": "lstm",
            "experiment_id": "1",
            "experiment": "alpha / β",
            "status": "FINISHED",
            "lifecycle_stage": "active",
            "start_time": "2023-11-14T22:13:20.000Z",
            "end_time": "2023-11-14T22:13:21.500Z",
            "duration_s": 1.5,
            "user": "ana",
            "parent_run_id": None,
            "artifact_uri": artifacts_of(store, 1, run_id(1)),
            "metrics": {"m": 2.0, "loss": 0.25},
            "params": {"lr": "0.001", "opt": "adam", "q": "it's"},
            "tags": {RUN_NAME_TAG: "lstm", "team": "a"},
            "non_finite": [],
        }
        ordered = [list(run.to_dict()[kind]) for kind in ("metrics", "params", "tags")]
        assert ordered == [["loss", "m"], ["lr", "opt", "q"], [RUN_NAME_TAG, "team"]]
        assert run.datasets == (DatasetInput("news", "d2", None), DatasetInput("prices", "d1", "training"))

    def test_infinities_and_nan_are_themselves(self, store: TrackingStore) -> None:
        two, three = store.find_runs([run_id(2), run_id(3)])
        assert math.isnan(two.metrics["loss"])
        assert three.metrics["loss"] == three.metrics["m"] == math.inf
        assert three.to_dict()["metrics"] == {"m": None, "loss": None}


class TestHistory:
    def test_points_come_by_step_then_time_then_value(self, store: TrackingStore) -> None:
        assert store.metric_history(run_id(14), "odd") == [
            Metric("odd", 4.0, -1, NOON),
            Metric("odd", 2.0, 0, NOON + 9),
            Metric("odd", 3.0, 5, NOON - 1),
            Metric("odd", 0.5, 5, NOON),
            Metric("odd", 1.0, 5, NOON),
        ]

    def test_nan_and_infinities_are_themselves(self, store: TrackingStore) -> None:
        assert [str(one.value) for one in store.metric_history(run_id(2), "m")] == ["nan", "5.0", "2.0"]
        assert [one.value for one in store.metric_history(run_id(3), "m")] == [1.0, math.inf]

    @pytest.mark.parametrize(
        ("run", "key"), [(run_id(1), "none"), (run_id(6), "m"), ("no such run", "m"), (run_id(1), ""), (run_id(1), "M")]
    )
    def test_an_unknown_metric_or_run_has_no_history(self, store: TrackingStore, run: str, key: str) -> None:
        assert store.metric_history(run, key) == []

    def test_a_deleted_run_keeps_its_history(self, store: TrackingStore) -> None:
        assert store.metric_history(run_id(9), "m") == [Metric("m", 99.0, 0, NOON)]

    @pytest.mark.parametrize("keys", [None, ("m",), ("odd", "loss", "none"), ()])
    def test_those_of_many_runs_are_those_of_each(self, store: TrackingStore, keys: tuple[str, ...] | None) -> None:
        runs = list(store.search_runs(RunQuery(view="all")))
        expected = [
            (run.run_id, key, [str(one) for one in store.metric_history(run.run_id, key)])
            for run in runs
            for key in sorted(run.metrics)
            if keys is None or key in keys
        ]
        assert len(expected) > 10 or keys is not None
        found = [(one.run_id, one.key, list(map(str, one.points))) for one in store.metric_histories(runs, keys)]
        assert found == expected

    def test_those_of_long_runs_are_the_same(self, store: TrackingStore, monkeypatch: pytest.MonkeyPatch) -> None:
        runs = list(store.search_runs(RunQuery(view="all")))
        whole = list(map(str, store.metric_histories(runs)))
        for most in (1, 3):
            monkeypatch.setattr("agentnn.stores.sql.histories._MOST_ROWS", most)
            assert list(map(str, store.metric_histories(runs))) == whole


class TestFieldKeys:
    @pytest.mark.parametrize(
        ("kind", "query", "expected"),
        [
            ("metric", RunQuery(), ["loss", "m", "odd", "sum", "val/loss è"]),
            ("metric", RunQuery(view="deleted"), ["m", "only here"]),
            ("metric", RunQuery(view="all"), ["buried", "loss", "m", "odd", "only here", "sum", "val/loss è"]),
            ("metric", RunQuery(("2",)), ["buried", "m"]),
            ("metric", RunQuery(("3",)), []),
            ("metric", RunQuery(("99",)), []),
            ("metric", RunQuery(filter=parse_filter("status = 'RUNNING'")), ["loss", "m"]),
            ("param", RunQuery(), ["lr", "opt", "q"]),
            ("param", RunQuery(("0",)), ["opt"]),
            ("tag", RunQuery(("1",)), [PARENT_TAG, RUN_NAME_TAG, "team"]),
            ("tag", RunQuery(filter=parse_filter("tags.note IS NOT NULL")), [RUN_NAME_TAG, "note"]),
        ],
    )
    def test_names_that_the_runs_of_a_query_have(
        self, store: TrackingStore, kind: Any, query: RunQuery, expected: list[str]
    ) -> None:
        assert store.field_keys(kind, query) == expected


def naive_best(query: BestQuery) -> tuple[list[tuple[int, float]], int, Excluded]:
    """Best by hand, from the specification."""
    specs = {spec.run_id: spec for spec in RUNS}
    scope = [run for run in in_scope(query.scope) if query.include_children or PARENT_TAG not in run.tags]
    judged = [run for run in scope if query.include_unfinished or run.status == "FINISHED"]
    values: dict[str, float | None] = {}
    for run in judged:
        values[run.run_id] = run.metrics.get(query.metric)
        history = sorted(specs[run.run_id].metrics.get(query.metric, ()), key=lambda one: one.place)
        if query.aggregate != "last":
            logged = [Metric(query.metric, one.value, one.step, one.timestamp) for one in history]
            values[run.run_id] = aggregate_history(logged, query.aggregate)
    present = [(run, value) for run in judged if (value := values[run.run_id]) is not None]
    finite = [(run, value) for run, value in present if math.isfinite(value)]
    finite.sort(key=lambda pair: -pair[1] if query.mode == "max" else pair[1])
    excluded = Excluded(
        len(scope) - len(judged),
        len(judged) - len(present),
        sum(math.isnan(value) for _, value in present),
        sum(math.isinf(value) for _, value in present),
    )
    return [(int(run.run_id, 16), value) for run, value in finite], len(finite), excluded


class TestBest:
    @pytest.mark.parametrize(
        ("mode", "aggregate", "expected"),
        [
            ("max", "last", [(2, 2.0), (1, 2.0), (7, 2.0), (8, 2.0)]),
            ("min", "last", [(2, 2.0), (1, 2.0), (7, 2.0), (8, 2.0)]),
            ("max", "max", [(1, 7.0), (2, 5.0), (8, 4.0), (7, 2.0), (3, 1.0)]),
            ("min", "min", [(1, -1.0), (3, 1.0), (2, 2.0), (7, 2.0), (8, 2.0)]),
            ("max", "mean", [(2, 3.5), (8, 3.0), (1, 2.75), (7, 2.0), (3, 1.0)]),
            ("max", "first", [(2, 5.0), (8, 4.0), (1, 3.0), (7, 2.0), (3, 1.0)]),
            ("min", "first", [(3, 1.0), (7, 2.0), (1, 3.0), (8, 4.0), (2, 5.0)]),
        ],
    )
    def test_each_aggregate_by_hand(
        self, store: TrackingStore, mode: Any, aggregate: Any, expected: list[tuple[int, float]]
    ) -> None:
        best = store.best_runs(BestQuery("m", mode, aggregate, top=10))
        assert [(int(one.run.run_id, 16), one.value) for one in best.candidates] == expected

    @pytest.mark.parametrize("aggregate", AGGREGATES)
    @pytest.mark.parametrize("mode", ["max", "min"])
    @pytest.mark.parametrize("metric", ["m", "loss"])
    def test_ranking_and_tally_are_those_of_a_naive_computation(
        self, store: TrackingStore, metric: str, mode: Any, aggregate: Any
    ) -> None:
        for scope in (RunQuery(), RunQuery(("1", "12")), RunQuery(filter=parse_filter("params.opt != 'adam'"))):
            for unfinished, children, top in ((False, True, 1), (True, False, 2), (True, True, 20)):
                query = BestQuery(metric, mode, aggregate, scope, top, unfinished, children, tally=True)
                ranking, considered, excluded = naive_best(query)
                best = store.best_runs(query)
                assert [int(one.run.run_id, 16) for one in best.candidates] == [run for run, _ in ranking[: top + 1]]
                assert [one.value for one in best.candidates] == pytest.approx(
                    [value for _, value in ranking[: top + 1]]
                )
                assert (best.considered, best.excluded) == (considered, excluded)

    def test_the_tally_by_hand(self, store: TrackingStore) -> None:
        best = store.best_runs(BestQuery("m", tally=True))
        assert best.considered == 4
        assert best.excluded == Excluded(unfinished=2, missing=4, nan=0, infinite=1)
        best = store.best_runs(BestQuery("loss", "min", include_unfinished=True, tally=True))
        assert best.considered == 2
        assert best.excluded == Excluded(unfinished=0, missing=7, nan=1, infinite=1)

    def test_nothing_is_counted_unless_it_was_asked_for(self, store: TrackingStore) -> None:
        best = store.best_runs(BestQuery("m"))
        assert (best.considered, best.excluded) == (None, None)

    def test_a_mean_loses_nothing_to_cancellation(self, store: TrackingStore) -> None:
        best = store.best_runs(BestQuery("sum", "max", "mean", top=2))
        assert [(int(one.run.run_id, 16), one.value) for one in best.candidates] == [(12, 1 / 3), (13, 0.1)]

    def test_the_winner_is_the_whole_run(self, store: TrackingStore) -> None:
        (winner, *_) = store.best_runs(BestQuery("m", aggregate="max")).candidates
        assert same([winner.run]) == same(run for run in kept_by(store, ALL_RUNS) if run.run_id == run_id(1))

    def test_a_limit_or_an_order_in_the_scope_means_nothing(self, store: TrackingStore) -> None:
        scope = RunQuery(limit=1, order_by=(OrderBy(*parse_order("metrics.m")),))
        found = store.best_runs(BestQuery("m", aggregate="max", scope=scope, top=10, tally=True))
        assert len(found.candidates) == 5
        assert found.considered == 5

    def test_deleted_runs_take_part_only_when_they_are_looked_at(self, store: TrackingStore) -> None:
        assert numbers([store.best_runs(BestQuery("m", scope=RunQuery(view="deleted"))).candidates[0].run]) == [9]
        assert numbers([store.best_runs(BestQuery("m", scope=RunQuery(("2",)))).candidates[0].run]) == [10]


class TestArtifacts:
    @pytest.fixture
    def run(self, tmp_path: Path, database: Path, request: pytest.FixtureRequest) -> tuple[TrackingStore, Run]:
        """A store and its one run, which has two files and a folder."""
        location = tmp_path / "files of it"
        root = location / run_id(1) / "artifacts"
        if request.param == "toml":
            location = toml_folder_beside(database)
            root = location / "0" / run_id(1)
            write_toml_store(location, StoreSpec(runs=(RunSpec(run_id(1)),)))
            (root / "origin.toml").touch()  # made elsewhere, or else its config.toml were among its artifacts
        (root / "plots").mkdir(parents=True)
        (root / "plots" / "loss é.txt").write_bytes(b"12345")
        (root / "b.json").write_text("{}")
        (root / "a.csv").write_text("1,2\n")

        class Located(RunSpec):
            artifact_uri = str(root)  # type: ignore[assignment]

        write_store(database, StoreSpec(runs=(Located(run_id(1)),)))
        execute(database, f"UPDATE experiments SET artifact_location = '{location}'")
        write_mlruns_store(mlruns_folder_beside(database), StoreSpec(runs=(Located(run_id(1)),)))
        described = mlruns_folder_beside(database) / "0" / "meta.yaml"
        described.write_text(described.read_text().replace("/nowhere/0", str(location)))
        store = STORES[request.param](f"sqlite:///{database}")
        return store, store.find_runs([run_id(1)])[0]

    @pytest.mark.parametrize("run", STORES, indirect=True)
    def test_files_and_folders_come_sorted_with_their_sizes(self, run: tuple[TrackingStore, Run]) -> None:
        store, one = run
        assert store.list_artifacts(one) == [
            Artifact("a.csv", is_dir=False, size=4),
            Artifact("b.json", is_dir=False, size=2),
            Artifact("plots", is_dir=True, size=None),
        ]
        assert store.list_artifacts(one, "plots") == [Artifact("plots/loss é.txt", is_dir=False, size=5)]

    @pytest.mark.parametrize("run", STORES, indirect=True)
    def test_a_run_without_artifacts_has_none(self, run: tuple[TrackingStore, Run]) -> None:
        store, one = run
        shutil.rmtree(Path(str(one.artifact_uri)).parents[1])
        assert store.list_artifacts(one) == []

    @pytest.mark.parametrize("run", STORES, indirect=True)
    @pytest.mark.parametrize("path", ["a.csv", "plots/loss é.txt"])
    def test_a_file_is_listed_as_itself(self, run: tuple[TrackingStore, Run], path: str) -> None:
        store, one = run
        assert store.list_artifacts(one, path) == [Artifact(path, is_dir=False, size=4 if path == "a.csv" else 5)]

    @pytest.mark.parametrize("run", STORES, indirect=True)
    @pytest.mark.parametrize("path", ["none", "plots/none", "a.csv/none"])
    def test_what_is_not_there_is_not_found(self, run: tuple[TrackingStore, Run], path: str) -> None:
        store, one = run
        with pytest.raises(NotFoundError):
            store.list_artifacts(one, path)

    @pytest.mark.parametrize("run", STORES, indirect=True)
    @pytest.mark.parametrize("path", ["..", "../..", "plots/../..", "/etc"])
    def test_a_path_that_leaves_the_run_is_unsafe(self, run: tuple[TrackingStore, Run], path: str) -> None:
        store, one = run
        with pytest.raises(UnsafeError):
            store.list_artifacts(one, path)


@pytest.fixture(scope="module")
def registry_uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry that MLflow has written."""
    from mlflow import MlflowClient

    database = tmp_path_factory.mktemp("registry") / "mlflow.db"
    shutil.copyfile(template_database, database)
    write_store(database, STORE)
    uri = f"sqlite:///{database}"
    client = MlflowClient(uri, uri)
    client.create_registered_model("zeta", tags={"team": "quant", "é": "日本"}, description="Zeta's model")
    for number in range(1, 13):
        client.create_model_version("zeta", f"/nowhere/{number}", run_id(number % 3 + 1), tags={"n": str(number)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # stages are deprecated, but alive
        for version, stage in (("3", "Production"), ("10", "Production"), ("4", "Staging"), ("5", "Archived")):
            client.transition_model_version_stage("zeta", version, stage)
    client.set_registered_model_alias("zeta", "champion", "3")
    client.set_registered_model_alias("zeta", "Champion", "11")
    client.set_registered_model_alias("zeta", "best", "3")
    client.set_registered_model_alias("zeta", "gone", "12")
    client.set_registered_model_alias("zeta", "moved", "1")
    client.set_registered_model_alias("zeta", "moved", "2")
    client.delete_model_version("zeta", "12")
    client.update_model_version("zeta", "2", description="")
    client.update_model_version("zeta", "11", description="the newest")
    client.create_registered_model("empty", description="")
    client.create_registered_model("it's odd")
    client.create_model_version("it's odd", "/nowhere/odd", None)
    client.create_registered_model('say "hi" it\'s')
    client.create_model_version('say "hi" it\'s', "/nowhere/odd", None)
    client.create_registered_model("Alpha β 🚀")
    client.create_model_version("Alpha β 🚀", "/nowhere/alpha", run_id(1))
    client.create_registered_model("emptied")
    client.create_model_version("emptied", "/nowhere/e", run_id(1))
    client.delete_model_version("emptied", "1")
    client.register_prompt("say", "Say {{word}}!")
    return uri


@pytest.fixture(params=REGISTRIES)
def registry(request: pytest.FixtureRequest, registry_uri: str) -> ModelRegistry:
    """Each registry in turn."""
    return REGISTRIES[request.param](registry_uri)


class TestRegistry:
    def test_models_come_by_name(self, registry: ModelRegistry) -> None:
        names = [one.name for one in registry.list_models()]
        assert names == ["Alpha β 🚀", "emptied", "empty", "it's odd", 'say "hi" it\'s', "zeta"]

    def test_a_model_carries_aliases_stages_tags_and_counts(self, registry: ModelRegistry) -> None:
        zeta = {one.name: one for one in registry.list_models()}["zeta"]
        assert zeta.aliases == {"Champion": 11, "best": 3, "champion": 3, "moved": 2}
        assert zeta.stages == {"Production": 10, "Staging": 4, "Archived": 5}
        assert zeta.tags == {"team": "quant", "é": "日本"}
        assert (zeta.latest_version, zeta.version_count) == (11, 11)
        assert zeta.description == "Zeta's model"
        assert zeta.creation_time is not None
        assert zeta.last_updated_time is not None
        assert zeta.last_updated_time >= zeta.creation_time

    def test_a_prompt_is_no_model(self, registry: ModelRegistry) -> None:
        assert registry.find_model("say") is None
        assert registry.list_model_versions("say") == []

    @pytest.mark.parametrize("name", ["empty", "emptied"])
    def test_a_model_without_versions_has_none(self, registry: ModelRegistry, name: str) -> None:
        model = {one.name: one for one in registry.list_models()}[name]
        assert (model.latest_version, model.version_count, model.aliases, model.stages) == (None, 0, {}, {})
        assert model.description is None
        assert registry.list_model_versions(name) == []

    def test_versions_come_newest_first_as_numbers_without_the_deleted_one(self, registry: ModelRegistry) -> None:
        assert [one.version for one in registry.list_model_versions("zeta")] == list(range(11, 0, -1))

    def test_a_version_carries_all_its_fields(self, registry: ModelRegistry) -> None:
        by_number = {one.version: one for one in registry.list_model_versions("zeta")}
        third = by_number[3]
        assert third.aliases == ("best", "champion")
        assert third.stage == "Production"
        assert (third.source, third.run_id, third.status) == ("/nowhere/3", run_id(1), "READY")
        assert third.tags == {"n": "3"}
        assert third.description is None
        assert by_number[2].description is None
        assert by_number[11].description == "the newest"
        assert by_number[11].aliases == ("Champion",)
        assert by_number[10].stage == "Production"
        assert by_number[1].stage == "None"
        assert (by_number[1].aliases, by_number[2].aliases) == ((), ("moved",))

    def test_the_versions_of_runs_are_found_with_all_their_fields(self, registry: ModelRegistry) -> None:
        listed = [one for name in ("Alpha β 🚀", "zeta") for one in registry.list_model_versions(name)]
        wanted = [one for one in listed if one.run_id in (run_id(1), run_id(3))]
        assert {one.run_id for one in wanted} == {run_id(1), run_id(3)}
        assert registry.versions_of_runs([run_id(3), run_id(1), "no run"]) == wanted
        assert registry.versions_of_runs([]) == []
        assert registry.versions_of_runs(["f" * 32] * 1001) == []

    @pytest.mark.parametrize("name", ["it's odd", 'say "hi" it\'s', "Alpha β 🚀"])
    def test_a_name_may_hold_quotes_and_any_letter(self, registry: ModelRegistry, name: str) -> None:
        (version,) = registry.list_model_versions(name)
        assert (version.name, version.version) == (name, 1)
        assert version.run_id == (run_id(1) if name.startswith("Alpha") else None)

    @pytest.mark.parametrize("name", ["none", "", "ZETA", "zeta%", "' OR 1=1"])
    def test_an_unknown_model_has_no_versions(self, registry: ModelRegistry, name: str) -> None:
        assert registry.list_model_versions(name) == []
        assert registry.find_model(name) is None

    @pytest.mark.parametrize("name", REGISTRIES)
    def test_every_registry_gives_the_same_records(self, registry_uri: str, name: str) -> None:
        first, other = REGISTRIES["mlflow_client"](registry_uri), REGISTRIES[name](registry_uri)
        assert other.list_models() == first.list_models()
        for model in first.list_models():
            assert other.find_model(model.name) == model
            versions: list[ModelVersion] = other.list_model_versions(model.name)
            assert versions == first.list_model_versions(model.name)


@pytest.fixture(scope="module")
def generated(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that each example fills anew."""
    database = tmp_path_factory.mktemp("generated") / "mlflow.db"
    shutil.copyfile(template_database, database)
    return database


def in_mlflows_tables(database: Path, spec: StoreSpec) -> tuple[TrackingStore, StoreSpec]:
    """The store of what was specified, in an MLflow database."""
    write_store(database, spec)
    return SqlStore(f"sqlite:///{database}"), spec


def in_an_index(database: Path, spec: StoreSpec) -> tuple[TrackingStore, StoreSpec]:
    """The store of TOML runs that are specified so; each with a name and a start, which it has by nature."""
    runs = tuple(replace(one, name=one.name or "run", start_time=one.start_time or NOON) for one in spec.runs)
    whole = replace(spec, runs=runs)
    write_toml_store(toml_folder_beside(database), whole)
    return STORES["toml"](f"sqlite:///{database}"), whole


SORT_KEYS = (
    "params.lr", "params.`größe`", "tags.team", "metrics.loss", "run_name", "user", "end_time", "start_time",
    "experiment_id", "artifact_uri", "status",
)  # fmt: skip
TABLES = {"sql": in_mlflows_tables, "toml": in_an_index}
"""The stores that answer from tables."""


class TestGeneratedStores:
    """Filters and orders of the whole language over generated stores: what is pushed down to SQL means the same."""

    @pytest.mark.parametrize("name", TABLES)
    @given(spec=stores(max_runs=8, nulls=True), filters=st.lists(expressions(8), min_size=1, max_size=8))
    @settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
    def test_a_filter_in_sql_is_the_filter_in_python(
        self, generated: Path, name: str, spec: StoreSpec, filters: list[Expression]
    ) -> None:
        sql, spec = TABLES[name](generated, spec)
        runs = list(sql.search_runs(RunQuery(view="all")))
        assert same(runs) == same(sorted_runs(kept_by(sql, spec.expected_runs())))
        for expression in filters:
            found = sql.search_runs(RunQuery(filter=expression, view="all"))
            expected = [run.run_id for run in runs if matches(expression, run)]
            assert [run.run_id for run in found] == expected, expression

    @pytest.mark.parametrize("name", TABLES)
    @given(
        spec=stores(max_runs=10, nulls=True),
        keys=st.lists(
            st.sampled_from(
                SORT_KEYS
            ),
            min_size=1, max_size=2, unique=True,
        ).flatmap(lambda keys: st.tuples(*(st.booleans().map(lambda up, key=key: (key, up)) for key in keys))),
    )  # fmt: skip
    @settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
    def test_an_order_in_sql_is_the_order_in_python(
        self, generated: Path, name: str, spec: StoreSpec, keys: tuple[tuple[str, bool], ...]
    ) -> None:
        sql, _ = TABLES[name](generated, spec)
        order = tuple(OrderBy(parse_order(key)[0], ascending) for key, ascending in keys)
        runs = list(sql.search_runs(RunQuery(view="all")))
        found = sql.search_runs(RunQuery(order_by=order, view="all"))
        assert [run.run_id for run in found] == [run.run_id for run in sorted_runs(runs, order)]

    @pytest.mark.parametrize("name", SERVERS)
    @given(
        spec=stores(max_runs=12, nulls=True),
        filters=st.lists(expressions(8), min_size=1, max_size=8),
        keys=st.lists(st.tuples(st.sampled_from(SORT_KEYS), st.booleans()), min_size=1, max_size=2),
    )
    @settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
    def test_a_database_server_filters_and_sorts_alike(
        self, generated: Path, name: str, spec: StoreSpec, filters: list[Expression], keys: list[tuple[str, bool]]
    ) -> None:
        write_store(generated, spec)
        server = STORES[name](str(generated))
        order = tuple(OrderBy(parse_order(key)[0], ascending) for key, ascending in keys)
        runs = list(server.search_runs(RunQuery(order_by=order, view="all")))
        assert same(runs) == same(sorted_runs(spec.expected_runs(), order))
        for expression in filters:
            found = server.search_runs(RunQuery(filter=expression, order_by=order, view="all"))
            expected = [run.run_id for run in runs if matches(expression, run)]
            assert [run.run_id for run in found] == expected, expression

    @pytest.mark.parametrize("name", STORES)
    @pytest.mark.parametrize("key", ["params.p", "params.p DESC", "tags.p", "tags.p DESC"])
    def test_one_number_in_two_spellings_is_a_tie(self, generated: Path, name: str, key: str) -> None:
        spellings = enumerate(("1", "1.0", "1e0", " 1 ", "+1"))
        runs = tuple(RunSpec(run_id(number), params={"p": text}, tags={"p": text}) for number, text in spellings)
        write_stores(generated, StoreSpec(runs=runs))
        store = STORES[name](f"sqlite:///{generated}")
        found = store.search_runs(RunQuery(order_by=(OrderBy(*parse_order(key)),)))
        assert numbers(found) == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("aggregate", AGGREGATES)
    def test_all_stores_choose_the_same_best_among_80_runs(self, generated: Path, aggregate: Any) -> None:
        write_stores(generated, seeded_store(11, 80))
        opened = [open_store(f"sqlite:///{generated}") for open_store in STORES.values()]
        for metric in METRICS[:1]:
            for mode in ("max", "min"):
                query = BestQuery(metric, mode, aggregate, top=5, tally=True)  # type: ignore[arg-type]
                first, *others = [one.best_runs(query) for one in opened]
                for other in others:
                    assert [one.run.run_id for one in other.candidates] == [one.run.run_id for one in first.candidates]
                    assert [one.value for one in other.candidates] == [one.value for one in first.candidates]
                    assert (other.considered, other.excluded) == (first.considered, first.excluded)
