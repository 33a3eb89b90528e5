"""Asking a model of any kind for predictions without leaving a trace in it, or in the random numbers."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

_BATCH = 1024


@contextmanager
def at_rest(model: Any) -> Iterator[None]:
    """A module in evaluation mode and without gradients; each of its modules is as before afterwards.

    So are the states of torch's random numbers, on the CPU and on every device that was used.
    """
    torch = sys.modules["torch"]  # a module is there, so it is loaded
    modes = [(one, one.training) for one in model.modules()]
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices))
        stack.enter_context(torch.no_grad())
        model.eval()
        try:
            yield
        finally:
            for one, was_training in modes:
                one.training = was_training


def is_module(model: Any) -> bool:
    """Whether it is a module of PyTorch."""
    return hasattr(model, "named_modules") and hasattr(model, "eval") and "torch" in sys.modules


def predictor(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """What a model says to an array of samples, shape (n_samples, …), as an array.

    Args:
        model: A module, anything with ``predict``, or a function.

    Raises:
        UsageError: It is none of these.
    """
    if is_module(model):
        return lambda samples: _ask_module(model, samples)
    ask = model.predict if hasattr(model, "predict") else model
    if not callable(ask):
        raise UsageError(f"a {type(model).__name__} can't predict", hint="give a module, an estimator or a function")
    return lambda samples: to_numpy(ask(samples))


def to_numpy(values: Any) -> np.ndarray:
    """A tensor, frame, series, list or array as an array; a tensor of bfloat16 as float32."""
    import numpy as np

    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":
            values = values.float()
        return np.asarray(values.resolve_conj().resolve_neg().numpy())
    return np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)


def _ask_module(model: Any, samples: np.ndarray) -> np.ndarray:
    import numpy as np

    torch = sys.modules["torch"]
    like = next((one for one in model.parameters()), None)
    with at_rest(model):
        answers = []
        for start in range(0, len(samples), _BATCH):
            batch = torch.as_tensor(np.ascontiguousarray(samples[start : start + _BATCH]))
            if like is not None:
                is_real = batch.is_floating_point() and like.is_floating_point()
                batch = batch.to(device=like.device, dtype=like.dtype if is_real else None)
            answer = model(batch)
            answers.append(to_numpy(answer[0] if isinstance(answer, tuple) else answer))
    return np.concatenate(answers)
