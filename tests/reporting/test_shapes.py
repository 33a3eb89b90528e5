"""Values as a person reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnn.reporting.shapes import common_digits, duration, number, shown, visible

if TYPE_CHECKING:
    from agentnn.reporting.document import Cell, Shape


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1.0, "1"),
        (0.16213, "0.1621"),
        (1.5, "1.5"),
        (1024, "1024"),
        (19200, "19,200"),
        (-1234567, "-1,234,567"),
        (1234.5678, "1235"),
        (0.00012346, "0.0001235"),
        (1.2345678e-9, "1.235e-9"),
        (1234567.8, "1.235e6"),
        (3e22, "3e22"),
        (-0.0, "0"),
    ],
)
def test_a_number(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "shape", "digits", "is_signed", "text"),
    [
        (0.1234, "percent", None, False, "12.34%"),
        (-0.1234, "percent", 1, False, "-12.3%"),
        (0.5, "percent", 0, True, "+50%"),
        (2.5, "number", 0, False, "3"),
        (-2.5, "number", 0, False, "-3"),
        (-0.001, "number", 2, False, "0.00"),
        (5.04, "number", 2, True, "+5.04"),
        (0, "number", None, True, "0"),
        (None, "number", None, False, "–"),
        ("NaN", "number", 2, False, "NaN"),
        (True, "text", None, False, "true"),
        ("3f2a9c0d4e5b4671", "id", None, False, "3f2a9c0d"),
        ("2026-01-05T09:30:15.123Z", "time", None, False, "2026-01-05 09:30:15"),
        ("2026-01-05", "time", None, False, "2026-01-05"),
        ("a\x1b[31m\u202e", "text", None, False, "a\\x1b[31m\\u202e"),
    ],
)
def test_a_cell(value: Cell, shape: Shape, digits: int | None, is_signed: bool, text: str) -> None:
    assert shown(value, shape, digits=digits, is_signed=is_signed) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.5, "0.500 s"),
        (12.34, "12.3 s"),
        (59, "59 s"),
        (724, "12 min 4 s"),
        (3600, "1 h"),
        (90061, "1 d 1 h"),
    ],
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("values", "digits"),
    [
        ([0.1, 0.22224], 4),
        ([5.04, -12.5, None, "NaN"], 2),  # never more than were given
        ([1e-5, 0.1], None),
        ([0.5, 120.254], 3),
        ([0.68341, 113, 65.9658], None),  # none of them is to lose its digits for the others
        ([0.68341, 0.0067123], None),
        ([0.68341, 0.067123], 4),
        ([0, 0.0], 0),
        ([1, 2.0, 300], 0),
        ([1e9, 0.5], None),
        ([], None),
        (["a", None, True], None),
    ],
)
def test_the_decimal_places_of_a_column(values: list[Cell], digits: int | None) -> None:
    assert common_digits(values) == digits


@given(st.floats(-1e300, 1e300), st.none() | st.integers(0, 8))
def test_every_number_can_be_read_back(value: float, digits: int | None) -> None:
    text = number(value, digits)
    read = float(text.replace(",", ""))
    assert read == pytest.approx(value, rel=6e-4, abs=0.0 if digits is None else 0.51 * 10**-digits)


@given(st.text())
def test_what_is_shown_can_be_seen(text: str) -> None:
    assert visible(text).replace("\u200d", "").isprintable()
