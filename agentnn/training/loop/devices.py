"""Where a model is trained, how precisely, and by which random numbers."""

from __future__ import annotations

import os
import random
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

Precision = Literal["float32", "bfloat16", "float16"]

_ACCELERATORS = ("cuda", "xpu", "mps")
"""The fastest first."""


def choose_device(name: str = "auto") -> torch.device:
    """The device of this name; ``auto`` is the first accelerator there is, otherwise the CPU.

    Raises:
        UsageError: There is no such device here.
    """
    there = available_devices()
    if name == "auto":
        return torch.device(there[-1] if len(there) == 1 else there[1])
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"there is no device {name!r}", hint=f"one of auto, {', '.join(there)}") from error
    if name not in there and f"{device.type}:{device.index or 0}" not in there:
        raise UsageError(f"the device {name} is not on this machine", hint=f"one of auto, {', '.join(there)}")
    return device


def available_devices() -> list[str]:
    """The devices of this machine: ``cpu``, then ``cuda:0`` and so on, the fastest kind first."""
    found = ["cpu"]
    for kind in _ACCELERATORS:
        module = getattr(torch, kind, None)
        if module is not None and module.is_available():
            found += [f"{kind}:{index}" for index in range(module.device_count())]
    return found


def device_of(model: nn.Module) -> torch.device:
    """Where the weights of a model are; the CPU for one without any."""
    return next((weights.device for weights in model.parameters()), torch.device("cpu"))


def autocasting(device: torch.device, precision: Precision) -> Callable[[], AbstractContextManager[Any]]:
    """Makes contexts in which a model computes in the precision, where that is safe; in ``float32`` as it does."""
    if precision == "float32":
        return nullcontext
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float16
    return lambda: torch.autocast(device.type, dtype=dtype)


def computing(device: torch.device, precision: Precision) -> Callable[[Callable[[Tensor], Any], Tensor], Any]:
    """Makes (model, inputs) to what the model gives, computed in the precision; 16-bit outputs as ``float32``."""
    if precision == "float32":
        return lambda model, inputs: model(inputs)
    autocast = autocasting(device, precision)

    def computed(model: Callable[[Tensor], Any], inputs: Tensor) -> Any:
        with autocast():
            outputs = model(inputs)
        return outputs.float() if isinstance(outputs, torch.Tensor) else outputs

    return computed


@contextmanager
def reproducible(
    device: torch.device, *, seed: int | None = None, deterministic: bool = False, num_threads: int | None = None
) -> Iterator[None]:
    """Seeds, algorithms and threads as asked; afterwards all are as before.

    Args:
        device: Whose random numbers are seeded, beside those of the CPU, Python and numpy.
        seed: Without one, random numbers go on as they are, and are left where they have come to.
        deterministic: Whether to take only algorithms that give the same again; torch warns of an operation that has
            none on this device.
        num_threads: Of torch on the CPU; as they are without one.
    """
    undo: list[Callable[[], object]] = []
    try:
        if num_threads is not None:
            undo.append(_restored(torch.get_num_threads, torch.set_num_threads))
            torch.set_num_threads(num_threads)
        if deterministic:
            undo += _only_deterministic(device)
        if seed is not None:
            undo.append(_restored(lambda: random_state(device), lambda state: set_random_state(device, state)))
            seed_everything(seed)
        yield
    finally:
        for step in reversed(undo):
            step()


def seed_everything(seed: int) -> None:
    """Seed the random numbers of torch, on every device, of numpy and of Python."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)


def random_state(device: torch.device) -> dict[str, Any]:
    """Where all random numbers are, as tensors and plain values."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    version, numbers, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "device": None if device.type == "cpu" else _module(device).get_rng_state(*_index(device)),
        "numpy": (str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
        "python": (version, torch.tensor(numbers, dtype=torch.int64), gauss_next),
    }


def set_random_state(device: torch.device, state: dict[str, Any]) -> None:
    """Set what :func:`random_state` gave."""
    torch.set_rng_state(state["torch"].cpu())
    if device.type != "cpu" and state["device"] is not None:
        _module(device).set_rng_state(state["device"].cpu(), *_index(device))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    version, numbers, gauss_next = state["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss_next))


def _restored(read: Callable[[], Any], write: Callable[[Any], object]) -> Callable[[], object]:
    """Writes what is read now."""
    before = read()
    return lambda: write(before)


def _only_deterministic(device: torch.device) -> list[Callable[[], object]]:
    """Give what undoes it."""
    before, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    memory: Any = torch.utils.deterministic
    filled, benchmark = memory.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA's first handle is made

    def undo() -> None:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        memory.fill_uninitialized_memory = filled
        torch.backends.cudnn.benchmark = benchmark

    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = False  # a debugging aid, which costs time
    torch.backends.cudnn.benchmark = False
    return [undo]


def _module(device: torch.device) -> Any:
    return torch.get_device_module(device)


def _index(device: torch.device) -> tuple[torch.device, ...]:
    return () if device.type == "mps" else (device,)
