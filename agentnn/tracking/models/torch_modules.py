"""Any PyTorch module in one file, which is read back as a module that trains, without running what the file says.

A saved module is a directory:

===========================  ===========================================================================================
``model.pth``                what ``torch.save(module)`` writes; ``mlflow.pytorch.load_model`` reads it too
``module.json``              the module's class, torch's version, what loading needs beyond torch, pip requirements
``input_example.npy``        the input example, when one was given
``output_example.npy``       what the module, read back from ``model.pth``, gives for it
``pickle_module_info.txt``   for MLflow's ``pytorch`` flavor
===========================  ===========================================================================================

What a file may name is :mod:`agentnn.tracking.models.torch_reading`'s matter.
"""

from __future__ import annotations

import io
import json
import pickle
import sys
import warnings
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.errors import (
    AgentNNError,
    AgentNNWarning,
    CorruptDataError,
    NotFoundError,
    UnsafeError,
    UsageError,
)
from agentnn.extras import require
from agentnn.tracking.models.torch_reading import foreign_names, full_name, imported, read_safely, read_trusting

# torch and numpy are imported inside the functions: a module that is to be saved has brought torch along, and who hands
# in something else must not wait seconds to be told so.
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

MODULE_FILE = "model.pth"
DESCRIPTION_FILE = "module.json"
INPUT_FILE = "input_example.npy"
OUTPUT_FILE = "output_example.npy"
PICKLE_FILE = "pickle_module_info.txt"


def save_module(
    directory: Path, model: Any, *, input_example: Any = None, pip_requirements: Sequence[str] | None = None
) -> None:
    """Write a module with all that MLflow's model folder needs and only a process with torch can tell.

    The module is left as it is: the example runs through a copy that is read back from the file, on the same device.
    An example on which that fails is left out with a warning, since the weights are worth more. Wrappers are taken off:
    ``DataParallel``, ``DistributedDataParallel`` and ``torch.compile``.

    Args:
        directory: Where to write; it is made if it is not there.
        model: A ``torch.nn.Module`` whose class is defined at the top level of a module.
        input_example: A small batch for ``model(batch)``, samples first: a tensor, an array, a DataFrame or nested
            lists. Of several outputs, the first is recorded.
        pip_requirements: Lines of a requirements file. Without them: this environment's versions of agentnn, numpy,
            torch, and of the packages that the module's classes come from.

    Raises:
        UsageError: ``model`` is not a module, or holds something that can't be saved; the attribute is named.
        OSError: The files can't be written; the weights file is taken away again.
    """
    module = _unwrapped(model)
    if isinstance(pip_requirements, str):
        raise UsageError("pip_requirements is a list of lines, not one string", hint=f"[{pip_requirements!r}]")
    import torch

    directory.mkdir(parents=True, exist_ok=True)
    path = directory / MODULE_FILE
    _write(module, path)
    needs = _needs(module, path)
    description = {
        "class": full_name(type(module)),
        "torch": str(torch.__version__),
        "needs": needs,
        "pip_requirements": list(_requirements(needs) if pip_requirements is None else pip_requirements),
    }
    (directory / DESCRIPTION_FILE).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    (directory / PICKLE_FILE).write_text("pickle", encoding="utf-8")
    if input_example is not None:
        _save_example(directory, input_example)


def load_module(directory: Path, *, classes: Iterable[type] = (), trust: bool = False) -> nn.Module:
    """Read the module that :func:`save_module` wrote; its tensors are on the CPU, its training mode is as saved.

    Args:
        directory: The directory.
        classes: Classes of the user's own that the module is made of. One that was saved by a script, as
            ``__main__.MyNet``, is found by its name alone. A module class gets the state that the file holds and is not
            called; any other class may be called.
        trust: Whether the file may import and call whatever it names, as pickles do.

    Raises:
        NotFoundError: The file is not there; or, with ``trust``, what it names can't be imported.
        UnsafeError: The file names something that is neither torch's nor in ``classes``. Nothing of it has run.
        CorruptDataError: The file is damaged, or holds something other than a module.
        MissingDependencyError: torch is not installed; or, without ``trust``, it is older than 2.10.
    """
    require("torch", extra="train")
    from torch import nn

    path = directory / MODULE_FILE
    if not path.is_file():
        raise NotFoundError(f"no PyTorch module in {directory}: {MODULE_FILE} is missing")
    classes = tuple(classes)
    try:
        module = read_trusting(path, classes) if trust else read_safely(path, classes)
    except (AgentNNError, OSError, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        reason = str(error).partition("Check the documentation")[0].strip().splitlines()[-1]
        raise UnsafeError(f"{path} holds something other than a module, and was not loaded: {reason}") from error
    except Exception as error:  # noqa: BLE001 - a damaged file may fail anywhere inside torch's reader
        raise CorruptDataError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise CorruptDataError(f"{path} does not hold a PyTorch module, but {type(module).__name__}")
    return module


class ModulePredictor:
    """What MLflow's pyfunc flavor loads; see :func:`_load_pyfunc`."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def predict(self, inputs: Any, params: dict[str, Any] | None = None) -> NDArray[np.generic]:
        """The module's output in evaluation mode.

        Args:
            inputs: An array or a DataFrame, samples first. Fractions are cast to the type of the module's weights.
            params: MLflow's; it has no effect.

        Returns:
            The output, or the first of several, samples first.

        Raises:
            UsageError: The module gives neither a tensor nor a sequence of tensors.
        """
        return _predict(self.module, _as_array(inputs))


def _load_pyfunc(data_path: str, model_config: dict[str, Any] | None = None) -> ModulePredictor:
    """The loader that MLflow calls by this name.

    With ``mlflow.pyfunc.load_model(uri, model_config={"trust": True})`` it imports a user's own classes.
    """
    trust = (model_config or {}).get("trust") is True
    return ModulePredictor(load_module(Path(data_path), trust=trust))


# -- writing -----------------------------------------------------------------------------------------------


def _unwrapped(model: Any) -> nn.Module:
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(model, torch.nn.Module):
        raise UsageError(
            f"log_model takes a torch.nn.Module, not a {type(model).__name__}",
            hint="save it to a file as its own library does, then log_artifact(file)",
        )
    while True:
        if isinstance(model, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), torch.nn.Module):  # of torch.compile
            model = model._orig_mod
        elif isinstance(model, torch.jit.ScriptModule):
            raise UsageError("a TorchScript module can't be saved", hint="torch.jit.save it, then log_artifact(file)")
        else:
            plain: nn.Module = model
            return plain


def _write(module: nn.Module, path: Path) -> None:
    import torch

    try:
        with path.open("wb") as file:
            torch.save(module, file)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError, pickle.PicklingError) as error:
        path.unlink()
        if isinstance(error.__context__, OSError):  # a full disk; torch then fails to close its archive
            raise error.__context__ from None
        names = [name for name, value in _attributes(module) if not _is_picklable(value)]
        where = f" because of {', '.join(names)}" if names else ""
        raise UsageError(
            f"the module can't be saved{where}: {str(error).splitlines()[0]}",
            hint="define its classes and functions at the top level of a file, and keep open files out of it; "
            "or torch.save its state_dict() and log_artifact that",
        ) from error
    except BaseException:
        path.unlink()
        raise


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """The attributes of a module and of all within it that are neither weights nor modules, by their full name."""
    for name, one in module.named_modules():
        for key, value in vars(one).items():
            if key not in ("_parameters", "_buffers", "_modules"):
                yield (f"{name}.{key}" if name else key), value


def _pickled(value: Any) -> io.BytesIO:
    import torch

    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return buffer


def _is_picklable(value: Any) -> bool:
    try:
        _pickled(value)
    except Exception:  # noqa: BLE001 - whatever it is, this attribute is the one to name
        return False
    return True


def _needs(module: nn.Module, path: Path) -> list[str]:
    """The full names that loading needs beyond torch; a warning for what ``classes`` can't give."""
    try:
        needs = foreign_names(path)
    except pickle.UnpicklingError as error:
        _warn(f"the saved module loads with trust only: {error}")
        return []
    if all(_is_own_class(name) for name in needs):
        return sorted(needs)
    blamed: list[str] = []
    for name, value in _attributes(module):
        if _is_picklable(value):
            names = [one for one in foreign_names(_pickled(value)) if not _is_own_class(one)]
            blamed += [f"{name} ({', '.join(sorted(names))})"] * bool(names)
    _warn(
        f"the saved module loads with trust only, because of {', '.join(blamed) or ', '.join(sorted(needs))}; "
        "numbers, tensors, torch.nn and your own module classes need none"
    )
    return sorted(needs)


def _is_own_class(name: str) -> bool:
    """Whether it is a class that a caller would hand in, rather than a function or a part of Python."""
    return isinstance(imported(name), type) and name.partition(".")[0] not in sys.stdlib_module_names


def _warn(message: str) -> None:
    warnings.warn(message, AgentNNWarning, stacklevel=5)  # the line that called log_model


def _requirements(needs: Iterable[str]) -> list[str]:
    """Pinned requirements. A local label such as ``+cpu`` is on no package index."""
    packages = {"agentnn", "numpy", "torch"}
    tops = {name.partition(".")[0] for name in needs} - packages - sys.stdlib_module_names - {"__main__"}
    if tops:
        owners = packages_distributions()
        packages.update(owner for top in tops for owner in owners.get(top, ()))
    found = []
    for name in sorted(packages):
        try:
            found.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:
            found.append(name)
    return found


def _save_example(directory: Path, input_example: Any) -> None:
    """Run the example through a copy of the module, so that no state of the module in training changes."""
    import numpy as np
    import torch

    try:
        array = _as_array(input_example)
        module = read_trusting(directory / MODULE_FILE, (), location=None)
        devices = {tensor.device.index for tensor in module.parameters() if tensor.device.type == "cuda"}
        with torch.random.fork_rng(devices=devices):
            output = _predict(module, array)
        np.save(directory / INPUT_FILE, array, allow_pickle=False)
        np.save(directory / OUTPUT_FILE, output, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary to the user's forward
        _warn(f"the model is saved without its input example, on which it fails: {type(error).__name__}: {error}")


def _predict(module: nn.Module, array: NDArray[np.generic]) -> NDArray[np.generic]:
    import torch

    batch = torch.tensor(array)
    weights = next((one for one in _tensors(module) if one.is_floating_point()), None)
    if weights is not None:
        batch = batch.to(weights.device, weights.dtype if batch.is_floating_point() else batch.dtype)
    module.eval()
    with torch.inference_mode():
        output = module(batch)
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, torch.Tensor):
        raise UsageError(f"the module gives a {type(output).__name__}, not a tensor")
    return _as_array(output)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _as_array(value: Any) -> NDArray[np.generic]:
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()  # numpy has no bfloat16
    array: NDArray[np.generic] = np.asarray(value)
    return array


# -- reading -----------------------------------------------------------------------------------------------
