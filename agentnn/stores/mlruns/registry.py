"""The registered models of a folder of runs: a folder for each in ``models``, and one in it for each version."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentnn.errors import CorruptDataError, UsageError
from agentnn.records import PROMPT_TAG, ModelVersion, RegisteredModel
from agentnn.stores.mlruns.layout import MODELS, TAGS
from agentnn.stores.mlruns.place import mlruns_folder
from agentnn.stores.mlruns.reading import Damage, names_in, read_meta, read_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentnn.settings import Settings

_ALIASES, _VERSION = "aliases", "version-"
_DELETED_STAGE = "Deleted_Internal"


class MlrunsRegistry:
    """Reads the models of a folder of runs; see :class:`~agentnn.stores.base.ModelRegistry`.

    What can't be read is left out and warned of, once.

    Args:
        settings: Name the folder, as the registry's URI.

    Raises:
        UsageError: The URI names no folder.
    """

    def __init__(self, settings: Settings) -> None:
        folder = mlruns_folder(replace(settings, tracking_uri=settings.registry_uri))
        if folder is None:
            raise UsageError(f"{settings.registry_uri} is no folder of runs", hint="check MLFLOW_REGISTRY_URI")
        self._models = str(folder.absolute() / MODELS)
        self._damage = Damage()

    def list_models(self) -> list[RegisteredModel]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        found = (self._model(folder) for folder in names_in(self._models, self._damage))
        return sorted((one for one in found if one is not None), key=lambda one: one.name)

    def find_model(self, name: str) -> RegisteredModel | None:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        return self._model(name) if _is_name(name) else None

    def list_model_versions(self, name: str) -> list[ModelVersion]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        return self._versions(name) if _is_name(name) else []

    def versions_of_runs(self, run_ids: Sequence[str]) -> list[ModelVersion]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        wanted = set(run_ids)
        found = [
            one for name in names_in(self._models, self._damage) for one in self._versions(name) if one.run_id in wanted
        ]
        return sorted(found, key=lambda one: (one.name, -one.version))

    def _model(self, name: str) -> RegisteredModel | None:
        meta = self._meta(name)
        tags = read_texts(f"{self._models}/{name}/{TAGS}", None, self._damage)
        if meta is None or PROMPT_TAG in tags:
            return None
        versions = self._versions(name)
        stages: dict[str, int] = {}
        for one in versions:
            if one.stage != "None":
                stages.setdefault(one.stage, one.version)
        return RegisteredModel(
            name,
            meta.get("description") or None,
            meta.get("creation_timestamp"),
            meta.get("last_updated_timestamp"),
            latest_version=max((one.version for one in versions), default=None),
            version_count=len(versions),
            aliases=dict(sorted(self._aliases(name).items())),
            stages=stages,
            tags=tags,
        )

    def _versions(self, name: str) -> list[ModelVersion]:
        """The versions of a model, the newest first."""
        held: dict[int, list[str]] = {}
        for alias, number in self._aliases(name).items():
            held.setdefault(number, []).append(alias)
        folders = names_in(f"{self._models}/{name}", self._damage)
        numbers = _numbers(one.removeprefix(_VERSION) for one in folders if one.startswith(_VERSION))
        found = (self._version(name, number, tuple(sorted(held.get(number, ())))) for number in numbers)
        return [one for one in found if one is not None and PROMPT_TAG not in one.tags]

    def _version(self, name: str, number: int, aliases: tuple[str, ...]) -> ModelVersion | None:
        folder = f"{name}/{_VERSION}{number}"
        meta = self._meta(folder)
        if meta is None or meta.get("current_stage") == _DELETED_STAGE:
            return None
        return ModelVersion(
            name,
            number,
            meta.get("current_stage") or "None",
            aliases,
            meta.get("status") or "READY",
            meta.get("source"),
            meta.get("run_id") or None,
            meta.get("description") or None,
            meta.get("user_id") or None,
            meta.get("creation_timestamp"),
            meta.get("last_updated_timestamp"),
            read_texts(f"{self._models}/{folder}/{TAGS}", None, self._damage),
        )

    def _aliases(self, name: str) -> dict[str, int]:
        texts = read_texts(f"{self._models}/{name}/{_ALIASES}", None, self._damage)
        return {alias: int(text) for alias, text in texts.items() if text.isdecimal()}

    def _meta(self, folder: str) -> dict[str, Any] | None:
        try:
            return read_meta(f"{self._models}/{folder}")
        except CorruptDataError as error:
            self._damage.tell(error.message)
            return None


def _is_name(name: str) -> bool:
    """Whether a model could have this name, which is that of its folder."""
    return bool(name.strip()) and name not in (".", "..") and not set(name) & set("/:\0")


def _numbers(texts: Iterable[str]) -> list[int]:
    return sorted((int(text) for text in texts if text.isdecimal()), reverse=True)
