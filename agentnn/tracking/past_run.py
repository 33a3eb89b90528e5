"""A run that is over before it is recorded: everything about it in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.stores.destination import check_destination
from agentnn.tracking.starting import open_run
from agentnn.values.logged import flatten, metric_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from agentnn.records import Metric
    from agentnn.settings import Settings
    from agentnn.tracking.active_run import ActiveRun


def record_run(
    settings: Settings,
    name: str,
    *,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    experiment: str | None = None,
    points: Sequence[Metric] = (),
    artifacts: Mapping[str, Path] | None = None,
    start_time: int | None = None,
    end_time: int | None = None,
) -> ActiveRun:
    """Record a finished run; the current run, if there is one, has nothing to do with it.

    Args:
        settings: Name the store.
        name: The run's name.
        params, metrics, tags: As :class:`~agentnn.tracking.active_run.ActiveRun` takes them.
        experiment: The experiment's name or id; that of the environment, or ``Default``, without one.
        points: Earlier values of metrics.
        artifacts: Folders to store, by their path in the run.
        start_time, end_time: Milliseconds since the epoch; now without them.

    Returns:
        The run, which has ended.

    Raises:
        UsageError: A name or a value can't be kept; nothing was recorded.
        ConflictError: The experiment is deleted.
    """
    check_destination(settings)
    flatten(params or {})  # what can't be kept is said before there is a run
    for key, value in (metrics or {}).items():
        metric_value(key, value)
    started = {} if start_time is None else {"time": start_time}
    with open_run(name, settings, experiment=experiment, tags=tags, facts=started) as run:
        if params:
            run.log_params(params)
        for point in points:
            run.log_metric(point.key, point.value, point.step, point.timestamp)
        run.log_metrics(metrics or {}, timestamp=end_time)
        for path, folder in (artifacts or {}).items():
            run.log_artifacts(folder, path)
        run.end(end_time=end_time)
    return run
