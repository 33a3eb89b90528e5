"""Making and changing experiments of an MLflow server, one method a request."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from agentnn.errors import NotFoundError, StoreUnavailable
from agentnn.stores.experiment_changes import check_location
from agentnn.stores.rest.experiments import create_experiment, find_experiment
from agentnn.stores.rest.replies import NoSuchEndpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.stores.rest.transport import Transport


class RestExperimentChanges:
    """Changes experiments of an MLflow server; see :class:`~agentnn.stores.experiment_changes.ExperimentChanges`.

    Args:
        transport: Asks it.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def stage_of(self, name: str) -> str | None:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`."""
        found = find_experiment(self._transport, name=name, experiment_id=None)
        return None if found is None else found.lifecycle_stage

    def create(self, name: str, artifact_location: str | None, tags: Mapping[str, str]) -> str:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`."""
        check_location(artifact_location)
        return create_experiment(self._transport, name, artifact_location, tags)

    def rename(self, experiment_id: str, name: str) -> None:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`."""
        self._ask("update", experiment_id, new_name=name)

    def set_tag(self, experiment_id: str, key: str, value: str) -> None:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`."""
        self._ask("set-experiment-tag", experiment_id, key=key, value=value)

    def delete_tag(self, experiment_id: str, key: str) -> None:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`."""
        try:
            with suppress(NotFoundError):
                self._ask("delete-experiment-tag", experiment_id, key=key)
        except NoSuchEndpoint as error:
            raise StoreUnavailable(
                f"the server takes no tag off an experiment ({key!r}): it is too old for this",
                hint="update the MLflow server, or give the tag another value",
            ) from error

    def delete(self, experiment_id: str) -> None:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`."""
        self._ask("delete", experiment_id)

    def restore(self, experiment_id: str) -> None:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`."""
        self._ask("restore", experiment_id)

    def _ask(self, what: str, experiment_id: str, **more: str) -> None:
        self._transport.post(f"experiments/{what}", {"experiment_id": experiment_id, **more}, read=False)
