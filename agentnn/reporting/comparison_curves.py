"""The curves and the equity of several runs, laid over each other."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from agentnn.reporting.analysis import band_of
from agentnn.reporting.curves import Curve, rounded, thinned
from agentnn.reporting.document import Block, LineChart, Missing, Series
from agentnn.reporting.equity import iso_dates
from agentnn.reporting.seeds import name_of
from agentnn.reporting.words import counted, listed, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.query.grouping import RunGroup
    from agentnn.reporting.document import Abscissa, Point
    from agentnn.reporting.equity import Equity
    from agentnn.reporting.gather import ComparisonFacts

_MOST_POINTS = 25_000
"""Of all curves together: what a page can hold."""

_FEWEST, _MOST_OF_A_CURVE = 60, 1000
_MOST_CHARTS, _MOST_BANDS, _MOST_BAND_CHARTS = 12, 8, 4
_EQUITY_POINTS = 10_000


def curve_blocks(facts: ComparisonFacts, names: Mapping[str, str]) -> list[Block]:
    """A chart for each metric with two values or more, a line for each run."""
    ordered = _drawn_metrics(facts)
    if not ordered:
        return [Missing("learning curves", "no metric of any run has two values")]
    shown = ordered[:_MOST_CHARTS]
    lines = sum(curve.points > 1 for of_run in facts.curves.values() for key, curve in of_run.items() if key in shown)
    most = min(max(_MOST_POINTS // lines, _FEWEST), _MOST_OF_A_CURVE)
    blocks: list[Block] = [_chart(facts, names, key, place, most) for place, key in enumerate(shown)]
    if len(ordered) > len(shown):
        blocks.append(
            Missing(f"curves of {listed(ordered[len(shown) :])}", "a page with all of them could not be read")
        )
    return blocks


def band_blocks(facts: ComparisonFacts, groups: Sequence[RunGroup]) -> list[Block]:
    """For each of the first metrics the mean curve of runs that differ in nothing but a seed, with its spread."""
    keys = _drawn_metrics(facts)[:_MOST_CHARTS]
    charts = (_band_chart(facts, groups, key, place) for place, key in enumerate(keys))
    found: list[Block] = [chart for chart in charts if chart is not None]
    return found[:_MOST_BAND_CHARTS]


def equity_blocks(facts: ComparisonFacts, names: Mapping[str, str]) -> list[Block]:
    """The equity of the runs, each as a multiple of its start."""
    shown = {
        run_id: facts.equity[run_id]
        for run_id in facts.drawn
        if run_id in facts.equity and facts.equity[run_id].curve.values[0] > 0
    }
    if not shown:
        return [Missing("equity", "no run logged any: log_backtest_results")]
    most = max(_EQUITY_POINTS // len(shown), 50)
    dated = {run_id: one for run_id, one in shown.items() if one.curve.dates}
    sketched = {run_id: one for run_id, one in shown.items() if one.is_sketch}
    bare = {run_id: one for run_id, one in shown.items() if run_id not in dated and run_id not in sketched}
    blocks: list[Block] = []
    for id, group, x_title, note in (
        ("equity", dated, "", ""),
        ("equity-periods", bare, "period", ""),
        (
            "equity-sketches",
            sketched,
            "part of the backtest",
            "from the small copies in tags: extremes are true, but between them time is not to scale",
        ),
    ):
        if group:
            blocks.append(_equity_chart(facts, names, group, id, x_title, note, most))
    left_out = len(facts.runs) - len(shown)
    if left_out:
        blocks.append(Missing(f"equity of {counted(left_out, 'run')}", _why_no_equity(facts)))
    return blocks


def _drawn_metrics(facts: ComparisonFacts) -> list[str]:
    """The metrics of which there is a curve, the leading one first."""
    keys = {key for of_run in facts.curves.values() for key, curve in of_run.items() if curve.points > 1}
    return sorted(facts.origin.directions.ordered(keys), key=lambda key: key != facts.leading)


def _chart(facts: ComparisonFacts, names: Mapping[str, str], key: str, place: int, most: int) -> LineChart:
    curves = {
        run_id: facts.curves[run_id][key]
        for run_id in facts.drawn
        if key in facts.curves.get(run_id, {}) and facts.curves[run_id][key].points > 1
    }
    drawn = {run_id: _thinner(curve, most) for run_id, curve in curves.items()}
    x, _ = Counter(x for x, _ in drawn.values()).most_common(1)[0]
    series = tuple(
        Series(
            names[run_id],
            y,
            None if own_x == x else own_x,
            is_main=run_id == facts.baseline,
            points=curves[run_id].points if len(y) < curves[run_id].points else None,
        )
        for run_id, (own_x, y) in drawn.items()
    )
    lasts = [curve.last.value for curve in curves.values() if math.isfinite(curve.last.value)]
    summary = f"{key} of {counted(len(curves), 'run')}"
    if lasts:
        summary += f", which end between {number(min(lasts))} and {number(max(lasts))}"
    return LineChart(
        f"curve-{place}",
        key,
        f"{summary}.",
        series,
        x,
        "value number" if all(curve.is_numbered for curve in curves.values()) else "step",
        facts.origin.directions.of(key).unit or key,
        can_log=True,
        can_smooth=any(curve.points > 10 for curve in curves.values()),
        note=_notes(facts, curves, drawn),
    )


def _notes(
    facts: ComparisonFacts,
    curves: Mapping[str, Curve],
    drawn: Mapping[str, tuple[tuple[int, ...], tuple[Point, ...]]],
) -> str:
    notes = []
    if len(facts.drawn) < len(facts.runs):
        which = f"the baseline and the best by {facts.leading}" if facts.leading else "the first ones"
        notes.append(f"{len(facts.drawn)} of {len(facts.runs):,} runs: {which}")
    without = len(facts.drawn) - len(curves)
    if without:
        notes.append(f"{counted(without, 'run')} without such a curve")
    fewer = sum(len(y) < curves[run_id].points for run_id, (_, y) in drawn.items())
    if fewer:
        notes.append(f"{counted(fewer, 'curve')} thinned, every extreme kept")
    gaps = sum(curve.gaps for curve in curves.values())
    if gaps:
        notes.append(f"{counted(gaps, 'value')} not finite")
    return "; ".join(notes)


def _thinner(curve: Curve, most: int) -> tuple[tuple[int, ...], tuple[Point, ...]]:
    kept = thinned(curve.y, most)
    return tuple(curve.x[place] for place in kept), tuple(curve.y[place] for place in kept)


def _band_chart(facts: ComparisonFacts, groups: Sequence[RunGroup], key: str, place: int) -> LineChart | None:
    """The mean of each group of seeds, with a standard deviation to each side."""
    series = []
    for group in groups[:_MOST_BANDS]:
        curves = [
            facts.curves[run_id][key]
            for run_id in group.run_ids
            if key in facts.curves.get(run_id, {}) and facts.curves[run_id][key].points > 1
        ]
        band = None if any(curve.is_thinned for curve in curves) else band_of(curves)
        if band is None:
            continue
        kept = thinned(band.mean, 400)
        series.append(
            Series(
                f"{name_of(group, groups)}: mean of {len(curves)}",
                tuple(rounded(band.mean[one]) for one in kept),
                tuple(band.x[one] for one in kept),
                tuple(rounded(band.low[one]) for one in kept),
                tuple(rounded(band.high[one]) for one in kept),
            )
        )
    if not series:
        return None
    more = f"the first {_MOST_BANDS} of {len(groups)} configurations; " if len(groups) > _MOST_BANDS else ""
    return LineChart(
        f"band-{place}",
        f"{key}: mean over seeds",
        f"The mean of {key} over the seeds of {counted(len(series), 'configuration')}, with a standard deviation to "
        "each side.",
        tuple(series),
        y_title=facts.origin.directions.of(key).unit or key,
        can_log=True,
        note=f"{more}at the steps that all runs of a configuration have; the band is one standard deviation (n - 1)",
    )


def _equity_chart(
    facts: ComparisonFacts,
    names: Mapping[str, str],
    group: Mapping[str, Equity],
    id: str,
    x_title: str,
    note: str,
    most: int,
) -> LineChart:
    series = []
    ends = []
    for run_id, equity in group.items():
        values = equity.curve.values
        kept = equity.curve.landmarks(most)
        ends.append(values[-1] / values[0])
        series.append(
            Series(
                names[run_id],
                tuple(rounded(values[place] / values[0]) for place in kept),
                _x_of(equity, kept),
                is_main=run_id == facts.baseline,
                points=len(values) if len(kept) < len(values) else None,
            )
        )
    return LineChart(
        id,
        "Equity" if id == "equity" else f"Equity by {x_title}",
        f"The equity of {counted(len(group), 'run')} as a multiple of its start; it ends between {number(min(ends))} "
        f"and {number(max(ends))}.",
        tuple(series),
        x_title=x_title,
        y_title="multiple of the start",
        x_shape="date" if id == "equity" else "number",
        can_log=all(min(one.curve.values) > 0 for one in group.values()),
        note=note,
    )


def _x_of(equity: Equity, kept: Sequence[int]) -> tuple[Abscissa, ...]:
    if equity.is_sketch:
        last = len(equity.curve.values) - 1
        return tuple(round(place / last, 4) for place in kept)
    if equity.curve.dates is None:
        return tuple(kept)
    return tuple(iso_dates([equity.curve.dates[place] for place in kept]))


def _why_no_equity(facts: ComparisonFacts) -> str:
    if len(facts.drawn) < len(facts.runs):
        return "they logged none, or their curves are not drawn"
    return "they logged none: log_backtest_results"
