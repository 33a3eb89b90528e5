"""A network as each of several processes has it: whole (DDP), or a part of it (FSDP, :mod:`.shards`)."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from agentnn.errors import UsageError
from agentnn.training.loop.resuming import copied_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch.optim import Optimizer

    from agentnn.nn_models.distributed.group import Group
    from agentnn.nn_models.distributed.options import Strategy


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What a checkpoint holds of something, by the two methods that torch's own objects have.

    Attributes:
        state_dict: The state, whole in the first process; called in all of them at once.
        load_state_dict: Takes what the first process's ``state_dict`` gave, in all of them.
    """

    state_dict: Callable[[], dict[str, Any]]
    load_state_dict: Callable[[Any], Any]


class Replica(Protocol):
    """This process's part in a network that several train.

    Attributes:
        trained: What is called while training; its gradients are the mean over the processes.
        plain: What is called otherwise, by all processes equally often.
        is_sharded: Whether it is a part of the network, and of a copy of the user's model.
    """

    trained: nn.Module
    plain: nn.Module
    is_sharded: bool

    def without_sync(self, *, is_last: bool) -> AbstractContextManager[Any]:
        """Around a batch: gradients are only added up, unless it is the last one before a step."""

    def weights(self) -> dict[str, Any]:
        """A copy of all weights and buffers, whole in the first process; called in all of them at once."""

    def kept(self, optimizer: Optimizer) -> tuple[Kept, Kept]:
        """The network and its optimizer as a checkpoint holds them."""

    def give_back(self, weights: Mapping[str, Any]) -> None:
        """Put whole weights into the model that the user gave."""

    def close(self) -> None:
        """Let go of the process group."""


class Replicated:
    """The whole network in each process.

    Args:
        model: What is trained, in place.
        group: The processes.
    """

    is_sharded = False

    def __init__(self, model: nn.Module, group: Group) -> None:
        self._group = group
        self.plain = self.trained = model
        self._ddp: DistributedDataParallel | None = None
        if group.size > 1:
            ids = [group.device.index] if group.device.type == "cuda" else None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # its new name is not in every torch that we take
                self._ddp = DistributedDataParallel(
                    model, device_ids=ids, broadcast_buffers=False, init_sync=False, gradient_as_bucket_view=True
                )
            self.trained = self._ddp

    def without_sync(self, *, is_last: bool) -> AbstractContextManager[Any]:
        """See :class:`Replica`."""
        return nullcontext() if self._ddp is None or is_last else self._ddp.no_sync()

    def weights(self) -> dict[str, Any]:
        """See :class:`Replica`."""
        return copied_weights(self.plain) if self._group.is_first else {}

    def kept(self, optimizer: Optimizer) -> tuple[Kept, Kept]:
        """See :class:`Replica`."""
        return tuple(Kept(one.state_dict, one.load_state_dict) for one in (self.plain, optimizer))  # type: ignore[return-value]

    def give_back(self, weights: Mapping[str, Any]) -> None:
        """See :class:`Replica`."""
        self.plain.load_state_dict(weights)

    def close(self) -> None:
        """See :class:`Replica`.

        A reducer that outlives the group would end its threads while it holds the interpreter's lock, which they may be
        waiting for: both would wait for ever. A process group that is kept stays connected, and nobody learns that this
        process has failed. The frames of an error keep both, so that they are taken out here.
        """
        if self._ddp is not None:
            for name in ("logger", "reducer", "process_group"):
                self._ddp.__dict__.pop(name, None)


def replica_of(model: nn.Module, strategy: Strategy, group: Group) -> Replica:
    """This process's part in training the model."""
    _check_normalisation(model, group)
    if strategy == "ddp":
        return Replicated(model, group)
    from agentnn.nn_models.distributed.shards import Sharded  # which takes a second to import

    return Sharded(model, group)


def _check_normalisation(model: nn.Module, group: Group) -> None:
    if group.size > 1 and any(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in model.modules()):
        if any(isinstance(one, nn.SyncBatchNorm) for one in model.modules()) and group.device.type == "cuda":
            return
        raise UsageError(
            "batch normalisation would see only a part of each batch in each of several processes",
            hint="normalise by layer or group; or, on CUDA, nn.SyncBatchNorm.convert_sync_batchnorm(model)",
        )
