"""Model directories in MLflow's format."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def save_pyfunc_model(
    directory: Path,
    *,
    loader_module: str,
    data_path: Path,
    input_example: NDArray[np.generic],
    output_example: NDArray[np.generic],
    pip_requirements: Sequence[str],
) -> None:
    """Write a model directory that ``mlflow.pyfunc.load_model`` reads, without pickle.

    The signature comes from the two examples, with any number of samples. The requirements are always given:
    left to itself, MLflow imports the model in a new process to find them, which takes some 14 s.

    Args:
        directory: Where to write; it must be empty or not be there yet.
        loader_module: The module whose ``_load_pyfunc(data_path)`` gives an object with ``predict``.
        data_path: The model's own file or directory; it is copied.
        input_example: A small batch of inputs, samples first; saved with the model.
        output_example: What the model gives for it.
        pip_requirements: What ``loader_module`` needs, as lines of a requirements file.
    """
    # MLflow takes 2 s to import, and who only lists runs never saves a model.
    from mlflow.models import infer_signature
    from mlflow.pyfunc import save_model

    save_model(
        path=str(directory),
        loader_module=loader_module,
        data_path=str(data_path),
        signature=infer_signature(input_example, output_example),
        input_example=input_example,
        pip_requirements=list(pip_requirements),
    )
