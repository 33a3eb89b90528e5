"""Queries over tables: any name, what is said when one is wrong, and where in the user's text."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnn.errors import FilterError
from agentnn.query.frames import select
from agentnn.query.frames.methods import METHODS, PROPERTIES

RUNS = pd.DataFrame(
    {
        "run_id": ["r1", "r2", "r3", "r4"],
        "accuracy": [0.92, 0.96, float("nan"), 0.5],
        "model.name": ["CNN", "BERT", None, "it's `odd`"],
        "model.layers": [5, 12, 2, 1],
        "val/loss": [0.1, 0.2, 0.3, 0.4],
        "learning rate": [1e-3, 5e-5, 1e-5, 1.0],
        "lambda": [1, 2, 3, 4],
        "0_first": [1, 2, 3, 4],
        "debug": [True, False, None, True],
        "created": pd.to_datetime(["2026-01-01", "2026-01-31T12:00", "2026-02-01", None], utc=True, format="ISO8601"),
        "mixed": [1, "x", None, 2.5],
        "layers": [[64, 32], [64], None, []],
    },
)


def ids(query: str, frame: pd.DataFrame = RUNS) -> list[str]:
    return list(select(frame, query)["run_id"])


def refused(query: str, frame: pd.DataFrame = RUNS) -> FilterError:
    with pytest.raises(FilterError) as caught:
        select(frame, query)
    assert caught.value.exit_code == 2
    assert caught.value.text == query
    assert 0 <= caught.value.position <= len(query)
    return caught.value


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("accuracy > 0.95", ["r2"]),
        ("`accuracy` > 0.9 and `model.name` == 'BERT'", ["r2"]),
        ('`model.name` == "it\'s `odd`"', ["r4"]),
        ("`val/loss` in [0.1, 0.4]", ["r1", "r4"]),
        ("1e-5 <= `learning rate` < 1e-3", ["r2", "r3"]),
        ("`lambda` == 1 or `0_first` == 2", ["r1", "r2"]),
        ("`model.name`.str.contains('n', case=False)", ["r1"]),
        ("`model.name`.str.contains('o.d|^B')", ["r2", "r4"]),
        ("`model.name`.str.contains('.', regex=False)", []),
        ("`model.name`.str.lower().str.startswith('b')", ["r2"]),
        ("not `model.name`.str.match('[A-Z]+$', na=True)", ["r4"]),
        ("`model.name`.isna() or accuracy.isna()", ["r3"]),
        ("debug == True", ["r1", "r4"]),
        ("debug and accuracy > 0.9", ["r1"]),
        ("accuracy.between(0.9, 0.95)", ["r1"]),
        ("accuracy.round(1) == 0.9", ["r1"]),
        ("mixed in [1, 'x']", ["r1", "r2"]),
        ("layers.str.len() == 2", ["r1"]),
        ("created.dt.month == 1", ["r1", "r2"]),
        ("run_id in ('r1', 'r3',)", ["r1", "r3"]),
    ],
)
def test_answers(query: str, rows: list[str]) -> None:
    assert ids(query) == rows == list(RUNS.query(query, engine="python")["run_id"])


@pytest.mark.parametrize(
    ("query", "rows"),
    [("created > '2026-01-15'", ["r2", "r3"]), ("created > '2026-01-31T12:00'", ["r3"])],
)
def test_a_time_without_a_zone_is_in_that_of_the_column(query: str, rows: list[str]) -> None:
    """pandas says ``Invalid comparison between dtype=datetime64[us, UTC] and Timestamp``."""
    assert ids(query) == rows


@given(name=st.text(min_size=1, max_size=12), other=st.sampled_from(["a", "model", "x y"]))
def test_a_column_of_any_name_between_backticks(name: str, other: str) -> None:
    if "\n" in name or len(name.splitlines()) > 1 or name.splitlines() != [name] or name in ("inf", "Inf"):
        return
    frame = pd.DataFrame({other: [9, 9], name: [1, 2]})
    quoted = f"`{name.replace('`', '``')}`"
    assert list(select(frame, f"{quoted} == 2").index) == [1]
    assert list(select(frame, f"1 <{quoted}and({quoted}in[2,3])").index) == [1]


@given(text=st.text(max_size=20))
def test_a_text_of_any_characters(text: str) -> None:
    frame = pd.DataFrame({"s": pd.array([text, text + "x"], dtype="object")})
    literal = repr(text)
    assert list(select(frame, f"s == {literal}").index) == [0]


@pytest.mark.parametrize(
    "name", ["BACKTICK_QUOTED_STRING_model_DOT_name", "__pd_eval_local_a", "index", "True", "__class__", "Timestamp"]
)
def test_no_internal_name_collides(name: str) -> None:
    frame = pd.DataFrame({"model.name": [1, 2], name: [3, 4]})
    assert list(select(frame, f"`{name}` == 4 and `model.name` == 2").index) == [1]


def test_names_are_compared_exactly() -> None:
    """Python's parser would make the ligature a plain fi, and the micro sign a Greek letter."""
    frame = pd.DataFrame({"ﬁeld": [1, 2], "µ": [2, 1]})
    assert list(select(frame, "ﬁeld == 2").index) == [1]
    assert list(select(frame, "µ == 2").index) == [0]
    assert "did you mean ﬁeld?" in refused("field == 2", frame).hint
    assert refused("μ == 2", frame).position == 0  # the Greek letter


@pytest.mark.parametrize(
    ("query", "position", "hint"),
    [
        ("", 0, "accuracy > 0.9"),
        ("   ", 0, "accuracy > 0.9"),
        ("accuracy >", 10, ""),
        ("acuracy > 0.9", 0, "did you mean accuracy?"),
        ("accuracy > 0.9 and acuracy > 1", 19, "did you mean accuracy?"),
        ("model.name == 'BERT'", 0, "`model.name`"),
        ("accuracy > 0.9 and model.name.str.len() > 2", 19, "`model.name`"),
        ("val/loss > 1", 0, "`val/loss`"),
        ("learning rate > 1", 9, "`learning rate`"),
        ("lambda > 1", 0, "`lambda`"),
        ("0_first > 1", 0, "backticks"),
        ("accuracy = 1", 9, "=="),
        ("accuracy := 1", 9, "=="),
        ("accuracy <> 1", 9, "!="),
        ("accuracy > 1 && debug", 13, "and"),
        ("accuracy > 1 AND debug", 13, "and"),
        ("NOT debug", 4, "not"),
        ("accuracy is None", 9, ".isna()"),
        ("debug == true", 9, "True"),
        ("accuracy == nan", 12, ".isna()"),
        ("accuracy > @best", 11, "put the value itself"),
        ("accuracy[0] > 1", 8, ""),
        ("abs(accuracy) > 1", 0, "a.abs()"),
        ("sin(accuracy) > 1", 0, "a.abs()"),
        ("accuracy.mean() > 1", 8, ".isna()"),
        ("accuracy.ab() > 1", 8, ".abs"),
        ("run_id.str.contain('r')", 6, ".str.contains"),
        ("run_id.str.replace('r', 'x') == 'x1'", 6, ""),
        ("run_id.str.contains", 19, "()"),
        ("run_id.str.contains()", 19, ""),
        ("run_id.str.contains('(')", 20, ""),
        ("run_id.str.contains('r', flags=128)", 31, ""),
        ("run_id.str.contains('r', bold=True)", 25, "pat, case, flags, na, regex"),
        ("run_id.str.contains('r', pat='x')", 25, ""),
        ("run_id.str.contains(run_id)", 20, "a text"),
        ("run_id.isin('r1')", 12, "a list"),
        ("accuracy.str.len() > 1", 0, ""),
        ("run_id.dt.year > 1", 0, ""),
        ("accuracy > 'a'", 9, ""),
        ("run_id > 1", 7, ""),
        ("mixed > 1", 6, ""),
        ("run_id + 'x' == 'r1x'", 0, ""),
        ("accuracy and debug", 0, "compare it"),
        ("not accuracy", 4, "compare it"),
        ("not debug", 0, "debug == False"),
        ("not True", 0, "a == False"),
        ("debug", 0, "debug == True"),
        ("accuracy", 0, "accuracy > 0.9"),
        ("accuracy + 1", 0, "accuracy > 0.9"),
        ("1", 0, "accuracy > 0.9"),
        ("1 == 1", 0, "accuracy > 0.9"),
        ("'x' in (accuracy + 1)", 4, "a in [1, 2]"),
        ("1 in accuracy", 2, "a == 1"),
        ("accuracy in 1", 9, "a in [1, 2]"),
        ("accuracy in [debug, 1]", 13, "a == b or a == 1"),
        ("accuracy < [1]", 9, "== and in"),
        ("accuracy + 1 == [1]", 13, "in"),
        ("accuracy > 01", 11, ""),
        ("accuracy > 1j", 11, ""),
        ("run_id == 'r1", 10, ""),
        ("`run_id == 'r1'", 0, "``"),
        ("run_id == b'r1'", 10, "prefix"),
        ("run_id == f'r1'", 10, "prefix"),
        ("run_id == '''r1'''", 10, "quotes"),
        ("run_id == '\\x7'", 10, ""),
        ("created == '2026-01-01'", 8, ">="),
        ("created in ['2026-01-01']", 8, ">="),
        ("created.isin(['2026-01-01'])", 0, ">="),
        ("created > 2026", 8, ">="),
        ("created > 'yesterday or so'", 8, ""),
        ("accuracy > 0.9\nand debug", 14, "\\n"),
        ("accuracy > 0.9; debug", 14, ""),
        ("accuracy > 0.9)", 14, ""),
        ("(accuracy > 0.9", 15, ""),
        ("accuracy > 1 / 0", 13, ""),
        ("accuracy > (-8) ** 0.5", 16, ""),
        ("accuracy > 2 ** 2 ** 2", 18, "(a ** 2) ** 2"),
        ("accuracy if debug else 1", 9, ""),
        ("lambda: 1", 0, ""),
        ("[x for x in run_id]", 1, ""),
        ("{'a': 1}", 0, ""),
        ("accuracy\u00a0> 1", 8, ""),
        ("\0", 0, ""),
    ],
)
def test_what_is_wrong_and_where(query: str, position: int, hint: str) -> None:
    error = refused(query)
    assert error.position == position, error.message
    assert f"character {position + 1}" in error.message
    assert hint in error.hint


def test_positions_count_from_the_beginning_of_the_users_text() -> None:
    assert refused("  `model.name` == 'x' and  nope > 1").position == 27


def test_as_deep_as_twenty_levels_and_as_long_as_a_thousand_operations() -> None:
    assert ids("(" * 20 + "accuracy > 0.95" + ")" * 20) == ["r2"]
    assert "more than 20 levels" in refused("(" * 21 + "accuracy > 0.95" + ")" * 21).message
    assert "more than 20 levels" in refused("(" * 10 + "-" * 11 + "accuracy" + ")" * 10).message
    assert ids(" or ".join(["accuracy > 0.95"] * 500)) == ["r2"]
    assert "more than 1,000 operations" in refused(" or ".join(["accuracy > 0.95"] * 501)).message


def test_a_stack_that_is_nearly_full() -> None:
    query = "(" * 20 + "accuracy > 0.95" + ")" * 20

    def at_depth(levels: int) -> FilterError:
        return at_depth(levels - 1) if levels else refused(query)

    assert "nested too deeply" in at_depth(sys.getrecursionlimit() - len(inspect.stack(0)) - 100).message


def test_a_query_is_a_text() -> None:
    with pytest.raises(FilterError, match="not int"):
        select(RUNS, 1)  # type: ignore[arg-type]


def test_two_columns_of_one_name_are_no_answer() -> None:
    frame = pd.DataFrame([[1, 2, 3]], columns=["a", "a", "b"])
    assert "2 columns" in refused("a == 1", frame).message
    assert len(select(frame, "b == 3")) == 1


def test_labels_that_are_no_texts_are_left_alone() -> None:
    frame = pd.DataFrame({0: [1, 2], "a": [1, 2], None: [3, 4]})
    assert list(select(frame, "a == 2").index) == [1]
    assert refused("`0` == 1", frame).position == 0


def test_infinity_is_never_a_column() -> None:
    frame = pd.DataFrame({"inf": [1.0, 2.0]})
    assert "never a column" in refused("`inf` == 1", frame).message
    assert len(select(frame, "`index` < inf")) == 2


def test_no_rows_and_no_columns() -> None:
    assert select(RUNS.iloc[:0], "accuracy > 0.9 and `model.name` == 'x'").equals(RUNS.iloc[:0])
    assert refused("accuracy > 1", pd.DataFrame()).hint


@pytest.mark.parametrize("method", sorted({*METHODS, *PROPERTIES}))
def test_every_method_is_pandas_own(method: str) -> None:
    """Each listed method exists, takes the listed arguments by these names, and refuses a stranger."""
    series = pd.Series(pd.to_datetime(["2026-01-01"])) if method.startswith("dt.") else pd.Series(["x"])
    found: object = series
    for part in method.split("."):
        found = getattr(found, part)
    if method in METHODS:
        assert {parameter.name for parameter in METHODS[method]} <= set(inspect.signature(found).parameters)  # type: ignore[arg-type]
        assert refused(f"run_id.{method}(stranger=1)").exit_code == 2
    else:
        assert ids(f"created.{method} == -1") == []


@pytest.mark.parametrize("method", ["isna", "notna", "isnull", "notnull"])
def test_missing_values(method: str) -> None:
    assert ids(f"accuracy.{method}()") == list(RUNS[getattr(RUNS["accuracy"], method)()]["run_id"])


def test_the_language_itself_needs_no_pandas() -> None:
    code = "import sys, agentnn.query.frames; print({'pandas', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
