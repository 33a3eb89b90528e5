"""Saved models: what they say of themselves, and whether loading them runs foreign code."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, CorruptDataError, UnsafeError, UsageError
from agentnn.stores.mlflow.calls import mlflow_call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from agentnn.settings import Settings

_TORCH_LOADER = "agentnn.tracking.models.torch_modules"
_OWN_LOADERS = (
    "agentnn.training.networks",
    "agentnn.nn_models.architecture.files",
    "agentnn.nn_models.multi_task.files",
    _TORCH_LOADER,
)
"""Loaders that run no code from the model's folder; that of PyTorch modules may be told to, by its ``trust``."""


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What was seen when a model was loaded and tried.

    Attributes:
        uri: The model.
        flavors: MLflow's names for the ways to load it.
        inputs, outputs: The signature's columns or tensors, as text; empty without a signature.
        size: Bytes of all files.
        files: How many files.
        load_s: Seconds to load.
        example_rows: Rows of the input example; ``None`` without one.
        prediction: The prediction for the input example, as nested lists; ``None`` without one.
    """

    uri: str
    flavors: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    size: int
    files: int
    load_s: float
    example_rows: int | None = None
    prediction: Any = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "uri": self.uri,
            "flavors": list(self.flavors),
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "size": self.size,
            "files": self.files,
            "load_s": self.load_s,
            "example_rows": self.example_rows,
            "prediction": self.prediction,
        }


def load_pyfunc(folder: Path, settings: Settings, *, trust: bool, name: str = "") -> Any:
    """Load a model as MLflow's ``PyFuncModel``.

    Args:
        folder: Where its files are.
        settings: Name the store.
        trust: Whether it may run code which it brings along.
        name: What to call it where it can't be loaded; by its folder otherwise.

    Raises:
        UnsafeError: Loading runs code from the model's folder, and ``trust`` does not allow it.
        CorruptDataError: The model can't be loaded.
    """
    description = _description(folder)
    called = name or f"the model in {folder}"
    if not trust and not _runs_no_foreign_code(description):
        flavors = ", ".join(sorted(description.get("flavors", {})))
        raise UnsafeError(
            f"loading {called} runs code that it brings along ({flavors})",
            hint="if you know who made it: --trust",
        )
    with mlflow_call(settings), _foreign_code(f"{called} can't be loaded"):
        import mlflow.pyfunc

        # Said in any case: the folder and the environment could say otherwise.
        config = {"trust": trust} if _loader(description) == _TORCH_LOADER else None
        return mlflow.pyfunc.load_model(str(folder), model_config=config)


def module_files(folder: Path) -> Path:
    """Where in a model's folder the files are that ``log_model`` wrote for a PyTorch module.

    Raises:
        UsageError: The model was saved in some other way.
        UnsafeError: The model says that its files are outside its folder.
    """
    description = _description(folder)
    if _loader(description) != _TORCH_LOADER:
        raise UsageError(
            f"the model in {folder} is not a PyTorch module that log_model saved", hint="load_model loads it to predict"
        )
    files = folder / str(_pyfunc(description).get("data", ""))
    if not files.resolve().is_relative_to(folder.resolve()):
        raise UnsafeError(f"the model in {folder} wants a file from outside its folder")
    return files


def check_model(uri: str, folder: Path, settings: Settings, *, trust: bool) -> ModelCheck:
    """Load a model, run it on its own input example, and say what was seen.

    Raises:
        UnsafeError, CorruptDataError: see :func:`load_pyfunc`.
    """
    started = time.perf_counter()
    model = load_pyfunc(folder, settings, trust=trust, name=uri)
    load_s = time.perf_counter() - started
    example = model.input_example
    with _foreign_code(f"{uri} loads, but fails on its own input example"):
        prediction = None if example is None else model.predict(example)
    sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    signature = model.metadata.signature
    return ModelCheck(
        uri=uri,
        flavors=tuple(sorted(model.metadata.flavors)),
        inputs=_schema(signature and signature.inputs),
        outputs=_schema(signature and signature.outputs),
        size=sum(sizes),
        files=len(sizes),
        load_s=load_s,
        example_rows=None if example is None else len(example),
        prediction=_plain(prediction),
    )


def predict(model: Any, data: Any, settings: Settings) -> Any:
    """What a loaded model says of some input.

    Raises:
        UsageError: MLflow refuses the input: it does not fit the model's signature.
        CorruptDataError: The model itself fails.
    """
    with mlflow_call(settings), _foreign_code("the model fails on this input", of_mlflow=False):
        return model.predict(data)


@contextmanager
def _foreign_code(failure: str, *, of_mlflow: bool = True) -> Iterator[None]:
    """Run code that came with a model: it may raise anything, and whatever it is means that the model is unusable.

    Args:
        failure: What it means.
        of_mlflow: Whether MLflow's own errors mean so, too.
    """
    try:
        yield
    except (AgentNNError, ModuleNotFoundError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - the boundary to code that is not ours
        if not of_mlflow and type(error).__module__.startswith("mlflow."):
            raise
        raise CorruptDataError(f"{failure}: {type(error).__name__}: {error}") from error


def flavors_of(folder: Path) -> tuple[str, ...]:
    """MLflow's names for the ways to load the model in a folder.

    Raises:
        CorruptDataError: It does not say so.
    """
    flavors = _description(folder).get("flavors")
    return tuple(sorted(map(str, flavors))) if isinstance(flavors, dict) else ()


def _description(folder: Path) -> Mapping[str, Any]:
    import yaml

    try:
        found = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CorruptDataError(f"{folder / 'MLmodel'} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise CorruptDataError(f"{folder / 'MLmodel'} does not describe a model")
    return found


def _runs_no_foreign_code(description: Mapping[str, Any]) -> bool:
    """Whether MLflow's pyfunc loader, which looks at no flavor but its own, gets no further than a loader of ours."""
    pyfunc = _pyfunc(description)
    return (
        _loader(description) in _OWN_LOADERS
        and set(description["flavors"]) <= {"python_function", "pytorch"}
        and pyfunc.get("predict_fn", "predict") == "predict"
        and not pyfunc.get("code")
    )


def _loader(description: Mapping[str, Any]) -> str:
    return str(_pyfunc(description).get("loader_module"))


def _pyfunc(description: Mapping[str, Any]) -> Mapping[str, Any]:
    flavors = description.get("flavors")
    pyfunc = flavors.get("python_function") if isinstance(flavors, dict) else None
    return pyfunc if isinstance(pyfunc, dict) else {}


def _schema(schema: Any) -> tuple[str, ...]:
    return () if schema is None else tuple(repr(one).strip() for one in schema.inputs)


def _plain(value: Any) -> Any:
    """A prediction as JSON can hold it: arrays and frames as lists, what is not finite as ``None``."""
    if hasattr(value, "to_dict"):
        return _plain(value.to_dict(orient="list") if hasattr(value, "columns") else value.to_list())
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
