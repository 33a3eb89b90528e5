"""An MLflow server over its REST API, against ``MlflowClient`` on the database behind it."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from generated_stores import (
    METRICS,
    NOON,
    RunSpec,
    StoreSpec,
    analyze,
    points,
    run_id,
    seeded_store,
    stores,
    write_store,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from real_stores import MlflowServer, make_equal
from stores.test_equality_with_mlflow import (
    FILTERS,
    ORDERS,
    PLAIN_TEXTS,
    VIEWS,
    Pair,
    assert_best,
    comparable,
)

from agentnn.query.evaluation import sorted_runs
from agentnn.query.filters import parse_filter, parse_order
from agentnn.query.runs import OrderBy, RunQuery
from agentnn.query.selection import BestQuery
from agentnn.settings import Settings
from agentnn.stores.opening import open_store
from agentnn.stores.rest import best, counting, nested, searching
from agentnn.stores.rest.pushdown import NO_VALUE, Pushed, pushed, pushed_order

if TYPE_CHECKING:
    from pathlib import Path

OUTSIDERS = tuple(
    RunSpec(run_id(1000 + number), metrics={"loss": points(value)})
    for number, value in enumerate((math.nan, math.inf, -math.inf, 0.0, math.nan))
)
FEW = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


class ServedPair(Pair):
    """A database: MLflow reads it, and we ask the server before it."""

    def __init__(self, server: MlflowServer, database: Path, template: Path) -> None:
        super().__init__(database)
        self._template = template
        self.ours = open_store(Settings(server.url, registry_uri=server.url))  # type: ignore[assignment]

    def fill(self, store: StoreSpec) -> None:
        write_store(self._template, store)
        make_equal(self.database, self._template)


@pytest.fixture(scope="module")
def pair(
    mlflow_server: MlflowServer,
    _server_database: Path,
    _server_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> ServedPair:
    copy = tmp_path_factory.mktemp("served") / "mlflow.db"
    copy.write_bytes(_server_template.read_bytes())
    return ServedPair(mlflow_server, _server_database, copy)


@pytest.fixture(scope="module")
def large(pair: ServedPair) -> ServedPair:
    """Some hundreds of runs: more than a page, and than what is read rather than counted; for the first class only."""
    pair.fill(seeded_store(7, 450, PLAIN_TEXTS))
    analyze(pair.database)
    return pair


class TestLarge:
    def test_all_of_them_come_back_page_by_page(self, large: ServedPair, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(searching, "FIRST_PAGE", 30)
        monkeypatch.setattr(searching, "PAGE", 250)
        theirs = large.theirs(large.experiment_ids(), view="all")
        ours = list(large.ours.search_runs(RunQuery(tuple(large.experiment_ids()), view="all")))
        assert [comparable(run) for run in ours] == [comparable(run) for run in theirs]
        assert len(ours) == 450

    @pytest.mark.parametrize(
        ("filter_text", "order_by"),
        [
            ("metrics.loss > 1", []),
            ("metrics.loss != 1", ["metrics.loss DESC"]),
            ("metrics.`Sharpe ratio` <= 0 AND metrics.loss >= 0", ["metrics.`Sharpe ratio` ASC", "metrics.loss DESC"]),
            ("metrics.loss > 0", ["metrics.`Sharpe ratio` DESC"]),
            ("metrics.loss > 0 AND params.optimizer = 'adam'", ["metrics.`été.日本` ASC"]),
            ("params.optimizer LIKE 'a_am'", ["attributes.run_name ASC"]),
            ("params.optimizer ILIKE 'ADAM%'", ["attributes.status DESC", "attributes.user_id ASC"]),
            ("tags.`日本 tag` = '🚀 up'", ["attributes.artifact_uri DESC"]),
            ("tags.mlflow.parentRunId IS NULL AND attributes.status = 'FINISHED'", ["metrics.`val/loss` ASC"]),
            ("attributes.run_name LIKE 'naïve-1%'", ["attributes.end_time DESC"]),
            ("datasets.name IN ('日経', 's&p 500')", ["metrics.loss DESC"]),
        ],
    )
    def test_questions_over_all_experiments(self, large: ServedPair, filter_text: str, order_by: list[str]) -> None:
        assert large.assert_same(large.experiment_ids(), filter_text, order_by, "active", 20)

    @pytest.mark.parametrize("metric", METRICS[:2])
    @pytest.mark.parametrize(("mode", "patience"), [("max", 0.0), ("min", math.inf)])
    def test_the_best_of_them_with_its_tally(
        self, large: ServedPair, metric: str, mode: str, patience: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(best, "_QUICK_S", patience)
        assert_best(large, metric, mode, unfinished=False, children=True)
        assert_best(large, metric, mode, unfinished=True, children=False)

    def test_a_cheap_tally_is_one_of_few_runs(self, large: ServedPair) -> None:
        found = large.ours.best_runs(BestQuery("loss", tally="cheap"))
        assert (found.considered, found.excluded) == (None, None)
        [one] = large.ours.search_runs(RunQuery(limit=1, view="all"))
        few = RunQuery(filter=parse_filter(f"run_id = '{one.run_id}'"), view="all")
        assert large.ours.best_runs(BestQuery("loss", scope=few, tally="cheap")).excluded is not None

    def test_a_server_whose_tokens_are_no_numbers_is_read_instead_of_counted(
        self, large: ServedPair, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(counting, "_place", lambda token: None)
        assert_best(large, "loss", "max", unfinished=False, children=True)
        assert sum(large.ours.count_runs(RunQuery()).values()) == len(list(large.ours.search_runs(RunQuery())))

    def test_a_server_that_refuses_what_is_pushed_down_is_asked_without(
        self, large: ServedPair, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        query = RunQuery(
            None, parse_filter("params.optimizer = 'adam'"), (OrderBy(*parse_order("metrics.loss DESC")),), limit=5
        )
        expected = list(map(comparable, large.ours.search_runs(query)))
        by_best = large.ours.best_runs(BestQuery("loss", scope=query, tally=True))
        monkeypatch.setattr(Pushed, "__str__", lambda one: "this is ( no filter" if one.conditions else "")
        assert list(map(comparable, large.ours.search_runs(query))) == expected
        assert len(expected) == 5
        assert str(large.ours.best_runs(BestQuery("loss", scope=query, tally=True))) == str(by_best)

    @pytest.mark.parametrize("reading_s", [1e-9, 1e9, None], ids=["all are read", "one by one", "refused"])
    def test_nested_runs_are_found_wherever_they_are(
        self, large: ServedPair, reading_s: float | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nested_runs = [run for run in large.ours.search_runs(RunQuery(view="all")) if run.parent_run_id]
        parents = {str(run.parent_run_id): run for run in nested_runs}
        assert len(parents) > 10
        if reading_s is None:
            monkeypatch.setattr(Pushed, "__str__", lambda one: "this is ( no filter" if one.conditions else "")
        else:
            monkeypatch.setattr(nested, "_READING_S", reading_s)
        some = [*list(parents)[::2], "f" * 32]
        for view in VIEWS:
            visible = [run for run in large.ours.search_runs(RunQuery(view=view)) if run.parent_run_id in some]
            for asked in (some, some[:1], []):
                expected = [run.run_id for run in visible if run.parent_run_id in asked]
                assert [run.run_id for run in large.ours.nested_in(asked, view)] == expected

    @pytest.mark.parametrize("ascending", [True, False])
    def test_behind_the_values_come_those_that_have_none(self, large: ServedPair, ascending: bool) -> None:
        [key] = (OrderBy(*parse_order(f"metrics.loss {'ASC' if ascending else 'DESC'}")),)
        few = parse_filter("run_id LIKE '0%'")
        expected = sorted_runs(large.ours.search_runs(RunQuery(filter=few, view="all")), (key,))
        assert {math.isfinite(run.metrics.get("loss", math.nan)) for run in expected} == {True, False}
        for limit in (1, len(expected) // 2, len(expected) - 1, len(expected) + 9):
            found = list(large.ours.search_runs(RunQuery(filter=few, order_by=(key,), limit=limit, view="all")))
            assert [run.run_id for run in found] == [run.run_id for run in expected[:limit]]

    def test_counts_are_those_of_the_runs(self, large: ServedPair) -> None:
        for filter_text in ("", "status = 'FAILED'", "params.optimizer = 'adam'", "metrics.loss > 1"):
            query = RunQuery(filter=parse_filter(filter_text))
            assert large.ours.count_runs(query) == Counter(run.status for run in large.ours.search_runs(query))


class TestSmall:
    def test_a_tie_that_is_longer_than_any_page_is_settled_as_mlflow_does(self, pair: ServedPair) -> None:
        runs = [
            RunSpec(run_id(number), start_time=NOON + number // 7, metrics={"loss": points(1.0)})
            for number in range(150)
        ]
        pair.fill(StoreSpec(runs=(*runs, *OUTSIDERS)))
        for mode in ("max", "min"):
            assert_best(pair, "loss", mode, unfinished=True, children=True)

    @given(stores(texts=PLAIN_TEXTS), st.lists(st.tuples(FILTERS, ORDERS), min_size=1, max_size=4), st.data())
    @FEW
    def test_every_search_finds_the_same_runs(
        self, pair: ServedPair, store: StoreSpec, questions: list[tuple[str, list[str]]], data: st.DataObject
    ) -> None:
        pair.fill(store)
        known = pair.experiment_ids()
        for filter_text, order_by in questions:
            experiment_ids = data.draw(st.lists(st.sampled_from([*known, "987"]), min_size=1, unique=True))
            view = data.draw(st.sampled_from(VIEWS))
            pair.assert_same(experiment_ids, filter_text, order_by, view, data.draw(st.integers(1, 5)))

    @given(stores(), st.sampled_from(METRICS), st.sampled_from(("max", "min")), st.booleans(), st.booleans())
    @FEW
    def test_the_best_run_is_the_one_found_by_hand(
        self, pair: ServedPair, store: StoreSpec, metric: str, mode: Any, unfinished: bool, children: bool
    ) -> None:
        pair.fill(store)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(best, "_QUICK_S", 0.0)
            patch.setattr(best, "_READ_RATHER_THAN_COUNTED", 2)  # as though there were more than can be read
            assert_best(pair, metric, mode, unfinished, children)


class TestPushedDown:
    """What is pushed down never leaves out a run that the filter finds; what is whole finds no other either."""

    @pytest.mark.parametrize(
        ("filter_text", "conditions", "is_whole"),
        [
            ("metrics.loss <= 1.5e-9", ["metrics.`loss` <= 1.5e-09"], False),
            ("metrics.loss < inf", [f"metrics.`loss` != {NO_VALUE}"], False),
            ("metrics.`a b/c` IS NOT NULL", [f"metrics.`a b/c` != {NO_VALUE}"], False),
            ("params.lr > 0.1", ["params.`lr` LIKE '%'"], False),
            ("params.opt = 'adam'", ["params.`opt` = 'adam'"], True),
            ("params.opt = 'it''s'", ["params.`opt` LIKE '%'"], False),
            ("params.opt LIKE 'ad_m%'", ["params.`opt` LIKE 'ad%'"], False),
            ("params.opt =~ 'ad'", ["params.`opt` LIKE '%'"], False),
            ("params.opt IS NULL", [], False),
            ("status != 'FINISHED'", ["attributes.status != 'FINISHED'"], True),
            ("status != 'finished'", [], False),
            ("start_time > 5", ["attributes.start_time > 5"], False),
            ("run_id LIKE 'ab%'", ["attributes.run_id LIKE 'ab%'"], False),
            ("metrics.loss > 1 OR metrics.loss < 0", [], False),
            ("NOT params.opt = 'adam'", [], False),
            ("status = 'FAILED' AND (metrics.m > 1 OR params.a = 'b')", ["attributes.status = 'FAILED'"], False),
        ],
    )
    def test_by_hand(self, filter_text: str, conditions: list[str], is_whole: bool) -> None:
        assert pushed(parse_filter(filter_text)) == Pushed(tuple(conditions), is_whole)

    def test_only_numbers_are_sorted_by_the_server(self) -> None:
        keys = [OrderBy(*parse_order(key)) for key in ("metrics.`a b` DESC", "end_time")]
        assert pushed_order(keys) == ["metrics.`a b` DESC", "attributes.end_time ASC"]
        for key in ("params.lr", "tags.team", "status", "run_name"):
            assert pushed_order([*keys, OrderBy(*parse_order(key))]) is None
