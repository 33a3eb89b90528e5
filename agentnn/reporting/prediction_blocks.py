"""Predictions as blocks: how far they are off, and where."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from agentnn.query.selection import exact_mean
from agentnn.reporting.cells import is_number
from agentnn.reporting.curves import rounded, thinned
from agentnn.reporting.document import (
    Block,
    Column,
    Figure,
    Figures,
    LineChart,
    Missing,
    ScatterChart,
    Series,
    Table,
    cell,
)
from agentnn.reporting.equity import numeric_columns
from agentnn.reporting.words import counted, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.reporting.files import Files

_MOST_DRAWN = 1000
_MOST_OUTPUTS = 4

Pairs = list[tuple[float, float]]
"""Of each sample the actual and the predicted value."""


def prediction_blocks(files: Files) -> list[Block]:
    """Predicted against actual: figures, points, and both over the samples."""
    blocks: list[Block] = []
    for place, (folder, table) in enumerate(files.predictions.items()):
        columns = numeric_columns(table)
        outputs = [
            name.removeprefix("actual")
            for name in columns
            if name.startswith("actual") and f"predicted{name.removeprefix('actual')}" in columns
        ]
        for which, output in enumerate(outputs[:_MOST_OUTPUTS]):
            parts = (folder.removeprefix("predictions"), output.removeprefix("_"))
            name = ", ".join(part for part in parts if part)
            pairs = _pairs(columns[f"actual{output}"], columns[f"predicted{output}"])
            blocks += _of_output(pairs, f" ({name})" if name else "", f"predictions-{place}-{which}")
        if not outputs:
            blocks.append(Missing(f"predictions ({folder})", "there are no columns actual and predicted"))
        elif len(outputs) > _MOST_OUTPUTS:
            blocks.append(Missing(f"{len(outputs) - _MOST_OUTPUTS} more outputs", "the first four are shown"))
    return blocks or [Missing("predictions", "the run logged none: log_predictions")]


def _pairs(actual: Sequence[Any], predicted: Sequence[Any]) -> Pairs:
    return [
        (float(true), float(guess))
        for true, guess in zip(actual, predicted, strict=True)
        if is_number(true) and is_number(guess)
    ]


def _of_output(pairs: Pairs, title: str, id: str) -> list[Block]:
    if not pairs:
        return [Missing(f"predictions{title}", "no row has two numbers")]
    return [
        Figures(_figures(pairs), f"Over {counted(len(pairs), 'row')}{title}"),
        ScatterChart(
            f"{id}-points",
            f"Predicted against actual{title}",
            f"A point for each of {counted(len(pairs), 'row')}: on the diagonal a prediction is right.",
            id,
            "actual",
            "predicted",
            choices=("actual", "predicted", "error", "sample"),
            label="sample",
        ),
        _over_samples(pairs, title, id),
        _table(pairs, title, id),
    ]


def _figures(pairs: Pairs) -> tuple[Figure, ...]:
    errors = [guess - true for true, guess in pairs]
    mean = _mean([true for true, _ in pairs])
    square, spread = _mean([one * one for one in errors]), _mean([(true - mean) * (true - mean) for true, _ in pairs])
    return (
        Figure("mae", cell(_mean(list(map(abs, errors)))), "min"),
        Figure("rmse", cell(math.sqrt(square)), "min"),
        Figure("r2", cell(1 - square / spread) if spread else None, "max"),
        Figure("bias", cell(_mean(errors)), note="predicted less actual"),
    )


def _mean(values: Sequence[float]) -> float:
    """The mean; not finite where a value is not."""
    return exact_mean(values) if all(map(math.isfinite, values)) else math.nan


def _over_samples(pairs: Pairs, title: str, id: str) -> LineChart:
    series = []
    spans = []
    for name, values in zip(("actual", "predicted"), zip(*pairs, strict=True), strict=True):
        kept = thinned(values, _MOST_DRAWN)
        spans.append(f"{name} lies between {number(min(values))} and {number(max(values))}")
        series.append(
            Series(
                name,
                tuple(rounded(values[place]) for place in kept),
                tuple(kept),
                style="line" if name == "actual" else "dash",
                points=len(values) if len(kept) < len(values) else None,
            )
        )
    return LineChart(
        f"{id}-lines", f"Both over the samples{title}", f"{', '.join(spans)}.", tuple(series), x_title="sample"
    )


def _table(pairs: Pairs, title: str, id: str) -> Table:
    errors = [guess - true for true, guess in pairs]
    drawn = thinned(errors, _MOST_DRAWN)
    rows = tuple((place, rounded(pairs[place][0]), rounded(pairs[place][1]), rounded(errors[place])) for place in drawn)
    columns = (
        Column("sample", "Sample", "number", digits=0),
        Column("actual", "Actual", "number"),
        Column("predicted", "Predicted", "number"),
        Column("error", "Error", "number", is_signed=True),
    )
    note = f"{len(drawn):,} of {len(pairs):,} rows, the greatest errors among them" if len(drawn) < len(pairs) else ""
    return Table(id, f"Predictions{title}", columns, rows, is_collapsed=True, note=note)
