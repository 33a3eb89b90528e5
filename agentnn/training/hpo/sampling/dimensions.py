"""One hyperparameter of a search: how Optuna is asked for it, and what its answer means."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from agentnn.config.schema import SearchRange
from agentnn.config.search_conditions import ConditionCycle, holds, in_order
from agentnn.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna import Trial

_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class Choices:
    """Values to choose from.

    Optuna's storages keep scalars only, and it takes ``True`` and ``1`` for the same. Where there are lists among the
    values, or two that it would take for the same, each stands there as JSON.

    Attributes:
        name: The key.
        values: All of them, each one once.
    """

    name: str
    values: tuple[Any, ...]

    @classmethod
    def of(cls, name: str, values: Sequence[Any]) -> Choices:
        """Choices without what is written twice."""
        return cls(name, tuple({_json(value): value for value in values}.values()))

    @cached_property
    def stored(self) -> tuple[Any, ...]:
        """What stands for each value in Optuna's storage."""
        are_scalars = all(isinstance(value, _SCALARS) for value in self.values)
        if are_scalars and len(set(self.values)) == len(self.values):
            return self.values
        return tuple(map(_json, self.values))

    def ask(self, trial: Trial) -> Any:
        """A value for this trial."""
        return self.decoded(trial.suggest_categorical(self.name, self.stored))

    def decoded(self, stored: Any) -> Any:
        """The value that something in Optuna's storage stands for."""
        place = next(place for place, one in enumerate(self.stored) if _json(one) == _json(stored))
        return self.values[place]

    def encoded(self, value: Any) -> Any:
        """What stands for a value in Optuna's storage."""
        place = next(place for place, one in enumerate(self.values) if _json(one) == _json(value))
        return self.stored[place]

    def count(self) -> int:
        """How many values there are."""
        return len(self.values)

    def all_values(self) -> Sequence[Any]:
        """Every value, as it is written."""
        return self.values


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, both of which are included.

    Attributes:
        name: The key.
        low: The smallest one.
        high: The greatest one that ``step`` reaches.
        step: The distance between them; ``None`` where every number is one.
        log: Whether it is the logarithm that is searched.
        is_int: Whether they are whole numbers.
    """

    name: str
    low: float
    high: float
    step: float | None
    log: bool
    is_int: bool

    @classmethod
    def of(cls, name: str, range_: SearchRange) -> Range:
        """A range as a configuration says it."""
        low, high, step = range_.low, range_.high, range_.step
        assert low is not None
        assert high is not None
        are_whole = all(isinstance(one, int) for one in (low, high, step or 1))
        is_int = are_whole if range_.type is None else range_.type == "int"
        if step is not None:
            high = low + (high - low) // step * step if is_int else _reached(low, high, step)
        return cls(name, low, high, step, range_.log, is_int)

    def ask(self, trial: Trial) -> Any:
        """A value for this trial."""
        if self.is_int:
            low, high = int(self.low), int(self.high)
            return trial.suggest_int(self.name, low, high, step=int(self.step or 1), log=self.log)
        return self.decoded(trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log))

    def decoded(self, stored: Any) -> Any:
        """The value that something in Optuna's storage stands for: 0.3, and not 0.30000000000000004."""
        if self.step is None or self.is_int:
            return stored
        return self._at(round((stored - self.low) / self.step))

    def encoded(self, value: Any) -> Any:
        """What stands for a value in Optuna's storage."""
        return value

    def count(self) -> int:
        """How many values there are.

        Raises:
            ConfigError: There is no end of them, or they are not evenly spaced.
        """
        if self.log or (self.step is None and not self.is_int):
            raise ConfigError(
                f"hpo.param_space.{self.name}: a grid needs a step here",
                hint="give step (without log), or a list of values, or another sampler",
            )
        return int((Decimal(str(self.high)) - Decimal(str(self.low))) / Decimal(str(self.step or 1))) + 1

    def all_values(self) -> Sequence[Any]:
        """Every value, the smallest first."""
        return [self._at(place) for place in range(self.count())]

    def _at(self, place: int) -> float:
        if self.is_int:
            return int(self.low) + place * int(self.step or 1)
        return float(Decimal(str(self.low)) + place * Decimal(str(self.step)))


@dataclass(frozen=True)
class Dimension:
    """A hyperparameter, and when it is one.

    Attributes:
        values: What it may be.
        when: What other keys must be for that; nothing where it always is.
    """

    values: Choices | Range
    when: Mapping[str, Any]

    def is_wanted(self, params: Mapping[str, Any]) -> bool:
        """Whether it is part of a trial that has these other values."""
        return all(name in params and holds(wanted, params[name]) for name, wanted in self.when.items())


def dimensions_of(param_space: Mapping[str, Any]) -> dict[str, Dimension]:
    """The hyperparameters of a search, each one after those that its conditions name.

    Args:
        param_space: ``hpo.param_space`` of a configuration, or a mapping of the same form.

    Raises:
        ConfigError: Conditions wait for each other.
    """
    found = {name: _dimension(name, space) for name, space in param_space.items()}
    try:
        order = in_order({name: one.when for name, one in found.items()})
    except ConditionCycle as cycle:
        raise ConfigError(
            f"hpo.param_space: the conditions of {', '.join(cycle.names[:-1])} wait for each other: {cycle}",
            hint="leave one `when` out",
        ) from None
    return {name: found[name] for name in order}


def _dimension(name: str, space: Any) -> Dimension:
    if isinstance(space, list):
        return Dimension(Choices.of(name, space), {})
    found = space if isinstance(space, SearchRange) else SearchRange.model_validate(space)
    values = Range.of(name, found) if found.choices is None else Choices.of(name, found.choices)
    return Dimension(values, found.when or {})


def _reached(low: float, high: float, step: float) -> float:
    """The last number before ``high``, or ``high`` itself, that steps from ``low`` reach."""
    first, last, each = (Decimal(str(one)) for one in (low, high, step))
    return float(first + (last - first) // each * each)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
