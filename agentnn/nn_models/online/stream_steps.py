"""What an online learner learns from the samples that have judged it, and what it does about a drift."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from agentnn.nn_models.online.learning_rate import LearningRate
from agentnn.nn_models.online.reactions import find_head, reset_optimizer, reset_weights
from agentnn.nn_models.online.sample_memory import SampleMemory
from agentnn.training.loop.options import TrainingOptions
from agentnn.training.loop.steps import Stepper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from agentnn.nn_models.online.options import OnlineOptions
    from agentnn.nn_models.online.stream_counts import Counts
    from agentnn.training.loop.steps import Samples


class StreamSteps:
    """Steps of an optimizer, each on new samples and some older ones.

    Args:
        model: What learns, in place.
        criterion: (outputs, targets) to the mean loss.
        optimizer: Of its weights.
        options: How.
        device: Where it happens.
        counts: Where steps are counted.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Callable[[Tensor, Tensor], Tensor],
        optimizer: Optimizer,
        options: OnlineOptions,
        device: torch.device,
        counts: Counts,
    ) -> None:
        self.optimizer = optimizer
        self.memory = SampleMemory(options.memory, options.replayed, options.seed)
        self.learning_rate = LearningRate(optimizer, options.raise_factor, options.raise_steps, options.hypergradient)
        self._head = find_head(model, options.head) if "reset_head" in options.reactions else None
        self._due: list[str] = []
        self._device, self._counts, self._seed = device, counts, options.seed
        training = TrainingOptions(
            batch_size=options.batch_size + options.replayed,
            clip_norm=options.clip_norm,
            precision=options.precision,
            seed=options.seed,
        )
        self._stepper = Stepper(model, optimizer, criterion, training, device)

    def react(self, reactions: tuple[str, ...]) -> None:
        """Do these before the next step."""
        self._due = list(reactions)

    def learn(self, new: Samples) -> None:
        """Take one step, on these samples and on older ones."""
        with self._random_numbers():
            self._do_what_is_due()
            samples = self.memory.with_older(new)
            self.learning_rate.before_step()
            self._stepper.step(samples)
            self.learning_rate.after_step()
        self.memory.add(new)
        self._counts.steps += 1
        self._counts.learned += len(new.inputs)

    def _do_what_is_due(self) -> None:
        for reaction in self._due:
            if reaction == "raise_learning_rate":
                self.learning_rate.raise_for_a_while()
            elif reaction == "reset_optimizer":
                reset_optimizer(self.optimizer)
            elif self._head is not None:
                reset_weights(self._head, self.optimizer)
                self.learning_rate.forget_steps()
        self._due = []

    def _random_numbers(self) -> AbstractContextManager[None]:
        return nullcontext() if self._seed is None else self._own_random_numbers(self._seed)

    @contextmanager
    def _own_random_numbers(self, seed: int) -> Iterator[None]:
        """Those of a step follow from the seed and the step's number, and the process's are left alone."""
        devices = [] if self._device.type == "cpu" else [self._device]
        with torch.random.fork_rng(devices, device_type="cuda" if not devices else self._device.type):
            torch.manual_seed((seed * 1_000_003 + self._counts.steps) % 2**63)
            yield

    def state(self) -> dict[str, Any]:
        """All that it remembers, beside the weights."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self._stepper.scaler.state_dict(),
            "learning_rate": self.learning_rate.state(),
            "memory": self.memory.state(),
            "due": self._due,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` gave.

        Raises:
            KeyError, RuntimeError, ValueError: It is the state of another optimizer.
        """
        self.optimizer.load_state_dict(state["optimizer"])
        self._stepper.scaler.load_state_dict(state["scaler"])
        self.learning_rate.restore(state["learning_rate"])
        self.memory.restore(state["memory"])
        self._due = list(state["due"])
