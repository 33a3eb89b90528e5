"""The best of a folder's runs, with as few files opened as the question leaves.

Who is counted has to be looked at. Where nothing is counted, a run matters only if its value could win: the metric of
each run is read, and then, the best value first, whether its run takes part at all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentnn.query.evaluation import matches
from agentnn.query.expressions import fields_of
from agentnn.query.selection import rank
from agentnn.records import PARENT_TAG
from agentnn.stores.mlruns.layout import TAGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentnn.query.expressions import Expression, Field
    from agentnn.query.selection import Best, BestQuery
    from agentnn.records import Run
    from agentnn.stores.mlruns.asked_runs import AskedRuns, RunPlace
    from agentnn.stores.mlruns.stored_run import StoredRun


class Looks:
    """Looks at runs as a filter does.

    Args:
        expression: The filter.
        others: Fields that are looked at beside it.
    """

    def __init__(self, expression: Expression | None, others: Iterable[Field] = ()) -> None:
        self._expression = expression
        self._datasets = any(field.kind == "dataset" for field in (*fields_of(expression), *others))

    def glance(self, run: StoredRun) -> Run:
        """The run, to look at."""
        return run.glance(datasets=self._datasets)

    def accept(self, run: StoredRun) -> bool:
        """Whether the filter accepts a run."""
        return self._expression is None or matches(self._expression, self.glance(run))


def best_of(asked: AskedRuns, query: BestQuery) -> Best:
    """The best of the runs that are asked for."""
    judge = _Judge(query)
    judged = map(judge.judge, asked.runs()) if query.tally else _contenders(asked, query, judge)
    best = rank(query, filter(None, judged))
    records = (judge.stored[one.run.run_id].record() for one in best.candidates)
    return best._replace(
        candidates=tuple(one._replace(run=run) for one, run in zip(best.candidates, records, strict=True))
    )


class _Judge:
    """Says which runs take part, and by what value.

    Args:
        query: What is asked.

    Attributes:
        stored: Those that take part, by their ids.
    """

    def __init__(self, query: BestQuery) -> None:
        self._query = query
        self._looks = Looks(query.scope.filter)
        self.stored: dict[str, StoredRun] = {}

    def judge(self, run: StoredRun, value: float | None = None) -> tuple[Run, float | None] | None:
        """A run and its value; ``None`` when it is not in scope.

        Args:
            run: The run.
            value: Its value, where it has been read.
        """
        query = self._query
        if not self._looks.accept(run) or not (query.include_children or run.text(TAGS, PARENT_TAG) is None):
            return None
        self.stored[run.run_id] = run
        if value is None and self.may_win(run):
            value = run.value(query.metric, query.aggregate)
        return self._looks.glance(run), value

    def may_win(self, run: StoredRun) -> bool:
        """Whether a run of its status can be best."""
        return run.head.status == "FINISHED" or self._query.include_unfinished


def _contenders(asked: AskedRuns, query: BestQuery, judge: _Judge) -> Iterator[tuple[Run, float | None] | None]:
    """The runs that can't be worse than the best, by their values; what is damaged is told of where it takes part."""
    by_value: dict[float, list[RunPlace]] = {}
    for place in asked.places():
        try:
            value = place.experiment.value(place.run_id, query.metric, query.aggregate)
        except (OSError, ValueError):
            run = asked.open(place)
            if run is not None:
                yield judge.judge(run)
            continue
        if value is not None and math.isfinite(value):
            by_value.setdefault(value, []).append(place)
    missing = query.top + 1
    for value in sorted(by_value, reverse=query.mode == "max"):
        if missing <= 0:
            return
        for run in filter(None, map(asked.open, by_value[value])):
            judged = judge.judge(run, value)
            missing -= judged is not None and judge.may_win(run)
            yield judged
