"""Loading a model: from the registry, from a run, or from a folder of this machine; and recording that it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentnn.errors import UsageError
from agentnn.query.selectors import find_model_version, parse_model_uri
from agentnn.sdk.registry_questions import RegistryQuestions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentnn.records import ModelVersion
    from agentnn.registry.loading_record import ModelPlace

    Source = Literal["local", "registry", "run"]

EXPERIMENT = "model_loading"
"""The experiment of the runs that record what was loaded."""


class ModelLoading(RegistryQuestions):
    """The part of :class:`~agentnn.sdk.nn_models.ModelManager` that loads models."""

    def load_model(
        self,
        uri: str | Path,
        *,
        source: Source | None = None,
        trust: bool = True,
        track: bool = False,
        experiment: str = EXPERIMENT,
    ) -> Any:
        """Load a model for prediction.

        Args:
            uri: ``models:/NAME@ALIAS``, ``models:/NAME/3``, ``NAME``, ``runs:/RUN_ID/path``, or a folder's path that
                begins with ``/`` or ``./``. With ``source`` what is named there.
            source: ``registry``: a name, with an alias or a version where it is not the newest; ``run``: a run by any
                selector, such as ``@last``, whose model is the folder ``model``; ``local``: any path of a folder.
            trust: Whether a model may be loaded that runs code which it brings along, as pickled models do. The command
                line says no unless it is told otherwise.
            track: Whether a run records what was loaded: where it came from, its version, the digest of its files. One
                that can't be loaded is a failed run. A store that is down does not matter: the record waits.
            experiment: The experiment of that run.

        Returns:
            An ``mlflow.pyfunc.PyFuncModel``; its ``predict`` takes a DataFrame or an array.

        Raises:
            NotFoundError: There is no such model, or its files are gone.
            UnsafeError: Loading would run code, and ``trust`` is false.
            UsageError: There is no such ``source``, or the folder is no model's.
        """
        return self._loaded(lambda: self._place_of(str(uri), source), self._pyfunc_of(trust), track, experiment)

    def load_module(
        self,
        uri: str | Path,
        *,
        source: Source | None = None,
        classes: Iterable[type] = (),
        trust: bool = False,
        track: bool = False,
        experiment: str = EXPERIMENT,
    ) -> Any:
        """Load a PyTorch module that ``log_model`` saved, to train it further.

        Args:
            uri: As for :meth:`load_model`.
            source: Likewise.
            classes: Classes of your own that the module is made of; those of ``torch.nn`` need not be named.
            trust: Whether the file may import and call whatever it names, as pickled models do.
            track: As for :meth:`load_model`.
            experiment: Likewise.

        Returns:
            The ``torch.nn.Module``, on the CPU.

        Raises:
            NotFoundError: There is no such model, or its files are gone.
            UnsafeError: The module needs more than torch and ``classes``, and ``trust`` is false.
            UsageError: The model was not saved by ``log_model``, or there is no such ``source``.
            MissingDependencyError: torch is not installed.
        """

        def load(folder: Path) -> Any:
            from agentnn.stores.mlflow.models import module_files
            from agentnn.tracking.models.torch_modules import load_module

            return load_module(module_files(folder), classes=classes, trust=trust)

        return self._loaded(lambda: self._place_of(str(uri), source), load, track, experiment)

    def load_model_from_registry(
        self,
        name: str,
        stage: str | int,
        *,
        trust: bool = True,
        track: bool = False,
        experiment: str = EXPERIMENT,
    ) -> Any:
        """Load a registered model by a stage, an alias or a version number; see :meth:`load_model`.

        Args:
            name: The model's name.
            stage: ``Production`` or another stage, an alias, or a version number.
            trust, track, experiment: See :meth:`load_model`.

        Raises:
            NotFoundError: There is no such model or version, or no files of it.
        """

        def place() -> ModelPlace:
            return _of_version(f"models:/{name}/{stage}", self.get_model_version(name, stage))

        return self._loaded(place, self._pyfunc_of(trust), track, experiment)

    def _pyfunc_of(self, trust: bool) -> Callable[[Path], Any]:
        def load(folder: Path) -> Any:
            from agentnn.stores.mlflow.models import load_pyfunc

            return load_pyfunc(folder, self.settings, trust=trust)

        return load

    def _loaded(
        self, place_of: Callable[[], ModelPlace], load: Callable[[Path], Any], track: bool, experiment: str
    ) -> Any:
        """What ``load`` makes of the files at a place; recorded, where that is asked for."""
        from agentnn.registry.loading_record import recorded
        from agentnn.stores.mlflow.model_places import model_folder

        with recorded(self.settings, experiment if track else None) as record:
            place = place_of()
            record.begins(place)
            folder = model_folder(place.location, self.settings) if place.folder is None else _checked(place.folder)
            record.found(folder)
            return load(folder)

    def _place_of(self, uri: str, source: str | None) -> ModelPlace:
        """Where the files of a model lie.

        Raises:
            NotFoundError: There is no such model or run.
            UsageError: There is no such source.
        """
        from agentnn.registry.loading_record import ModelPlace

        if source not in (None, "local", "registry", "run"):
            raise UsageError(f"there is no source {source!r} of models", hint="one of local, registry, run")
        if uri.startswith("runs:/") and source in (None, "run"):
            return ModelPlace("run", uri, uri, {"run_id": uri.removeprefix("runs:/").strip("/").partition("/")[0]})
        if source == "run":
            run = self._find_run(uri)
            return ModelPlace("run", uri, f"runs:/{run.run_id}/model", {"run_id": run.run_id, "run_name": run.name})
        if source == "local":
            from agentnn.stores.artifacts.places import local_folder

            folder = local_folder(uri) if uri.startswith("file:") else Path(uri).expanduser().absolute()
            return ModelPlace("local", uri, str(folder), folder=folder)
        if source is None and uri.startswith(("file:", "/", "./")):
            return ModelPlace("local", uri, uri)
        return _of_version(uri, find_model_version(parse_model_uri(uri), self._registry))


def _checked(folder: Path) -> Path:
    from agentnn.registry.files import check_model_folder

    return check_model_folder(folder)


def _of_version(uri: str, version: ModelVersion) -> ModelPlace:
    from agentnn.registry.loading_record import ModelPlace

    facts = {"model": version.name, "version": version.version, "run_id": version.run_id}
    return ModelPlace("registry", uri, version.source or "", facts)
