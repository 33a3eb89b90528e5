"""Labels of several tasks from the parts of a data set: its own target, and what follows from its prices.

A label of a day looks so many days ahead as its task says, and never beyond the end of its part: there it is missing
(NaN). So no part knows anything of another one. The limits of classes are those of the training part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from agentnn.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from agentnn.nn_models.multi_task.tasks import Task
    from agentnn.training.data.datasets import Dataset, Part


@dataclass(frozen=True, slots=True)
class TargetSource:
    """Where the labels of tasks come from.

    Attributes:
        tasks: What is learnt.
        main: The task whose labels are the targets of the data set.
        horizons: Days ahead, by task; not of the main one, whose targets look ahead as the data set says.
    """

    tasks: tuple[Task, ...]
    main: str
    horizons: Mapping[str, int]

    def labels(self, dataset: Dataset, part: Part) -> dict[str, NDArray[np.float64]]:
        """The labels of a part by task, each of shape (n,), NaN where one is missing.

        Raises:
            ConfigError: The data have no prices, or the training part has no label of a task.
        """
        return {task.name: self._of_task(task, dataset, part) for task in self.tasks}

    def _of_task(self, task: Task, dataset: Dataset, part: Part) -> NDArray[np.float64]:
        if task.name == self.main:
            return part.targets[:, 0].astype(np.float64)
        horizon = self.horizons[task.name]
        returns, of_train = (self._prices(task, one) for one in (part, dataset.train))
        if len(of_train) < horizon:
            raise ConfigError(
                f"multi_task.tasks.{task.name}: no day of the training part has {horizon} days ahead of it",
                hint="a smaller horizon, or more rows",
            )
        if task.kind == "volatility":
            return realised_volatility(returns, horizon)
        ahead = returns_ahead(returns, horizon)
        if task.kind == "direction":
            return np.where(np.isnan(ahead), np.nan, ahead > 0)
        if task.kind == "classes":
            return classes_of(ahead, returns_ahead(of_train, horizon), task.classes)
        return ahead

    @staticmethod
    def _prices(task: Task, part: Part) -> NDArray[np.float64]:
        if part.next_returns is None:
            raise ConfigError(
                f"multi_task.tasks.{task.name}: the data have no prices, which it is derived from",
                hint="name the column of closes: data.columns: {close: …}; or leave the task out",
            )
        return part.next_returns


def returns_ahead(next_returns: NDArray[np.float64], horizon: int) -> NDArray[np.float64]:
    """The simple return from each day's close over the next ``horizon`` days, NaN where they are not all there.

    Args:
        next_returns: Of the day after each, shape (n,).
        horizon: Days.
    """
    grown: NDArray[np.float64] = np.prod(1 + _windows(next_returns, horizon), axis=1)
    return _ahead(grown - 1, len(next_returns))


def realised_volatility(next_returns: NDArray[np.float64], horizon: int) -> NDArray[np.float64]:
    """The root of the mean squared log return of the next ``horizon`` days, a day's, NaN where they are not all there.

    It is realised volatility (Andersen and Bollerslev 1998), with daily returns, and their mean taken as 0.
    """
    squares = np.square(np.log1p(_windows(next_returns, horizon)))
    found: NDArray[np.float64] = np.sqrt(squares.mean(axis=1))
    return _ahead(found, len(next_returns))


def classes_of(values: NDArray[np.float64], of_train: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """In which of so many ranges a value lies, from 0; they are equally frequent in the training part."""
    limits = np.nanquantile(of_train, np.arange(1, classes) / classes)
    return np.where(np.isnan(values), np.nan, np.searchsorted(limits, values, side="right"))


def _windows(next_returns: NDArray[np.float64], horizon: int) -> NDArray[np.float64]:
    if len(next_returns) < horizon:
        return np.empty((0, horizon))
    return sliding_window_view(next_returns, horizon)


def _ahead(found: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    return np.concatenate([found, np.full(count - len(found), np.nan)])
