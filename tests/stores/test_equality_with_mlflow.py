"""The independent authority: what ``MlflowClient`` answers on the same database, we answer.

The database is written by hand (``generated_stores``), read by us with SQL and by MLflow through its own store. Params
are sorted only by those that hold no numbers: we sort ``'0.001'`` before ``'1e-2'`` on purpose, MLflow does not.
"""

from __future__ import annotations

import math
import random
import shutil
import sys
from typing import TYPE_CHECKING, Any, Literal

import pytest
from generated_stores import (
    CONTEXTS,
    DATASETS,
    METRICS,
    NOON,
    PARAMS,
    STATUSES,
    TAGS,
    TEXTS,
    WORDY_PARAM,
    StoreSpec,
    analyze,
    examples,
    run_id,
    seeded_store,
    stores,
    write_store,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mirrored_stores import SERVERS, Mirrors

from agentnn.query.filters import parse_filter, parse_order
from agentnn.query.runs import OrderBy, RunQuery
from agentnn.query.selection import BestQuery
from agentnn.records import PARENT_TAG, Experiment, Run
from agentnn.stores.sql.store import MlflowTables, SqlStore

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow import MlflowClient

View = Literal["active", "deleted", "all"]
VIEWS: tuple[View, ...] = ("active", "deleted", "all")
PLAIN_TEXTS = tuple(text for text in TEXTS if not set(text) & set("'\"`"))
FEW = settings(
    max_examples=examples(50),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Pair:
    """One database with two readers: MLflow's and ours."""

    def __init__(self, database: Path, uri: str | None = None, ours: MlflowTables | None = None) -> None:
        from mlflow import MlflowClient

        self.database = database
        self.client: MlflowClient = MlflowClient(uri or f"sqlite:///{database}")
        self.ours: MlflowTables = ours or SqlStore(f"sqlite:///{database}")

    def fill(self, store: StoreSpec) -> None:
        write_store(self.database, store)
        self.ours = SqlStore(f"sqlite:///{self.database}")

    def experiment_ids(self, view: View = "all") -> list[str]:
        return [one.experiment_id for one in self.client.search_experiments(view_type=view_type(view))]

    def theirs(
        self,
        experiment_ids: list[str],
        filter_text: str = "",
        order_by: list[str] | None = None,
        view: View = "active",
        page_size: int = 1000,
    ) -> list[Run]:
        """All pages of MLflow's answer, as our records."""
        names = {one.experiment_id: one.name for one in self.client.search_experiments(view_type=view_type("all"))}
        found: list[Run] = []
        token = None
        while True:
            page = self.client.search_runs(
                experiment_ids, filter_text, view_type(view), page_size, order_by, page_token=token
            )
            found += [as_record(one, names) for one in page]
            token = page.token
            if not token:
                return found

    def assert_same(
        self, experiment_ids: list[str], filter_text: str, order_by: list[str], view: View, page_size: int
    ) -> list[Run]:
        """Ask both, whole and cut off; give back what was found."""
        theirs = self.theirs(experiment_ids, filter_text, order_by, view, page_size)
        keys = tuple(OrderBy(*parse_order(key)) for key in order_by)
        query = RunQuery(tuple(experiment_ids), parse_filter(filter_text), keys, view=view)
        ours = list(self.ours.search_runs(query))
        about = (filter_text, order_by, view)
        assert [run.run_id for run in ours] == [run.run_id for run in theirs], about
        assert [comparable(run) for run in ours] == [comparable(run) for run in theirs], about
        cut_off = list(self.ours.search_runs(query._replace(limit=page_size)))
        assert [run.run_id for run in cut_off] == [run.run_id for run in theirs[:page_size]], about
        assert sum(self.ours.count_runs(query).values()) == len(theirs), about
        return theirs


def view_type(view: View) -> int:
    from mlflow.entities import ViewType

    return {"active": ViewType.ACTIVE_ONLY, "deleted": ViewType.DELETED_ONLY, "all": ViewType.ALL}[view]


def as_record(one: Any, experiment_names: dict[str, str]) -> Run:
    """MLflow's run, field by field; the largest double stands for an infinity."""
    from agentnn.records import DatasetInput

    datasets = []
    for item in one.inputs.dataset_inputs:
        contexts = [tag.value for tag in item.tags if tag.key == "mlflow.data.context"]
        datasets.append(DatasetInput(item.dataset.name, item.dataset.digest, contexts[0] if contexts else None))
    return Run(
        run_id=one.info.run_id,
        name=one.info.run_name,
        experiment_id=one.info.experiment_id,
        experiment=experiment_names[one.info.experiment_id],
        status=one.info.status,
        lifecycle_stage=one.info.lifecycle_stage,
        start_time=one.info.start_time,
        end_time=one.info.end_time,
        user=one.info.user_id,
        artifact_uri=one.info.artifact_uri,
        metrics={key: unclipped(value) for key, value in one.data.metrics.items()},
        params=one.data.params,
        tags=one.data.tags,
        datasets=tuple(sorted(datasets, key=lambda one: (one.name, one.digest))),
    )


def unclipped(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def comparable(run: Run) -> dict[str, Any]:
    """A run in which NaN is equal to NaN and mappings are in no order."""
    values: dict[str, Any] = {name: getattr(run, name) for name in Run.__dataclass_fields__}
    metrics = {key: "nan" if math.isnan(value) else value for key, value in run.metrics.items()}
    return {**values, "metrics": metrics, "params": dict(run.params), "tags": dict(run.tags)}


# -- questions in MLflow's own grammar --------------------------------------------------------------------

_PLAIN = st.sampled_from(PLAIN_TEXTS)
_LISTED = st.lists(st.sampled_from(DATASETS), min_size=1, max_size=2).map(
    lambda names: "(" + ", ".join(f"'{name}'" for name in names) + ")"
)
_RUN_IDS = st.lists(st.integers(0, 3).map(run_id), min_size=1, max_size=3).map(
    lambda ids: "(" + ", ".join(f"'{one}'" for one in ids) + ")"
)
_ORDERED = st.sampled_from(("=", "!=", "<", "<=", ">", ">="))
_TEXTUAL = st.sampled_from(("=", "!=", "LIKE", "ILIKE"))
_PATTERN = st.sampled_from(("%a%", "A%", "ADAM", "_dam", "%", "100%", "1_00", "%ü%", "%🚀%", "x%"))
_METRIC_NUMBER = st.sampled_from(("0", "1", "1.5", "-2", "-2.5", "0.30000000000000004", "1e300", "1e-300", "100"))
_METRIC = st.sampled_from((*METRICS, "no such")).map(lambda key: f"metrics.`{key}`")
_TEXT_KEY = st.sampled_from((*PARAMS, WORDY_PARAM, "no such")).map(lambda key: f"params.`{key}`") | st.sampled_from(
    (*TAGS, PARENT_TAG)
).map(lambda key: f"tags.`{key}`")
_TIME = st.sampled_from(("attributes.start_time", "end_time", "created"))


def _clause(*parts: st.SearchStrategy[str] | str) -> st.SearchStrategy[str]:
    return st.tuples(*(st.just(part) if isinstance(part, str) else part for part in parts)).map(" ".join)


def _quoted(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return texts.map(lambda text: f"'{text}'")


CLAUSES = st.one_of(
    _clause(_METRIC, _ORDERED, _METRIC_NUMBER),
    _clause(_TEXT_KEY, _TEXTUAL, _quoted(_PLAIN | _PATTERN)),
    _clause(_TEXT_KEY, st.sampled_from(("IS NULL", "IS NOT NULL"))),
    _clause("attributes.status", _TEXTUAL, _quoted(st.sampled_from((*STATUSES, "FIN%", "fin%")))),
    _clause("attributes.run_name", _TEXTUAL, _quoted(_PLAIN | _PATTERN)),
    _clause("attributes.run_id", st.sampled_from(("IN", "NOT IN")), _RUN_IDS),
    _clause("attributes.user_id", _TEXTUAL, _quoted(st.sampled_from(("ana", "ANA", "B%", "_o")))),
    _clause("attributes.artifact_uri", _TEXTUAL, _quoted(st.sampled_from(("/nowhere/0%", "/NOWHERE/1/%")))),
    _clause(_TIME, _ORDERED, st.sampled_from((str(NOON), str(NOON + 1), "0"))),
    _clause(st.sampled_from(("datasets.name", "dataset.name")), _TEXTUAL, _quoted(st.sampled_from((*DATASETS, "pr%")))),
    _clause("datasets.name", "IN", _LISTED),
    _clause("datasets.digest", _TEXTUAL, _quoted(st.sampled_from(("d1", "D_")))),
    _clause("datasets.context", _TEXTUAL, _quoted(st.sampled_from([one for one in CONTEXTS if one]))),
)
FILTERS = st.lists(CLAUSES, max_size=3).map(" AND ".join)
SORT_FIELDS = (
    *(f"metrics.`{key}`" for key in METRICS), f"params.`{WORDY_PARAM}`", "attributes.start_time", "attributes.end_time",
    "attributes.status", "attributes.run_name", "attributes.artifact_uri", "attributes.user_id",
)  # fmt: skip
ORDERS = st.lists(st.sampled_from(SORT_FIELDS), max_size=3, unique=True).flatmap(
    lambda fields: st.tuples(*(_clause(field, st.sampled_from(("ASC", "DESC"))) for field in fields)).map(list)
)


@pytest.fixture(scope="module")
def pair(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A database that each example fills anew; MLflow needs 100 ms to open another one."""
    database = tmp_path_factory.mktemp("equality") / "mlflow.db"
    shutil.copyfile(template_database, database)
    return Pair(database)


@pytest.fixture(scope="module")
def large(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """More runs than MLflow gives in one page, the same every time."""
    database = tmp_path_factory.mktemp("large") / "mlflow.db"
    shutil.copyfile(template_database, database)
    write_store(database, seeded_store(7, 1600, PLAIN_TEXTS))
    analyze(database)
    return Pair(database)


class TestSmallStores:
    @given(stores(texts=PLAIN_TEXTS), st.lists(st.tuples(FILTERS, ORDERS), min_size=1, max_size=5), st.data())
    @FEW
    def test_every_search_finds_the_same_runs_in_the_same_order_and_with_the_same_fields(
        self, pair: Pair, store: StoreSpec, questions: list[tuple[str, list[str]]], data: st.DataObject
    ) -> None:
        pair.fill(store)
        known = pair.experiment_ids()
        for filter_text, order_by in questions:
            experiment_ids = data.draw(st.lists(st.sampled_from([*known, "987"]), min_size=1, unique=True))
            view = data.draw(st.sampled_from(VIEWS))
            pair.assert_same(experiment_ids, filter_text, order_by, view, data.draw(st.integers(1, 5)))

    @given(stores(max_runs=6))
    @FEW
    def test_each_run_is_the_same_field_by_field(self, pair: Pair, store: StoreSpec) -> None:
        pair.fill(store)
        names = {one.experiment_id: one.name for one in pair.client.search_experiments(view_type=view_type("all"))}
        for spec in store.runs:
            (ours,) = pair.ours.find_runs([spec.run_id])
            assert comparable(ours) == comparable(as_record(pair.client.get_run(spec.run_id), names))
            assert comparable(ours) == comparable(spec.expected(names[str(spec.experiment_id)]))

    @given(stores(max_runs=0))
    @FEW
    def test_experiments_come_in_the_same_order_and_with_the_same_fields(self, pair: Pair, store: StoreSpec) -> None:
        pair.fill(store)
        for view in VIEWS:
            theirs = [
                Experiment(
                    one.experiment_id, one.name, one.lifecycle_stage, one.artifact_location, one.creation_time,
                    one.last_update_time, one.tags,
                )
                for one in pair.client.search_experiments(view_type=view_type(view))
            ]  # fmt: skip
            assert pair.ours.list_experiments(view) == theirs
            for one in theirs:
                assert pair.ours.find_experiment(name=one.name) == one
                assert pair.ours.find_experiment(experiment_id=one.experiment_id) == one

    @given(stores(max_runs=4))
    @FEW
    def test_metric_histories_hold_the_same_points_by_step_and_time(self, pair: Pair, store: StoreSpec) -> None:
        pair.fill(store)
        for spec in store.runs:
            for key in (*spec.metrics, "no such"):
                theirs = [
                    (one.step, one.timestamp, str(unclipped(one.value)))
                    for one in pair.client.get_metric_history(spec.run_id, key)
                ]
                ours = [(one.step, one.timestamp, str(one.value)) for one in pair.ours.metric_history(spec.run_id, key)]
                assert sorted(ours) == sorted(theirs)
                assert [point[:2] for point in ours] == sorted(point[:2] for point in theirs)

    @given(stores(), st.sampled_from(METRICS), st.sampled_from(("max", "min")), st.booleans(), st.booleans())
    @FEW
    def test_the_best_run_is_the_one_found_by_hand_among_mlflows_runs(
        self, pair: Pair, store: StoreSpec, metric: str, mode: Any, unfinished: bool, children: bool
    ) -> None:
        pair.fill(store)
        assert_best(pair, metric, mode, unfinished, children)

    def test_an_empty_store_has_no_runs_and_no_best_one(self, pair: Pair) -> None:
        pair.fill(StoreSpec())
        assert pair.assert_same(["0"], "", [], "all", 10) == []
        assert_best(pair, "loss", "max", False, True)

    @pytest.mark.parametrize("metric", METRICS)
    def test_a_sort_by_a_metric_alone_puts_nan_before_missing_as_mlflow_does(self, pair: Pair, metric: str) -> None:
        pair.fill(seeded_store(3, 400))
        analyze(pair.database)
        for direction in ("ASC", "DESC"):
            found = pair.assert_same(pair.experiment_ids(), "", [f"metrics.`{metric}` {direction}"], "all", 60)
            tail = [run.metrics.get(metric) for run in found if not math.isfinite(run.metrics.get(metric, math.nan))]
            assert None in tail
            assert "nan" in map(str, tail)


def assert_best(pair: Pair, metric: str, mode: Any, unfinished: bool, children: bool) -> None:
    """Compare best with a sort of all of MLflow's runs, and count what is left out."""
    scope = [
        run for run in pair.theirs(pair.experiment_ids("active") or ["-1"]) if children or PARENT_TAG not in run.tags
    ]
    judged = [run for run in scope if unfinished or run.status == "FINISHED"]
    finite = [run for run in judged if math.isfinite(run.metrics.get(metric, math.nan))]
    finite.sort(key=lambda run: run.metrics[metric], reverse=mode == "max")  # stable: MLflow's order decides ties
    query = BestQuery(metric, mode, top=3, include_unfinished=unfinished, include_children=children, tally=True)
    best = pair.ours.best_runs(query)
    assert [one.run.run_id for one in best.candidates] == [run.run_id for run in finite[:4]]
    assert [one.value for one in best.candidates] == [run.metrics[metric] for run in finite[:4]]
    assert best.considered == len(finite)
    assert best.excluded is not None
    assert best.excluded.unfinished == len(scope) - len(judged)
    assert best.excluded.missing == sum(metric not in run.metrics for run in judged)
    assert best.excluded.nan == sum(math.isnan(run.metrics.get(metric, 0.0)) for run in judged)
    assert best.excluded.infinite == sum(math.isinf(run.metrics.get(metric, 0.0)) for run in judged)


QUESTIONS: tuple[tuple[str, list[str]], ...] = (
    ("metrics.loss > 1", []),
    ("metrics.loss != 1", ["metrics.loss DESC"]),
    ("metrics.`Sharpe ratio` <= 0 AND metrics.loss >= 0", ["metrics.`Sharpe ratio` ASC", "metrics.loss DESC"]),
    ("metrics.`été.日本` < 1.5", ["metrics.`été.日本` DESC"]),
    ("metrics.`a-b:c` = 0", ["attributes.end_time ASC"]),
    ("params.optimizer = 'adam'", ["params.optimizer DESC", "metrics.loss ASC"]),
    ("params.optimizer LIKE 'a_am'", ["attributes.run_name ASC"]),
    ("params.optimizer ILIKE 'ADAM%'", ["attributes.status DESC", "attributes.user_id ASC"]),
    ("params.lr IS NULL AND tags.team IS NOT NULL", []),
    ("params.`größe` != '0.001'", ["params.optimizer ASC"]),
    ("tags.`日本 tag` = '🚀 up'", ["attributes.artifact_uri DESC"]),
    ("tags.mlflow.parentRunId IS NULL AND attributes.status = 'FINISHED'", ["metrics.`val/loss` ASC"]),
    ("attributes.run_name LIKE 'naïve-1%'", ["attributes.run_name DESC"]),
    ("attributes.run_name ILIKE 'LSTM-%' AND attributes.user_id = 'ana'", []),
    (f"attributes.start_time > {NOON + 750_000} AND attributes.end_time <= {NOON + 1_000_000}", []),
    ("attributes.status != 'FINISHED'", []),
    ("datasets.name = 'prices'", ["attributes.start_time ASC"]),
    ("datasets.name ILIKE 'PRICES' AND datasets.context = 'training'", []),
    ("datasets.name IN ('日経', 's&p 500')", ["metrics.loss DESC"]),
    ("metrics.`no such` > 0", []),
)


class TestMoreThanAPage:
    def test_all_of_them_come_back_in_one_answer(self, large: Pair) -> None:
        found = large.assert_same(large.experiment_ids(), "", [], "all", 1000)
        assert len(found) == 1600
        active = large.assert_same(large.experiment_ids("active"), "", [], "active", 1000)
        assert 1001 < len(active) < 1600
        everywhere = [run.run_id for run in large.ours.search_runs(RunQuery())]
        assert everywhere == [run.run_id for run in active]

    @pytest.mark.parametrize(("filter_text", "order_by"), QUESTIONS)
    def test_questions_over_all_experiments(self, large: Pair, filter_text: str, order_by: list[str]) -> None:
        found = large.assert_same(large.experiment_ids(), filter_text, order_by, "active", 1000)
        assert (len(found) > 0) == ("no such" not in filter_text)

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("mode", ["max", "min"])
    def test_the_best_of_them(self, large: Pair, metric: str, mode: str) -> None:
        assert_best(large, metric, mode, unfinished=False, children=True)

    def test_the_best_with_children_left_out_and_unfinished_runs_let_in(self, large: Pair) -> None:
        assert_best(large, "loss", "max", unfinished=True, children=False)

    def test_a_limit_takes_the_newest_whatever_it_is(self, large: Pair) -> None:
        theirs = [run.run_id for run in large.theirs(large.experiment_ids("active"))]
        dice = random.Random(1)
        for limit in (1, 2, 999, 1000, 1001, *(dice.randrange(1, 1100) for _ in range(5))):
            assert [run.run_id for run in large.ours.search_runs(RunQuery(limit=limit))] == theirs[:limit]


@pytest.fixture(scope="module", params=SERVERS)
def served(
    request: pytest.FixtureRequest, mirrors: Mirrors, template_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Pair:
    """300 runs on a database server."""
    database = tmp_path_factory.mktemp("served") / "mlflow.db"
    shutil.copyfile(template_database, database)
    write_store(database, seeded_store(7, 300, PLAIN_TEXTS))
    mirror = mirrors.of(request.param, database)
    return Pair(database, mirror.uri, mirror.store)


BY_COLLATION = ("params.", "attributes.run_name", "attributes.user_id", "attributes.artifact_uri")
"""What MLflow sorts on MySQL as its collation does, ``ana`` before ``Bo``; we sort alike on every store."""


class TestDatabaseServers:
    @pytest.mark.parametrize(("filter_text", "order_by"), QUESTIONS)
    def test_questions_over_all_experiments(self, served: Pair, filter_text: str, order_by: list[str]) -> None:
        if served.client.tracking_uri.startswith("mysql"):
            order_by = [key for key in order_by if not key.startswith(BY_COLLATION)]
        served.assert_same(served.experiment_ids(), filter_text, order_by, "active", 1000)

    @pytest.mark.parametrize("metric", METRICS)
    def test_the_best_of_them(self, served: Pair, metric: str) -> None:
        for mode in ("max", "min"):
            assert_best(served, metric, mode, unfinished=False, children=True)
        assert_best(served, metric, "max", unfinished=True, children=False)

    def test_each_run_and_its_histories_are_the_same(self, served: Pair) -> None:
        names = {one.experiment_id: one.name for one in served.client.search_experiments(view_type=view_type("all"))}
        for one in list(served.ours.search_runs(RunQuery(view="all")))[:20]:
            assert comparable(one) == comparable(as_record(served.client.get_run(one.run_id), names))
            for key in one.metrics:
                theirs = [
                    (point.step, point.timestamp, str(unclipped(point.value)))
                    for point in served.client.get_metric_history(one.run_id, key)
                ]
                ours = [
                    (point.step, point.timestamp, str(point.value))
                    for point in served.ours.metric_history(one.run_id, key)
                ]
                assert sorted(ours) == sorted(theirs)

    def test_an_order_by_text_goes_by_code_points_as_on_every_store(self, served: Pair) -> None:
        """MLflow leaves it to the database's collation, and so sorts alike only where that does."""
        found = served.ours.search_runs(RunQuery(order_by=(OrderBy(*parse_order("run_name")),)))
        names = [run.name for run in found]
        assert names == sorted(names)
