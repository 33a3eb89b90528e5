"""Writing to the model registry through MLflow's own client, one method a request.

Stages are deprecated in MLflow and still work; their warnings are for those who write code, and are kept from who
only runs a command.
"""

from __future__ import annotations

import time
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, ConflictError, NotFoundError, StoreUnavailable
from agentnn.records import RegisteredModel
from agentnn.settings import toml_folder
from agentnn.stores.artifacts.folder import local_folder
from agentnn.stores.mlflow.calls import TIMEOUT_S, mlflow_call
from agentnn.stores.mlflow.client import check_before_writing, find_logged_model, make_client
from agentnn.stores.mlflow.registry import search_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from mlflow import MlflowClient

    from agentnn.settings import Settings

_ATTEMPTS, _PAUSE_S = 20, 0.02
"""How often a folder is asked again that somebody else is changing."""


class MlflowRegistryChanges:
    """Writes to a registry that MLflow knows; see :class:`~agentnn.stores.registry_changes.RegistryChanges`.

    Raises:
        UsageError: The registry is a database whose schema MLflow would have to migrate first.
        StoreUnavailable: The registry can't be reached, or there can be none.
        CorruptDataError, NotAStoreError: There is something else at its path.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # MLflow knows nothing of TOML runs, and asks for no run to write to a registry.
        tracking_uri = settings.registry_uri if toml_folder(settings.tracking_uri) else settings.tracking_uri
        for uri in dict.fromkeys((tracking_uri, settings.registry_uri)):
            check_before_writing(uri)
        self._client: MlflowClient = make_client(tracking_uri, settings, read=False)

    def read(self, name: str) -> RegisteredModel:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        found = self._steadily(lambda: self._look_up(name), read=True)
        tags = {key: value for key, value in found.tags.items() if value is not None}
        aliases = {alias: int(version) for alias, version in found.aliases.items()}
        return RegisteredModel(name, tags=tags, aliases=aliases)

    def set_tag(self, name: str, key: str, value: str) -> None:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        self._steadily(lambda: self._client.set_registered_model_tag(name, key, value))

    def delete_tag(self, name: str, key: str) -> None:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        with suppress(NotFoundError):
            self._steadily(lambda: self._client.delete_registered_model_tag(name, key))

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        with self._call():
            self._client.set_registered_model_alias(name, alias, str(version))

    def delete_alias(self, name: str, alias: str) -> None:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        with suppress(NotFoundError), self._call():
            self._client.delete_registered_model_alias(name, alias)

    def set_stage(self, name: str, version: int, stage: str) -> None:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        with self._call(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            self._client.transition_model_version_stage(name, str(version), stage)

    def create_version(
        self,
        name: str,
        run_id: str,
        artifact_path: str,
        *,
        tags: Mapping[str, str] | None = None,
        description: str | None = None,
    ) -> int:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        is_new = self._ensure_model(name)
        try:
            with self._call():
                logged = find_logged_model(self._client, self._settings, run_id, artifact_path)
                root = self._client.get_run(run_id).info.artifact_uri
                source = f"models:/{logged.model_id}" if logged else f"{root}/{artifact_path}"
                extra = {"model_id": logged.model_id} if logged else {}
                made = self._client.create_model_version(
                    name, source, run_id, tags=dict(tags or {}), description=description, **extra
                )
            return int(made.version)
        except AgentNNError:
            if is_new:  # a name without a version would be left behind
                self._delete_if_empty(name)
            raise

    def delete_version(self, name: str, version: int) -> None:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        with self._call():
            self._client.delete_model_version(name, str(version))

    def delete_model(self, name: str) -> None:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        with self._call():
            self._client.delete_registered_model(name)

    def _steadily(self, call: Callable[[], Any], *, read: bool = False) -> Any:
        """Ask for something that may be asked twice, of a folder as often as others change it in just that moment.

        MLflow reads a folder file by file, and makes the folder of the tags only if it was not there a moment ago.
        """
        attempts = _ATTEMPTS if local_folder(self._settings.registry_uri) is not None else 1
        for _ in range(attempts - 1):
            try:
                with self._call(read=read):
                    return call()
            except StoreUnavailable as error:
                if not isinstance(error.__cause__, (FileNotFoundError, FileExistsError)):
                    raise
            time.sleep(_PAUSE_S)
        with self._call(read=read):
            return call()

    def _look_up(self, name: str) -> Any:
        found = self._client.get_registered_model(name)
        if not all(str(version).isdecimal() for version in found.aliases.values()):
            raise FileNotFoundError(f"an alias of {name} is just being written")  # its file is empty for a moment
        return found

    def _ensure_model(self, name: str) -> bool:
        """Whether the model had to be made."""
        try:
            with self._call():
                self._client.create_registered_model(name)
        except ConflictError:
            return False
        return True

    def _delete_if_empty(self, name: str) -> None:
        with suppress(AgentNNError):
            with self._call(read=True):
                versions = search_versions(self._client, name)
            if not versions:
                self.delete_model(name)

    def _call(self, *, read: bool = False) -> AbstractContextManager[None]:
        return mlflow_call(self._settings, read=read, timeout_s=TIMEOUT_S)
