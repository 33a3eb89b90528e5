"""Registering, fetching, using and deleting model versions."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agentnn.errors import ConflictError, NotFoundError, UsageError
from agentnn.query.selectors import find_model_version, nearest, parse_model_uri
from agentnn.sdk.registry_promotion import RegistryPromotion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.records import ModelVersion
    from agentnn.registry.deletion import ModelDeletion
    from agentnn.registry.files import Download
    from agentnn.registry.predictions import Predictions


class RegistryLifecycle(RegistryPromotion):
    """The part of :class:`~agentnn.sdk.nn_models.ModelManager` that makes, uses and deletes model versions."""

    def register_model(
        self,
        name: str,
        run: str | Path,
        *,
        artifact_path: str = "model",
        alias: str | None = None,
        tags: Mapping[str, str] | None = None,
        description: str | None = None,
    ) -> ModelVersion:
        """Register a model that a run has stored, or that lies in a folder.

        A folder's files are copied into the store, as artifacts of a run that is made to hold them, so that the version
        depends on no folder of yours.

        Args:
            name: The registered model; it is made when there is none.
            run: The run that holds the model, by a selector, or the path of a folder with an ``MLmodel`` file. Text
                with a ``/`` is a path, unless it begins with ``models:/``; so is a folder's name if a model is in it.
            artifact_path: The model's folder in the run.
            alias: An alias to move to the new version; that goes into the history.
            tags: Tags of the version.
            description: What the version is, in words.

        Raises:
            UsageError: The alias is reserved, the folder holds no model, MLflow refuses the name, or the store is one
                of TOML runs.
            NotFoundError: There is no such run or folder, or the run has no such model.
            ConflictError: Somebody else moved the alias at the same time; the version was made all the same.
        """
        from agentnn.registry.channels import alias_channel
        from agentnn.registry.registration import ARTIFACT_PATH, check_model_name, check_registrable, holding_run

        check_model_name(name)
        check_registrable(self.settings)
        channel = None if alias is None else alias_channel(alias)
        folder = _as_folder(run)
        with ExitStack() as stack:
            if folder is not None:
                run_id, path = stack.enter_context(holding_run(folder, name, self.settings)), ARTIFACT_PATH
            else:
                run_id, path = self._run_with_model(str(run), artifact_path), artifact_path
            version = self._registry_changes().create_version(name, run_id, path, tags=tags, description=description)
        if channel is not None:
            from agentnn.registry.moving import Move

            self._carry_out(Move(name, channel, "register", version, self._ledger(name, channel), run_id=run_id))
        return self.get_model_version(name, version)

    def download_model(self, model: str, to: str | Path | None = None, *, force: bool = False) -> Download:
        """Put the files of a version into a folder, which appears as a whole or not at all.

        Args:
            model: ``NAME``, ``NAME@ALIAS``, ``NAME/3``, or the same behind ``models:/``.
            to: The folder; ``NAME-VERSION`` in the working directory otherwise.
            force: Write into a folder that is not empty. Files of the model take the place of those of the same name;
                nothing else in the folder is touched.

        Raises:
            NotFoundError: There is no such version, or its files are gone.
            ConflictError: The folder is not empty.
            UnsafeError: The store names a file, or a file is a link, outside the model's folder.
        """
        from agentnn.registry.files import download

        found = find_model_version(parse_model_uri(model), self._registry)
        target = Path(to) if to is not None else Path(f"{found.name}-{found.version}".replace("/", "_"))
        return download(_uri(found), found.source or "", self.settings, target, force=force)

    def predict_model(self, model: str, data: str | Path, *, trust: bool = False) -> Predictions:
        """Load a version and let it predict the rows of a file.

        Args:
            model: As for :meth:`download_model`.
            data: A CSV file with a header, a JSON file in one of MLflow's forms (``dataframe_split``,
                ``dataframe_records``, ``inputs``, ``instances``), or ``-`` for standard input.
            trust: Whether a model may be loaded that runs code which it brings along.

        Raises:
            NotFoundError: There is no such version or file.
            UsageError: The input does not fit the model's signature; missing columns are named.
            UnsafeError: Loading would run code, and ``trust`` is false.
            CorruptDataError: The model can't be loaded, or fails.
        """
        from agentnn.registry.files import fetched
        from agentnn.registry.predictions import as_predictions, fitted, read_input
        from agentnn.stores.mlflow.models import load_pyfunc, predict

        found = find_model_version(parse_model_uri(model), self._registry)
        table = read_input(str(data))
        with fetched(found.source or "", self.settings) as folder:
            loaded = load_pyfunc(folder, self.settings, trust=trust, name=_uri(found))
            signature = loaded.metadata.signature
            return as_predictions(_uri(found), predict(loaded, fitted(table, signature), self.settings), signature)

    def delete_model(
        self,
        name: str,
        versions: Sequence[str | int] = (),
        *,
        force: bool = False,
        dry_run: bool = False,
    ) -> ModelDeletion:
        """Delete versions of a model, or the whole model, for good: MLflow has no way back. Files and runs stay.

        An alias of a deleted version is taken away first, and that goes into the history.

        Args:
            name: The model.
            versions: Version numbers, ``@alias`` or ``latest``; the whole model without any.
            force: Delete versions, too, that hold an alias or are in Staging or Production.
            dry_run: Only say what would be deleted.

        Raises:
            NotFoundError: There is no such model or version.
            ConflictError: A version holds an alias or such a stage, and ``force`` is false; nothing was deleted.
        """
        from agentnn.registry.deletion import ModelDeletion, in_use_words
        from agentnn.registry.ledger import all_entries

        model = self.get_model(name)
        every = self._registry.list_model_versions(name)
        numbers = {self._version(name, one).version for one in versions}
        chosen = tuple(one for one in every if not numbers or one.version in numbers)
        plan = ModelDeletion(name, not numbers, chosen, len(all_entries(model.tags)) if not numbers else 0)
        if dry_run:
            return plan
        if plan.in_use and not force:
            raise ConflictError(
                f"{in_use_words(plan.in_use)}: nothing was deleted", hint="move the alias first, or --force"
            )
        if plan.whole:
            self._registry_changes().delete_model(name)
        else:
            self._delete_versions(plan)
        return replace(plan, deleted=True)

    def _delete_versions(self, plan: ModelDeletion) -> None:
        from agentnn.registry.channels import Channel
        from agentnn.registry.moving import Move

        writer = self._registry_changes()
        for one in plan.versions:
            for alias in one.aliases:
                channel = Channel(alias)
                reason = f"version {one.version} was deleted"
                self._carry_out(Move(plan.model, channel, "delete", None, self._ledger(plan.model, channel), reason))
            writer.delete_version(plan.model, one.version)

    def _run_with_model(self, selector: str, artifact_path: str) -> str:
        """The id of a run that holds a model under a path."""
        run = self._find_run(selector)
        what = f"the run {run.name or run.run_id}"
        try:
            names = {one.path.rpartition("/")[2] for one in self._store.list_artifacts(run, artifact_path)}
        except NotFoundError as error:
            folders = [one.path for one in self._store.list_artifacts(run) if one.is_dir]
            near = nearest(artifact_path, folders) or tuple(folders[:3])
            hint = f"--path {near[0]}?" if near else "log a model first, or register a folder"
            raise NotFoundError(f"{what} has no {artifact_path!r}", candidates=near, hint=hint) from error
        if "MLmodel" not in names:
            raise UsageError(f"{artifact_path!r} of {what} is no model: there is no MLmodel file in it", hint="--path")
        return run.run_id


def _as_folder(text: str | Path) -> Path | None:
    """The folder that is meant; ``None`` for a run's selector."""
    if isinstance(text, Path):
        return text.expanduser()
    if text.startswith(("models:/", "@")):
        return None
    path = Path(text).expanduser()
    is_path = "/" in text or text in (".", "..") or (path / "MLmodel").is_file()
    return path if is_path else None


def _uri(version: ModelVersion) -> str:
    return f"models:/{version.name}/{version.version}"
