"""What a training has to remember so that it goes on as if it had never stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from agentnn.errors import ConflictError
from agentnn.training.loop.checkpoints import FORMAT
from agentnn.training.loop.devices import random_state, set_random_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import nn
    from torch.amp import GradScaler
    from torch.optim import Optimizer

    from agentnn.training.loop.averaging import Averaging
    from agentnn.training.loop.history import History
    from agentnn.training.loop.optimisation import Schedule


@dataclass(frozen=True, slots=True, eq=False)
class Resumable:
    """Everything that changes while a model is trained.

    Attributes:
        model: Its weights and buffers.
        optimizer: Its moments, and the learning rate.
        schedule: Where it is.
        scaler: The scale of 16-bit gradients.
        device: Whose random numbers are used, beside the CPU's.
        settings: What has to be the same for the training to be the same.
        averaging: The average of the weights, where there is one.
    """

    model: nn.Module
    optimizer: Optimizer
    schedule: Schedule
    scaler: GradScaler
    device: torch.device
    settings: Mapping[str, int | float | bool | str | None]
    averaging: Averaging | None = None

    def state(self, history: History, best_weights: Mapping[str, Any] | None, *, is_finished: bool) -> dict[str, Any]:
        """All of it after an epoch, as tensors and plain values."""
        return {
            "format": FORMAT,
            "epoch": history.epochs,
            "finished": is_finished,
            "settings": dict(self.settings),
            **{name: part.state_dict() for name, part in self._parts.items()},
            "random": random_state(self.device),
            "history": {name: list(values) for name, values in history.items()},
            "best": {"epoch": history.best_epoch, "value": history.best_value, "weights": best_weights},
        }

    def restore(self, state: Mapping[str, Any], history: History) -> dict[str, Any] | None:
        """Go back to a state; gives the best weights so far.

        Raises:
            ConflictError: It is the state of another training.
        """
        for name, value in self.settings.items():
            was = state["settings"].get(name)
            if was != value:
                raise _another(f"its {name} was {was}, and is {value} now")
        if set(state["history"]) != set(history):
            raise _another(f"it recorded {', '.join(state['history'])}")
        try:
            for name, part in self._parts.items():
                part.load_state_dict(state[name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise _another(" ".join(str(error).split())[:300]) from error
        set_random_state(self.device, state["random"])
        for name, values in state["history"].items():
            history[name] = list(values)
        best: Mapping[str, Any] = state["best"]
        history.best_epoch, history.best_value = best["epoch"], best["value"]
        history.resumed_from = state["epoch"]
        weights: dict[str, Any] | None = best["weights"]
        return weights

    @property
    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule, "scaler": self.scaler}
        return parts if self.averaging is None else {**parts, "averaging": self.averaging}


def copied_weights(model: nn.Module) -> dict[str, Any]:
    """The weights and buffers as they are now."""
    return {
        name: value.detach().clone() if isinstance(value, Tensor) else value
        for name, value in model.state_dict().items()
    }


def _another(why: str) -> ConflictError:
    return ConflictError(
        f"the checkpoint is of another training: {why}",
        hint="resume with the same model, data and settings, or name another folder for checkpoints",
    )
