"""The gate: what holds, what does not, and in which direction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnn.errors import UsageError
from agentnn.query.gate import GateReport, Requirement, Tolerance, check_run, parse_requirement, parse_tolerance
from agentnn.records import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.query.selection import Mode

VALUES = st.floats(allow_nan=False, allow_infinity=False, width=32)


def make_run(metrics: Mapping[str, float], status: str = "FINISHED") -> Run:
    return Run("r", "r", "0", "E", status, metrics=metrics)


def report(
    metrics: Mapping[str, float],
    require: Sequence[str] = (),
    baseline: Mapping[str, float] | None = None,
    max_regress: Sequence[str] = (),
    *,
    declared: Mapping[str, Mode] | None = None,
    status: str = "FINISHED",
    **options: Any,
) -> GateReport:
    return check_run(
        make_run(metrics, status),
        [parse_requirement(one) for one in require],
        None if baseline is None else make_run(baseline),
        [parse_tolerance(one) for one in max_regress],
        declared=(declared or {}).get,
        mode_of=lambda _: "max",
        **options,
    )


class TestRequirements:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("sharpe_ratio >= 1.2", Requirement("sharpe_ratio", ">=", 1.2)),
            ("max_drawdown<=0.2", Requirement("max_drawdown", "<=", 0.2)),
            ("  val loss  <  1e-3 ", Requirement("val loss", "<", 0.001)),
            ("`val/loss` > -1", Requirement("val/loss", ">", -1.0)),
            ("n = 3", Requirement("n", "==", 3.0)),
            ("n != 3", Requirement("n", "!=", 3.0)),
        ],
    )
    def test_what_can_be_said(self, text: str, expected: Requirement) -> None:
        assert parse_requirement(text) == expected

    @pytest.mark.parametrize(
        "text", ["", "sharpe", ">= 1", "sharpe >=", "sharpe >= high", "a >= nan", "a <= inf", "a >= 5%"]
    )
    def test_anything_else_is_refused_and_named(self, text: str) -> None:
        with pytest.raises(UsageError, match="is not a requirement"):
            parse_requirement(text)

    @pytest.mark.parametrize(
        ("requirement", "passes"),
        [
            ("m >= 1", True), ("m > 1", False), ("m <= 1", True), ("m < 1", False), ("m == 1", True), ("m != 1", False),
            ("m >= 1.0000001", False), ("m < 1.0000001", True),
        ],
    )  # fmt: skip
    def test_each_operator_at_its_limit(self, requirement: str, passes: bool) -> None:
        assert report({"m": 1.0}, [requirement]).passed is passes

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("requirement", ["m >= -1e300", "m <= 1e300", "m != 0"])
    def test_a_value_that_is_not_finite_holds_nothing(self, value: float, requirement: str) -> None:
        (check,) = report({"m": value}, [requirement]).failures
        assert check.problem == f"the value is {value}"
        assert check.to_dict()["value"] is None

    def test_a_metric_that_is_missing_holds_nothing_and_the_nearest_name_is_offered(self) -> None:
        (check,) = report({"sharpe_ratio": 2.0}, ["sharpe_rato != 0"]).failures
        assert check.problem == "there is no such metric; did you mean sharpe_ratio?"

    def test_a_run_that_is_not_finished_does_not_pass_unless_it_may(self) -> None:
        (check,) = report({"m": 2.0}, ["m > 1"], status="RUNNING").failures
        assert (check.metric, check.value) == ("status", "RUNNING")
        assert report({"m": 2.0}, ["m > 1"], status="RUNNING", include_unfinished=True).passed


class TestRegressions:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("5%", Tolerance(None, 0.05, True)),
            ("0.05", Tolerance(None, 0.05, False)),
            ("0", Tolerance(None, 0.0, False)),
            ("sharpe=2.5%", Tolerance("sharpe", 0.025, True)),
            ("val:loss=0.1", Tolerance("val:loss", 0.1, False)),
        ],
    )
    def test_what_can_be_said(self, text: str, expected: Tolerance) -> None:
        assert parse_tolerance(text) == expected

    @pytest.mark.parametrize("text", ["", "%", "-1", "-5%", "much", "m=", "nan", "inf%"])
    def test_anything_else_is_refused_and_named(self, text: str) -> None:
        with pytest.raises(UsageError, match="is not an amount"):
            parse_tolerance(text)

    @pytest.mark.parametrize(
        ("value", "tolerance", "passes"),
        [
            (1.14, "5%", True), (1.1399, "5%", False), (1.1, "0.1", True), (1.09, "0.1", False), (9.0, "0", True),
            (1.2, "0", True),
        ],
    )  # fmt: skip
    def test_more_is_better_by_the_operator(self, value: float, tolerance: str, passes: bool) -> None:
        found = report({"sharpe": value}, ["sharpe >= 0"], {"sharpe": 1.2}, [tolerance])
        assert found.checks[-1].passed is passes
        assert found.checks[-1].baseline == 1.2

    @pytest.mark.parametrize(("value", "passes"), [(0.21, True), (0.22, False), (0.0, True)])
    def test_less_is_better_by_the_operator(self, value: float, passes: bool) -> None:
        assert report({"loss": value}, ["loss <= 1"], {"loss": 0.2}, ["5%"]).checks[-1].passed is passes

    def test_what_is_declared_goes_before_the_operator(self) -> None:
        metrics, baseline = {"drawdown": -0.3}, {"drawdown": -0.2}
        assert report(metrics, ["drawdown <= 0"], baseline, ["1%"]).passed
        assert not report(metrics, ["drawdown <= 0"], baseline, ["1%"], declared={"drawdown": "max"}).passed

    def test_a_negative_baseline_is_lost_against_by_its_size(self) -> None:
        assert report({"m": -1.05}, ["m >= -9"], {"m": -1.0}, ["5%"]).passed
        assert not report({"m": -1.06}, ["m >= -9"], {"m": -1.0}, ["5%"]).passed

    def test_nothing_may_be_lost_against_a_baseline_of_zero(self) -> None:
        assert report({"m": 0.0}, ["m >= -9"], {"m": 0.0}, ["50%"]).passed
        assert not report({"m": -1e-9}, ["m >= -9"], {"m": 0.0}, ["50%"]).passed

    def test_a_tolerance_of_its_own_goes_before_the_general_one(self) -> None:
        found = report({"a": 0.8, "b": 0.8}, ["a > 0", "b > 0"], {"a": 1.0, "b": 1.0}, ["5%", "b=50%"])
        assert [check.metric for check in found.failures] == ["a"]

    def test_a_baseline_without_a_finite_value_lets_nothing_pass(self) -> None:
        for baseline in ({}, {"m": math.nan}):
            (check,) = report({"m": 1.0}, ["m > 0"], baseline, ["5%"]).failures
            assert check.problem.startswith("the baseline: ")

    def test_a_general_tolerance_needs_to_know_for_what(self) -> None:
        with pytest.raises(UsageError, match="not said which metric"):
            report({"m": 1.0}, [], {"m": 1.0}, ["5%"])

    @given(VALUES, st.floats(min_value=0, max_value=2, allow_nan=False))
    def test_a_run_never_regresses_against_itself(self, value: float, amount: float) -> None:
        for mode in ("max", "min"):
            assert report({"m": value}, [], {"m": value}, [f"m={amount!r}"], declared={"m": mode}).passed

    @given(VALUES, VALUES)
    def test_without_tolerance_one_of_two_runs_may_pass_for_the_other(self, one: float, other: float) -> None:
        there = report({"m": one}, [], {"m": other}, ["m=0"]).passed
        back = report({"m": other}, [], {"m": one}, ["m=0"]).passed
        assert there or back
        assert (there and back) == math.isclose(one, other, rel_tol=1e-12)
