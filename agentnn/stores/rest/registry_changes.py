"""Writing to the registry of an MLflow server, one method a request."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, ConflictError, NotFoundError, UsageError
from agentnn.records import PROMPT_TAG
from agentnn.stores.rest.logged_models import model_of_run
from agentnn.stores.rest.registry import find_registered, is_prompt, model_of, versions_of
from agentnn.stores.rest.run_records import odd_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.records import RegisteredModel
    from agentnn.stores.rest.transport import Transport


class RestRegistryChanges:
    """Writes to the registry of an MLflow server; see :class:`~agentnn.stores.registry_changes.RegistryChanges`.

    Args:
        transport: Asks the server that has the registry.
        runs: Asks the one that has the runs.
    """

    def __init__(self, transport: Transport, runs: Transport) -> None:
        self._transport = transport
        self._runs = runs
        self._checked: set[str] = set()

    def read(self, name: str) -> RegisteredModel:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        found = find_registered(self._transport, name)
        if found is None:
            raise NotFoundError(f"there is no model {name!r}", hint="agentnn model list")
        if is_prompt(found):
            raise NotFoundError(f"{name!r} is a prompt, and no model", hint="agentnn model list")
        self._checked.add(name)
        return model_of(found, [])

    def set_tag(self, name: str, key: str, value: str) -> None:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        self._check(name)
        self._post("registered-models/set-tag", name=name, key=key, value=value)

    def delete_tag(self, name: str, key: str) -> None:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        with suppress(NotFoundError):
            self._check(name)
            self._transport.delete("registered-models/delete-tag", {"name": name, "key": key})

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        self._check(name)
        self._post("registered-models/alias", name=name, alias=alias, version=str(version))

    def delete_alias(self, name: str, alias: str) -> None:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        with suppress(NotFoundError):
            self._check(name)
            self._transport.delete("registered-models/alias", {"name": name, "alias": alias})

    def set_stage(self, name: str, version: int, stage: str) -> None:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        self._check(name)
        change = {"name": name, "version": str(version), "stage": stage}
        self._post("model-versions/transition-stage", **change, archive_existing_versions=False)

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
        if PROMPT_TAG in (tags or {}):
            raise UsageError(f"the tag {PROMPT_TAG!r} says that this is a prompt, and no model", hint="leave it out")
        location, model_id = model_of_run(self._runs, run_id, artifact_path)
        source = {"source": location} if model_id is None else {"source": f"models:/{model_id}", "model_id": model_id}
        texts = [{"key": key, "value": value} for key, value in (tags or {}).items()]
        words = {} if description is None else {"description": description}
        is_new = self._ensure_model(name)
        try:
            answer = self._post("model-versions/create", name=name, run_id=run_id, tags=texts, **source, **words)
            return _version_in(answer)
        except AgentNNError:
            if is_new:  # a name without a version would be left behind
                self._delete_if_empty(name)
            raise

    def delete_version(self, name: str, version: int) -> None:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        self._check(name)
        self._transport.delete("model-versions/delete", {"name": name, "version": str(version)})

    def delete_model(self, name: str) -> None:
        """See :class:`~agentnn.stores.registry_changes.RegistryChanges`."""
        self._check(name)
        self._transport.delete("registered-models/delete", {"name": name})
        self._checked.discard(name)

    # -- how

    def _check(self, name: str) -> None:
        """Refuse a prompt's name, as MLflow's client does before each of its writes; here before the first one.

        Raises:
            NotFoundError: It is one, or nothing has this name.
        """
        if name not in self._checked:
            self.read(name)

    def _ensure_model(self, name: str) -> bool:
        """Whether the model had to be made."""
        try:
            self._post("registered-models/create", name=name)
        except ConflictError:
            self._check(name)
            return False
        return True

    def _delete_if_empty(self, name: str) -> None:
        with suppress(AgentNNError):
            found = find_registered(self._transport, name)
            if found is not None and not versions_of(self._transport, found):
                self._transport.delete("registered-models/delete", {"name": name})

    def _post(self, endpoint: str, **change: Any) -> dict[str, Any]:
        return self._transport.post(endpoint, change, read=False)


def _version_in(answer: Mapping[str, Any]) -> int:
    try:
        return int(answer["model_version"]["version"])
    except (KeyError, TypeError, ValueError) as error:
        raise odd_answer("a model version") from error
