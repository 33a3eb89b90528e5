"""Questions about registered models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.errors import NotFoundError, command
from agentnn.query.selectors import find_model_version, not_found, parse_model_uri
from agentnn.sdk.store_access import StoreAccess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.records import ModelVersion, RegisteredModel
    from agentnn.stores.mlflow.models import ModelCheck


class RegistryQuestions(StoreAccess):
    """The half of :class:`~agentnn.sdk.nn_models.ModelManager` that asks about registered models."""

    def list_models(self, *, with_metrics: bool = False) -> list[RegisteredModel]:
        """The registered models by name, with their aliases and stages.

        Args:
            with_metrics: Whether to look up the metrics of each newest version's run.
        """
        models = self._registry.list_models()
        if not with_metrics:
            return models
        newest = {
            one.name: one.run_id for model in models for one in self._registry.list_model_versions(model.name)[:1]
        }
        metrics = self._metrics_of(list(newest.values()))
        return [one._replace(metrics=metrics.get(newest.get(one.name), {})) for one in models]

    def get_model(self, name: str) -> RegisteredModel:
        """One registered model.

        Raises:
            NotFoundError: There is none of that name; the error offers the nearest.
        """
        found = self._registry.find_model(name)
        if found is None:
            raise not_found("model", name, [one.name for one in self.list_models()], listing="agentnn model list")
        return found

    def list_model_versions(self, name: str, *, with_metrics: bool = False) -> list[ModelVersion]:
        """The versions of a model, newest first.

        Args:
            name: The model.
            with_metrics: Whether to look up the metrics of the versions' runs.

        Raises:
            NotFoundError: There is no such model.
        """
        versions = self._registry.list_model_versions(name)
        if not versions:
            known = [one.name for one in self._registry.list_models()]
            if name not in known:
                raise not_found("model", name, known, listing="agentnn model list")
        if with_metrics:
            metrics = self._metrics_of([one.run_id for one in versions])
            versions = [one._replace(metrics=metrics.get(one.run_id, {})) for one in versions]
        return versions

    def get_model_version(self, name: str, version: str | int | None = None) -> ModelVersion:
        """One version of a model.

        Args:
            name: The model's name, or a whole ``models:/`` URI.
            version: A version number, an alias or a stage; the newest version when it is left out.

        Raises:
            NotFoundError: There is no such model or version.
        """
        if version is None:
            plain = self._registry.list_model_versions(name)
            if plain:  # the name itself may hold an @ or a slash
                return plain[0]
            return find_model_version(parse_model_uri(name), self._registry)
        versions = self.list_model_versions(name)
        wanted = str(version)
        chosen = next((one for one in versions if str(one.version) == wanted or wanted in one.aliases), None)
        chosen = chosen or next((one for one in versions if one.stage.lower() == wanted.lower()), None)
        if chosen is None:
            raise NotFoundError(
                f"the model {name!r} has no version, alias or stage {wanted!r}", hint=command("model", "versions", name)
            )
        return chosen

    def check_model(self, uri: str, *, trust: bool = False) -> ModelCheck:
        """Prove that a model loads: flavors, signature, size, and its prediction for its own input example.

        Args:
            uri: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, a ``runs:/`` URI or a folder.
            trust: Whether to load it where that runs code out of its files.

        Raises:
            NotFoundError: There is no such model, or no files of it.
            UnsafeError: Loading it would run code, and it was not trusted.
            CorruptDataError: It does not load, or does not predict.
        """
        from agentnn.registry.files import fetched
        from agentnn.stores.mlflow.models import check_model

        with fetched(self._model_source(uri), self.settings) as folder:
            return check_model(uri, folder, self.settings, trust=trust)

    def _metrics_of(self, run_ids: Sequence[str | None]) -> dict[str | None, Mapping[str, float]]:
        found = self._store.find_runs([run_id for run_id in dict.fromkeys(run_ids) if run_id])
        return {run.run_id: run.metrics for run in found}

    def _model_source(self, uri: str) -> str:
        """Where the files of a model lie; a ``runs:/`` URI or a path says so itself."""
        if uri.startswith(("runs:/", "file:", "/", "./")):
            return uri
        return find_model_version(parse_model_uri(uri), self._registry).source or ""
