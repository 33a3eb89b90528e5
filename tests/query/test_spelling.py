"""A filter as text again: what is read from it is the same filter."""

from __future__ import annotations

import pytest
from generated_stores import expressions
from hypothesis import given

from agentnn.query.expressions import Comparison, Expression, Field
from agentnn.query.filters import parse_filter, parse_order
from agentnn.query.runs import OrderBy
from agentnn.query.spelling import conjuncts, spelled, spelled_order


@given(expressions())
def test_what_is_spelled_reads_as_it_was(expression: Expression) -> None:
    assert parse_filter(spelled(expression)) == expression


@pytest.mark.parametrize(
    "text",
    [
        "metrics.loss < 0.5",
        "params.lr IN (1, 'a')",
        "tags.`a b` = 'it''s'",
        "metrics.a = 1 AND (params.b = true OR NOT (start_time IS NULL))",
        "run_name ILIKE '%x%'",
    ],
)
def test_a_plain_filter_is_spelled_as_a_person_writes_it(text: str) -> None:
    expression = parse_filter(text)
    assert expression is not None
    assert spelled(expression) == text


def test_a_key_that_is_spelled_bare_is_read_back() -> None:
    for key in ("val/loss", "a-b:c", "a.b", "x@y", "été", "a b", "`", "1a", "it's"):
        comparison = Comparison(Field("metric", key), "<", 1)
        assert parse_filter(spelled(comparison)) == comparison


def test_sort_keys_read_as_they_were() -> None:
    keys = (OrderBy(Field("metric", "val loss"), ascending=False), OrderBy(Field("attribute", "start_time")))
    texts = spelled_order(keys).split(", ")
    assert texts == ["metrics.`val loss` DESC", "start_time ASC"]
    assert tuple(OrderBy(*parse_order(text)) for text in texts) == keys


def test_conjuncts_are_what_has_to_hold_each() -> None:
    expression = parse_filter(
        "metrics.a = 1 AND (metrics.b = 2 AND metrics.c = 3) AND (metrics.d = 4 OR metrics.e = 5)"
    )
    assert [spelled(one) for one in conjuncts(expression)] == [
        "metrics.a = 1",
        "metrics.b = 2",
        "metrics.c = 3",
        "metrics.d = 4 OR metrics.e = 5",
    ]
    assert conjuncts(None) == ()
