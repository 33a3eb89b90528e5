"""What "best" is, by hand and against a naive sort."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from generated_stores import METRIC_VALUES, NOON
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnn.query.selection import (
    Best,
    BestQuery,
    Candidate,
    Excluded,
    aggregate_history,
    rank,
    verdicts,
    why_excluded,
)
from agentnn.records import Metric, Run


def make_run(run_id: str, value: float | None, status: str = "FINISHED", start: int | None = NOON) -> Run:
    metrics = {} if value is None else {"m": value}
    return Run(run_id, run_id, "0", "Default", status, start_time=start, metrics=metrics)


def ranked(query: BestQuery, runs: list[Run]) -> Best:
    return rank(query, ((run, run.metrics.get("m")) for run in runs))


def history(*values: float) -> list[Metric]:
    return [Metric("m", value, step, NOON + step) for step, value in enumerate(values)]


def ids(best: Best) -> list[str]:
    return [candidate.run.run_id for candidate in best.candidates]


class TestWhoCanWin:
    @pytest.mark.parametrize("mode", ["max", "min"])
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
    def test_a_run_without_a_finite_value_never_wins(self, mode: Any, value: float | None) -> None:
        runs = [make_run("odd", value, start=NOON + 99), make_run("good", 0.5)]
        assert ids(ranked(BestQuery("m", mode, top=5), runs)) == ["good"]
        assert ids(ranked(BestQuery("m", mode), runs[:1])) == []

    @pytest.mark.parametrize("status", ["RUNNING", "FAILED", "KILLED", "SCHEDULED"])
    def test_an_unfinished_run_takes_part_only_when_asked_to(self, status: str) -> None:
        runs = [make_run("done", 1.0), make_run("open", 2.0, status)]
        assert ids(ranked(BestQuery("m", top=5), runs)) == ["done"]
        assert ids(ranked(BestQuery("m", top=5, include_unfinished=True), runs)) == ["open", "done"]

    def test_the_mode_says_which_end_wins(self) -> None:
        runs = [make_run("a", -1.0), make_run("b", 3.0), make_run("c", 0.0)]
        assert ids(ranked(BestQuery("m", "max", top=3), runs)) == ["b", "c", "a"]
        assert ids(ranked(BestQuery("m", "min", top=3), runs)) == ["a", "c", "b"]

    @pytest.mark.parametrize("mode", ["max", "min"])
    def test_ties_go_to_the_later_start_then_the_smaller_id(self, mode: Any) -> None:
        runs = [
            make_run("b", 1.0), make_run("a", 1.0), make_run("late", 1.0, start=NOON + 1),
            make_run("never", 1.0, start=None),
        ]  # fmt: skip
        assert ids(ranked(BestQuery("m", mode, top=4), runs)) == ["late", "a", "b", "never"]

    def test_zero_and_minus_zero_tie(self) -> None:
        runs = [make_run("a", 0.0), make_run("z", -0.0, start=NOON + 1)]
        assert ids(ranked(BestQuery("m", "max", top=2), runs)) == ["z", "a"]
        assert ids(ranked(BestQuery("m", "min", top=2), runs)) == ["z", "a"]

    def test_one_more_than_asked_for_comes_back_as_the_runner_up(self) -> None:
        runs = [make_run(str(number), float(number)) for number in range(9)]
        assert ids(ranked(BestQuery("m"), runs)) == ["8", "7"]
        assert ids(ranked(BestQuery("m", top=3), runs)) == ["8", "7", "6", "5"]
        assert ids(ranked(BestQuery("m"), [])) == []


class TestTally:
    def test_each_run_is_counted_once_by_the_first_reason_that_holds(self) -> None:
        runs = [
            make_run("1", 1.0), make_run("2", 2.0), make_run("3", None), make_run("4", math.nan),
            make_run("5", math.inf), make_run("6", -math.inf), make_run("7", 1.0, "FAILED"),
            make_run("8", math.nan, "RUNNING"), make_run("9", None, "KILLED"),
        ]  # fmt: skip
        best = ranked(BestQuery("m", tally=True), runs)
        assert best.considered == 2
        assert best.excluded == Excluded(unfinished=3, missing=1, nan=1, infinite=2)
        assert best.excluded.total == 7
        everyone = ranked(BestQuery("m", tally=True, include_unfinished=True), runs)
        assert everyone.considered == 3
        assert everyone.excluded == Excluded(unfinished=0, missing=2, nan=2, infinite=2)

    def test_nothing_is_counted_unless_it_was_asked_for(self) -> None:
        best = ranked(BestQuery("m"), [make_run("1", 1.0)])
        assert (best.considered, best.excluded) == (None, None)

    @pytest.mark.parametrize(
        ("status", "value", "include", "reason"),
        [
            ("FINISHED", 1.0, False, None), ("RUNNING", 1.0, False, "unfinished"), ("RUNNING", 1.0, True, None),
            ("RUNNING", None, False, "unfinished"), ("RUNNING", None, True, "missing"),
            ("FINISHED", math.nan, False, "nan"), ("FINISHED", -math.inf, False, "infinite"),
        ],
    )  # fmt: skip
    def test_the_reason(self, status: str, value: float | None, include: bool, reason: str | None) -> None:
        query = BestQuery("m", include_unfinished=include)
        assert why_excluded(query, make_run("x", value, status), value) == reason


class TestAggregates:
    @pytest.mark.parametrize(
        ("aggregate", "expected"), [("last", 2.0), ("first", 3.0), ("min", -1.0), ("max", 7.0), ("mean", 2.75)]
    )
    def test_each_aggregate_by_hand(self, aggregate: Any, expected: float) -> None:
        assert aggregate_history(history(3.0, -1.0, 7.0, 2.0), aggregate) == expected

    @pytest.mark.parametrize(
        ("aggregate", "expected"), [("last", 4.0), ("first", 1.0), ("min", 1.0), ("max", 4.0), ("mean", 2.5)]
    )
    def test_only_finite_values_count(self, aggregate: Any, expected: float) -> None:
        values = history(math.nan, -math.inf, 1.0, math.nan, 4.0, math.inf)
        assert aggregate_history(values, aggregate) == expected

    @pytest.mark.parametrize("aggregate", ["last", "first", "min", "max", "mean"])
    def test_without_a_finite_value_the_answer_says_why(self, aggregate: Any) -> None:
        assert aggregate_history([], aggregate) is None
        only_nan = aggregate_history(history(math.nan, math.nan), aggregate)
        assert only_nan is not None
        assert math.isnan(only_nan)
        infinite = aggregate_history(history(math.nan, -math.inf), aggregate)
        assert infinite is not None
        assert math.isinf(infinite)

    def test_a_mean_is_exact_and_does_not_overflow(self) -> None:
        assert aggregate_history(history(*[0.1] * 10), "mean") == 0.1
        assert aggregate_history(history(1e16, 1.0, -1e16), "mean") == pytest.approx(1 / 3)
        assert aggregate_history(history(1.5e308, 1.5e308, 0.0), "mean") == pytest.approx(1e308)


class TestVerdicts:
    def test_the_margin_is_the_distance_to_the_next_run_in_either_mode(self) -> None:
        runs = [make_run("a", 1.0), make_run("b", 2.5), make_run("c", -1.0)]
        for mode, order, margins in (("max", "bac", [1.5, 2.0, None]), ("min", "cab", [2.0, 1.5, None])):
            query = BestQuery("m", mode, top=3, tally=True)  # type: ignore[arg-type]
            found = verdicts(query, ranked(query, runs))
            assert [run.run_id for run in found] == list(order)
            assert [run.best.margin for run in found] == margins
            assert [run.best.runner_up for run in found] == [*order[1:], None]
            assert [run.best.rank for run in found] == [1, 2, 3]
            assert {(run.best.considered, run.best.excluded) for run in found} == {(3, Excluded())}

    def test_the_runner_up_is_known_though_it_is_not_listed(self) -> None:
        query = BestQuery("m")
        (winner,) = verdicts(query, ranked(query, [make_run("a", 1.0), make_run("b", 1.0)]))
        assert (winner.run_id, winner.best.margin, winner.best.runner_up) == ("a", 0.0, "b")

    def test_nobody_gives_no_verdict(self) -> None:
        query = BestQuery("m", top=3)
        assert verdicts(query, ranked(query, [])) == []

    def test_a_verdict_carries_the_whole_run_and_its_json_form_is_valid(self) -> None:
        run = make_run("a", 1.0)
        query = BestQuery("m", "min", "mean", tally=True)
        (winner,) = verdicts(query, Best((Candidate(run, 1.0),), 1, Excluded(nan=2)))
        assert {name: value for name, value in winner.to_dict().items() if name != "best"} == run.to_dict()
        assert winner.to_dict()["best"] == {
            "metric": "m", "mode": "min", "aggregate": "mean", "value": 1.0, "rank": 1, "margin": None,
            "runner_up": None, "considered": 1, "excluded": {"unfinished": 0, "missing": 0, "nan": 2, "infinite": 0},
        }  # fmt: skip

    def test_a_margin_beyond_the_largest_double_is_still_valid_json(self) -> None:
        query = BestQuery("m")
        (winner,) = verdicts(query, ranked(query, [make_run("a", 1.7e308), make_run("b", -1.7e308)]))
        assert json.loads(json.dumps(winner.to_dict(), allow_nan=False))["best"]["runner_up"] == "b"


class TestAgainstANaiveSort:
    @given(
        st.lists(
            st.builds(
                make_run,
                st.uuids().map(lambda one: one.hex),
                st.none() | st.sampled_from(METRIC_VALUES) | st.floats(),
                st.sampled_from(("FINISHED", "FINISHED", "RUNNING", "FAILED")),
                st.none() | st.sampled_from((NOON, NOON + 1, 0, -5)),
            ),
            max_size=30,
            unique_by=lambda run: run.run_id,
        ),
        st.sampled_from(("max", "min")),
        st.integers(1, 5),
        st.booleans(),
    )
    @settings(max_examples=200, deadline=None)
    def test_a_ranking_is_what_a_sort_of_everything_gives(
        self, runs: list[Run], mode: Any, top: int, include_unfinished: bool
    ) -> None:
        query = BestQuery("m", mode, top=top, include_unfinished=include_unfinished, tally=True)
        best = ranked(query, runs)

        in_scope = [run for run in runs if include_unfinished or run.status == "FINISHED"]
        finite = [run for run in in_scope if "m" in run.metrics and math.isfinite(run.metrics["m"])]
        naive = sorted(finite, key=lambda run: run.run_id)
        naive.sort(key=lambda run: -math.inf if run.start_time is None else run.start_time, reverse=True)
        naive.sort(key=lambda run: run.metrics["m"], reverse=mode == "max")
        assert ids(best) == [run.run_id for run in naive[: top + 1]]
        assert best.considered == len(finite)
        assert best.excluded is not None
        assert best.excluded.total + best.considered == len(runs)
        assert best.excluded.missing == sum("m" not in run.metrics for run in in_scope)
        assert best.excluded.nan == sum(math.isnan(run.metrics.get("m", 0.0)) for run in in_scope)
        assert best.excluded.infinite == sum(math.isinf(run.metrics.get("m", 0.0)) for run in in_scope)
