"""The histories of metrics of a server's runs.

MLflow gives one metric of one run an answer. Its own web page has a question for up to a hundred runs at once, which
servers since 2.0 answer, up to a number of points; where it is not answered, or one history alone is longer, each is
asked for by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.errors import NotFoundError, UsageError
from agentnn.stores.base import History
from agentnn.stores.rest.experiments import pages
from agentnn.stores.rest.replies import NoSuchEndpoint, NotAllowed
from agentnn.stores.rest.run_records import odd_answer, points_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from agentnn.records import Metric, Run
    from agentnn.stores.rest.transport import Transport

_TOGETHER = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
_MOST_RUNS = 100
"""In one question."""

_MOST_POINTS = 10_000
"""In an answer; a server takes a second for so many, and would cut any answer off at 25,000."""

_FILLED = 80
"""How full an answer is to be, in percent, so that the next one is not cut off either."""

_PAGE_OF_POINTS = 25_000
"""Of one history that is asked for by itself."""

_MOST_POINTS_KEPT = 50_000
"""Values that are kept until their turn comes; what is beyond is asked for one by one."""


def metric_history(transport: Transport, run_id: str, key: str) -> list[Metric]:
    """Every value of a metric of a run, by step and time; empty when there is none."""
    try:
        return every_point(transport, run_id, key)
    except (NotFoundError, UsageError):
        return []


def every_point(transport: Transport, run_id: str, key: str) -> list[Metric]:
    """The same, as often as the store has each.

    Raises:
        NotFoundError: There is no such run, or the store knows no such metric of it.
    """
    question = {"run_id": run_id, "metric_key": key, "max_results": _PAGE_OF_POINTS}
    found = pages(transport, "metrics/get-history", question, "metrics", by_get=True)
    return points_of(key, [point for page in found for point in page])


def metric_histories(transport: Transport, runs: Sequence[Run], keys: Collection[str] | None) -> Iterator[History]:
    """See :class:`~agentnn.stores.base.TrackingStore`."""
    wanted = None if keys is None else set(keys)
    together = _Together(transport)
    start, size = 0, _MOST_RUNS
    while start < len(runs):
        chunk = runs[start : start + size]
        asked = {run.run_id: sorted(run.metrics if wanted is None else run.metrics.keys() & wanted) for run in chunk}
        found = together.histories(asked)
        points_in_chunk = 0
        for run in chunk:
            for key in asked[run.run_id]:
                points = found.pop((run.run_id, key), None) or metric_history(transport, run.run_id, key)
                points_in_chunk += len(points)
                if points:
                    yield History(run.run_id, key, points)
        start += len(chunk)
        size = max(1, min(_MOST_RUNS, _MOST_POINTS_KEPT * len(chunk) // max(1, points_in_chunk)))


class _Together:
    """Asks for the histories of several runs at once, of as many as fit into an answer.

    An answer that may have been cut off is thrown away, and fewer runs are asked for.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._size = _MOST_RUNS
        self._is_answered = True

    def histories(self, asked: dict[str, list[str]]) -> dict[tuple[str, str], list[Metric]]:
        """The histories that come so, by run and metric; others are to be asked for one by one."""
        found: dict[tuple[str, str], list[Metric]] = {}
        kept = 0
        for key in sorted({key for keys in asked.values() for key in keys}):
            left = [run_id for run_id, keys in asked.items() if key in keys]
            while len(left) > 1 and kept <= _MOST_POINTS_KEPT and self._is_answered:
                run_ids = left[: self._size]
                points = self._points(run_ids, key)
                groups = _by_run(points)
                if len(points) >= _MOST_POINTS:
                    self._size = min(len(run_ids) // 2, len(groups) - 1)
                    if self._size < 2:  # the history of one run may be as long as an answer
                        left, self._size = left[1:], 2
                    continue
                for run_id, group in groups.items():
                    found[run_id, key] = points_of(key, group)
                kept += len(points)
                left = left[len(run_ids) :]
                self._size = max(2, min(_MOST_RUNS, _FILLED * _MOST_POINTS * len(run_ids) // (100 * len(points) + 1)))
        return found

    def _points(self, run_ids: list[str], key: str) -> list[Any]:
        """The points of a metric of several runs; none where the server does not answer this."""
        question = {"run_id": run_ids, "metric_key": key, "max_results": _MOST_POINTS}
        try:
            points = self._transport.get(_TOGETHER, question).get("metrics")
        except (NotFoundError, UsageError, NoSuchEndpoint, NotAllowed):
            # An old server, or one that answers this to browsers only.
            self._is_answered = False
            return []
        return points if isinstance(points, list) else []


def _by_run(points: list[Any]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    try:
        for one in points:
            groups.setdefault(one["run_id"], []).append(one)
    except (KeyError, TypeError) as error:
        raise odd_answer("metric histories") from error
    return groups
