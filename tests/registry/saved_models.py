"""Model folders for the tests of the registry, built by MLflow: one that is safe, one that is pickled, broken ones."""

from __future__ import annotations

import shutil
import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ("open", "close")


def build_safe(folder: Path) -> Path:
    """A PyTorch module that adds two numbers, in agentnn's own format, with an input example of three rows."""
    import torch

    from agentnn.tracking.models.model_files import build_model_folder
    from agentnn.tracking.models.torch_modules import save_module

    module = torch.nn.Sequential(torch.nn.Linear(2, 1))
    with torch.no_grad():
        module[0].weight[:] = 1.0
        module[0].bias[:] = 0.0
    save_module(folder / "saved", module, input_example=np.ones((3, 2), dtype=np.float32))
    build_model_folder(folder / "saved", folder / "safe")
    return folder / "safe"


def build_pickled(folder: Path) -> Path:
    """A model of Python code, which MLflow pickles; its signature has named columns, and it has no input example."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    class Spread(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return model_input["close"] - model_input["open"]

    signature = ModelSignature(
        inputs=Schema([ColSpec("double", name) for name in COLUMNS]), outputs=Schema([ColSpec("double", "spread")])
    )
    target = folder / "pickled"
    with warnings.catch_warnings(action="ignore"):  # MLflow would like an input example
        mlflow.pyfunc.save_model(str(target), python_model=Spread(), signature=signature, pip_requirements=[])
    return target


def build_broken(safe: Path, folder: Path) -> Path:
    """The safe model with weights that end in the middle."""
    target = folder / "broken"
    shutil.copytree(safe, target)
    (weights,) = target.rglob("model.pth")
    weights.write_bytes(weights.read_bytes()[:200])
    return target
