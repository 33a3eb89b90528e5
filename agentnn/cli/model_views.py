"""Registered models and their versions as views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.cli.amounts import size
from agentnn.cli.record_views import chosen_columns, listed_view, metric_columns, pairs_of, row_of, single_view
from agentnn.cli.render import Row, View
from agentnn.cli.text import short

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentnn.records import ModelVersion, RegisteredModel
    from agentnn.stores.mlflow.models import ModelCheck

MODEL_FIELDS = (
    "name", "latest_version", "version_count", "aliases", "stages", "creation_time", "last_updated_time", "description",
)  # fmt: skip
VERSION_FIELDS = (
    "name", "version", "aliases", "stage", "status", "run_id", "creation_time", "last_updated_time", "user", "source",
)  # fmt: skip
_SHOWN_PREDICTIONS = 5


def models_view(models: Iterable[RegisteredModel], columns: str | None = None) -> View:
    """Registered models as rows; metrics of their newest version's run where they were asked for."""
    chosen = chosen_columns(columns, MODEL_FIELDS, ("metrics", "tags", "aliases", "stages"))
    return listed_view(
        models, lambda one: one.name, chosen, lambda listed: [*MODEL_FIELDS, *metric_columns(listed)], essential=4
    )


def model_view(model: RegisteredModel) -> View:
    """One registered model."""
    row = row_of(model, MODEL_FIELDS, model.name)
    return single_view(MODEL_FIELDS, row, lambda: pairs_of(model, model.to_dict(), MODEL_FIELDS))


def versions_view(versions: Iterable[ModelVersion], columns: str | None = None) -> View:
    """Model versions as rows; metrics of their runs where they were asked for."""
    chosen = chosen_columns(columns, VERSION_FIELDS, ("metrics", "tags"))
    return listed_view(
        versions,
        lambda one: f"models:/{one.name}/{one.version}",
        chosen,
        lambda listed: [*VERSION_FIELDS[:6], *metric_columns(listed), *VERSION_FIELDS[6:]],
        essential=4,
    )


def version_view(version: ModelVersion) -> View:
    """One model version."""
    row = row_of(version, VERSION_FIELDS, f"models:/{version.name}/{version.version}")
    return single_view(VERSION_FIELDS, row, lambda: pairs_of(version, version.to_dict(), VERSION_FIELDS))


def check_view(check: ModelCheck) -> View:
    """What was seen when a model was loaded."""
    fields = check.to_dict()
    shown = {**fields, "size": size(check.size), "load_s": f"{check.load_s:.2f} s"}
    if isinstance(check.prediction, list) and len(check.prediction) > _SHOWN_PREDICTIONS:
        shown["prediction"] = f"{short(check.prediction[:_SHOWN_PREDICTIONS])},… ({len(check.prediction)} in all)"
    row = Row(list(fields.values()), check.uri, check.to_dict)
    return single_view(list(fields), row, lambda: [("loads", "yes"), *shown.items()])
