"""The figures that a run records: what is drawn, and that nothing is left behind in the process."""

from __future__ import annotations

import subprocess
import sys
import warnings
from datetime import date, datetime, timedelta
from io import BytesIO

import numpy as np
import pytest
from matplotlib.dates import num2date

from agentnn.tracking.backtests.equity_curve import EquityCurve
from agentnn.tracking.figures.equity import equity_and_drawdown

DATES = tuple(datetime(2024, 1, day) for day in range(1, 5))  # noqa: DTZ001


def test_the_curve_is_above_its_drawdown_in_per_cent() -> None:
    above, beneath = equity_and_drawdown(EquityCurve((100.0, 110.0, 99.0, 120.0))).axes
    assert list(above.lines[0].get_ydata()) == [100, 110, 99, 120]
    assert list(above.lines[0].get_xdata()) == [0, 1, 2, 3]
    assert list(beneath.lines[0].get_ydata()) == pytest.approx([0, 0, -10, 0])
    assert (above.get_ylabel(), beneath.get_ylabel(), beneath.get_xlabel()) == (
        "portfolio value",
        "drawdown (%)",
        "period",
    )


def test_dates_are_the_axis_where_there_are_dates() -> None:
    _, beneath = equity_and_drawdown(EquityCurve((1.0, 2.0, 1.5, 3.0), DATES)).axes
    drawn = [num2date(x).date() for x in beneath.lines[0].get_xdata(orig=False)]
    assert drawn == [date(2024, 1, day) for day in range(1, 5)]
    assert beneath.get_xlabel() == "date"


def test_a_long_curve_is_thinned_without_losing_an_extreme() -> None:
    values = 100 + np.cumsum(np.random.default_rng(1).normal(0, 0.1, 100_000))
    start = DATES[0]
    dates = tuple(start + timedelta(minutes=minute) for minute in range(len(values)))
    above, beneath = equity_and_drawdown(EquityCurve(tuple(values.tolist()), dates)).axes
    drawn = above.lines[0].get_ydata()
    assert len(drawn) <= 4000
    assert (min(drawn), max(drawn), drawn[0], drawn[-1]) == (values.min(), values.max(), values[0], values[-1])
    deepest = 100 * (values / np.maximum.accumulate(values) - 1).min()
    assert min(beneath.lines[0].get_ydata()) == pytest.approx(deepest)


@pytest.mark.parametrize("values", [(0.0, 5.0, -3.0), (-1.0, -2.0), (1e300, 1e-300), (5.0,), (7.0, 7.0)], ids=repr)
def test_odd_values_are_drawn_without_a_warning(values: tuple[float, ...]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = equity_and_drawdown(EquityCurve(values))
        picture = BytesIO()
        figure.savefig(picture, format="png")
    assert picture.getvalue().startswith(b"\x89PNG")


def test_no_window_system_is_chosen_and_matplotlib_is_loaded_only_to_draw() -> None:
    code = (
        "import sys\n"
        "from agentnn.tracking.backtests.equity_curve import EquityCurve\n"
        "from agentnn.tracking.figures.equity import equity_and_drawdown\n"
        "before = 'matplotlib' in sys.modules\n"
        "equity_and_drawdown(EquityCurve((1.0, 2.0)))\n"
        "print(before, 'matplotlib.pyplot' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]
