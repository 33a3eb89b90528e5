"""``agentnn run show`` draws the equity curve of a backtest from the run's tag, and lives with any tag."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from cli.support import Rows, in_process, in_terminal

from agentnn.cli.tables import condensed
from agentnn.tracking.backtests.equity_curve import EQUITY_CURVE_TAG, EquityCurve, sketch

if TYPE_CHECKING:
    from pathlib import Path

SGR = re.compile(r"\x1b\[[0-9;]*m")


def shown(database: Path, tag: str, width: int = 120) -> str:
    """What a person sees of a run with such a tag; it must succeed."""
    with Rows(database) as rows:
        rows.run("f" * 32, "backtested", metrics={"sharpe_ratio": 1.5}, tags={EQUITY_CURVE_TAG: tag, "note": "wide"})
    answer = in_terminal("run", "show", "backtested", cwd=database.parent, width=width)
    assert answer.code == 0, answer.text
    return SGR.sub("", answer.text)


def tag_of(*values: float, dates: list[str] | None = None) -> str:
    return json.dumps({"dates": dates, "values": values})


def lines_of(text: str, name: str) -> list[str]:
    return [re.sub(r" +", " ", line).strip() for line in text.splitlines() if line.startswith(name)]


def test_equity_and_drawdown_are_drawn_with_their_figures(database: Path) -> None:
    text = shown(database, tag_of(100_000, 120_000, 90_000, 150_000, dates=["2024-01-01", "2024-12-31"]))
    assert lines_of(text, "equity") == ["equity 100,000 → 150,000 (+50.0%) ▂▄▁█"]
    assert lines_of(text, "drawdown") == ["drawdown max -25.0% ██▁█"]
    assert lines_of(text, "dates") == ["dates 2024-01-01 → 2024-12-31"]
    assert lines_of(text, "note") == ["note wide"]
    assert EQUITY_CURVE_TAG not in text


def test_the_deepest_drawdown_is_drawn_however_short_it_was(database: Path) -> None:
    values = [1000.0 + day for day in range(5000)]
    values[2345] /= 2
    text = shown(database, sketch(EquityCurve(tuple(values))), width=160)
    [line] = lines_of(text, "drawdown")
    fall = values[2345] / values[2344] - 1
    assert line.startswith(f"drawdown max {fall:.1%} █")
    assert line.count("▁") == 1


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_figures_and_curves_fit_the_width_of_the_terminal(database: Path, width: int) -> None:
    tag = sketch(EquityCurve(tuple(100_000.0 + 50 * (day % 97) for day in range(5000))))
    text = shown(database, tag, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text.partition("\nbacktest")[2].partition("\nmetrics")[0]
    assert re.search(r"^equity +100,000 → 102,600 \(\+2\.6%\) +[▁-█]{8,48} *$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("values", "equity", "drawdown"),
    [
        ((1.0, 1.25), "1 → 1.25 (+25.0%) ▁█", "max 0.0% ▄▄"),
        ((7.0, 7.0), "7 → 7 (+0.0%) ▄▄", "max 0.0% ▄▄"),
        ((100.0, -50.0), "100 → -50 (-150.0%) █▁", "max -150.0% █▁"),
        ((0.0, 10.0, 5.0), "0 → 5 ▁█▄", "max -50.0% █▁"),
        ((0.0, 10.0, 0.0), "0 → 0 ▁█▁", "max -100.0% █▁"),
        ((-1.0, -2.0), "-1 → -2 █▁", None),
        ((1e-300, 1e300), "1e-300 → 1.0000e+300 (+inf%) ▁█", "max 0.0% ▄▄"),
    ],
)  # fmt: skip
def test_odd_curves_are_drawn_too(database: Path, values: tuple[float, ...], equity: str, drawdown: str | None) -> None:
    text = shown(database, tag_of(*values))
    assert lines_of(text, "equity") == [f"equity {equity}"]
    assert lines_of(text, "drawdown") == ([f"drawdown {drawdown}"] if drawdown else [])


@pytest.mark.parametrize(
    "tag",
    ["{oops", "", "null", '{"values": [1]}', '{"values": [1, NaN]}', "[" * 5000, '{"values": ["\x1b[31m", 2]}'],
    ids=lambda tag: tag[:12],
)
def test_a_tag_that_is_no_curve_is_shown_as_it_is(database: Path, tag: str) -> None:
    text = shown(database, tag)
    assert "\nbacktest\n" not in text
    assert EQUITY_CURVE_TAG in text
    assert "sharpe_ratio" in text
    assert "\x1b" not in text


def test_no_date_in_the_tag_reaches_the_terminal_as_a_command(database: Path) -> None:
    text = shown(database, tag_of(1, 2, dates=["\x1b]0;owned\x07", "[red]now[/red]"]))
    assert "\x1b]0" not in text
    assert "[red]now[/red]" in text


def test_a_script_sees_the_tag_itself(database: Path) -> None:
    tag = tag_of(1, 2)
    shown(database, tag)
    answer = in_process("run", "show", "backtested", "-o", "json", cwd=database.parent)
    assert json.loads(answer.stdout)["tags"][EQUITY_CURVE_TAG] == tag


def test_condensed_gives_one_value_for_each_stretch() -> None:
    assert condensed([5, 1, 4, 2, 3], 2, min) == [1, 2]
    assert condensed([5, 1, 4, 2, 3], 2, lambda stretch: stretch[-1]) == [1, 3]
    assert condensed([1, 2], 5, min) == [1, 2]
