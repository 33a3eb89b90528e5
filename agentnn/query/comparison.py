"""Runs side by side: what differs, by value and not by spelling."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from agentnn.errors import NotFoundError
from agentnn.query.expressions import to_number
from agentnn.query.selectors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from agentnn.query.selection import Mode
    from agentnn.records import Run

Section = Literal["attribute", "metric", "param", "tag"]
ATTRIBUTES = ("experiment", "status", "duration_s", "user")


class ComparedValue(NamedTuple):
    """One line of a comparison.

    Attributes:
        section: What kind of a field it is.
        key: The field's name.
        values: Its value in each run, ``None`` where a run does not have it.
        differs: Whether they are not all the same.
    """

    section: Section
    key: str
    values: tuple[Any, ...]
    differs: bool


class Comparison(NamedTuple):
    """Runs side by side.

    Attributes:
        runs: The runs, in the order that was asked for.
        rows: A line a field, of all that any of the runs has.
    """

    runs: tuple[Run, ...]
    rows: tuple[ComparedValue, ...]

    @property
    def differences(self) -> tuple[ComparedValue, ...]:
        """The rows whose values are not all the same."""
        return tuple(row for row in self.rows if row.differs)

    def worse_than_first(self, metric: str, mode: Mode) -> list[Run]:
        """The runs whose value of a metric is worse than the first run's, missing, NaN or infinite.

        Raises:
            NotFoundError: The first run has no finite value to compare with.
        """
        first = self.runs[0].metrics.get(metric)
        if first is None or not math.isfinite(first):
            raise NotFoundError(
                f"the run {self.runs[0].name or self.runs[0].run_id} has no finite {metric!r} to compare with",
                candidates=nearest(metric, self.runs[0].metrics),
                hint=f"its metrics: {', '.join(sorted(self.runs[0].metrics)[:5]) or 'none'}",
            )
        return [run for run in self.runs[1:] if not _is_as_good(run.metrics.get(metric), first, mode)]


def compare(runs: Sequence[Run]) -> Comparison:
    """Put runs side by side.

    Values are compared as what they mean: the params ``1e-05`` and ``0.00001`` are the same, so are ``True`` and
    ``true``; NaN is the same as NaN. A value that only some runs have differs. MLflow's own tags are left out.
    """
    rows = [_row("attribute", name, [getattr(run, name) for run in runs], _itself) for name in ATTRIBUTES]
    rows += [_row("metric", key, [run.metrics.get(key) for run in runs], _metric) for key in _keys(runs, "metrics")]
    rows += [_row("param", key, [run.params.get(key) for run in runs], typed) for key in _keys(runs, "params")]
    tags = [key for key in _keys(runs, "tags") if not key.startswith(("mlflow.", "agentnn."))]
    rows += [_row("tag", key, [run.tags.get(key) for run in runs], _itself) for key in tags]
    return Comparison(tuple(runs), tuple(rows))


def typed(text: str | None) -> Any:
    """A param as what it means: a number, a truth value, nothing, or itself."""
    if text is None:
        return None
    number = to_number(text)
    if number is not None:
        return number
    return {"true": True, "false": False}.get(text.strip().lower(), text)


class VaryingKeys(NamedTuple):
    """Names of metrics or params, sorted; ``differing`` begins with those that most runs have."""

    differing: tuple[str, ...]
    same: tuple[str, ...]


class Variation:
    """Which metrics or params differ between runs; one that only some of them have differs.

    Args:
        attribute: Which of the two.
    """

    def __init__(self, attribute: Literal["metrics", "params"]) -> None:
        self._attribute = attribute
        self._meaning = _metric if attribute == "metrics" else typed
        self._first: dict[str, tuple[bool, Any]] = {}
        self._differing: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._runs = 0

    def add(self, run: Run) -> None:
        """Take one more run into account; nothing of it is kept but values that no other run has contradicted."""
        values = getattr(run, self._attribute)
        self._runs += 1
        self._counts.update(values.keys())
        for key in values.keys() - self._differing:
            value = _kind(self._meaning(values[key]))
            if self._first.setdefault(key, value) != value:
                self._differing.add(key)

    def keys(self) -> VaryingKeys:
        """What was found."""
        partial = {key for key, count in self._counts.items() if count < self._runs}
        differing = sorted(self._differing | partial, key=lambda key: (-self._counts[key], key))
        return VaryingKeys(tuple(differing), tuple(sorted(self._counts.keys() - set(differing))))


def varying_keys(runs: Iterable[Run], attribute: Literal["metrics", "params"]) -> VaryingKeys:
    """Which metrics or params differ between runs; see :class:`Variation`."""
    variation = Variation(attribute)
    for run in runs:
        variation.add(run)
    return variation.keys()


def _is_as_good(value: float | None, first: float, mode: Mode) -> bool:
    if value is None or not math.isfinite(value):
        return False
    return value >= first if mode == "max" else value <= first


def differing_params(several: Sequence[Mapping[str, str]]) -> list[str]:
    """The names of the params that are not the same in all of some groups of params, sorted."""
    keys = sorted({key for params in several for key in params})
    return [key for key in keys if len({_kind(typed(params.get(key))) for params in several}) > 1]


def _row(section: Section, key: str, values: list[Any], meaning: Callable[[Any], Any]) -> ComparedValue:
    return ComparedValue(section, key, tuple(values), differs=len({_kind(meaning(value)) for value in values}) > 1)


def _kind(value: Any) -> tuple[bool, Any]:
    """A value so that ``1`` and ``True`` stay apart, ``1`` and ``1.0`` don't."""
    return isinstance(value, bool), value


def _keys(runs: Sequence[Run], attribute: str) -> list[str]:
    return sorted({key for run in runs for key in getattr(run, attribute)})


def _itself(value: Any) -> Any:
    return value


def _metric(value: float | None) -> Any:
    return "nan" if value is not None and math.isnan(value) else value
