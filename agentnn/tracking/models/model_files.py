"""Model directories in MLflow's format."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agentnn.errors import NotFoundError
from agentnn.tracking.models.torch_modules import DESCRIPTION_FILE, INPUT_FILE, OUTPUT_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def save_pyfunc_model(
    directory: Path,
    *,
    loader_module: str,
    data_path: Path,
    pip_requirements: Sequence[str],
    input_example: NDArray[np.generic] | None = None,
    output_example: NDArray[np.generic] | None = None,
    model_config: Mapping[str, Any] | None = None,
    flavors: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write a model directory that ``mlflow.pyfunc.load_model`` reads, without pickle.

    The signature comes from the two examples, with any number of samples. The requirements are always given:
    left to itself, MLflow imports the model in a new process to find them, which takes some 14 s.

    Args:
        directory: Where to write; it must be empty or not be there yet.
        loader_module: The module whose ``_load_pyfunc(data_path)`` gives an object with ``predict``.
        data_path: The model's own file or directory; it is copied into ``data/`` under its name.
        pip_requirements: What ``loader_module`` needs, as lines of a requirements file.
        input_example: A small batch of inputs, samples first; saved with the model. Without one there is no signature.
        output_example: What the model gives for it.
        model_config: Defaults that ``mlflow.pyfunc.load_model`` may override; the loader gets them as its second
            argument.
        flavors: MLflow's other ways to load the same files, by name.
    """
    # MLflow takes 2 s to import, and who only lists runs never saves a model.
    from mlflow.models import Model, infer_signature
    from mlflow.pyfunc import save_model

    model = Model()
    for name, settings in (flavors or {}).items():
        model.add_flavor(name, **settings)
    save_model(
        path=str(directory),
        loader_module=loader_module,
        data_path=str(data_path),
        signature=None if input_example is None else infer_signature(input_example, output_example),
        input_example=input_example,
        pip_requirements=list(pip_requirements),
        model_config=None if model_config is None else dict(model_config),
        mlflow_model=model,
    )


def build_model_folder(saved: Path, target: Path) -> None:
    """Make MLflow's model folder of a saved model.

    It is one that :func:`agentnn.tracking.models.torch_modules.save_module` wrote, or a folder that tells itself how it
    is loaded: its ``module.json`` names ``loader_module``, ``data`` (a file or folder beside it) and
    ``pip_requirements``. torch is not imported. ``mlflow.pyfunc.load_model`` reads what comes out with agentnn's
    loader, which runs no code from it; that of a module does where it is told ``model_config={"trust": True}``, and
    ``mlflow.pytorch.load_model`` gives the module by unpickling.

    Args:
        saved: The directory of the saved model.
        target: Where to write; it must be empty or not be there yet.

    Raises:
        NotFoundError: ``saved`` is no saved model.
    """
    try:
        description = json.loads((saved / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError(f"no saved PyTorch module in {saved}: {DESCRIPTION_FILE} is missing") from error
    loader = description.get("loader_module")
    as_torch = {"model_data": f"data/{saved.name}", "pytorch_version": description.get("torch"), "code": None}
    save_pyfunc_model(
        target,
        loader_module=loader or "agentnn.tracking.models.torch_modules",
        data_path=saved if loader is None else saved / description["data"],
        pip_requirements=description["pip_requirements"],
        input_example=_array(saved / INPUT_FILE),
        output_example=_array(saved / OUTPUT_FILE),
        model_config={"trust": False} if loader is None else None,
        flavors={"pytorch": as_torch} if loader is None else None,
    )


def _array(path: Path) -> NDArray[np.generic] | None:
    import numpy as np  # with MLflow, not before

    if not path.is_file():
        return None
    array: NDArray[np.generic] = np.load(path, allow_pickle=False)
    return array
