"""Hill climbing from one architecture to the next: a change is tried, trained, compared, and kept or not.

After Elsken, Metzen and Hutter 2017, "Simple and efficient architecture search for convolutional neural networks"
(https://arxiv.org/abs/1711.04528): the children of a network are function-preserving changes of it, and the network
itself, trained further, is one of those that are compared.
"""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import asdict, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, CorruptDataError, TrainingError
from agentnn.nn_models.architecture.description import Architecture
from agentnn.nn_models.architecture.network import DynamicNetwork, mean_and_scale
from agentnn.nn_models.architecture.proposals import Proposal, propose
from agentnn.nn_models.architecture.results import ArchitectureStep
from agentnn.nn_models.architecture.trainee import Trainee
from agentnn.training.loop.checkpoints import FORMAT
from agentnn.training.loop.devices import reproducible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import nn
    from torch.optim import Optimizer

    from agentnn.nn_models.architecture.trainee import Teaching

    MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]

_MAY_CHANGE = (
    *("max_changes", "max_parameters", "max_seconds", "patience"),
    *("checkpoint_dir", "resume", "log_model", "device", "num_threads"),
)
"""Options that don't change what was done so far."""


class Growth:
    """Where the search for an architecture is.

    Args:
        teaching: What networks are trained on, and how.
        trainee: The network that was come to.
        first: The first one, trained; only its value and what was measured count.
    """

    def __init__(self, teaching: Teaching, trainee: Trainee, first: Trainee) -> None:
        self.trainee = trainee
        self.first_value, self.first_measures = first.value, first.measures
        self.best_value = trainee.value
        self.steps: list[ArchitectureStep] = []
        self._teaching = teaching
        self._began = time.monotonic()

    @classmethod
    def begin(cls, teaching: Teaching, start: Architecture | DynamicNetwork, make_optimizer: MakeOptimizer) -> Growth:
        """Train the network that is to be grown.

        Raises:
            TrainingError: Its loss is no longer finite.
        """
        network = copy.deepcopy(start) if isinstance(start, DynamicNetwork) else DynamicNetwork(start)
        if teaching.options.standardise and not isinstance(start, DynamicNetwork):
            network.standardise(*(one.cpu() for one in mean_and_scale(teaching.train.inputs)))
        network.to(teaching.device)
        first = Trainee(network, make_optimizer(network.parameters()), math.nan)
        trained = first.trained(teaching, _seed(teaching, 0))
        return cls(teaching, trained, trained)

    @property
    def seconds(self) -> float:
        """How long it has taken so far, in all sessions."""
        return time.monotonic() - self._began

    def next_proposal(self) -> Proposal | None:
        """What is tried next, if anything is left."""
        number = len(self.steps) + 1
        return propose(self.trainee.network.architecture, self._teaching.options, number, self._refused())

    def why_over(self, proposal: Proposal | None) -> str:
        """Why nothing more is tried; empty while something is."""
        options = self._teaching.options
        if len(self.steps) >= options.max_changes:
            return f"max_changes: {options.max_changes} changes were tried"
        if self._in_vain() >= options.patience:
            return f"patience: {options.patience} changes in succession were not kept"
        if options.max_seconds is not None and self.seconds >= options.max_seconds:
            return f"max_seconds: it has taken {self.seconds:.1f} s"
        return "" if proposal is not None else "no change is left to try"

    def _in_vain(self) -> int:
        """How many changes were tried since one was kept."""
        return sum(1 for _ in takewhile(lambda step: not step.kept, reversed(self.steps)))

    def _refused(self) -> set[Proposal]:
        """What was tried on the very network that was come to: with other weights it is another matter."""
        same = takewhile(lambda step: not step.kept and step.unchanged == step.before, reversed(self.steps))
        return {Proposal(step.kind, step.layer) for step in same}

    def attempt(self, proposal: Proposal) -> ArchitectureStep:
        """Try a change, and go on with the better network."""
        began, teaching, before = time.perf_counter(), self._teaching, self.trainee
        number = len(self.steps) + 1
        seed = _seed(teaching, number)
        unchanged = before
        if teaching.options.control:
            further = _trained(before.copied(), teaching, seed)
            unchanged = further if teaching.is_better(further.value, before.value) else before

        changed = before.copied()
        with reproducible(teaching.device, seed=seed):
            clock = time.perf_counter()
            change = changed.change(proposal, teaching)
            change_ms = 1000 * (time.perf_counter() - clock)
        changed = changed.measured(teaching)
        after = _trained(changed, teaching, seed)  # the same order of samples for both

        kept = self._is_worth_it(proposal, after.value, unchanged.value)
        self.trainee = after if kept else unchanged
        if teaching.is_better(self.trainee.value, self.best_value):
            self.best_value = self.trainee.value
        step = ArchitectureStep(
            number=number,
            kind=change.kind,
            layer=change.layer,
            exact=change.exact,
            architecture=change.after,
            n_parameters=change.after.n_parameters,
            before=before.value,
            changed=changed.value,
            unchanged=unchanged.value,
            after=after.value,
            kept=kept,
            change_ms=change_ms,
            seconds=time.perf_counter() - began,
            measures=self.trainee.measures,
        )
        self.steps.append(step)
        return step

    def _is_worth_it(self, proposal: Proposal, after: float, unchanged: float) -> bool:
        teaching, options = self._teaching, self._teaching.options
        if proposal.kind in ("widen", "deepen"):
            return teaching.is_better(after, unchanged, options.min_gain)
        best = unchanged if teaching.is_better(unchanged, self.best_value) else self.best_value
        return math.isfinite(after) and not teaching.is_better(best, after, options.tolerance)

    # --- checkpoints

    def state(self, run: str, *, is_finished: bool) -> dict[str, Any]:
        """All of it, as tensors and plain values."""
        return {
            "format": FORMAT,
            "epoch": len(self.steps),
            "finished": is_finished,
            "settings": _settings(self._teaching, self.trainee),
            "architecture": json.dumps(self.trainee.network.architecture.to_dict()),
            "network": self.trainee.network.state_dict(),
            "optimizer": self.trainee.optimizer.state_dict(),
            "values": (self.first_value, self.trainee.value, self.best_value),
            "measures": (dict(self.first_measures), dict(self.trainee.measures)),
            "steps": json.dumps([step.to_dict() for step in self.steps]),
            "seconds": self.seconds,
            "run": run,
            "best": {"epoch": 0, "weights": None},  # the network is the best one
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any], teaching: Teaching, make_optimizer: MakeOptimizer) -> Growth:
        """Go on from a state.

        Raises:
            ConflictError: It is the state of another search.
            CorruptDataError: It is the state of something else.
        """
        try:
            network = DynamicNetwork(Architecture.from_dict(json.loads(state["architecture"])))
            network.to(teaching.device, state["network"]["feature_mean"].dtype).load_state_dict(state["network"])
            first, value, best = state["values"]
            of_first, of_last = state["measures"]
            trainee = Trainee(network, make_optimizer(network.parameters()), value, of_last)
            _refuse_another(state["settings"], _settings(teaching, trainee))
            trainee.optimizer.load_state_dict(state["optimizer"])
            growth = cls(teaching, trainee, replace(trainee, value=first, measures=of_first))
            growth.best_value = best
            growth.steps = [ArchitectureStep.from_dict(step) for step in json.loads(state["steps"])]
            growth._began -= state["seconds"]
        except (KeyError, RuntimeError, TypeError, AttributeError) as error:
            raise CorruptDataError(
                f"the checkpoint does not hold the search for an architecture: {' '.join(str(error).split())[:300]}"
            ) from error
        return growth


def _trained(trainee: Trainee, teaching: Teaching, seed: int) -> Trainee:
    """Trained; without a value where its loss is no longer finite, which is no reason to end the search."""
    try:
        return trainee.trained(teaching, seed)
    except TrainingError:
        return replace(trainee, value=math.nan)


def _seed(teaching: Teaching, number: int) -> int:
    return (teaching.options.seed * 1_000_003 + number) % 2**32


def _settings(teaching: Teaching, trainee: Trainee) -> dict[str, Any]:
    """What must not change between a checkpoint and its resumption."""
    options = {name: value for name, value in asdict(teaching.options).items() if name not in _MAY_CHANGE}
    return {
        **{name: list(value) if isinstance(value, tuple) else value for name, value in options.items()},
        "kind of optimizer": type(trainee.optimizer).__name__,
        "criterion": type(teaching.criterion).__name__,
        "number of inputs": trainee.network.architecture.n_inputs,
        "number of outputs": trainee.network.architecture.n_outputs,
        "number of samples": len(teaching.train.inputs),
        "number of validation samples": len(teaching.validation.inputs),
    }


def _refuse_another(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name, value in now.items():
        if before.get(name) != value:
            raise ConflictError(
                f"the checkpoint is of another search: its {name} was {before.get(name)}, and is {value} now",
                hint="resume with the same data and options, or name another folder for checkpoints",
            )
