"""The histories of metrics of a server's runs.

MLflow gives one metric of one run an answer. Its own web page has a question for up to a hundred runs at once, which
servers since 2.0 answer; where it is not answered, or its answer is cut off, each history is asked for by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.errors import NotFoundError, UsageError
from agentnn.stores.base import History
from agentnn.stores.rest.replies import NoSuchEndpoint, NotAllowed
from agentnn.stores.rest.run_records import odd_answer, points_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from agentnn.records import Metric, Run
    from agentnn.stores.rest.transport import Transport

_TOGETHER = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
_MOST_RUNS = 100
_MOST_POINTS = 25_000
"""What the server cuts an answer off at."""

_MOST_POINTS_KEPT = 200_000
"""Values that are kept until their turn comes; what is beyond is asked for one by one."""


def metric_history(transport: Transport, run_id: str, key: str) -> list[Metric]:
    """Every value of a metric of a run, by step and time; empty when there is none."""
    try:
        answer = transport.get("metrics/get-history", {"run_id": run_id, "metric_key": key})
    except (NotFoundError, UsageError):
        return []
    return points_of(key, answer.get("metrics", []))


def metric_histories(transport: Transport, runs: Sequence[Run], keys: Collection[str] | None) -> Iterator[History]:
    """See :class:`~agentnn.stores.base.TrackingStore`."""
    wanted = None if keys is None else set(keys)
    for start in range(0, len(runs), _MOST_RUNS):
        chunk = runs[start : start + _MOST_RUNS]
        asked = {run.run_id: sorted(run.metrics if wanted is None else run.metrics.keys() & wanted) for run in chunk}
        together = _asked_together(transport, asked)
        for run in chunk:
            for key in asked[run.run_id]:
                points = together.pop((run.run_id, key), None) or metric_history(transport, run.run_id, key)
                if points:
                    yield History(run.run_id, key, points)


def _asked_together(transport: Transport, asked: dict[str, list[str]]) -> dict[tuple[str, str], list[Metric]]:
    """The histories that some of few questions give whole."""
    found: dict[tuple[str, str], list[Metric]] = {}
    for key in sorted({key for keys in asked.values() for key in keys}):
        run_ids = [run_id for run_id, keys in asked.items() if key in keys]
        if len(run_ids) < 2 or sum(map(len, found.values())) > _MOST_POINTS_KEPT:
            continue
        try:
            answer = transport.get(_TOGETHER, {"run_id": run_ids, "metric_key": key}).get("metrics")
        except (NotFoundError, UsageError, NoSuchEndpoint, NotAllowed):
            return found  # an old server, or one that answers this to browsers only
        if not isinstance(answer, list) or len(answer) >= _MOST_POINTS:
            continue
        for run_id, points in _by_run(answer).items():
            found[run_id, key] = points_of(key, points)
    return found


def _by_run(answer: list[Any]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    try:
        for one in answer:
            groups.setdefault(one["run_id"], []).append(one)
    except (KeyError, TypeError) as error:
        raise odd_answer("metric histories") from error
    return groups
