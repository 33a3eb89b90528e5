"""MLflow's JSON as our records."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from agentnn.errors import CorruptDataError
from agentnn.records import RUN_NAME_TAG, DatasetInput, Experiment, Metric, Run

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST = 1.7976931348623157e308
"""What comes for an infinity from a server that keeps its runs in a database."""


def experiment_of(one: Mapping[str, Any]) -> Experiment:
    """An experiment.

    Raises:
        CorruptDataError: It is not as MLflow writes it.
    """
    try:
        return Experiment(
            str(one["experiment_id"]),
            one["name"],
            one.get("lifecycle_stage") or "active",
            one.get("artifact_location"),
            whole_number(one.get("creation_time")),
            whole_number(one.get("last_update_time")),
            texts(one.get("tags", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise odd_answer("an experiment") from error


def run_of(one: Mapping[str, Any], names: Mapping[str, str]) -> Run:
    """A run.

    Args:
        one: What the server says of it.
        names: The names of experiments, by id.

    Raises:
        CorruptDataError: It is not as MLflow writes it.
    """
    try:
        info, data = one["info"], one.get("data", {})
        tags = texts(data.get("tags", ()))
        experiment_id = str(info["experiment_id"])
        return Run(
            info["run_id"],
            info.get("run_name") or tags.get(RUN_NAME_TAG, ""),
            experiment_id,
            names.get(experiment_id, ""),
            info["status"],
            info.get("lifecycle_stage") or "active",
            whole_number(info.get("start_time")),
            whole_number(info.get("end_time")) or None,
            info.get("user_id") or None,
            info.get("artifact_uri"),
            metrics_of(data.get("metrics", ())),
            texts(data.get("params", ())),
            tags,
            _datasets(one["inputs"]) if one.get("inputs") else (),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise odd_answer("a run") from error


def metrics_of(found: Any) -> dict[str, float]:
    """The latest values of metrics, by name."""
    return {
        # The common case is spelled out: this line runs for every metric of every run.
        one["key"]: value
        if (value := one.get("value", 0.0)).__class__ is float and -LARGEST < value < LARGEST
        else metric_value(value)
        for one in found
    }


def metric_value(value: Any) -> float:
    """A metric's value out of JSON, which has words for what is no number."""
    number = float(value)
    return math.copysign(math.inf, number) if abs(number) >= LARGEST else number


def points_of(key: str, found: Any) -> list[Metric]:
    """The history of a metric, by step, time and value.

    Raises:
        CorruptDataError: It is not as MLflow writes it.
    """
    try:
        points = [
            Metric(key, metric_value(one.get("value", 0.0)), int(one.get("step") or 0), int(one["timestamp"]))
            for one in found
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise odd_answer("a metric's history") from error
    return sorted(points, key=_place)


def texts(found: Any) -> dict[str, str]:
    """Params or tags, by name."""
    return {one["key"]: one.get("value", "") for one in found}


def text_pairs(texts: Mapping[str, str]) -> list[dict[str, str]]:
    """The same as MLflow's JSON."""
    return [{"key": key, "value": value} for key, value in texts.items()]


def whole_number(value: Any) -> int | None:
    """A time out of JSON, which some servers write as text."""
    return None if value is None else int(value)


def odd_answer(what: str) -> CorruptDataError:
    """The error for an answer that is JSON, and not MLflow's."""
    return CorruptDataError(
        f"the server's answer holds {what} that is not as MLflow writes it",
        hint="check the tracking URI, and the server's version",
    )


def _datasets(inputs: Mapping[str, Any]) -> tuple[DatasetInput, ...]:
    found = []
    for item in inputs.get("dataset_inputs", ()):
        context = next((tag["value"] for tag in item.get("tags", ()) if tag["key"] == "mlflow.data.context"), None)
        found.append(DatasetInput(item["dataset"]["name"], item["dataset"]["digest"], context))
    return tuple(sorted(found, key=lambda one: (one.name, one.digest)))


def _place(point: Metric) -> tuple[int, int, float]:
    return point.step, point.timestamp, 0.0 if math.isnan(point.value) else point.value
