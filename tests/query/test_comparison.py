"""Runs side by side: typed differences."""

from __future__ import annotations

import math
from typing import Any

import pytest
from generated_stores import NOON, run_specs
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnn.errors import NotFoundError
from agentnn.query.comparison import compare, differing_params, typed, varying_keys
from agentnn.records import PARENT_TAG, RUN_NAME_TAG, Run


def make_run(run_id: str = "a", **values: Any) -> Run:
    return Run(
        **{"run_id": run_id, "name": run_id, "experiment_id": "0", "experiment": "E", "status": "FINISHED", **values}
    )


def differs(*values: str | None) -> bool:
    runs = [make_run(str(n), params={} if value is None else {"p": value}) for n, value in enumerate(values)]
    (row,) = [row for row in compare(runs).rows if row.section == "param"]
    assert row.values == values
    return row.differs


class TestTypedValues:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("1e-05", "0.00001"), ("True", "true"), ("FALSE", "false"), ("1", "1.0"), (" 7 ", "7"), ("1e3", "1000"),
            ("inf", "Infinity"), ("-0.0", "0"), ("adam", "adam"), ("", ""), ("nan", "nan"), (".5", "0.50"),
        ],
    )  # fmt: skip
    def test_two_spellings_of_one_value_do_not_differ(self, one: str, other: str) -> None:
        assert not differs(one, other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("1", "True"), ("0", "false"), ("1.0", "true"), ("adam", "Adam"), ("adam", "sgd"), ("1", "1.0000001"),
            ("", "0"), ("1_000", "1000"), ("None", ""), ("inf", "-inf"), ("0.1", "0,1"), ("nan", "0"),
        ],
    )  # fmt: skip
    def test_two_values_differ_however_alike_they_look(self, one: str, other: str) -> None:
        assert differs(one, other)

    def test_a_param_that_only_some_runs_have_differs_even_when_it_is_empty(self) -> None:
        assert differs("1", None)
        assert differs("", None)
        assert differs("None", None)

    def test_one_run_that_differs_among_many_is_enough(self) -> None:
        assert not differs(*["1e-3"] * 10, "0.001")
        assert differs(*["1e-3"] * 10, "0.002")

    def test_what_a_param_means(self) -> None:
        assert [typed(text) for text in ("1", "-2.5e1", "adam", None, "")] == [1.0, -25.0, "adam", None, ""]
        assert (typed("TRUE"), typed(" false ")) == (True, False)
        assert type(typed("1")) is float
        assert type(typed("True")) is bool


class TestMetrics:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ((math.nan, math.nan), False), ((math.nan, 0.0), True), ((math.nan, None), True), ((1.0, None), True),
            ((math.inf, math.inf), False), ((math.inf, -math.inf), True), ((0.0, -0.0), False), ((0.1, 0.1), False),
            ((0.1 + 0.2, 0.3), True), ((1.0, 1.0, math.nan), True),
        ],
    )  # fmt: skip
    def test_nan_is_the_same_as_nan_and_missing_as_nothing(
        self, values: tuple[float | None, ...], expected: bool
    ) -> None:
        runs = [make_run(str(n), metrics={} if value is None else {"m": value}) for n, value in enumerate(values)]
        (row,) = [row for row in compare(runs).rows if row.section == "metric"]
        assert row.differs is expected
        assert str(row.values) == str(values)


class TestComparison:
    def test_rows_come_by_section_then_by_name_and_values_in_the_order_of_the_runs(self) -> None:
        first = make_run("a", metrics={"z": 1.0, "b": 2.0}, params={"q": "1"}, tags={"t": "x", RUN_NAME_TAG: "a"})
        second = make_run("b", metrics={"a": 3.0}, params={"p": "2"}, tags={"t": "y", PARENT_TAG: "a"}, status="FAILED")
        comparison = compare([second, first])
        assert [(row.section, row.key) for row in comparison.rows] == [
            ("attribute", "experiment"), ("attribute", "status"), ("attribute", "duration_s"), ("attribute", "user"),
            ("metric", "a"), ("metric", "b"), ("metric", "z"), ("param", "p"), ("param", "q"), ("tag", "t"),
        ]  # fmt: skip
        by_key = {row.key: row.values for row in comparison.rows}
        assert by_key["status"] == ("FAILED", "FINISHED")
        assert by_key["z"] == (None, 1.0)
        assert by_key["t"] == ("y", "x")
        assert comparison.runs == (second, first)

    def test_differences_are_the_rows_that_differ(self) -> None:
        first = make_run("a", start_time=NOON, end_time=NOON + 1500, user="ana", params={"p": "1", "same": "x"})
        second = make_run("b", start_time=NOON, end_time=NOON + 2500, user="ana", params={"p": "2", "same": "x"})
        found = {row.key: row.values for row in compare([first, second]).differences}
        assert found == {"duration_s": (1.5, 2.5), "p": ("1", "2")}

    def test_tags_are_compared_as_they_are_written(self) -> None:
        rows = compare([make_run("a", tags={"t": "1.0"}), make_run("b", tags={"t": "1"})]).differences
        assert [row.key for row in rows] == ["t"]

    @given(run_specs((0,)))
    @settings(max_examples=50, deadline=None)
    def test_a_run_does_not_differ_from_itself(self, spec: Any) -> None:
        run = spec.expected("E")
        assert compare([run, run, run]).differences == ()

    @given(st.lists(run_specs((0,)), min_size=2, max_size=4))
    @settings(max_examples=50, deadline=None)
    def test_the_order_of_the_runs_does_not_change_what_differs(self, specs: list[Any]) -> None:
        runs = [spec.expected("E") for spec in specs]
        forward = {(row.section, row.key) for row in compare(runs).differences}
        assert forward == {(row.section, row.key) for row in compare(runs[::-1]).differences}


class TestVaryingKeys:
    def test_keys_are_parted_into_those_that_differ_and_those_that_do_not(self) -> None:
        runs = [
            make_run("a", params={"lr": "1e-3", "opt": "adam", "rare": "1", "flag": "True", "z": "1"}),
            make_run("b", params={"lr": "0.001", "opt": "sgd", "flag": "true", "z": "2"}),
        ]
        found = varying_keys(runs, "params")
        assert found.differing == ("opt", "z", "rare")
        assert found.same == ("flag", "lr")

    def test_metrics_that_are_nan_everywhere_are_the_same(self) -> None:
        runs = [make_run("a", metrics={"n": math.nan, "m": 1.0}), make_run("b", metrics={"n": math.nan, "m": math.nan})]
        found = varying_keys(runs, "metrics")
        assert (found.differing, found.same) == (("m",), ("n",))

    def test_no_runs_and_one_run_have_nothing_that_differs(self) -> None:
        assert varying_keys([], "params") == ((), ())
        assert varying_keys([make_run("a", params={"b": "1", "a": "2"})], "params") == ((), ("a", "b"))

    @given(st.lists(run_specs((0,)), min_size=2, max_size=4))
    @settings(max_examples=50, deadline=None)
    def test_it_agrees_with_the_comparison_of_all_runs(self, specs: list[Any]) -> None:
        runs = [spec.expected("E") for spec in specs]
        rows = compare(runs).rows
        for attribute, section in (("metrics", "metric"), ("params", "param")):
            found = varying_keys(runs, attribute)  # type: ignore[arg-type]
            assert set(found.differing) == {row.key for row in rows if row.section == section and row.differs}
            assert set(found.same) == {row.key for row in rows if row.section == section and not row.differs}

    def test_params_that_differ_between_groups_are_named_in_order(self) -> None:
        groups = [{"z": "1", "lr": "1e-3", "opt": "adam"}, {"z": "2", "lr": "0.001", "opt": "adam", "a": "1"}]
        assert differing_params(groups) == ["a", "z"]


class TestWorse:
    @pytest.mark.parametrize(
        ("mode", "worse"), [("max", ["less", "missing", "nan", "inf"]), ("min", ["more", "missing", "nan", "inf"])]
    )
    def test_worse_is_what_is_not_as_good_as_the_first(self, mode: Any, worse: list[str]) -> None:
        values = {"first": 1.0, "less": 0.5, "equal": 1.0, "more": 2.0, "nan": math.nan, "inf": math.inf}
        runs = [make_run(name, metrics={"m": value}) for name, value in values.items()]
        found = compare([*runs[:4], make_run("missing"), *runs[4:]]).worse_than_first("m", mode)
        assert [run.run_id for run in found] == worse

    @pytest.mark.parametrize("metrics", [{}, {"m": math.nan}, {"m": -math.inf}])
    def test_nothing_is_worse_than_no_number(self, metrics: dict[str, float]) -> None:
        with pytest.raises(NotFoundError, match="the run a has no finite 'm' to compare with"):
            compare([make_run("a", metrics=metrics), make_run("b", metrics={"m": 1.0})]).worse_than_first("m", "max")
