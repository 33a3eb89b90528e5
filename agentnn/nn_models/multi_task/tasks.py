"""``Task``: one of several things that a network learns at once."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Kind = Literal["direction", "return", "volatility", "classes", "quantiles"]
"""``direction``: a label of 0 or 1, a head of log-odds. ``return``: any number. ``volatility``: a number of at least 0,
a head that gives a positive one. ``classes``: the number of one of several classes, from 0; a head of logits.
``quantiles``: any number, and a head that gives quantiles of its distribution, in ascending order."""

NumberLoss = Literal["mse", "mae", "huber"]
NUMBERS = ("return", "volatility", "quantiles")
"""The kinds whose labels have a unit, and are brought to the scale of the training part for the loss."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Something to learn.

    Attributes:
        name: What its metrics are called after: ``val_<name>_loss`` and so on.
        kind: See :data:`Kind`.
        weight: How much it counts in the combined loss.
        loss: Of ``return`` and ``volatility``: the squared error, the absolute one, or Huber's (Huber 1964), which is
            half the square up to a deviation of 1 and grows linearly after it; all in standard deviations of the
            training part's labels. The loss of the others is the cross-entropy, and the mean pinball loss in the same
            unit.
        classes: How many, of ``classes``.
        quantiles: Which, of ``quantiles``, ascending.

    Raises:
        UsageError: A value is wrong.
    """

    name: str
    kind: Kind
    weight: float = 1.0
    loss: NumberLoss = "mse"
    classes: int = 3
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantiles", tuple(self.quantiles))
        object.__setattr__(self, "weight", float(self.weight))
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise UsageError(
                f"{self.name!r} can't be the name of a task", hint="letters, digits and _, a letter at first"
            )
        for key, known in (("kind", get_args(Kind)), ("loss", get_args(NumberLoss))):
            if getattr(self, key) not in known:
                raise UsageError(f"task {self.name}: unknown {key} {getattr(self, key)!r}", hint=_one_of(known))
        if not 0 < self.weight < float("inf"):
            raise UsageError(f"task {self.name}: the weight must be greater than 0, not {self.weight!r}")
        if type(self.classes) is not int or self.classes < 2:
            raise UsageError(f"task {self.name}: classes must be a whole number of at least 2, not {self.classes!r}")
        bounds = (0.0, *self.quantiles, 1.0)
        if not self.quantiles or not all(low < high for low, high in pairwise(bounds)):
            raise UsageError(f"task {self.name}: quantiles lie between 0 and 1 and ascend, not {list(self.quantiles)}")

    @property
    def n_outputs(self) -> int:
        """Values that its head gives."""
        return {"classes": self.classes, "quantiles": len(self.quantiles)}.get(self.kind, 1)

    @property
    def middle(self) -> int:
        """The output that stands for all of ``quantiles``: the one nearest to the median."""
        return min(range(len(self.quantiles)), key=lambda place: abs(self.quantiles[place] - 0.5))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**asdict(self), "quantiles": list(self.quantiles)}


def checked_tasks(tasks: Iterable[Task]) -> tuple[Task, ...]:
    """The tasks, of which there is one at least, each with a name of its own.

    Raises:
        UsageError: They are not.
    """
    found = tuple(tasks)
    names = [task.name for task in found]
    if not found:
        raise UsageError("there is no task to learn", hint='Task(name="direction", kind="direction")')
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two tasks are called {twice!r}")
    return found


def output_places(tasks: Sequence[Task]) -> tuple[slice, ...]:
    """Where the outputs of each task are among those of all."""
    ends = list(accumulate((task.n_outputs for task in tasks), initial=0))
    return tuple(slice(start, end) for start, end in pairwise(ends))


def _one_of(known: Iterable[str]) -> str:
    return f"one of {', '.join(known)}"
