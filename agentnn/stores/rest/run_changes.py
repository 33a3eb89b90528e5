"""Deleting, restoring and tagging runs of an MLflow server: a request or two a run, over a few connections."""

from __future__ import annotations

from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING

from agentnn.errors import NotFoundError, UsageError
from agentnn.records import RUN_NAME_TAG
from agentnn.stores.many_runs import AT_ONCE, MOST_TAGS, changed, saying_how_far, says_deleted
from agentnn.stores.rest.experiments import find_experiment
from agentnn.stores.run_changes import DELETION_TAG, deleted_experiment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentnn.records import Run
    from agentnn.stores.rest.transport import Transport


class RestRunChanges:
    """Changes runs of an MLflow server; see :class:`~agentnn.stores.run_changes.RunChanges`.

    Args:
        transport: Asks it.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def delete(self, runs: Sequence[Run], mark: str | None = None) -> None:
        """See :class:`~agentnn.stores.run_changes.RunChanges`."""

        def change(line: Transport, run: Run) -> None:
            try:
                if mark is not None:
                    _set_tag(line, run.run_id, DELETION_TAG, mark)
            except UsageError as error:
                if says_deleted(error):  # somebody else was faster
                    return
                raise
            line.post("runs/delete", {"run_id": run.run_id}, read=False)

        self._for_each(runs, change, "deleted")

    def restore(self, runs: Sequence[Run]) -> None:
        """See :class:`~agentnn.stores.run_changes.RunChanges`."""
        for experiment_id in dict.fromkeys(run.experiment_id for run in runs):
            experiment = find_experiment(self._transport, name=None, experiment_id=experiment_id)
            if experiment is not None and experiment.lifecycle_stage != "active":
                raise deleted_experiment(experiment.name)

        def change(line: Transport, run: Run) -> None:
            line.post("runs/restore", {"run_id": run.run_id}, read=False)
            if DELETION_TAG in run.tags:
                _drop_tag(line, run.run_id, DELETION_TAG)

        self._for_each(runs, change, "restored")

    def tag(self, runs: Sequence[Run], tags: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        """See :class:`~agentnn.stores.run_changes.RunChanges`."""

        def change(line: Transport, run: Run) -> None:
            _set_tags(line, run.run_id, tags)
            for key in remove:
                if key in run.tags:
                    _drop_tag(line, run.run_id, key)

        self._for_each(runs, change, "tagged")

    def _for_each(self, runs: Sequence[Run], change: Callable[[Transport, Run], None], done_word: str) -> None:
        """Change each run, over as many connections as are at work at the same time."""
        at_once = min(AT_ONCE, len(runs))
        with ExitStack() as stack, saying_how_far(runs, done_word) as done:
            lines = [self._transport, *(self._transport.beside() for _ in range(at_once - 1))]
            free = [stack.enter_context(closing(line)) for line in lines]

            def change_one(run: Run) -> None:
                line = free.pop()  # there are as many as threads
                try:
                    change(line, run)
                finally:
                    free.append(line)

            for run in changed(runs, change_one, at_once=at_once):
                done.append(run.run_id)


def _set_tags(line: Transport, run_id: str, tags: Mapping[str, str]) -> None:
    if RUN_NAME_TAG in tags:  # a batch would not rename the run in every store
        _set_tag(line, run_id, RUN_NAME_TAG, tags[RUN_NAME_TAG])
    rest = [{"key": key, "value": value} for key, value in tags.items() if key != RUN_NAME_TAG]
    for start in range(0, len(rest), MOST_TAGS):
        line.post("runs/log-batch", {"run_id": run_id, "tags": rest[start : start + MOST_TAGS]}, read=False)


def _set_tag(line: Transport, run_id: str, key: str, value: str) -> None:
    line.post("runs/set-tag", {"run_id": run_id, "key": key, "value": value}, read=False)


def _drop_tag(line: Transport, run_id: str, key: str) -> None:
    with suppress(NotFoundError):  # somebody else has taken it off
        line.post("runs/delete-tag", {"run_id": run_id, "key": key}, read=False)
