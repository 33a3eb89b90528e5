"""What a run logs as a file. It is copied into the run's folder at once, so that the caller may change or delete it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.errors import StoreUnavailable, UnsafeError, UsageError
from agentnn.extras import require
from agentnn.tracking.journal.state import make_private_folder
from agentnn.tracking.recorder import Recorder
from agentnn.values.logged import json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentnn.tracking.journal.state import RunFolder

_TABLES_TAG = "mlflow.loggedArtifacts"
"""Where MLflow's UI looks for the tables of a run."""


class FileRecorder(Recorder):
    """A recorder that logs files too.

    Args:
        folder: The run's folder; it must be there.
        name: What the run is called in messages.
    """

    def __init__(self, folder: RunFolder, name: str) -> None:
        super().__init__(folder.journal, name)
        self.folder = folder
        self._tables: list[str] = []

    def log_artifact(self, local_path: str | Path, artifact_path: str | None = None) -> None:
        """Log a file, or a folder under its own name.

        Args:
            local_path: The file; it is copied before the call returns.
            artifact_path: The folder in the run that it goes into; the run's root without one.

        Raises:
            UsageError: There is no such file.
            UnsafeError: ``artifact_path`` leaves the run's folder.
            StoreUnavailable: There is no room for the copy.
        """
        source = Path(local_path)
        if source.is_dir():
            self.log_artifacts(source, "/".join(filter(None, (artifact_path, source.resolve().name))))
            return
        if not source.is_file():
            raise UsageError(f"there is no file {source} to log", hint="check the path")
        self._attach(
            "file",
            _inside(artifact_path or "", source.name),
            lambda place: shutil.copyfile(source, place),
        )

    def log_artifacts(self, local_dir: str | Path, artifact_path: str | None = None) -> None:
        """Log everything in a folder; see :meth:`log_artifact`."""
        source = Path(local_dir)
        if not source.is_dir():
            raise UsageError(f"there is no folder {source} to log", hint="check the path")
        self._attach("folder", _inside(artifact_path or ""), lambda place: shutil.copytree(source, place))

    def log_text(self, text: str, artifact_file: str) -> None:
        """Log text as a file of the run.

        Args:
            text: Written as UTF-8.
            artifact_file: The file's path in the run, with ``/``.

        Raises:
            UnsafeError, StoreUnavailable: See :meth:`log_artifact`.
        """
        data = text.encode("utf-8", errors="surrogatepass")
        self._attach("file", _inside(artifact_file), lambda place: place.write_bytes(data))

    def log_dict(self, dictionary: Any, artifact_file: str) -> None:
        """Log a dict or a list as JSON, or as YAML where the file's name says so.

        Args:
            dictionary: What JSON does not know is written as Python prints it.
            artifact_file: The file's path in the run, such as ``config.json`` or ``config.yaml``.
        """
        text = json_text(dictionary)
        if artifact_file.endswith((".yaml", ".yml")):
            import json

            import yaml

            text = yaml.safe_dump(json.loads(text), sort_keys=False, allow_unicode=True)
        self.log_text(text, artifact_file)

    def log_table(
        self, data: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]] | Any, artifact_file: str
    ) -> None:
        """Log a table that MLflow's UI shows.

        Args:
            data: Columns by name, a list of rows, or a DataFrame.
            artifact_file: The file's path in the run; it ends with ``.json``, MLflow's format for tables: what
                ``DataFrame.to_json(orient="split", index=False)`` writes.

        Raises:
            UsageError: The file is no ``.json``, or the columns are not of one length.
        """
        if not artifact_file.endswith(".json"):
            raise UsageError(
                f"MLflow shows tables from .json files, not {artifact_file!r}", hint="log a CSV with log_artifact"
            )
        self.log_text(json_text(_split(data)), artifact_file)
        if artifact_file not in self._tables:
            self._tables.append(artifact_file)
        self.set_tags({_TABLES_TAG: [{"path": path, "type": "table"} for path in self._tables]})

    def log_figure(self, figure: Any, artifact_file: str) -> None:
        """Log a figure of Matplotlib or Plotly, or an image of Pillow, in the format that the file's name says.

        Args:
            figure: The figure; it stays as it is.
            artifact_file: The file's path in the run, such as ``equity.png`` or ``equity.html`` (Plotly).

        Raises:
            UsageError: It is no figure.
        """
        self._attach("file", _inside(artifact_file), lambda place: _draw(figure, place))

    def log_model(
        self,
        model: Any,
        artifact_path: str = "model",
        *,
        input_example: Any = None,
        pip_requirements: Sequence[str] | None = None,
    ) -> None:
        """Log a PyTorch module in a format that loads back, without running code, as a module that can train.

        Args:
            model: A ``torch.nn.Module``; it stays as it is.
            artifact_path: The model's folder in the run.
            input_example: A small batch; the signature is inferred from it and from what the model gives for it.
            pip_requirements: What the model needs, as lines of a requirements file; the installed versions of what its
                classes come from without it.

        Raises:
            UsageError: It is no module, or does not take the example.
            MissingDependencyError: torch is not installed.
        """
        require("torch", extra="train")
        from agentnn.tracking.models.torch_modules import save_module

        self._attach(
            "model",
            _inside(artifact_path),
            lambda place: save_module(place, model, input_example=input_example, pip_requirements=pip_requirements),
        )

    def log_saved_model(self, save: Callable[[Path], object], artifact_path: str = "model") -> None:
        """Log a model that brings its own way to be saved; MLflow's model folder is made of it when it is delivered.

        Args:
            save: Writes the model into a folder that is not there yet, as
                :func:`~agentnn.tracking.models.model_files.build_model_folder` reads it.
            artifact_path: The model's folder in the run.
        """
        self._attach("model", _inside(artifact_path), save)

    def _attach(self, kind: str, target: str, write: Callable[[Path], object]) -> None:
        """Have a file or folder written where it waits for delivery, then log it."""
        if self._ended:
            self._refuse()
        make_private_folder(self.folder.files)
        place = Path(tempfile.mkdtemp(dir=self.folder.files)) / (Path(target).name or "files")
        try:
            write(place)
        except OSError as error:
            shutil.rmtree(place.parent, ignore_errors=True)
            raise StoreUnavailable(
                f"{target or place.name} can't be kept for delivery: {error.strerror or error}",
                hint="check the free space, and that the file can be read",
            ) from error
        except BaseException:
            shutil.rmtree(place.parent, ignore_errors=True)
            raise
        self.append(kind, {"copy": f"{place.parent.name}/{place.name}", "target": target})


def _inside(path: str, *names: str) -> str:
    """A path in a run.

    Raises:
        UnsafeError: It leaves the run's folder.
    """
    from agentnn.stores.artifacts.folder import relative_path

    if "\0" in path or "\\" in path:
        raise UnsafeError(f"{path!r} is no path in a run", hint="write folders with /")
    relative = relative_path("/".join(filter(None, (path, *names))))
    return str(relative) if relative.parts else ""


def _split(data: Any) -> dict[str, Any]:
    """A table as pandas writes it with ``orient="split"`` and ``index=False``."""
    if hasattr(data, "to_dict"):
        data = data.to_dict(orient="list")
    if isinstance(data, dict):
        columns = {str(name): list(values) for name, values in data.items()}
        if len({len(values) for values in columns.values()}) > 1:
            lengths = ", ".join(f"{name}: {len(values)}" for name, values in columns.items())
            raise UsageError(f"the columns of the table differ in length ({lengths})")
        return {"columns": list(columns), "data": [list(row) for row in zip(*columns.values(), strict=True)]}
    rows = list(data)
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    return {"columns": names, "data": [[row.get(name) for name in names] for row in rows]}


def _draw(figure: Any, place: Path) -> None:
    if hasattr(figure, "savefig"):
        figure.savefig(place)
    elif hasattr(figure, "write_html"):
        if place.suffix == ".html":
            figure.write_html(place)
        else:
            figure.write_image(place)
    elif hasattr(figure, "save"):
        figure.save(place)
    else:
        raise UsageError(
            f"{type(figure).__name__} is no figure of Matplotlib or Plotly, and no image",
            hint="log other files with log_artifact",
        )
