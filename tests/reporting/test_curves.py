"""Curves are thinned without losing an extreme."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnn.records import Metric
from agentnn.reporting.curves import curve_of, rounded, thinned

POINTS = st.one_of(st.none(), st.floats(-1e9, 1e9))


@given(st.lists(POINTS, max_size=400), st.integers(5, 60))
def test_what_is_left_shows_all_extremes_and_is_no_more_than_was_asked_for(values: list[float | None], most: int):
    kept = thinned(values, most)
    assert kept == sorted(set(kept))
    assert len(kept) <= most
    finite = [value for value in values if value is not None]
    shown = [value for place in kept if (value := values[place]) is not None]
    if values:
        assert kept[0] == 0
        assert kept[-1] == len(values) - 1
    if finite:
        assert (min(shown), max(shown)) == (min(finite), max(finite))


def test_a_single_peak_and_a_single_gap_among_many_survive():
    values: list[float | None] = [0.0] * 100_000
    values[54_321], values[77_777] = 9.0, None
    kept = thinned(values, 200)
    assert 54_321 in kept
    assert 77_777 in kept


def test_every_stretch_keeps_its_lowest_and_highest():
    values = [math.sin(place / 7) * place for place in range(1000)]
    kept = thinned(values, 102)
    for stretch in range(50):
        inside = range(stretch * 20, stretch * 20 + 20)
        drawn = [values[place] for place in kept if place in inside]
        assert min(drawn) == min(values[place] for place in inside)
        assert max(drawn) == max(values[place] for place in inside)


def points(*values: float, step: int | None = None) -> list[Metric]:
    return [Metric("m", value, place if step is None else step, 1000 + place) for place, value in enumerate(values)]


def test_a_curve_knows_its_last_its_best_and_its_gaps():
    curve = curve_of(points(3.0, math.nan, 1.0, math.inf, 2.0), 100)
    assert (curve.x, curve.y) == ((0, 1, 2, 3, 4), (3.0, None, 1.0, None, 2.0))
    assert curve.best("min") == (1.0, 2)
    assert curve.best("max") == (3.0, 0)
    assert curve.best(None) is None
    assert (curve.last, curve.gaps, curve.points, curve.time) == ((2.0, 4), 2, 5, 1004)


def test_values_that_were_logged_without_a_step_are_numbered():
    curve = curve_of(points(3.0, 2.0, 1.0, step=0), 100)
    assert curve.is_numbered
    assert curve.x == (0, 1, 2)
    assert not curve_of(points(3.0, step=0), 100).is_numbered


def test_a_curve_of_nothing_finite_has_no_best():
    curve = curve_of(points(math.nan, math.inf), 100)
    assert (curve.y, curve.lowest, curve.highest) == ((None, None), None, None)


def test_the_best_of_a_thinned_curve_is_that_of_all_values():
    values = [1.0] * 5000
    values[1234] = 0.123456789
    curve = curve_of(points(*values), 50)
    assert curve.is_thinned
    assert curve.best("min") == (0.123456789, 1234)
    assert 1234 in curve.x


@pytest.mark.parametrize(
    ("value", "expected"), [(0.123456789, 0.123457), (1234567.8, 1234570.0), (None, None), (math.nan, None)]
)
def test_a_chart_shows_six_digits(value: float | None, expected: float | None):
    assert rounded(value) == expected
