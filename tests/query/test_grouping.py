"""Groups of runs that differ in nothing but a seed; NumPy is the authority on mean and spread."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnn.query.grouping import Summary, group_runs, rank_groups
from agentnn.records import Run


def make_run(run_id: str, params: dict[str, str], metrics: dict[str, float] | None = None, **more: Any) -> Run:
    experiment = more.pop("experiment", "0")
    return Run(run_id, run_id, experiment, experiment, "FINISHED", params=params, metrics=metrics or {}, **more)


def by_seed(**values_of: list[float]) -> list[Run]:
    """Runs of one configuration a keyword, one run a value."""
    return [
        make_run(f"{name}{seed}", {"net": name, "seed": str(seed)}, {"m": value})
        for name, values in values_of.items()
        for seed, value in enumerate(values)
    ]


def test_runs_that_differ_in_the_seed_alone_are_one_group():
    first, second = group_runs(by_seed(lstm=[1.0, 2.0], gru=[3.0]), {"seed"})
    assert (first.params, first.run_ids, first.values) == ({"net": "lstm"}, ["lstm0", "lstm1"], {"m": [1.0, 2.0]})
    assert (second.params, second.run_ids) == ({"net": "gru"}, ["gru0"])


def test_params_are_compared_as_what_they_mean():
    runs = [
        make_run("a", {"lr": "1e-05"}),
        make_run("b", {"lr": "0.00001"}),
        make_run("c", {"lr": "True"}),
        make_run("d", {"lr": "1"}),
    ]
    assert [group.run_ids for group in group_runs(runs, {"seed"})] == [["a", "b"], ["c"], ["d"]]


def test_a_param_that_is_not_a_number_though_it_says_so_does_not_split_a_group():
    runs = [make_run("a", {"fill": "nan"}), make_run("b", {"fill": "nan"})]
    assert [group.size for group in group_runs(runs, {"seed"})] == [2]


def test_a_param_that_only_one_run_has_splits_them_and_so_does_the_experiment():
    runs = [make_run("a", {}), make_run("b", {"dropout": "0.1"}), make_run("c", {}, experiment="1")]
    assert [group.run_ids for group in group_runs(runs, {"seed"})] == [["a"], ["b"], ["c"]]


def test_a_lucky_seed_does_not_win_against_the_better_mean():
    runs = by_seed(lucky=[0.1, 0.2, 5.0], steady=[2.0, 2.1, 1.9])
    ranking = rank_groups(group_runs(runs, {"seed"}), "m", "max", min_runs=2)
    assert [one.group.params["net"] for one in ranking.groups] == ["steady", "lucky"]
    assert ranking.groups[0].summary.std == pytest.approx(0.1)


def test_a_single_run_takes_no_part_unless_it_may():
    groups = group_runs(by_seed(once=[9.0], steady=[2.0, 2.1]), {"seed"})
    ranking = rank_groups(groups, "m", "max", min_runs=2)
    assert ([one.group.params["net"] for one in ranking.groups], ranking.too_small) == (["steady"], 1)
    assert rank_groups(groups, "m", "max", min_runs=1).groups[0].group.params["net"] == "once"


def test_values_that_are_not_finite_count_for_nothing():
    groups = group_runs(by_seed(odd=[math.inf, math.nan], half=[math.nan, 1.0, 2.0]), {"seed"})
    ranking = rank_groups(groups, "m", "max", min_runs=2)
    assert (ranking.without_metric, ranking.too_small) == (1, 0)
    (best,) = ranking.groups
    assert (best.summary.mean, best.summary.n, best.group.size) == (1.5, 2, 3)


def test_min_turns_the_order_round():
    groups = group_runs(by_seed(a=[1.0, 1.0], b=[2.0, 2.0]), {"seed"})
    order = {}
    for mode in ("max", "min"):
        ranked = rank_groups(groups, "m", mode, min_runs=1).groups
        order[mode] = [one.group.params["net"] for one in ranked]
    assert order == {"max": ["b", "a"], "min": ["a", "b"]}


@given(st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=2, max_size=20))
def test_mean_and_spread_are_those_of_numpy(values: list[float]):
    found = Summary.of(values)
    assert found is not None
    assert found.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9)
    assert found.std == pytest.approx(np.std(values, ddof=1), rel=1e-6, abs=1e-6)
    assert (found.n, found.min, found.max) == (len(values), min(values), max(values))


def test_the_largest_doubles_have_a_mean_and_no_crash():
    found = Summary.of([1.7e308, 1.7e308, -1.7e308])
    assert found is not None
    assert found.mean == pytest.approx(1.7e308 / 3)


def test_one_value_has_no_spread():
    assert Summary.of([1.0]) == Summary(1.0, None, 1, 1.0, 1.0)
