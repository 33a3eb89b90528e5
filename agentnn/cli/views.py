"""Records as views: which columns there are, and what a cell shows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from agentnn.cli.render import Row, View
from agentnn.cli.text import short
from agentnn.errors import UsageError
from agentnn.query.comparison import varying_keys
from agentnn.query.selectors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console, RenderableType

    from agentnn.query.comparison import Comparison
    from agentnn.query.selection import BestRun
    from agentnn.records import Artifact, Experiment, Metric, ModelVersion, RegisteredModel, Run
    from agentnn.stores.mlflow_models import ModelCheck

_MAPPINGS = ("metrics", "params", "tags", "aliases", "stages", "best")
RUN_FIELDS = (
    "run_id", "name", "experiment_id", "experiment", "status", "lifecycle_stage", "start_time", "end_time",
    "duration_s", "user", "parent_run_id", "artifact_uri",
)  # fmt: skip
HEADLINES = ("sharpe_ratio", "total_return", "max_drawdown", "val_loss", "accuracy", "loss")
"""Metrics that stand before the others in a list of runs: there is seldom room for all."""

EXPERIMENT_COLUMNS = (
    "experiment_id",
    "name",
    "lifecycle_stage",
    "creation_time",
    "last_update_time",
    "artifact_location",
)
MODEL_COLUMNS = (
    "name", "latest_version", "version_count", "aliases", "stages", "creation_time", "last_updated_time", "description",
)  # fmt: skip
VERSION_COLUMNS = (
    "name", "version", "aliases", "stage", "status", "run_id", "creation_time", "last_updated_time", "user", "source",
)  # fmt: skip
_TIMES = ("start_time", "end_time", "creation_time", "last_update_time", "last_updated_time", "timestamp")
_SHORT_ID = 8
_WIDEST_CURVE = 120


def runs_view(runs: Iterable[Run], columns: str | None) -> View:
    """Runs as rows; without a choice of columns, what differs between them stands before what does not."""
    if columns is not None:
        chosen = chosen_columns(columns, RUN_FIELDS)
        return View(chosen, (_row(run, chosen, run.run_id) for run in runs))
    listed = list(runs)
    default = _default_run_columns(listed)
    return View(default, [_row(run, default, run.run_id) for run in listed])


def _default_run_columns(runs: Sequence[Run], first: Sequence[str] = ()) -> list[str]:
    metrics, params = (varying_keys(runs, "metrics"), varying_keys(runs, "params"))
    varying = [name for name in ("experiment", "status") if len({getattr(run, name) for run in runs}) > 1]
    headlines = [key for key in HEADLINES if key in metrics.differing]
    ordered = dict.fromkeys([*headlines, *metrics.differing])
    differing = [*(f"metrics.{key}" for key in ordered), *(f"params.{key}" for key in params.differing)]
    same = [*(f"metrics.{key}" for key in metrics.same), *(f"params.{key}" for key in params.same)]
    columns = [
        "run_id",
        "name",
        *first,
        *varying,
        "start_time",
        *differing,
        "experiment",
        "status",
        "duration_s",
        *same,
    ]
    return list(dict.fromkeys(columns))


def experiments_view(experiments: Iterable[Experiment], columns: str | None = None) -> View:
    """Experiments as rows."""
    chosen = chosen_columns(columns, EXPERIMENT_COLUMNS) if columns else list(EXPERIMENT_COLUMNS)
    return View(chosen, [_row(one, chosen, one.experiment_id) for one in experiments])


def models_view(models: Iterable[RegisteredModel], columns: str | None = None) -> View:
    """Registered models as rows; metrics of their newest version's run where they were asked for."""
    listed = list(models)
    default = [*MODEL_COLUMNS, *_metric_columns(listed)]
    chosen = chosen_columns(columns, MODEL_COLUMNS) if columns else default
    return View(chosen, [_row(one, chosen, one.name) for one in listed], essential=4)


def versions_view(versions: Iterable[ModelVersion], columns: str | None = None) -> View:
    """Model versions as rows; metrics of their runs where they were asked for."""
    listed = list(versions)
    default = [*VERSION_COLUMNS[:6], *_metric_columns(listed), *VERSION_COLUMNS[6:]]
    chosen = chosen_columns(columns, VERSION_COLUMNS) if columns else default
    return View(chosen, [_row(one, chosen, f"models:/{one.name}/{one.version}") for one in listed], essential=4)


def history_view(history: Sequence[Metric]) -> View:
    """A metric's values as rows; a person sees the curve."""
    columns = ["step", "timestamp", "value"]

    def cells(point: Metric) -> list[Any]:
        return [point.step, point.to_dict()["timestamp"], point.value]

    def picture(console: Console) -> RenderableType:
        from agentnn.cli.pictures import history_picture

        return history_picture(history, min(console.width, _WIDEST_CURVE))

    return View(columns, (Row(cells(point), str(point.step), point.to_dict) for point in history), picture=picture)


def artifacts_view(artifacts: Iterable[Artifact]) -> View:
    """Files and folders as rows; a folder's path ends with a slash for a person."""
    columns = ["path", "size", "is_dir"]
    return View(
        columns,
        [Row((one.path, one.size, one.is_dir), one.path, one.to_dict, _shown_artifact(one)) for one in artifacts],
    )


def comparison_view(comparison: Comparison, *, everything: bool) -> View:
    """Runs side by side: a line a field, a column a run."""
    rows = comparison.rows if everything else comparison.differences
    columns = ["field", *(run.name or run.run_id for run in comparison.runs)]

    def record(section: str, key: str, values: Sequence[Any], differs: bool) -> Callable[[], dict[str, Any]]:
        return lambda: {"section": section, "key": key, "values": _json_values(values), "differs": differs}

    run_ids = [run.run_id for run in comparison.runs]
    short_ids = ["run_id", *(run_id[:_SHORT_ID] for run_id in run_ids)]
    lines = [Row(["run_id", *run_ids], "run_id", record("attribute", "run_id", run_ids, True), short_ids)]
    lines += [
        Row(
            [_field_name(row.section, row.key), *row.values],
            row.key,
            record(row.section, row.key, row.values, row.differs),
        )
        for row in rows
    ]

    def document() -> dict[str, Any]:
        return {
            "runs": [run.to_dict() for run in comparison.runs],
            "rows": [row.record() for row in lines[1:]],
        }

    return View(columns, lines, document=document, essential=3)


def experiment_view(experiment: Experiment, runs_by_status: dict[str, int]) -> View:
    """One experiment, and how many runs of which status it holds."""
    columns = [*EXPERIMENT_COLUMNS, "runs", "runs_by_status"]
    total = sum(runs_by_status.values())

    def record() -> dict[str, Any]:
        return {**experiment.to_dict(), "runs": total, "runs_by_status": dict(sorted(runs_by_status.items()))}

    fields = record()
    row = Row([fields[column] for column in columns], experiment.experiment_id, record)
    return _single_view(columns, row, lambda: _pairs(experiment, fields, columns, experiment.tags))


def run_view(run: Run, histories: Callable[[], dict[str, list[Metric]]]) -> View:
    """One run; a person also sees the curve of each metric."""
    listed = runs_view([run], None)
    [row] = listed.rows

    def picture(_: Console) -> RenderableType:
        from agentnn.cli.pictures import run_picture

        return run_picture(run, histories())

    return View(listed.columns, [row], single=True, picture=picture)


def best_view(ranked: Sequence[BestRun], columns: str | None, *, single: bool) -> View:
    """The best runs, each with its value and its margin over the next."""
    verdict = ranked[0].best
    judged = f"metrics.{verdict.metric}" if verdict.aggregate == "last" else "best.value"
    chosen = chosen_columns(columns, RUN_FIELDS) if columns else _default_run_columns(ranked, [judged, "best.margin"])
    return View(chosen, [_row(run, chosen, run.run_id) for run in ranked], single=single, essential=4)


def model_view(model: RegisteredModel) -> View:
    """One registered model."""
    view = models_view([model])
    [row] = view.rows
    return _single_view(view.columns, row, lambda: _pairs(model, model.to_dict(), MODEL_COLUMNS, model.tags))


def version_view(version: ModelVersion) -> View:
    """One model version."""
    view = versions_view([version])
    [row] = view.rows
    return _single_view(view.columns, row, lambda: _pairs(version, version.to_dict(), VERSION_COLUMNS, version.tags))


def check_view(check: ModelCheck) -> View:
    """What was seen when a model was loaded."""
    columns = ["uri", "flavors", "size", "files", "load_s", "inputs", "outputs", "example_rows", "prediction"]
    fields = check.to_dict()
    row = Row([fields[column] for column in columns], check.uri, check.to_dict)
    shown = {**fields, "size": size(check.size), "load_s": f"{check.load_s:.2f} s"}
    return _single_view(columns, row, lambda: [("loads", "yes"), *((column, shown[column]) for column in columns)])


def _single_view(columns: Sequence[str], row: Row, pairs: Callable[[], list[tuple[str, Any]]]) -> View:
    """One record, which a person sees as names and values."""

    def picture(_: Console) -> RenderableType:
        from agentnn.cli.tables import details

        return details([(name, value) for name, value in pairs() if value not in (None, "", [], {})])

    return View(columns, [row], single=True, picture=picture)


def _pairs(record: Any, fields: dict[str, Any], columns: Sequence[str], tags: Any) -> list[tuple[str, Any]]:
    pairs = [
        (
            column,
            f"{fields[column]} ({age(getattr(record, column))})"
            if column in _TIMES and fields[column]
            else fields[column],
        )
        for column in columns
    ]
    return [*pairs, *((f"tags.{key}", value) for key, value in sorted(tags.items()))]


def chosen_columns(text: str, known: Sequence[str]) -> list[str]:
    """The columns that ``--columns`` names.

    Raises:
        UsageError: A column is neither a field of the record nor under ``metrics.``, ``params.`` or ``tags.``.
    """
    columns = [one.strip() for one in text.split(",") if one.strip()]
    for column in columns:
        if column in known or column.partition(".")[0] in _MAPPINGS:
            continue
        near = nearest(column, known)
        hint = f"did you mean {', '.join(near)}?" if near else f"a metric is written metrics.{column}"
        raise UsageError(f"unknown column {column!r}", hint=hint)
    if not columns:
        raise UsageError("--columns names no column", hint=f"for instance {','.join(known[:3])}")
    return columns


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


def _row(record: Any, columns: Sequence[str], identifier: str) -> Row:
    fields = record.to_dict()
    cells = [_value(record, fields, column) for column in columns]
    return Row(
        cells,
        identifier,
        lambda: fields,
        [_shown(record, column, cell) for column, cell in zip(columns, cells, strict=True)],
    )


def _value(record: Any, fields: dict[str, Any], column: str) -> Any:
    kind, dot, key = column.partition(".")
    if not dot:
        return fields.get(column)
    if kind == "best":
        return fields.get("best", {}).get(key)
    return getattr(record, kind, {}).get(key)


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


def size(number: int) -> str:
    """Bytes for a person."""
    value = float(number)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def _metric_columns(records: Sequence[Any]) -> list[str]:
    return sorted({f"metrics.{key}" for one in records for key in one.metrics})


def _field_name(section: str, key: str) -> str:
    return key if section == "attribute" else f"{section}s.{key}"


def _json_values(values: Sequence[Any]) -> list[Any]:
    return [
        None if isinstance(value, float) and (value != value or abs(value) == float("inf")) else value
        for value in values
    ]
