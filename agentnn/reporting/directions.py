"""Which direction of a metric is better, and which metrics are looked at first.

What the project declares goes before everything. Beyond that only the metrics that agentnn logs itself have a
direction, since their meaning is known here; of any other metric nothing is assumed, and nothing is marked as best.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agentnn.conventions import Direction, MetricConvention, MetricConventions
    from agentnn.records import Run

_OWN: Mapping[str, Direction | None] = {
    "sharpe_ratio": "max",
    "total_return": "max",
    "max_drawdown": None,  # see _by_sign
    "val_loss": "min",
    "loss": "min",
    "accuracy": "max",
    "r2": "max",
    "rmse": "min",
    "mae": "min",
    "mse": "min",
    "annual_return": "max",
    "sortino_ratio": "max",
    "calmar_ratio": "max",
    "win_rate": "max",
    "profit_factor": "max",
    "train_loss": "min",
    "n_trades": None,
}
"""What agentnn's backtests, predictions and trainings log, the most telling first."""

_PARTS = re.compile(r"^(?:best|test|val|valid|validation|train|training|eval|final)[_./-]")
_ASIDE = re.compile(
    r"^(?:system/|model_(?:trainable_)?parameters$|(?:\w+_)?drift_max_ks$|trials(?:_|$)|buy_and_hold_|importance_"
    r"|(?:epoch|step|train)_(?:seconds|time)$|learning_rate$|lr$|(?:best_)?epoch$|step$|duration)"
)


class Directions:
    """What is known of the metrics of some runs.

    Args:
        declared: What the project declares.
        runs: The runs.
    """

    def __init__(self, declared: MetricConventions, runs: Sequence[Run]) -> None:
        self.declared = declared
        self._by_sign = {
            metric: _by_sign(values)
            for metric in {key for run in runs for key in run.metrics if known_name(key) == "max_drawdown"}
            if (values := [run.metrics[metric] for run in runs if metric in run.metrics])
        }

    def of(self, metric: str) -> MetricConvention:
        """What the project declares of a metric."""
        return self.declared.of(metric)

    def direction(self, metric: str) -> Direction | None:
        """Whether the greater or the smaller value is better; ``None`` where nobody says."""
        return self.declared.direction(metric) or _OWN.get(known_name(metric)) or self._by_sign.get(metric)

    def ordered(self, metrics: Iterable[str]) -> list[str]:
        """Metrics in the order in which a reader wants them: declared ones, those that agentnn knows, then by name."""
        declared, known = list(self.declared.declared), list(_OWN)

        def key(metric: str) -> tuple[int, int, str]:
            if is_aside(metric):
                return 3, 0, metric
            if metric in self.declared.declared:
                return 0, declared.index(metric), metric
            name = known_name(metric)
            if name in _OWN:
                return 1, known.index(name) * 2 + (name != metric), metric
            return 2, 0, metric

        return sorted(set(metrics), key=key)

    def key_metrics(self, metrics: Iterable[str], most: int) -> list[str]:
        """The first metrics, each of them on one part of the data before any of them on another."""
        ordered = self.ordered(metrics)
        telling = [metric for metric in ordered if not is_aside(metric)] or ordered
        first: dict[str, str] = {}
        for metric in telling:
            first.setdefault(known_name(metric), metric)
        return [*first.values(), *(metric for metric in telling if metric not in first.values())][:most]

    def leading(self, runs: Sequence[Run]) -> str | None:
        """The metric that runs are judged by: of those that most of them have, the first one.

        One with a direction goes before one without.
        """
        counts = Counter(metric for run in runs for metric in run.metrics)
        most = max(counts.values(), default=0)
        common = [metric for metric in self.ordered(counts) if counts[metric] * 2 > most]
        directed = [metric for metric in common if self.direction(metric) and not is_aside(metric)]
        return next(iter(directed), None) or next(iter(common), None)


def is_aside(metric: str) -> bool:
    """Whether a metric tells of the machine or of the course of the training, and not of what came of it."""
    return bool(_ASIDE.match(metric))


def _by_sign(values: Sequence[float]) -> Direction | None:
    """The better direction of a drawdown: the greater one as a negative fraction, the smaller one as a size."""
    if all(value <= 0 for value in values):
        return "max"
    return "min" if all(value >= 0 for value in values) else None


def known_name(metric: str) -> str:
    """A metric without the part of the data that it was measured on: ``test_sharpe_ratio`` is ``sharpe_ratio``."""
    if metric in _OWN:
        return metric
    bare = _PARTS.sub("", metric)
    bare = _PARTS.sub("", bare)  # best_val_loss
    return bare if bare in _OWN else metric
