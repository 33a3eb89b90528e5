"""Reading a pickled PyTorch module without running what its file says.

``torch.save`` pickles, and a pickle names classes and functions to call. Torch reads it with ``weights_only=True``,
which looks every name up in a list, and for a module class this list holds a blank in its place. Only when the whole
file has been read do the blanks take on their classes and states: no constructor is called with what a file says.
On the list are the module classes of ``torch.nn``, its activation functions, a few plain containers, and what the
program itself has given to ``torch.serialization.add_safe_globals``. A class of the user's own is taken when the caller
hands it in. That a class is imported already does not do: the file could choose among all that the process has, and
``torch.fx.GraphModule``, for one, compiles its state.
"""

from __future__ import annotations

import pickle
import sys
import zipfile
from argparse import Namespace
from threading import RLock
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from agentnn.errors import MissingDependencyError, NotFoundError, UnsafeError

if TYPE_CHECKING:
    import io
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from torch import nn

    State = tuple[Any, Any]
    """A blank, and the state that it gets when it has become a module."""

_SAFE_TORCH = (2, 10)
"""Before 2.6 a crafted file got around ``weights_only`` (CVE-2025-32434), before 2.10 it could corrupt memory
(CVE-2026-24747)."""

_ACTIVATIONS = (
    *("celu", "elu", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax"),
    *("logsigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softmin", "softplus", "softshrink"),
    *("softsign", "tanh", "tanhshrink"),
)
"""Functions of ``torch.nn.functional`` that compute a tensor from a tensor, and that modules keep as attributes."""

_CONTAINERS = (frozenset, Namespace, SimpleNamespace)
"""Plain containers that torch does not allow by itself."""

_TENSOR_FUNCTIONS = "torch._C._VariableFunctionsClass"
"""``torch.relu`` and its like are pickled as ``getattr(torch._C._VariableFunctionsClass, "relu")``."""

_one_at_a_time = RLock()  # torch keeps one list of allowed names for the whole process


def read_trusting(path: Path, classes: Sequence[type], location: str | None = "cpu") -> Any:
    """Unpickle: the file calls what it names."""
    import torch

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str, /) -> Any:
            given = _given(f"{module}.{name}", classes)
            return super().find_class(module, name) if given is None else given

    with_classes = ModuleType("pickle")
    vars(with_classes).update({**vars(pickle), "Unpickler": Unpickler})
    try:
        return torch.load(path, map_location=location, weights_only=False, pickle_module=with_classes)
    except (AttributeError, ModuleNotFoundError) as error:
        raise NotFoundError(
            f"{path} needs a class that is not here: {error}",
            hint="run where its file can be imported, or hand the class in: load_module(..., classes=[MyNet])",
        ) from error


def read_safely(path: Path, classes: Sequence[type]) -> Any:
    """Let torch read the file with blanks for modules, then let the blanks become what they stand for."""
    import torch

    if tuple(map(int, torch.__version__.split(".")[:2])) < _SAFE_TORCH:
        raise MissingDependencyError(
            f"torch {torch.__version__} can't read a model from elsewhere safely",
            hint="pip install -U 'torch>=2.10'; or, if you know who made the model: trust=True (--trust)",
        )
    states: list[State] = []
    with _one_at_a_time:
        names = _names(path) if zipfile.is_zipfile(path) else set()  # torch itself refuses a bare pickle
        allowed = _allowed(names, classes, states)
        if foreign := sorted(names - allowed.keys()):
            raise UnsafeError(
                f"{path} needs {', '.join(foreign)}, which loading would import",
                hint="hand your own classes in: load_module(..., classes=[MyNet]); "
                "or, if you know who made it: trust=True (--trust)",
            )
        with torch.serialization.safe_globals([(value, name) for name, value in allowed.items()]):
            module = torch.load(path, map_location="cpu", weights_only=True)
    seen: set[int] = set()
    for blank, state in states:
        object.__setattr__(blank, "__class__", blank.becomes)
        blank.__setstate__(_with_classes(state, seen))
    return module


def _with_classes(value: Any, seen: set[int]) -> Any:
    """The same value with classes where it holds their blanks: modules keep classes, such as ``nn.LayerNorm``, too."""
    if isinstance(value, type):
        return value.becomes if issubclass(value, _Blank) else value
    if type(value) in (tuple, set, frozenset):
        return type(value)(_with_classes(one, seen) for one in value)
    if isinstance(value, _Blank) or id(value) in seen:
        return value
    seen.add(id(value))
    if isinstance(value, list):
        value[:] = [_with_classes(one, seen) for one in value]
    elif isinstance(value, dict):
        for key, one in value.items():
            value[key] = _with_classes(one, seen)
    elif isinstance(value, (Namespace, SimpleNamespace)):
        _with_classes(vars(value), seen)
    return value


def _names(file: Path | io.BytesIO) -> set[str]:
    """What a file names that torch does not allow by itself; nothing is loaded."""
    import torch

    with _one_at_a_time:
        return set(torch.serialization.get_unsafe_globals_in_checkpoint(file))


def foreign_names(file: Path | io.BytesIO) -> set[str]:
    names = _names(file)
    return names - _allowed(names, (), []).keys()


def _allowed(names: set[str], classes: Sequence[type], states: list[State]) -> dict[str, Any]:
    """What to give torch for each name; names that are not allowed are missing."""
    from torch import nn

    plain = _plain_names()
    if _TENSOR_FUNCTIONS not in names:
        plain.pop("builtins.getattr")
    found: dict[str, Any] = {}
    for name in names:
        cls = _given(name, classes) or _torch_class(name)
        if cls is None and name in plain:
            found[name] = plain[name]
        elif cls is not None:
            found[name] = _blank(cls, states) if issubclass(cls, nn.Module) else cls
    return found


def _plain_names() -> dict[str, Any]:
    from torch.nn import functional

    functions = [getattr(functional, name) for name in _ACTIVATIONS]
    return {
        **{f"{one.__module__}.{one.__name__}": one for one in functions if one.__module__},
        **{full_name(one): one for one in _CONTAINERS},
        _TENSOR_FUNCTIONS: _TensorFunctions,
        "builtins.getattr": _tensor_function,
    }


class _TensorFunctions:
    """Stands for torch's class of that name, so that nothing else can be taken from it."""


def _tensor_function(owner: object, name: str) -> Any:
    """What ``getattr`` is in a file."""
    import torch

    if owner is not _TensorFunctions or name not in _ACTIVATIONS:
        raise pickle.UnpicklingError(f"the attribute {name!r} of something that is not allowed")
    return getattr(torch, name)


def _given(name: str, classes: Iterable[type]) -> type | None:
    """The class of that name; ``__main__`` is another file for each program, and so fits every module."""
    module, _, cls_name = name.rpartition(".")
    for cls in classes:
        if cls.__qualname__ == cls_name and (module == cls.__module__ or "__main__" in (module, cls.__module__)):
            return cls
    return None


def _torch_class(name: str) -> type[nn.Module] | None:
    from torch import nn

    cls = imported(name) if name.startswith("torch.nn.modules.") else None
    return cls if isinstance(cls, type) and issubclass(cls, nn.Module) and full_name(cls) == name else None


def imported(name: str) -> Any:
    """What is meant by a full name, if its module is imported already; never imports."""
    module, _, attribute = name.rpartition(".")
    return vars(sys.modules[module]).get(attribute) if module in sys.modules else None


def full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


class _Blank:
    """An object in the place of a module while a file is read."""

    becomes: type[nn.Module]


def _blank(cls: type[nn.Module], states: list[State]) -> type[_Blank]:
    """A class whose objects keep the state that they are given, and that can't be called."""

    class Blank(_Blank):
        becomes = cls

        def __init__(self, *args: object) -> None:
            raise pickle.UnpicklingError(f"the constructor of {cls.__name__} is called, which no saved module does")

        def __setstate__(self, state: Any) -> None:
            states.append((self, state))

    return Blank
