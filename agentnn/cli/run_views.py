"""Runs, their metrics and their files as views."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from agentnn.cli.amounts import size
from agentnn.cli.kept_runs import KeptRuns
from agentnn.cli.record_views import SHORT_ID, chosen_columns, listed_view
from agentnn.cli.render import Row, Table, View
from agentnn.cli.text import short
from agentnn.query.comparison import Variation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console, RenderableType

    from agentnn.conventions import Direction
    from agentnn.query.comparison import ComparedValue, Comparison
    from agentnn.query.selection import BestRun
    from agentnn.records import Artifact, Metric, Run

RUN_FIELDS = (
    "run_id", "name", "experiment_id", "experiment", "status", "lifecycle_stage", "start_time", "end_time",
    "duration_s", "user", "parent_run_id", "artifact_uri",
)  # fmt: skip
HEADLINES = ("sharpe_ratio", "total_return", "max_drawdown", "val_loss", "accuracy", "loss")
"""Metrics that stand before the others in a list of runs: there is seldom room for all."""

_WIDEST_CURVE = 120


def runs_view(runs: Iterable[Run], columns: str | None) -> View:
    """Runs as rows; without a choice of columns, what differs between them stands before what does not."""
    chosen = chosen_columns(columns, RUN_FIELDS, ("metrics", "params", "tags"))
    return listed_view(runs, _run_id, chosen, _default_run_columns, keep=KeptRuns)


def best_view(ranked: Sequence[BestRun], columns: str | None, *, single: bool) -> View:
    """The best runs, each with its value and its margin over the next."""
    verdict = ranked[0].best
    judged = f"metrics.{verdict.metric}" if verdict.aggregate == "last" else "best.value"
    chosen = chosen_columns(columns, RUN_FIELDS, ("metrics", "params", "tags", "best"))
    default = lambda runs: _default_run_columns(runs, [judged, "best.margin"])  # noqa: E731
    return listed_view(ranked, _run_id, chosen, default, essential=4)._replace(single=single)


def run_view(run: Run, columns: str | None, histories: Callable[[], dict[str, list[Metric]]]) -> View:
    """One run; a person also sees the curve of each metric."""

    def picture(console: Console) -> RenderableType:
        from agentnn.cli.pictures import run_picture

        return run_picture(run, histories(), console.width)

    return runs_view([run], columns)._replace(single=True, picture=None if columns else picture)


def history_view(history: Sequence[Metric]) -> View:
    """A metric's values as rows; a person sees the curve."""

    def picture(console: Console) -> RenderableType:
        from agentnn.cli.pictures import history_picture

        return history_picture(history, min(console.width, _WIDEST_CURVE))

    def rows() -> Iterable[Row]:
        for point in history:
            yield Row([point.step, point.to_dict()["timestamp"], point.value], str(point.step), point.to_dict)

    return View(rows(), lambda: Table(["step", "timestamp", "value"], rows()), picture=picture)


def artifacts_view(artifacts: Iterable[Artifact]) -> View:
    """Files and folders as rows; a folder's path ends with a slash for a person."""
    rows = [Row((one.path, one.size, one.is_dir), one.path, one.to_dict, _shown_artifact(one)) for one in artifacts]
    return View(rows, lambda: Table(["path", "size", "is_dir"], rows))


def comparison_view(
    comparison: Comparison, *, everything: bool, direction_of: Callable[[str], Direction | None]
) -> View:
    """Runs side by side: a line a field, a column a run. What ``-o id`` prints are the fields.

    Of a metric whose better direction is declared, a person sees the best value in green and the worst in red.
    """
    shown = comparison.rows if everything else comparison.differences
    rows = [_compared_row(row, direction_of) for row in shown]
    run_ids = [run.run_id for run in comparison.runs]
    head = Row(["run_id", *run_ids], "run_id", dict, ["run_id", *(run_id[:SHORT_ID] for run_id in run_ids)])

    def document() -> dict[str, Any]:
        return {"runs": [run.to_dict() for run in comparison.runs], "rows": [row.record() for row in rows]}

    columns = ["field", *_distinct_names(comparison.runs)]
    return View(rows, lambda: Table(columns, [head, *rows], essential=3), document=document)


def _default_run_columns(runs: Iterable[Run], first: Sequence[str] = ()) -> list[str]:
    variations = Variation("metrics"), Variation("params")
    attributes: dict[str, set[str]] = {"experiment": set(), "status": set(), "lifecycle_stage": set()}
    for run in runs:  # once: there may be more of them than memory holds
        for variation in variations:
            variation.add(run)
        for name, values in attributes.items():
            values.add(getattr(run, name))
    metrics, params = (variation.keys() for variation in variations)
    varying = [name for name, values in attributes.items() if len(values) > 1]
    headlines = [key for key in HEADLINES if key in metrics.differing]
    differing = [f"metrics.{key}" for key in dict.fromkeys([*headlines, *metrics.differing])]
    differing += [f"params.{key}" for key in params.differing]
    same = [*(f"metrics.{key}" for key in metrics.same), *(f"params.{key}" for key in params.same)]
    leading = ["run_id", "name", *first, *varying, "start_time"]
    return list(dict.fromkeys([*leading, *differing, "experiment", "status", "duration_s", *same]))


def _shown_artifact(one: Artifact) -> tuple[str, str, str]:
    return (short(one.path + ("/" if one.is_dir else "")), "" if one.size is None else size(one.size), "")


def _compared_row(row: ComparedValue, direction_of: Callable[[str], Direction | None]) -> Row:
    name = row.key if row.section == "attribute" else f"{row.section}s.{row.key}"
    values = [None if isinstance(value, float) and not abs(value) < float("inf") else value for value in row.values]

    def record() -> dict[str, Any]:
        return {"section": row.section, "key": row.key, "values": values, "differs": row.differs}

    direction = direction_of(row.key) if row.section == "metric" and row.differs else None
    styles = None if direction is None else ["", *_ranked_styles(row.values, direction)]
    return Row([name, *row.values], name, record, styles=styles)


def _ranked_styles(values: Sequence[float | None], direction: Direction) -> list[str]:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if len(set(finite)) < 2:
        return [""] * len(values)
    best, worst = (max(finite), min(finite)) if direction == "max" else (min(finite), max(finite))
    return ["green" if value == best else "red" if value == worst else "" for value in values]


def _distinct_names(runs: Sequence[Run]) -> list[str]:
    """The runs' names as headers, with the beginning of the id where two have the same."""
    names = [run.name or run.run_id for run in runs]
    return [
        f"{name} ({run.run_id[:SHORT_ID]})" if names.count(name) > 1 else name
        for run, name in zip(runs, names, strict=True)
    ]


def _run_id(run: Run) -> str:
    return run.run_id
