"""From what was captured to the run: which file, tag and metric each thing becomes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from agentnn.config.history import ARTIFACT, ConfigRecord
from agentnn.errors import UsageError
from agentnn.tracking.capture.guard import optional, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.tracking.active_run import ActiveRun
    from agentnn.tracking.capture.data_characteristics import DataCharacteristics
    from agentnn.tracking.capture.git import GitState
    from agentnn.tracking.capture.importance import FeatureImportance
    from agentnn.tracking.capture.model_summary import ModelSummary
    from agentnn.tracking.capture.predictions import Predictions
    from agentnn.tracking.capture.redaction import Redactor
    from agentnn.tracking.capture.training_history import TrainingHistory

_MOST_SHOWN_ROWS = 5000
"""Rows of a table that MLflow's UI shows; the CSV beside it has all."""


def record_config(run: ActiveRun, config: Any) -> ConfigRecord:
    """Params with dotted names, ``config.yaml``, and tags that the configuration is found by; no secret among them.

    Raises:
        UsageError: It is no mapping.
        ConflictError: A param of the run has another value already; the file is there nevertheless.
    """
    record = config_record(config)
    run.log_text(record.to_yaml(), ARTIFACT)
    run.set_tags(record.tags)
    run.log_params(record.values)
    return record


def config_record(config: Any) -> ConfigRecord:
    """What may be kept of a configuration: one that ``ConfigurationManager`` gives, or any mapping."""
    from agentnn.config.loader import record_of
    from agentnn.config.schema import Config
    from agentnn.config.secrecy import without_secrets
    from agentnn.config.tree import Place, Problems, node_of
    from agentnn.values.plain import json_value

    if isinstance(config, Config):
        return record_of(config)
    if hasattr(config, "get_config") and isinstance(getattr(config, "record", None), ConfigRecord):
        return config.record  # type: ignore[no-any-return]
    if not isinstance(config, Mapping):
        raise UsageError(
            f"a {type(config).__name__} is no configuration", hint="ConfigurationManager(path).get_config()"
        )
    values = json_value(config)
    return ConfigRecord(without_secrets(values, node_of(values, Place("dict"), Problems())))


def record_environment(run: ActiveRun, redactor: Redactor, *, diff: bool = True) -> None:
    """``environment/``: details, packages and, where the code differs from its commit, the diff; tags of the code.

    Each part is recorded whatever becomes of the others.

    Warns:
        AgentNNWarning: A part could not be recorded, or the diff was cut.
    """
    from agentnn.tracking.capture.environment import read_environment
    from agentnn.tracking.capture.git import code_folder, read_git

    state = None
    with optional("the state of the code"):
        state = read_git(code_folder())
    with optional("the environment"):
        found = read_environment(redactor)
        git = None if state is None else _shown(state.to_dict(), redactor)
        details = {name: value for name, value in found.to_dict().items() if name != "packages"}
        run.log_dict({**details, "git": git}, "environment/environment.json")
        run.log_text(found.requirements, "environment/packages.txt")
        run.set_tags({"python_version": found.python, "platform": found.platform})
    if state is not None:
        with optional("the tags of the code"):
            run.set_tags(_git_tags(state, redactor))
        if state.dirty and state.commit and diff:
            with optional("the changes since the commit"):
                _record_diff(run, state, redactor)


def record_model_summary(run: ActiveRun, summary: ModelSummary, text: str, file: str) -> None:
    """The text, the same as JSON beside it, and the numbers of parameters as metrics."""
    run.log_text(text, file)
    run.log_dict(summary.to_dict(), str(PurePosixPath(file).with_suffix(".json")))
    run.log_metrics({"model_parameters": summary.parameters, "model_trainable_parameters": summary.trainable})


def record_data(run: ActiveRun, data: DataCharacteristics, folder: str, prefix: str = "") -> None:
    """Details, a table of the features, the scaler, drift and a figure, in a folder.

    Warns:
        AgentNNWarning: Only a sample was looked at.
    """
    from agentnn.tracking.figures.distributions import feature_distributions

    run.log_dict(data.to_dict(), f"{folder}/characteristics.json")
    run.log_table(_features_table(data), f"{folder}/features.json")
    if data.scaler is not None:
        run.log_dict(data.scaler.to_dict(), f"{folder}/scaler.json")
    if data.drift:
        run.log_table([one.to_dict() for one in data.drift], f"{folder}/drift.json")
        farthest = max(data.drift, key=lambda one: one.ks_statistic)
        run.log_metrics({f"{prefix}drift_max_ks": farthest.ks_statistic})
        run.set_tags({f"{prefix}drift_feature": farthest.name})
    if data.inputs.looked_at < data.inputs.rows:
        warn(f"of {data.inputs.rows:,} rows of the data a sample of {data.inputs.looked_at:,} was described")
    with optional("the figure of the distributions"):
        figure = feature_distributions(data)
        if figure is not None:
            run.log_figure(figure, f"{folder}/distributions.png")


def record_history(run: ActiveRun, history: TrainingHistory, folder: str) -> None:
    """A table, the same as CSV, and a figure."""
    from agentnn.tracking.figures.training import training_curves

    _record_table(run, history.table(), f"{folder}/history")
    with optional("the figure of the training history"):
        run.log_figure(training_curves(history), f"{folder}/history.png")


def record_predictions(run: ActiveRun, predictions: Predictions, folder: str, prefix: str) -> None:
    """Metrics, a table, the same as CSV, and a figure.

    Warns:
        AgentNNWarning: Samples were left out.
    """
    from agentnn.tracking.figures.predictions import predicted_against_actual

    run.log_metrics({f"{prefix}{name}": value for name, value in predictions.metrics.items()})
    table = predictions.table()
    _record_table(run, table, f"{folder}/predictions")
    if predictions.left_out:
        warn(f"{predictions.left_out:,} predictions are left out, since they or what they predict are not finite")
    if len(table["sample"]) < len(predictions.actual):
        warn(f"of {len(predictions.actual):,} predictions {len(table['sample']):,} are in the table")
    with optional("the figure of the predictions"):
        run.log_figure(predicted_against_actual(predictions), f"{folder}/predictions.png")


def record_importance(run: ActiveRun, importance: FeatureImportance, folder: str) -> None:
    """Details, a table, and a figure.

    Warns:
        AgentNNWarning: There was no time for every feature.
    """
    from agentnn.tracking.figures.importance import importance_bars

    told = importance.to_dict()
    run.log_dict(told, f"{folder}/importance.json")
    if importance.left_out:
        warn(f"there was no time for {len(importance.left_out):,} features, such as {importance.left_out[0]!r}")
    if importance.features:
        run.log_table(told["features"], f"{folder}/features.json")
        with optional("the figure of the importance"):
            run.log_figure(importance_bars(importance), f"{folder}/importance.png")


def _record_diff(run: ActiveRun, state: GitState, redactor: Redactor) -> None:
    from agentnn.tracking.capture.git import read_diff

    diff, is_cut = read_diff(Path(state.root))
    if is_cut:
        diff += "\n(cut here)\n"
        warn("the changes since the commit are large: the beginning is recorded")
    if diff:
        run.log_text(redactor.text(diff), "environment/changes.diff")


def _git_tags(state: GitState, redactor: Redactor) -> dict[str, str]:
    """MLflow's names for what its UI shows, and whether the commit is all of the code."""
    told = {
        "mlflow.source.git.commit": state.commit,
        "mlflow.source.git.branch": state.branch,
        "mlflow.source.git.repoURL": state.remote,
        "git_commit": state.commit,
        "git_branch": state.branch,
        "git_dirty": "true" if state.dirty else "false",
    }
    return {name: redactor.known(value) for name, value in told.items() if value}


def _shown(state: dict[str, Any], redactor: Redactor) -> dict[str, Any]:
    texts = {name: redactor.known(value) for name, value in state.items() if isinstance(value, str)}
    return {**state, **texts, "untracked": [redactor.known(name) for name in state["untracked"]]}


def _features_table(data: DataCharacteristics) -> list[dict[str, Any]]:
    names = ("count", "missing", "infinite", "unique", "mean", "std", "min", "p05", "p25", "p50", "p75", "p95", "max")
    described = [("input", one) for one in data.inputs.distributions]
    described += [("target", one) for one in data.targets.distributions] if data.targets else []
    return [{"name": one.name, "role": role, **{name: getattr(one, name) for name in names}} for role, one in described]


def _record_table(run: ActiveRun, columns: Mapping[str, Sequence[Any]], path: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    run.log_text(text.getvalue(), f"{path}.csv")
    run.log_table({name: list(values[:_MOST_SHOWN_ROWS]) for name, values in columns.items()}, f"{path}.json")
