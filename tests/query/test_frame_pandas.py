"""A query over a table gives what DataFrame.query gives: on generated queries and tables, and pandas' own examples."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from agentnn.errors import FilterError
from agentnn.query.frames import select

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS = ["i", "f", "f32", "n", "index", "s.str.len()", "`a b`", "d.dt.month", "i.abs()", "f.round(1)"]
TEXTS = ["s", "`model.name`", "s.str.lower()", "s.str.strip()"]
TRUTHS = ["b", "nb", "f.isna()", "s.notna()", "d.isnull()", "s.str.contains('x')", "s.str.startswith('x', na=False)"]
NUMERALS = ["0", "1", "2", "-1", "0.5", "1e-5", "-2.5", "True", "inf", "0x2", "1_0", "(1 + 1)", "2 * 0.5", "2 ** 2"]
WORDS = ["'x'", '"y"', "''", "'it\\'s'", "r'x'", "'x' 'y'", "'\\x78'"]
ORDERS = ["<", "<=", ">", ">="]
EQUALS = ["==", "!="]


def either(*several: list[str]) -> st.SearchStrategy[str]:
    return st.sampled_from([one for some in several for one in some])


def joined(form: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda found: form.format(*found))


def listed(items: list[str]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(items), max_size=3).map(lambda found: f"[{', '.join(found)}]")


LITERAL_NUMBERS = ["0", "1", "2", "-1", "0.5", "True", "None"]
VALUES = st.recursive(
    either(NUMBERS),
    lambda inner: st.one_of(
        joined("({} {} {})", inner, either(["+", "-", "*", "/", "//", "%"]), either(NUMBERS, ["1", "2", "0.5"])),
        joined("-{}", inner),
    ),
    max_leaves=3,
)
CONDITIONS = st.one_of(
    joined("{} {} {}", VALUES, either(ORDERS, EQUALS), st.one_of(VALUES, either(NUMERALS))),
    joined("{} {} {}", either(NUMERALS), either(ORDERS, EQUALS), VALUES),
    joined("{} {} {} {} {}", either(NUMERALS), either(ORDERS), VALUES, either(ORDERS, EQUALS), either(NUMERALS)),
    joined("{} {} {}", either(NUMBERS), either(["in", "not in", *EQUALS]), listed(LITERAL_NUMBERS)),
    joined("{} {} {}", listed(["0", "1"]), either(["in", "not in", *EQUALS]), either(NUMBERS)),
    joined("{} {} {}", either(TEXTS), either(["in", "not in", *EQUALS]), listed([*WORDS, "None", "1"])),
    joined("{} {} {}", either(TEXTS), either(ORDERS, EQUALS), either(WORDS, TEXTS)),
    joined("{} {} {}", either(WORDS), either(ORDERS, EQUALS, ["in", "not in"]), either(TEXTS)),
    joined("{} {} {}", either(TEXTS, NUMBERS), either(["in", "not in"]), either(TEXTS, NUMBERS)),
    joined("{} {} {}", either(["c", "b", "nb", "mix", "ob"]), either(EQUALS), either(WORDS, ["True", "1", "None"])),
    joined("d {} {}", either(ORDERS), either(["'2026-01-01'", "'2026-01-02 03:00'", "'20260102'"])),
    joined("i.between({}, {}, inclusive='{}')", either(NUMERALS), either(NUMBERS), either(["both", "left", "neither"])),
    either(TRUTHS),
)
QUERIES = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        joined("{} {} {}", inner, either(["and", "or", "&", "|"]), inner),
        joined("({})", inner),
        joined("not ({})", inner),
        joined("~({})", inner),
    ),
    max_leaves=4,
)
ANYTHING = st.recursive(
    either(
        NUMBERS, TEXTS, TRUTHS, NUMERALS, WORDS, ["c", "d", "ob", "mix", "None", "[]", "[1]", "['x', None]", "(0, 1)"]
    ),
    lambda inner: st.one_of(
        joined(
            "{} {} {}",
            inner,
            either(ORDERS, EQUALS, ["in", "not in", "and", "or", "&", "|", "+", "-", "*", "/"]),
            inner,
        ),
        joined("({})", inner),
        joined("{}{}", either(["-", "not ", "~", "+"]), inner),
        joined("({}).isin({})", inner, either(["[1, 'x']", "i", "s"])),
    ),
    max_leaves=5,
)


def column(values: st.SearchStrategy[Any], size: int, dtype: str) -> st.SearchStrategy[Any]:
    lists = st.lists(values, min_size=size, max_size=size)
    return lists.map(
        lambda found: pd.array(found, dtype=dtype) if dtype != "object" else np.array([*found, 0], "O")[:-1]
    )


@st.composite
def frames(draw: Callable[..., Any]) -> pd.DataFrame:
    size = draw(st.integers(0, 5))
    floats = st.sampled_from([0.0, 0.5, 1.0, -2.5, 1e-5, np.nan, np.inf, -np.inf])
    texts = st.sampled_from(["x", "y", "xy", "", "it's", " X ", None])
    times = st.sampled_from(["2026-01-01", "2026-01-02T03:00", "2026-02-03", None])
    made = {
        "i": column(st.integers(-2, 3), size, "int64"),
        "f": column(floats, size, "float64"),
        "f32": column(floats, size, "float32"),
        "n": column(st.sampled_from([0, 1, 2, None]), size, "Int64"),
        "a b": column(st.integers(-2, 3), size, "int64"),
        "s": column(texts, size, "str"),
        "model.name": column(texts, size, "str"),
        "c": column(st.sampled_from(["x", "y", None]), size, "category"),
        "b": column(st.booleans(), size, "bool"),
        "nb": column(st.sampled_from([True, False, None]), size, "boolean"),
        "ob": column(st.sampled_from([True, False, None]), size, "object"),
        "mix": column(st.sampled_from([1, "x", None, True, 0.5]), size, "object"),
        "d": column(times, size, "datetime64[us]"),
    }
    labels = st.lists(st.integers(0, 3), min_size=size, max_size=size)
    return pd.DataFrame(
        {name: draw(values) for name, values in made.items()}, index=pd.Index(draw(labels), dtype="int64")
    )


def pandas_answer(frame: pd.DataFrame, query: str) -> pd.DataFrame | Exception:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = frame.query(query, engine="python")
        except Exception as error:  # noqa: BLE001 - pandas' errors are of any kind
            return error
    return found


def our_answer(frame: pd.DataFrame, query: str) -> pd.DataFrame | FilterError:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return select(frame, query)
        except FilterError as error:
            return error


@given(frame=frames(), query=QUERIES)
def test_what_makes_sense_is_answered_as_pandas_does(frame: pd.DataFrame, query: str) -> None:
    expected, answer = pandas_answer(frame, query), our_answer(frame, query)
    note(f"{query}\npandas: {expected}\nours: {answer}")
    if isinstance(expected, Exception):
        assert isinstance(answer, FilterError)
    else:
        assert isinstance(answer, pd.DataFrame)
        pd.testing.assert_frame_equal(answer, expected)


@given(frame=frames(), query=ANYTHING)
def test_nothing_is_answered_otherwise_than_pandas_does(frame: pd.DataFrame, query: str) -> None:
    answer = our_answer(frame, query)
    if isinstance(answer, FilterError):
        return
    expected = pandas_answer(frame, query)
    note(f"{query}\npandas: {expected}\nours: {answer}")
    if "boolean" in str(expected):  # pandas divides true by 2 in its own column of truth values, but not in a query
        return
    assert isinstance(expected, pd.DataFrame)
    pd.testing.assert_frame_equal(answer, expected)


FROM_THE_DOCUMENTATION = [
    "(a < b) & (b < c)",
    "a < b and b < c",
    "a < b < c",
    "a < b & b < c",
    "index < b < c",
    "index > 2",
    "a in b",
    "a not in b",
    "a in b and c < b",
    "a in b and c < d",
    "e == ['a', 'b', 'c']",
    "c == [1, 2]",
    "c != [1, 2]",
    "[1, 2] in c",
    "[1, 2] not in c",
    "not truth",
    "not (a < b)",
    "~(a < b) or not truth",
    "a < b and c < d and not truth or d < 3",
    "a == `C&C`",
    "`it's` > `that's`",
    "`☺` > 5",
    "a > b == c > d",
    "a > 1  # with a comment",
    "  a > 1\n",
]
FRAME = pd.DataFrame(
    {
        "a": [0, 5, 2, 3, 1, 2],
        "b": [1, 4, 3, 3, 2, 9],
        "c": [2, 6, 1, 3, 3, 1],
        "d": [3.5, 7, 2, 1, 4, 0],
        "e": list("abcdea"),
        "truth": [True, False, True, True, False, False],
        "C&C": [0, 1, 2, 3, 4, 5],
        "it's": [1, 2, 3, 4, 5, 6],
        "that's": [6, 5, 4, 3, 2, 1],
        "☺": [4, 5, 6, 7, 8, 9],
    }
)


@pytest.mark.parametrize("query", FROM_THE_DOCUMENTATION)
def test_what_the_documentation_of_pandas_shows(query: str) -> None:
    pd.testing.assert_frame_equal(select(FRAME, query), FRAME.query(query, engine="python"))


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("a == 0 or truth and d > 3", [0]),
        ("a == 0 | truth & d > 3", [0]),
        ("(a == 0 or truth) and d > 3", [0]),
        ("not a == 0 and truth", [2, 3]),
        ("not (a == 0 and truth)", [1, 2, 3, 4, 5]),
        ("-a ** 2 < -8", [1, 3]),
        ("a + b * 2 == 12", []),
        ("(a + b) * 2 == 12", [3]),
        ("10 - a - b == 4", [3]),
        ("a * b // 4 % 3 == 2", [1, 3]),
        ("-a < -1", [1, 2, 3, 5]),
        ("1 == 1 and a > 4", [1]),
    ],
)
def test_precedence(query: str, rows: list[int]) -> None:
    assert list(select(FRAME, query).index) == rows == list(FRAME.query(query, engine="python").index)


def test_levels_of_an_index_have_names() -> None:
    frame = FRAME.set_index(["e", pd.Index([1, 2, 3, 4, 5, 6], name="step")])
    for query in ("e == 'a'", "step > 3 and e in ['a', 'd']"):
        pd.testing.assert_frame_equal(select(frame, query), frame.query(query, engine="python"))
    frame.index.names = [None, "step"]
    for query in ("ilevel_0 == 'a'", "step > 3"):
        pd.testing.assert_frame_equal(select(frame, query), frame.query(query, engine="python"))


def test_a_column_comes_before_the_index() -> None:
    frame = pd.DataFrame({"index": [5, 6]}, index=pd.Index([0, 5], name="step"))
    assert list(select(frame, "index == 5").index) == [0]
    assert list(select(frame, "step == 5").index) == [5]


def test_the_table_stays_as_it_is() -> None:
    frame = FRAME.copy()
    found = select(frame, "a > 1")
    found.loc[:, "a"] = 100
    pd.testing.assert_frame_equal(frame, FRAME)
