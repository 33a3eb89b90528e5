"""What a run's files tell, as blocks: data, model, importance.

The files may come from anywhere: a value of another kind than expected is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.reporting.cells import is_number
from agentnn.reporting.curves import rounded
from agentnn.reporting.document import (
    BarChart,
    Block,
    Column,
    Figure,
    Figures,
    Mark,
    Missing,
    Table,
    Text,
    cell,
)
from agentnn.reporting.words import listed, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.records import Run
    from agentnn.reporting.document import Cell
    from agentnn.reporting.files import Files

_MOST_FEATURES = 200
_MOST_BARS = 30
_FEATURE_COLUMNS = ("count", "missing", "infinite", "unique", "mean", "std", "min", "p50", "max")
_STRONG_DRIFT = 0.2
"""Of the Kolmogorov-Smirnov statistic; where the reader's eye is led to, and no test."""


def data_blocks(run: Run, files: Files) -> list[Block]:
    """The data sets that a run names, and the characteristics of each that was described."""
    blocks: list[Block] = []
    if run.datasets:
        columns = (Column("name", "Data set"), Column("context", "Used for"), Column("digest", "Digest", "code"))
        rows = tuple((one.name, one.context, one.digest) for one in run.datasets)
        blocks.append(Table("datasets", "Data sets", columns, rows))
    for place, (folder, told) in enumerate(files.data.items()):
        blocks += _data_set(told, folder or "data", f"-{place}" if place else "")
    return blocks or [Missing("characteristics of the data", "the run logged none: log_data_characteristics")]


def model_blocks(run: Run, files: Files) -> list[Block]:
    """The numbers of parameters and the summaries of the model."""
    counts = {
        "parameters": run.metrics.get("model_parameters"),
        "trainable": run.metrics.get("model_trainable_parameters"),
    }
    figures = tuple(Figure(name, cell(value), digits=0) for name, value in counts.items() if value is not None)
    blocks: list[Block] = [Figures(figures)] if figures else []
    blocks += [Text(text, path, "code", is_collapsed=text.count("\n") > 40) for path, text in files.summaries.items()]
    return blocks or [Missing("summary of the model", "the run logged none: log_model_summary")]


def importance_blocks(files: Files) -> list[Block]:
    """How much the model relies on each feature."""
    blocks: list[Block] = []
    for place, (folder, told) in enumerate(files.importance.items()):
        pairs = named_importance(told)
        title = "Importance of the features" + ("" if folder in ("", "importance") else f" ({folder})")
        if not pairs:
            blocks.append(Missing(title, "its file holds none"))
            continue
        chart = importance_chart(pairs, f"importance-{place}", title, "features", _importance_of(told))
        blocks.append(chart)
    return blocks or [Missing("importance of the features", "the run logged none: log_feature_importance")]


def named_importance(told: Mapping[str, Any]) -> list[tuple[str, float, float | None]]:
    """Names with their importance and its spread, the greatest first, out of any of the shapes that are logged.

    They are ``{"features": [{"feature", "importance", "std"}]}``, the same under ``params`` and with ``param`` or
    ``name``, and a mapping of names to numbers, by itself or under ``importance`` or ``importances``.
    """
    for key in ("features", "params", "importance", "importances"):
        if isinstance(told.get(key), (list, dict)):
            told = {"held": told[key]}
            break
    held = told.get("held", told)
    found: list[tuple[str, float, float | None]] = []
    if isinstance(held, dict):
        found = [(str(name), float(value), None) for name, value in held.items() if is_number(value)]
    elif isinstance(held, list):
        for one in held:
            if not isinstance(one, dict):
                continue
            name = next((one[key] for key in ("feature", "param", "name") if isinstance(one.get(key), str)), None)
            value = next((one[key] for key in ("importance", "mean", "value") if is_number(one.get(key))), None)
            if name is not None and value is not None:
                found.append((name, float(value), float(one["std"]) if is_number(one.get("std")) else None))
    return sorted(found, key=lambda one: -one[1])


def importance_chart(
    pairs: Sequence[tuple[str, float, float | None]], id: str, title: str, of_what: str, value_title: str
) -> BarChart:
    """Bars of the greatest of some importances."""
    shown = pairs[:_MOST_BARS]
    has_errors = any(one[2] for one in shown)
    return BarChart(
        id,
        title,
        f"{shown[0][0]} matters most ({number(shown[0][1])})"
        + (f", then {listed([one[0] for one in shown[1:4]])}." if len(shown) > 1 else "."),
        tuple(one[0] for one in shown),
        tuple(rounded(one[1]) for one in shown),
        errors=tuple(None if one[2] is None else rounded(one[2]) for one in shown) if has_errors else None,
        value_title=value_title,
        note=f"the {len(shown)} greatest of {len(pairs):,} {of_what}" if len(pairs) > len(shown) else "",
    )


def _data_set(told: Mapping[str, Any], folder: str, suffix: str) -> list[Block]:
    inputs = told.get("inputs")
    if not isinstance(inputs, dict) or not isinstance(inputs.get("distributions"), list):
        return [Missing(f"characteristics of {folder}", "its file holds none")]
    targets = told.get("targets")
    described = [("input", one) for one in inputs["distributions"]]
    if isinstance(targets, dict) and isinstance(targets.get("distributions"), list):
        described += [("target", one) for one in targets["distributions"]]
    described = [(role, one) for role, one in described if isinstance(one, dict)]
    figures = [
        Figure("rows", _number(inputs.get("rows")), digits=0),
        Figure("features", _number(inputs.get("features")), digits=0),
        Figure("missing values", sum(int(_number(one.get("missing")) or 0) for _, one in described), digits=0),
    ]
    if _number(inputs.get("looked_at")) != _number(inputs.get("rows")):
        figures.append(Figure("rows looked at", _number(inputs.get("looked_at")), digits=0))
    columns = (
        Column("name", "Feature"),
        Column("role", "Role"),
        *(Column(key, {"p50": "median"}.get(key, key), "number") for key in _FEATURE_COLUMNS),
    )
    rows = tuple(
        (str(one.get("name", "")), role, *(_number(one.get(key)) for key in _FEATURE_COLUMNS))
        for role, one in described[:_MOST_FEATURES]
    )
    left_out = f"the first {_MOST_FEATURES} of {len(described):,}" if len(described) > _MOST_FEATURES else ""
    blocks: list[Block] = [
        Figures(tuple(figures), folder),
        Table(
            f"features{suffix}", f"Features of {folder}", columns, rows, is_filterable=len(rows) > 10,
            is_collapsed=len(rows) > 20, note=left_out,
        ),
    ]  # fmt: skip
    return blocks + _drift(told.get("drift"), folder, suffix)


def _drift(told: Any, folder: str, suffix: str) -> list[Block]:
    drift = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    if not drift:
        return []
    drift.sort(key=lambda one: one["ks_statistic"] if is_number(one.get("ks_statistic")) else 0.0, reverse=True)
    columns = (
        Column("name", "Feature"),
        Column("ks", "KS statistic", "number"),
        Column("p", "p-value", "number"),
        Column("wasserstein", "Wasserstein in std", "number"),
        Column("shift", "Shift of the mean", "number", is_signed=True),
    )
    keys = ("ks_statistic", "p_value", "wasserstein_in_std", "mean_shift")
    rows = tuple((str(one.get("name", "")), *(_number(one.get(key)) for key in keys)) for one in drift[:_MOST_FEATURES])
    strong = [place for place, row in enumerate(rows) if isinstance(row[1], float) and row[1] > _STRONG_DRIFT]
    return [
        Table(
            f"drift{suffix}",
            f"Drift of {folder} against its reference",
            columns,
            rows,
            tuple(Mark(place, 1, "wrong") for place in strong),
            is_filterable=len(rows) > 10,
            is_collapsed=len(rows) > 20,
            note=f"marked: a statistic above {_STRONG_DRIFT}; the p-values are not corrected for their number",
        )
    ]


def _importance_of(told: Mapping[str, Any]) -> str:
    if told.get("method") == "permutation":
        return f"fall of {told.get('score', 'the score')} when shuffled"
    return "importance"


def _number(value: Any) -> Cell:
    """A number of a file as a cell; ``None`` for anything else."""
    return cell(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
