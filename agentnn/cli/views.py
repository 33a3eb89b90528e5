"""Records as views: which columns there are, and what a cell shows."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from agentnn.cli.render import Row, Table, View
from agentnn.cli.text import short
from agentnn.errors import UsageError
from agentnn.query.comparison import varying_keys
from agentnn.query.selectors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console, RenderableType

    from agentnn.conventions import Direction
    from agentnn.query.comparison import ComparedValue, Comparison
    from agentnn.query.selection import BestRun
    from agentnn.records import Artifact, Experiment, Metric, ModelVersion, RegisteredModel, Run
    from agentnn.stores.mlflow_models import ModelCheck

RUN_FIELDS = (
    "run_id", "name", "experiment_id", "experiment", "status", "lifecycle_stage", "start_time", "end_time",
    "duration_s", "user", "parent_run_id", "artifact_uri",
)  # fmt: skip
HEADLINES = ("sharpe_ratio", "total_return", "max_drawdown", "val_loss", "accuracy", "loss")
"""Metrics that stand before the others in a list of runs: there is seldom room for all."""

EXPERIMENT_FIELDS = (
    "experiment_id", "name", "lifecycle_stage", "creation_time", "last_update_time", "artifact_location",
)  # fmt: skip
MODEL_FIELDS = (
    "name", "latest_version", "version_count", "aliases", "stages", "creation_time", "last_updated_time", "description",
)  # fmt: skip
VERSION_FIELDS = (
    "name", "version", "aliases", "stage", "status", "run_id", "creation_time", "last_updated_time", "user", "source",
)  # fmt: skip
_LEDGER_TAGS = ("agentnn.promotion.", "agentnn.claim.")
"""Of a registered model; ``model history`` shows what they mean."""

_TIMES = ("start_time", "end_time", "creation_time", "last_update_time", "last_updated_time", "timestamp")
_SHORT_ID = 8
_WIDEST_CURVE = 120
_SHOWN_PREDICTIONS = 5


# -- lists ----------------------------------------------------------------------------------------------


def runs_view(runs: Iterable[Run], columns: str | None) -> View:
    """Runs as rows; without a choice of columns, what differs between them stands before what does not."""
    chosen = chosen_columns(columns, RUN_FIELDS, ("metrics", "params", "tags"))
    return _listed(runs, _run_id, chosen, _default_run_columns)


def best_view(ranked: Sequence[BestRun], columns: str | None, *, single: bool) -> View:
    """The best runs, each with its value and its margin over the next."""
    verdict = ranked[0].best
    judged = f"metrics.{verdict.metric}" if verdict.aggregate == "last" else "best.value"
    chosen = chosen_columns(columns, RUN_FIELDS, ("metrics", "params", "tags", "best"))
    default = lambda runs: _default_run_columns(runs, [judged, "best.margin"])  # noqa: E731
    return _listed(ranked, _run_id, chosen, default, essential=4)._replace(single=single)


def experiments_view(experiments: Iterable[Experiment], columns: str | None = None) -> View:
    """Experiments as rows."""
    chosen = chosen_columns(columns, EXPERIMENT_FIELDS, ("tags",))
    return _listed(experiments, lambda one: one.experiment_id, chosen, lambda _: EXPERIMENT_FIELDS)


def models_view(models: Iterable[RegisteredModel], columns: str | None = None) -> View:
    """Registered models as rows; metrics of their newest version's run where they were asked for."""
    chosen = chosen_columns(columns, MODEL_FIELDS, ("metrics", "tags", "aliases", "stages"))
    return _listed(
        models, lambda one: one.name, chosen, lambda listed: [*MODEL_FIELDS, *_metric_columns(listed)], essential=4
    )


def versions_view(versions: Iterable[ModelVersion], columns: str | None = None) -> View:
    """Model versions as rows; metrics of their runs where they were asked for."""
    chosen = chosen_columns(columns, VERSION_FIELDS, ("metrics", "tags"))
    return _listed(
        versions,
        lambda one: f"models:/{one.name}/{one.version}",
        chosen,
        lambda listed: [*VERSION_FIELDS[:6], *_metric_columns(listed), *VERSION_FIELDS[6:]],
        essential=4,
    )


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
    head = Row(["run_id", *run_ids], "run_id", dict, ["run_id", *(run_id[:_SHORT_ID] for run_id in run_ids)])

    def document() -> dict[str, Any]:
        return {"runs": [run.to_dict() for run in comparison.runs], "rows": [row.record() for row in rows]}

    columns = ["field", *_distinct_names(comparison.runs)]
    return View(rows, lambda: Table(columns, [head, *rows], essential=3), document=document)


# -- one record -----------------------------------------------------------------------------------------


def run_view(run: Run, columns: str | None, histories: Callable[[], dict[str, list[Metric]]]) -> View:
    """One run; a person also sees the curve of each metric."""

    def picture(console: Console) -> RenderableType:
        from agentnn.cli.pictures import run_picture

        return run_picture(run, histories(), console.width)

    return runs_view([run], columns)._replace(single=True, picture=None if columns else picture)


def experiment_view(experiment: Experiment, runs_by_status: dict[str, int]) -> View:
    """One experiment, and how many runs of which status it holds."""
    counts = {"runs": sum(runs_by_status.values()), "runs_by_status": dict(sorted(runs_by_status.items()))}
    fields = {**experiment.to_dict(), **counts}
    columns = [*EXPERIMENT_FIELDS, *counts]
    row = Row([fields[column] for column in columns], experiment.experiment_id, lambda: fields)
    return single_view(columns, row, lambda: _pairs(experiment, fields, columns))


def model_view(model: RegisteredModel) -> View:
    """One registered model."""
    row = _row(model, MODEL_FIELDS, model.name)
    return single_view(MODEL_FIELDS, row, lambda: _pairs(model, model.to_dict(), MODEL_FIELDS))


def version_view(version: ModelVersion) -> View:
    """One model version."""
    row = _row(version, VERSION_FIELDS, f"models:/{version.name}/{version.version}")
    return single_view(VERSION_FIELDS, row, lambda: _pairs(version, version.to_dict(), VERSION_FIELDS))


def check_view(check: ModelCheck) -> View:
    """What was seen when a model was loaded."""
    fields = check.to_dict()
    shown = {**fields, "size": size(check.size), "load_s": f"{check.load_s:.2f} s"}
    if isinstance(check.prediction, list) and len(check.prediction) > _SHOWN_PREDICTIONS:
        shown["prediction"] = f"{short(check.prediction[:_SHOWN_PREDICTIONS])},… ({len(check.prediction)} in all)"
    row = Row(list(fields.values()), check.uri, check.to_dict)
    return single_view(list(fields), row, lambda: [("loads", "yes"), *shown.items()])


def single_view(columns: Sequence[str], row: Row, pairs: Callable[[], list[tuple[str, Any]]] | None = None) -> View:
    """One record, which a person sees as names and values: those of the row, unless ``pairs`` makes others."""

    def picture(_: Console) -> RenderableType:
        from agentnn.cli.tables import details

        shown = list(zip(columns, row.shown or row.cells, strict=True)) if pairs is None else pairs()
        return details([(name, value) for name, value in shown if value not in (None, "", [], {})])

    return View([row], lambda: Table(columns, [row]), single=True, picture=picture)


def _pairs(record: Any, fields: dict[str, Any], columns: Sequence[str]) -> list[tuple[str, Any]]:
    def shown(column: str) -> Any:
        value = fields[column]
        return f"{value} ({age(getattr(record, column))})" if column in _TIMES and value else value

    told = {key: value for key, value in record.tags.items() if not key.startswith(_LEDGER_TAGS)}
    tags = [(f"tags.{key}", value) for key, value in sorted(told.items())]
    return [*((column, shown(column)) for column in columns), *tags]


# -- columns and cells ----------------------------------------------------------------------------------


def chosen_columns(text: str | None, known: Sequence[str], mappings: Sequence[str]) -> list[str] | None:
    """The columns that ``--columns`` names; ``None`` when it was not given.

    Args:
        text: Names, with commas between them.
        known: The fields of the record.
        mappings: The fields whose keys can be named, as in ``metrics.loss``.

    Raises:
        UsageError: A column is none of these.
    """
    if text is None:
        return None
    columns = [one.strip() for one in text.split(",") if one.strip()]
    for column in columns:
        kind, dot, key = column.partition(".")
        if column in known or column in mappings or (kind in mappings and key):
            continue
        near = nearest(column, known)
        hint = f"did you mean {', '.join(near)}?" if near else f"one of {', '.join((*known, *mappings))}"
        if "metrics" in mappings and not dot:
            hint += f" (a metric is written metrics.{column})"
        raise UsageError(f"unknown column {column!r}", hint=hint)
    if not columns:
        raise UsageError("--columns names no column", hint=f"for instance {','.join(known[:3])}")
    return columns


def _default_run_columns(runs: Sequence[Run], first: Sequence[str] = ()) -> list[str]:
    metrics, params = varying_keys(runs, "metrics"), varying_keys(runs, "params")
    attributes = ("experiment", "status", "lifecycle_stage")
    varying = [name for name in attributes if len({getattr(run, name) for run in runs}) > 1]
    headlines = [key for key in HEADLINES if key in metrics.differing]
    differing = [f"metrics.{key}" for key in dict.fromkeys([*headlines, *metrics.differing])]
    differing += [f"params.{key}" for key in params.differing]
    same = [*(f"metrics.{key}" for key in metrics.same), *(f"params.{key}" for key in params.same)]
    leading = ["run_id", "name", *first, *varying, "start_time"]
    return list(dict.fromkeys([*leading, *differing, "experiment", "status", "duration_s", *same]))


def _listed(
    records: Iterable[Any],
    identify: Callable[[Any], str],
    chosen: Sequence[str] | None,
    default: Callable[[list[Any]], Sequence[str]],
    *,
    essential: int = 2,
) -> View:
    """Records as rows; a stream of them stays a stream unless the default columns depend on all."""

    def table() -> Table:
        if chosen is not None:
            return Table(chosen, (_row(one, chosen, identify(one)) for one in records), essential)
        listed = list(records)
        columns = default(listed)
        return Table(columns, [_row(one, columns, identify(one)) for one in listed], essential)

    return View((Row((), identify(one), one.to_dict) for one in records), table)


def _row(record: Any, columns: Sequence[str], identifier: str) -> Row:
    fields = record.to_dict()
    cells = [_value(record, fields, column) for column in columns]
    shown = [_shown(record, column, cell) for column, cell in zip(columns, cells, strict=True)]
    return Row(cells, identifier, lambda: fields, shown)


def _value(record: Any, fields: dict[str, Any], column: str) -> Any:
    kind, dot, key = column.partition(".")
    if not dot:
        return fields.get(column)
    if kind == "best":
        return fields.get("best", {}).get(key)
    return getattr(record, kind, {}).get(key)  # not from the fields, where NaN is None


def _shown(record: Any, column: str, cell: Any) -> str:
    if column in _TIMES:
        return age(getattr(record, column))
    if column == "duration_s":
        return duration(cell)
    if column == "run_id" and isinstance(cell, str):
        return cell[:_SHORT_ID]
    if isinstance(cell, dict):
        return short(", ".join(f"{key}→{value}" for key, value in cell.items()))
    return short(cell)


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
        f"{name} ({run.run_id[:_SHORT_ID]})" if names.count(name) > 1 else name
        for run, name in zip(runs, names, strict=True)
    ]


def _metric_columns(records: Sequence[Any]) -> list[str]:
    return sorted({f"metrics.{key}" for one in records for key in one.metrics})


def _run_id(run: Run) -> str:
    return run.run_id


def age(milliseconds: int | None) -> str:
    """How long ago a time was, for a person."""
    if milliseconds is None:
        return ""
    seconds = time.time() - milliseconds / 1000
    for unit, length in (("y", 31_557_600), ("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now" if seconds >= 0 else "in the future"


def duration(seconds: float | None) -> str:
    """A duration for a person."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def size(number: int) -> str:
    """Bytes for a person."""
    value = float(number)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
