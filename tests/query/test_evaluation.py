"""What a filter and an order mean for a record; the stores are held to it by their contract tests."""

from __future__ import annotations

import math
import random
from itertools import permutations
from typing import Any

import pytest
from generated_stores import NOON, expressions, run_specs
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnn.query.evaluation import like, matches, natural_order, sorted_runs
from agentnn.query.expressions import And, Expression, Field, Not, Or
from agentnn.query.filters import parse_filter, parse_order
from agentnn.query.runs import OrderBy
from agentnn.records import PARENT_TAG, RUN_NAME_TAG, DatasetInput, Run

RUN = Run(
    run_id="ab12",
    name="lstm-small",
    experiment_id="7",
    experiment="alpha",
    status="FINISHED",
    start_time=NOON,
    end_time=None,
    user="ana",
    artifact_uri="s3://bucket/7/ab12",
    metrics={"loss": 0.25, "nan": math.nan, "inf": math.inf, "minus": -math.inf, "zero": 0.0, "Sharpe ratio": 1.2},
    params={
        "lr": "0.001", "big": "9007199254740993", "opt": "adam", "flag": "True", "empty": "", "huge": "1e400",
        "nan": "nan", "spaced": " 7 ", "lines": "a\nb", "quote": "it's", "double": 'say "hi"',
    },
    tags={RUN_NAME_TAG: "lstm-small", PARENT_TAG: "parent1", "team": "Änderung", "stars": "100%", "under": "a_b"},
    datasets=(DatasetInput("prices", "d1", "training"), DatasetInput("news", "d2", None)),
)  # fmt: skip


def holds(text: str, run: Run = RUN) -> bool:
    return matches(parse_filter(text), run)


def run_with(number: int, metric: float | None = None, start: int | None = NOON, **values: Any) -> Run:
    metrics = {} if metric is None else {"m": metric}
    return Run(f"id{number}", "run", "0", "Default", "FINISHED", start_time=start, metrics=metrics, **values)


class TestTwoValuedLogic:
    @pytest.mark.parametrize(
        "field", ["metrics.none", "params.none", "tags.none", "end_time", "metrics.`no such`", "datasets.name"]
    )
    def test_every_comparison_with_what_is_missing_is_false_and_not_turns_it_around(self, field: str) -> None:
        run = run_with(1)
        numeric = field.startswith("metrics") or field == "end_time"
        value = "1" if numeric else "'1'"
        operators = ["=", "!=", "<", "<=", ">", ">="]
        conditions = [f"{field} {operator} {value}" for operator in operators]
        conditions += [f"{field} IN ({value})", f"{field} NOT IN ({value})"]
        if not numeric:
            more = ("LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE", "=~", "!~")
            conditions += [f"{field} {operator} '%'" for operator in more]
        for condition in conditions:
            assert not holds(condition, run), condition
            assert holds(f"NOT ({condition})", run), condition
            assert not holds(f"NOT NOT {condition}", run), condition

    def test_being_there_is_asked_with_is_null(self) -> None:
        for field in ("metrics.loss", "metrics.nan", "params.empty", "tags.team", "start_time", "datasets.name"):
            assert holds(f"{field} IS NOT NULL")
            assert not holds(f"{field} IS NULL")
        for field in ("metrics.none", "params.none", "tags.none", "end_time"):
            assert holds(f"{field} IS NULL")
            assert not holds(f"{field} IS NOT NULL")
        assert holds("datasets.name IS NULL", run_with(1))

    def test_no_filter_is_satisfied_by_all(self) -> None:
        assert matches(None, RUN)

    @given(run_specs((0,)), st.lists(expressions(3), min_size=2, max_size=3))
    @settings(max_examples=150, deadline=None)
    def test_and_or_and_not_are_those_of_logic(self, spec: Any, parts: list[Expression]) -> None:
        run = spec.expected("Default")
        truths = [matches(part, run) for part in parts]
        assert matches(And(tuple(parts)), run) == all(truths)
        assert matches(Or(tuple(parts)), run) == any(truths)
        assert [matches(Not(part), run) for part in parts] == [not truth for truth in truths]


class TestMetrics:
    @pytest.mark.parametrize(
        ("condition", "truth"),
        [
            ("metrics.loss = 0.25", True), ("metrics.loss != 0.25", False), ("metrics.loss < 0.25", False),
            ("metrics.loss <= 0.25", True), ("metrics.loss > 0.2", True), ("metrics.loss >= 0.3", False),
            ("metrics.loss IN (1, 0.25)", True), ("metrics.loss NOT IN (1, 0.25)", False),
            ("metrics.`Sharpe ratio` > 1", True), ("metrics.zero = -0.0", True), ("metrics.zero > 0", False),
        ],
    )  # fmt: skip
    def test_values_compare_as_numbers(self, condition: str, truth: bool) -> None:
        assert holds(condition) is truth

    @pytest.mark.parametrize("operator", ["=", "<", "<=", ">", ">="])
    @pytest.mark.parametrize("value", ["0", "1", "-inf", "inf"])
    def test_nan_is_equal_to_nothing_and_stands_in_no_order(self, operator: str, value: str) -> None:
        assert not holds(f"metrics.nan {operator} {value}")

    def test_nan_is_unequal_to_everything(self) -> None:
        assert holds("metrics.nan != 0")
        assert holds("metrics.nan NOT IN (0, 1)")
        assert not holds("metrics.nan IN (0, 1)")

    @pytest.mark.parametrize(
        ("condition", "truth"),
        [
            ("metrics.inf = inf", True), ("metrics.inf > 1e308", True), ("metrics.inf < inf", False),
            ("metrics.minus = -inf", True), ("metrics.minus < -1e308", True), ("metrics.inf IN (inf)", True),
            ("metrics.loss < inf", True), ("metrics.nan < inf", False),
        ],
    )  # fmt: skip
    def test_infinities_stand_at_the_ends(self, condition: str, truth: bool) -> None:
        assert holds(condition) is truth


class TestTexts:
    @pytest.mark.parametrize(
        ("condition", "truth"),
        [
            ("params.lr < '1e-2'", True), ("params.lr < 0.01", True), ("params.lr >= '1e-3'", True),
            ("params.lr = 0.001", True), ("params.lr = 1e-3", True), ("params.lr = '1e-3'", False),
            ("params.lr = '0.001'", True), ("params.lr != 1e-3", False), ("params.lr IN (1, 1e-3)", True),
            ("params.lr IN ('1e-3')", False), ("params.lr NOT IN ('1e-3', 2)", True), ("params.spaced = 7", True),
            ("params.spaced = '7'", False), ("params.huge > 1e308", True), ("params.huge = inf", True),
            ("params.opt < 5", False), ("params.opt >= 5", False), ("params.opt = 5", False), ("params.opt != 5", True),
            ("params.nan = 0", False), ("params.nan != 0", True), ("params.nan = 'nan'", True),
            ("params.empty = 0", False), ("params.empty = ''", True),
            ("params.opt < 'b'", True), ("params.opt > 'Z'", True), ("params.opt >= 'adam'", True),
        ],
    )  # fmt: skip
    def test_a_param_compared_with_a_number_is_a_number_and_with_a_text_a_text(
        self, condition: str, truth: bool
    ) -> None:
        assert holds(condition) is truth

    @pytest.mark.parametrize(
        ("condition", "truth"),
        [
            ("params.flag = true", True), ("params.flag = false", False), ("params.flag != false", True),
            ("params.flag != true", False), ("params.flag = 'true'", False), ("params.flag = 'True'", True),
            ("params.lr = true", False), ("params.none = false", False), ("params.none != false", False),
        ],
    )  # fmt: skip
    def test_truth_values_are_the_same_in_any_case(self, condition: str, truth: bool) -> None:
        assert holds(condition) is truth

    @pytest.mark.parametrize(
        ("condition", "truth"),
        [
            ("params.quote = 'it''s'", True), ('params.quote = "it\'s"', True), ("params.quote LIKE '%''%'", True),
            ("params.double = 'say \"hi\"'", True), ('params.double = "say ""hi"""', True),
            ("params.double IN ('say \"hi\"', 'x')", True), ("params.quote = 'it''''s'", False),
        ],
    )  # fmt: skip
    def test_quotes_inside_a_value_are_found_however_they_are_written(self, condition: str, truth: bool) -> None:
        assert holds(condition) is truth

    @pytest.mark.parametrize(
        ("condition", "truth"),
        [
            ("status = 'FINISHED'", True), ("status = 'finished'", False), ("status IN ('FAILED', 'FINISHED')", True),
            ("run_name LIKE 'lstm%'", True), ("name = 'lstm-small'", True), ("`Run name` = 'lstm-small'", True),
            ("run_id LIKE 'ab%'", True), ("user = 'ana'", True), ("experiment_id = '7'", True),
            ("lifecycle_stage = 'active'", True), ("artifact_uri LIKE 's3://%'", True),
            ("start_time = 1700000000000", True), ("created > '2023-11-14'", True), ("created > '2023-11-15'", False),
            ("parent_run_id = 'parent1'", True), ("parent_run_id IS NULL", False), ("tags.mlflow.runName != 'x'", True),
        ],
    )  # fmt: skip
    def test_attributes(self, condition: str, truth: bool) -> None:
        assert holds(condition) is truth

    @pytest.mark.parametrize(
        ("condition", "truth"),
        [
            ("datasets.name = 'prices'", True), ("datasets.name = 'news'", True), ("datasets.name = 'none'", False),
            ("datasets.name != 'prices'", True), ("datasets.digest IN ('d2', 'd3')", True),
            ("datasets.context = 'training'", True), ("datasets.context != 'training'", False),
            ("datasets.context IS NULL", False), ("datasets.name LIKE 'pr%'", True), ("datasets.name =~ '^n'", True),
            ("datasets.name NOT LIKE '%'", False),
        ],
    )  # fmt: skip
    def test_a_condition_on_data_sets_holds_when_one_of_them_satisfies_it(self, condition: str, truth: bool) -> None:
        assert holds(condition) is truth


class TestPatterns:
    @pytest.mark.parametrize(
        ("text", "pattern", "truth"),
        [
            ("adam", "adam", True), ("adam", "ADAM", False), ("adam", "a%", True), ("adam", "%m", True),
            ("adam", "%da%", True), ("adam", "_dam", True), ("adam", "____", True), ("adam", "_____", False),
            ("", "", True), ("", "%", True), ("", "_", False), ("a\nb", "a%b", True), ("a\nb", "a_b", True),
            ("100%", "100%", True), ("1000", "100%", True), ("a.b", "a_b", True), ("a.b", "a.b", True),
            ("axb", "a.b", False), ("a\\b", "a\\b", True), ("(x)", "(x)", True), ("[ab]", "[ab]", True),
            ("a", "[ab]", False), ("🚀", "_", True), ("dam", "da", False), ("a", "*", False),
        ],
    )  # fmt: skip
    def test_like_has_two_wildcards_and_no_escape(self, text: str, pattern: str, truth: bool) -> None:
        assert like(text, pattern) is truth

    @pytest.mark.parametrize(
        ("text", "pattern", "truth"),
        [("adam", "ADAM", True), ("ADAM", "a%", True), ("Änderung", "änderung", False), ("Änderung", "ÄNDER%", True)],
    )
    def test_ilike_ignores_the_case_of_ascii_letters_alone_as_databases_do(
        self, text: str, pattern: str, truth: bool
    ) -> None:
        assert like(text, pattern, ignore_case=True) is truth

    @pytest.mark.parametrize(
        ("condition", "truth"),
        [
            ("tags.team ILIKE 'Ä%'", True), ("tags.team LIKE '%UNG'", False), ("tags.team NOT LIKE '%UNG'", True),
            ("tags.team ILIKE '%UNG'", True), ("tags.team NOT ILIKE '%UNG'", False),
            ("params.opt =~ 'da'", True), ("params.opt =~ '^da'", False), ("params.opt !~ '^da'", True),
            ("params.opt =~ '^ADAM$'", False), ("params.opt =~ '(?i)^ADAM$'", True), ("params.lines =~ 'a.b'", False),
            ("params.empty =~ ''", True), ("params.empty =~ '.'", False), ("params.empty !~ '.'", True),
        ],
    )  # fmt: skip
    def test_patterns_in_filters(self, condition: str, truth: bool) -> None:
        assert holds(condition) is truth


class TestOrder:
    @pytest.mark.parametrize(
        ("key", "expected"),
        [
            ("metrics.m ASC", [-math.inf, -1.0, 2.0, math.inf, math.nan, None]),
            ("metrics.m DESC", [math.inf, 2.0, -1.0, -math.inf, math.nan, None]),
        ],
    )
    def test_values_come_first_then_nan_then_missing_in_both_directions(
        self, key: str, expected: list[float | None]
    ) -> None:
        for values in permutations(expected):
            runs = [run_with(number, value) for number, value in enumerate(values)]
            found = [run.metrics.get("m") for run in sorted_runs(runs, [OrderBy(*parse_order(key))])]
            assert [str(value) for value in found] == [str(value) for value in expected]

    @pytest.mark.parametrize("direction", ["ASC", "DESC"])
    def test_ties_go_to_the_later_start_then_to_the_smaller_id(self, direction: str) -> None:
        runs = [
            run_with(4, 1.0, None), run_with(3, 1.0, NOON), run_with(2, 1.0, NOON), run_with(1, 1.0, NOON - 1),
            run_with(0, 1.0, None), run_with(5, 1.0, NOON + 1),
        ]  # fmt: skip
        random.Random(1).shuffle(runs)
        found = sorted_runs(runs, [OrderBy(Field("metric", "m"), direction == "ASC")])
        assert [run.run_id for run in found] == ["id5", "id2", "id3", "id1", "id0", "id4"]
        assert sorted(runs, key=natural_order) == found == sorted_runs(runs)

    def test_nan_and_missing_tie_among_themselves(self) -> None:
        runs = [run_with(1, math.nan, NOON), run_with(2, math.nan, NOON + 5), run_with(3), run_with(4, None, NOON + 9)]
        found = sorted_runs(runs, [OrderBy(Field("metric", "m"), False)])
        assert [run.run_id for run in found] == ["id2", "id1", "id4", "id3"]

    def test_an_earlier_key_weighs_more_than_a_later_one(self) -> None:
        runs = [
            run_with(n, float(m), params={"p": p}) for n, (m, p) in enumerate([(1, "b"), (2, "a"), (1, "a"), (2, "b")])
        ]
        keys = [OrderBy(Field("metric", "m"), False), OrderBy(Field("param", "p"))]
        assert [run.run_id for run in sorted_runs(runs, keys)] == ["id1", "id3", "id2", "id0"]
        assert [run.run_id for run in sorted_runs(runs, reversed(keys))] == ["id1", "id2", "id3", "id0"]

    def test_a_param_sorts_as_a_number_where_it_is_one_and_after_it_as_text(self) -> None:
        values = ["10", "9", "1e-2", "0.02", "b", "B", "-inf", "nan", ""]
        runs = [run_with(number, params={"p": value}) for number, value in enumerate(values)]
        ascending = [run.params["p"] for run in sorted_runs(runs, [OrderBy(Field("param", "p"))])]
        descending = [run.params["p"] for run in sorted_runs(runs, [OrderBy(Field("param", "p"), False)])]
        assert ascending == ["-inf", "1e-2", "0.02", "9", "10", "", "B", "b", "nan"]
        assert descending == ["nan", "b", "B", "", "10", "9", "0.02", "1e-2", "-inf"]

    def test_the_same_number_spelt_in_two_ways_is_a_tie(self) -> None:
        runs = [run_with(1, params={"p": "1.0"}), run_with(2, params={"p": "1"}, start=NOON + 1)]
        for ascending in (True, False):
            found = sorted_runs(runs, [OrderBy(Field("param", "p"), ascending)])
            assert [run.run_id for run in found] == ["id2", "id1"]

    def test_times_and_texts_sort_in_both_directions_with_missing_last(self) -> None:
        runs = [run_with(1, end_time=5, user="b"), run_with(2, end_time=9, user=None), run_with(3, user="a")]
        order = {
            "end_time": ["id1", "id2", "id3"], "end_time DESC": ["id2", "id1", "id3"],
            "user": ["id3", "id1", "id2"], "user DESC": ["id1", "id3", "id2"],
        }  # fmt: skip
        for key, expected in order.items():
            assert [run.run_id for run in sorted_runs(runs, [OrderBy(*parse_order(key))])] == expected, key
