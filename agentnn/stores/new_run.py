"""A finished run on its way into a store, its values made into what MLflow keeps."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentnn.errors import UsageError
from agentnn.records import Metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class NewRun:
    """A finished run, to be written at once.

    Attributes:
        name: The run's name.
        params, tags: Strings, as MLflow keeps them.
        points: Every logged value of every metric.
        artifacts: Folders to store, by their path in the run.
        status: ``FINISHED``, ``FAILED`` or ``KILLED``.
        start_time, end_time: Milliseconds since the epoch.
    """

    name: str
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    points: Sequence[Metric] = ()
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    status: str = "FINISHED"
    start_time: int | None = None
    end_time: int | None = None


def new_run(
    name: str,
    config: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, Any] | None = None,
) -> NewRun:
    """A run of this moment from plain Python values; none of them is changed.

    Raises:
        UsageError: A metric is not a number.
    """
    now = time.time_ns() // 1_000_000
    return NewRun(
        name=name,
        params=flatten(config or {}),
        tags={key: str(value) for key, value in (tags or {}).items()},
        points=[Metric(key, _number(key, value), 0, now) for key, value in (metrics or {}).items()],
        start_time=now,
        end_time=now,
    )


def flatten(config: Mapping[str, Any]) -> dict[str, str]:
    """Nested params as flat strings: keys joined with dots, lists as JSON, everything else as Python prints it.

    Raises:
        UsageError: Two params would get the same name, as ``{"a": {"b": 1}, "a.b": 2}`` would.
    """
    flat: dict[str, str] = {}
    for key, value in _leaves(config, ""):
        if key in flat:
            raise UsageError(f"two params are called {key!r} once nested keys are joined", hint="rename one of them")
        flat[key] = json.dumps(value, default=str) if isinstance(value, (list, tuple, Mapping)) else str(value)
    return flat


def _leaves(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _number(key: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UsageError(
            f"the metric {key!r} is {value!r}, not a number", hint="log text as a param or a tag"
        ) from None
