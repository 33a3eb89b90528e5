"""Values as users have them, and what is kept of them."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agentnn.errors import UsageError
from agentnn.values.logged import flatten, metric_value, param_text, step_number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (True, 1.0),
        (Decimal("0.1"), 0.1),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7.0),
        (np.array([2.5]), 2.5),
        (torch.tensor(0.25), 0.25),
        (torch.tensor([3], dtype=torch.int32), 3.0),
        (torch.tensor(1.5, requires_grad=True), 1.5),
        (-math.inf, -math.inf),
    ],
)
def test_anything_that_is_one_number_is_a_metric(value: Any, number: float):
    assert metric_value("m", value) == number


@pytest.mark.parametrize(
    "value", ["0.5", None, [1.0], {"v": 1}, 1j, b"1", np.array([1.0, 2.0]), torch.ones(2), 10**400]
)
def test_anything_else_is_refused_by_name(value: Any):
    with pytest.raises(UsageError, match="the metric 'loss' is .*, not a number"):
        metric_value("loss", value)


@pytest.mark.parametrize(
    ("step", "number"), [(None, 0), (0, 0), (-3, -3), (np.int32(9), 9), (True, 1), (2**63 - 1,) * 2]
)
def test_a_whole_number_of_64_bits_is_a_step(step: Any, number: int):
    assert step_number(step) == number


@pytest.mark.parametrize("step", [1.5, "1", 2**63, -(2**63) - 1, np.float64(2.0), math.nan])
def test_anything_else_is_no_step(step: Any):
    with pytest.raises(UsageError, match="the step"):
        step_number(step)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "True"),
        (1e-5, "1e-05"),
        (None, "None"),
        ("text", "text"),
        (np.float64(0.1), "0.1"),
        (torch.tensor(3), "3"),
        (Path("a/b"), "a/b"),
        ([1, {"a": (2, 3)}], '[1, {"a": [2, 3]}]'),
        ({}, "{}"),
        (np.array([[1, 2], [3, 4]]), "[[1, 2], [3, 4]]"),
    ],
)
def test_scalars_are_written_as_python_prints_them_and_containers_as_json(value: Any, text: str):
    assert param_text(value) == text


_PLAIN = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.text(), st.none()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(min_size=1), inner)),
)


@given(st.dictionaries(st.text(min_size=1), _PLAIN))
def test_flattening_changes_nothing_that_the_caller_holds(params: dict[str, Any]):
    before = json.dumps(params)
    try:
        flatten(params)
    except UsageError as error:
        assert "once nested keys are joined" in str(error)
    assert json.dumps(params) == before


def test_nested_params_are_joined_with_dots_and_clashes_are_refused():
    assert flatten({"a": {"b": {"c": 1}}, "d": [1, 2]}) == {"a.b.c": "1", "d": "[1, 2]"}
    with pytest.raises(UsageError, match="two params are called 'a.b'"):
        flatten({"a": {"b": 1}, "a.b": 2})
