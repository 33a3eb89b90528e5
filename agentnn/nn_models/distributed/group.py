"""The processes that train together, as one of them sees them; a process that is alone is a group of one."""

from __future__ import annotations

import io
import itertools
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist

from agentnn.errors import UsageError
from agentnn.nn_models.distributed.failures import Failure, WorkerFailed, WorkerLost, heard, is_of_peers, tell
from agentnn.nn_models.distributed.orphans import leave_when_orphaned
from agentnn.nn_models.distributed.sharding import part_of
from agentnn.training.loop.devices import choose_device

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor
    from torch.distributed import Store  # type: ignore[attr-defined]

    from agentnn.nn_models.distributed.options import DistributedOptions

T = TypeVar("T")

_groups = itertools.count()
"""Numbers the groups of this process, and so of all: they are joined in the same order everywhere."""

RANK, SIZE, LOCAL_RANK = "RANK", "WORLD_SIZE", "LOCAL_RANK"
JOB, RESTARTS = "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"
_NO_JOB = ("", "none")
_DONE = "done/{}"
_TO_HEAR_S = 3.0
"""How long the others have to ask why the first process failed, before it and the store that it holds are gone.

Under torchrun the store outlives the workers. Without it, FSDP keeps its connections until the process ends: then the
others learn only that it is gone, unless it failed at what it does alone (:meth:`Group.first_alone`).
"""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The processes that train together.

    Attributes:
        rank: Which of them this process is, from 0.
        size: How many they are.
        device: Where this process computes.
        is_open: Whether there is a process group; a single process mostly has none.
        store: Where a failure is told.
    """

    rank: int
    size: int
    device: torch.device
    is_open: bool = False
    store: Store | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process logs and keeps the checkpoints."""
        return self.rank == 0

    @property
    def exact(self) -> torch.dtype:
        """What sums are kept in."""
        return torch.float32 if self.device.type == "mps" else torch.float64

    def part_of(self, rows: Tensor) -> Tensor:
        """The rows of a batch that are this process's."""
        return part_of(rows, self.rank, self.size)

    def share(self, value: T) -> T:
        """What the first process has, tensors and plain values, in all of them; nothing in it is run as code."""
        if self.size == 1:
            return value
        buffer = io.BytesIO()
        if self.is_first:
            torch.save(value, buffer)
        length = torch.tensor([len(buffer.getbuffer())])
        dist.broadcast(length, 0)
        sent = torch.frombuffer(bytearray(buffer.getvalue() or int(length)), dtype=torch.uint8)
        dist.broadcast(sent, 0)
        if self.is_first:
            return value
        received: T = torch.load(io.BytesIO(sent.numpy().tobytes()), map_location="cpu", weights_only=True)
        return received

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Around what only the first process does while the others wait: if it fails, all are told why at once.

        Raises:
            WorkerFailed: The first process failed, in the others.
        """
        try:
            yield
        except Exception as error:
            with suppress(RuntimeError):  # who is gone is not told
                self.share(tuple(Failure.of(error, self.rank)))
            raise
        failure = self.share(None)
        if failure is not None:
            raise WorkerFailed(Failure(*failure))

    def total(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes, in its place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gathered(self, own: Tensor, count: int) -> Tensor:
        """The rows, ``count`` of them, whose parts the processes hold as :meth:`part_of` cut them."""
        if self.size == 1:
            return own
        lengths = [len(part_of(torch.arange(count), rank, self.size)) for rank in range(self.size)]
        padded = own.new_zeros((max(lengths), *own.shape[1:]))
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    def same_everywhere(self, tensors: list[Tensor]) -> None:
        """Give all processes the values that the first one has."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)


def is_several() -> bool:
    """Whether the environment says that this process is one of several, as under torchrun."""
    return int(os.environ.get(SIZE) or 1) > 1


def job() -> str:
    """What torchrun calls the job that this process belongs to; empty without one."""
    name = os.environ.get(JOB, "")
    return "" if name in _NO_JOB else name


def restarts() -> int:
    """How often torchrun has started the processes again."""
    return int(os.environ.get(RESTARTS) or 0)


@contextmanager
def joined(options: DistributedOptions, device_name: str | None) -> Iterator[Group]:
    """Join the other processes that the environment speaks of, and leave them at the end, however that comes about.

    A process group that is there already is used, and left open.

    Raises:
        UsageError: There is no such device or backend here.
        WorkerLost: Another process did not come within ``options.timeout_s``.
    """
    device = _device(device_name)
    is_ours = not dist.is_initialized()
    try:
        with failures_told(Group(0, 1, device), options):
            group = _group(options, device) if is_ours else Group(dist.get_rank(), dist.get_world_size(), device, True)
        try:
            with failures_told(group, options):
                yield group
        except Exception as error:
            _leave(is_ours)  # which wakes those that wait for this process
            _say_done(group)
            if group.is_first and not isinstance(error, WorkerLost):  # it holds the store, where the others look why
                _wait_for_all(group, min(options.timeout_s, _TO_HEAR_S))
            raise
        _say_done(group)
        _wait_for_all(group, options.timeout_s)
    finally:
        _leave(is_ours)


def _leave(is_ours: bool) -> None:
    if is_ours and dist.is_initialized():
        world = dist.group.WORLD  # the last that lets go of it is Python, without the interpreter's lock
        dist.destroy_process_group()
        del world


def _say_done(group: Group) -> None:
    if group.store is not None:
        with suppress(RuntimeError):
            group.store.set(_DONE.format(group.rank), "")


def _wait_for_all(group: Group, seconds: float) -> None:
    """Stay until all have what they were sent last: what leaves before resets its connections, and they lose it."""
    if group.store is not None:
        with suppress(RuntimeError):  # the one that holds the store may have left by now, and so all are done
            all_of_them = [_DONE.format(rank) for rank in range(group.size)]
            group.store.wait(all_of_them, timedelta(seconds=seconds))


@contextmanager
def failures_told(group: Group, options: DistributedOptions) -> Iterator[None]:
    """Tell the other processes of an error in here; one that says that another is gone becomes what that one said.

    Raises:
        WorkerFailed: Another process failed, and said why.
        WorkerLost: Another process is gone, or did not answer within ``options.timeout_s``.
    """
    try:
        yield
    except Exception as error:
        if is_of_peers(error) and is_several():
            raise _why_gone(group, error, options) from error
        tell(group.store, Failure.of(error, group.rank))
        raise


def _why_gone(group: Group, error: Exception, options: DistributedOptions) -> Exception:
    failure = heard(group.store)
    if failure is not None:
        return WorkerFailed(failure)
    said = " ".join(str(error).split()).partition(" This is typically")[0]
    what = "another worker is lost" if group.is_open else "the other workers did not come together"
    return WorkerLost(
        f"{what}: {said[:300]}",
        hint=f"torchrun --max-restarts 3 goes on from the last checkpoint; timeout_s is {options.timeout_s:g}",
    )


def _device(name: str | None) -> torch.device:
    """The device of this process: where there are several of a kind, one each."""
    if not is_several() or name not in (None, "auto", "cuda"):
        device = choose_device(name or "auto")
        return torch.device("cpu") if device.type == "mps" and is_several() and name in (None, "auto") else device
    local = int(os.environ.get(LOCAL_RANK) or 0)
    if name == "cuda" or torch.cuda.is_available():
        device = choose_device(f"cuda:{local}")
        torch.cuda.set_device(device)
        return device
    return torch.device("cpu")


def _group(options: DistributedOptions, device: torch.device) -> Group:
    backend = _backend(options, device)
    wait = timedelta(seconds=options.timeout_s)
    here: Any = dist  # torch does not say that it exports its stores
    if not is_several():
        if options.strategy == "fsdp":  # which shards among one, too
            dist.init_process_group(backend, store=here.HashStore(), rank=0, world_size=1, timeout=wait)
        return Group(0, 1, device, dist.is_initialized())
    for name in (RANK, "MASTER_ADDR", "MASTER_PORT"):
        if not os.environ.get(name):
            raise UsageError(f"{SIZE} is set, but {name} is not", hint="start it by torchrun --nproc-per-node 2 SCRIPT")
    leave_when_orphaned()
    store, rank, size = next(iter(here.rendezvous("env://", timeout=wait)))
    place = f"agentnn/{restarts()}/{size}/{next(_groups)}"  # torchrun's store still holds addresses of those before
    own = here.PrefixStore(place, store)
    dist.init_process_group(backend, store=own, rank=rank, world_size=size, timeout=wait)
    return Group(rank, size, device, True, own)


def _backend(options: DistributedOptions, device: torch.device) -> str:
    wanted = options.backend
    if wanted == "nccl" and (device.type != "cuda" or not dist.is_nccl_available()):
        raise UsageError("nccl talks between CUDA devices, and there is none here", hint="backend gloo, or auto")
    if device.type == "cuda" and wanted != "gloo" and dist.is_nccl_available():
        return "cpu:gloo,cuda:nccl"  # what is shared on the CPU is not sent through a device
    return "gloo"
