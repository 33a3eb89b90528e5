"""What a report is made of, read from a store: plain facts, without secrets.

How much is read is bounded: of a run its values and the files that a report knows; of many runs their records, and the
curves of so many that a page can show. A file that can't be read is a fact, too, and ends no report.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING

from agentnn.errors import AgentNNError, AgentNNWarning
from agentnn.query.expressions import to_number
from agentnn.records import Metric, iso_time
from agentnn.reporting.curves import curve_of
from agentnn.reporting.directions import Directions, is_aside
from agentnn.reporting.discretion import Discretion
from agentnn.reporting.document import Declared, Source
from agentnn.reporting.equity import Equity, equity_of_sketch, equity_of_table
from agentnn.reporting.files import Files, read_files, read_table
from agentnn.reporting.trials import MOST_TRIAL_CURVES, Objective, Trial, find_trials, objective_of, trials_of
from agentnn.settings import redact
from agentnn.tracking.backtests.equity_curve import EQUITY_CURVE_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agentnn.conventions import MetricConventions
    from agentnn.records import Run
    from agentnn.reporting.curves import Curve
    from agentnn.settings import Settings
    from agentnn.stores.base import TrackingStore
    from agentnn.values.tabular import Table

MOST_CURVES = 25
"""Runs whose curves a comparison shows: the baseline and the best of the others."""

_POINTS_OF_A_CURVE = 1000
_POINTS_IN_MEMORY = 400_000
_MOST_METRICS = 24
_MOST_EQUITY_FILES = 12
_PORTFOLIO = "backtest/portfolio_values.csv"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where facts come from.

    Attributes:
        store: The tracking URI without a password.
        directions: What is known of the metrics.
    """

    store: str
    directions: Directions

    def source(
        self,
        runs: Sequence[Run],
        *,
        baseline: str | None = None,
        metric: str | None = None,
        as_of: str | None = None,
    ) -> Source:
        """The same for a report on some runs."""
        declared = tuple(Declared(name, *said) for name, said in self.directions.declared.declared.items())
        return Source(self.store, tuple(run.run_id for run in runs), baseline, metric, declared, as_of)


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """Of one run."""

    origin: Origin
    run: Run
    curves: Mapping[str, Curve] = field(default_factory=dict)
    files: Files = field(default_factory=Files)


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """Of a study: a run, and the runs nested in it.

    Attributes:
        asked: The metric that was asked for, as it was written.
        trials: By number, one each.
        deleted: How many of its trials are deleted.
        attempts: Runs of trials that were tried again, which are left out.
        curves: Of the objective's metric, by the trial's run.
    """

    origin: Origin
    run: Run
    objective: Objective
    asked: str | None
    trials: tuple[Trial, ...]
    deleted: int = 0
    attempts: int = 0
    curves: Mapping[str, Curve] = field(default_factory=dict)
    files: Files = field(default_factory=Files)


@dataclass(frozen=True, slots=True)
class ComparisonFacts:
    """Of several runs.

    Attributes:
        runs: In the order in which they were asked for.
        baseline: The run that the others are compared with, by id.
        leading: The metric that they are judged by; ``None`` where they have none.
        drawn: The runs whose curves were read, by id.
        curves: By run and metric.
        equity: By run.
    """

    origin: Origin
    runs: tuple[Run, ...]
    baseline: str
    leading: str | None
    drawn: tuple[str, ...]
    curves: Mapping[str, Mapping[str, Curve]] = field(default_factory=dict)
    equity: Mapping[str, Equity] = field(default_factory=dict)


class Gatherer:
    """Reads what reports need.

    Args:
        store: The store.
        settings: Name it.
        conventions: What the project declares of its metrics.
    """

    def __init__(self, store: TrackingStore, settings: Settings, conventions: MetricConventions) -> None:
        self._store = store
        self._uri = redact(settings.tracking_uri, settings.secrets.values())
        self._conventions = conventions
        self._discretion = Discretion(settings)

    def training(self, run: Run) -> TrainingFacts:
        """The facts of one run, as the store gave it."""
        curves = self._curves([run], _POINTS_OF_A_CURVE)[run.run_id]
        files = read_files(self._store, run, self._discretion)
        if not any(curve.points > 1 for curve in curves.values()):
            curves = {**_curves_of_tables(files.history.values()), **curves}
        return TrainingFacts(self._origin([run]), self._discretion.run(run), curves, files)

    def study(self, parent: Run, metric: str | None = None) -> StudyFacts:
        """The facts of a study.

        Args:
            parent: The study's run.
            metric: What its trials are judged by, as ``METRIC`` or ``METRIC:min``, where the study does not say.
        """
        children = find_trials(self._store, parent)
        active = [run for run in children if run.lifecycle_stage == "active"]
        origin = self._origin([*active, parent])
        objective = objective_of(parent, active, origin.directions, metric)
        trials, attempts = trials_of([self._discretion.run(run) for run in active], objective, parent)
        wanted = {one.run_id for one in _with_curves(trials, objective)}
        keys = None if objective.metric is None else [objective.metric, "intermediate_value"]
        curves = self._curves([run for run in active if run.run_id in wanted], 200, keys)
        return StudyFacts(
            origin,
            self._discretion.run(parent),
            objective,
            metric,
            tuple(trials),
            len(children) - len(active),
            attempts,
            {run_id: found for run_id, of_run in curves.items() if (found := _longest(of_run)) is not None},
            read_files(self._store, parent, self._discretion, ("importance", "config")),
        )

    def comparison(self, runs: Sequence[Run], baseline: Run) -> ComparisonFacts:
        """The facts of several runs, the baseline among them."""
        origin = self._origin(runs)
        leading = origin.directions.leading(runs)
        drawn = _drawn(runs, baseline, leading, origin.directions)
        metrics = origin.directions.ordered({key for run in drawn for key in run.metrics})
        shown = [key for key in metrics if not is_aside(key)][:_MOST_METRICS]
        most = _POINTS_IN_MEMORY // max(1, len(drawn) * len(shown))
        return ComparisonFacts(
            origin,
            tuple(map(self._discretion.run, runs)),
            baseline.run_id,
            None if leading is None else self._discretion.text(leading),
            tuple(run.run_id for run in drawn),
            self._curves(drawn, min(max(most, 100), 5000), shown),
            self._equity(drawn),
        )

    def _origin(self, runs: Sequence[Run]) -> Origin:
        return Origin(self._uri, Directions(self._conventions, runs))

    def _curves(self, runs: Sequence[Run], most: int, keys: Sequence[str] | None = None) -> dict[str, dict[str, Curve]]:
        curves: dict[str, dict[str, Curve]] = defaultdict(dict)
        for history in self._store.metric_histories(runs, keys):
            key = self._discretion.text(history.key)
            curves[history.run_id][key] = curve_of([point._replace(key=key) for point in history.points], most)
        return curves

    def _equity(self, runs: Sequence[Run]) -> dict[str, Equity]:
        """The equity of runs that have a sketch of it: of a few runs from their files, which know the dates."""
        with_one = [run for run in runs if EQUITY_CURVE_TAG in run.tags]
        found: dict[str, Equity] = {}
        for run in with_one:
            equity = None
            if len(with_one) <= _MOST_EQUITY_FILES:
                with suppress(AgentNNError, ValueError), warnings.catch_warnings():  # the sketch will do, then
                    warnings.simplefilter("ignore", AgentNNWarning)  # said when it was logged
                    equity = equity_of_table(read_table(self._store, run, _PORTFOLIO, self._discretion))
            equity = equity or equity_of_sketch(run.tags[EQUITY_CURVE_TAG])
            if equity is not None:
                found[run.run_id] = equity
        return found


def as_of(runs: Sequence[Run], curves: Sequence[Curve] = ()) -> str | None:
    """The latest time that runs know of."""
    times = [time for run in runs for time in (run.start_time, run.end_time) if time is not None]
    return iso_time(max([*times, *(curve.time for curve in curves)], default=None))


def _drawn(runs: Sequence[Run], baseline: Run, leading: str | None, directions: Directions) -> list[Run]:
    """The runs whose curves are drawn: all, or the baseline and the best ones, in the order of the runs."""
    if len(runs) <= MOST_CURVES:
        return list(runs)
    others = [run for run in runs if run.run_id != baseline.run_id]
    direction = directions.direction(leading) if leading else None
    if leading and direction:
        sign = 1 if direction == "min" else -1
        values = {run.run_id: run.metrics.get(leading, math.nan) for run in others}
        others = [run for run in others if math.isfinite(values[run.run_id])]
        others.sort(key=lambda run: (sign * values[run.run_id], run.run_id))
    chosen = {baseline.run_id, *(run.run_id for run in others[: MOST_CURVES - 1])}
    return [run for run in runs if run.run_id in chosen]


def _with_curves(trials: Sequence[Trial], objective: Objective) -> list[Trial]:
    """The trials whose curves are drawn: all, or those with the best values, pruned ones included."""
    if len(trials) <= MOST_TRIAL_CURVES:
        return list(trials)
    sign = -1 if objective.direction == "max" else 1
    with_value = [one for one in trials if one.value is not None and math.isfinite(one.value)]
    return sorted(with_value, key=lambda one: (sign * (one.value or 0.0), one.number))[:MOST_TRIAL_CURVES]


def _curves_of_tables(tables: Iterable[Table]) -> dict[str, Curve]:
    """Curves out of a history that was logged as a table only, a row an epoch."""
    curves: dict[str, Curve] = {}
    for table in tables:
        steps = [to_number(one) for one in table.column("epoch")] if "epoch" in table.columns else []
        for key in table.columns:
            points = [
                Metric(key, value, int(step) if step is not None and math.isfinite(step) else place, 0)
                for place, (text, step) in enumerate(zip_longest(table.column(key), steps))
                if (value := _value(text)) is not None
            ]
            if key != "epoch" and points:
                curves.setdefault(key, curve_of(points, _POINTS_OF_A_CURVE))
    return curves


def _value(text: str) -> float | None:
    """A cell as a number, which may be NaN; ``None`` for anything else."""
    try:
        return float(text)
    except ValueError:
        return None


def _longest(curves: Mapping[str, Curve]) -> Curve | None:
    return max((one for one in curves.values() if one.points > 1), key=lambda one: one.points, default=None)
