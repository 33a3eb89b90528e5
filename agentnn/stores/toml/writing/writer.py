"""Writing runs as TOML files: each request changes one file at once, and one that came twice changes nothing more."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, NotFoundError, UnsafeError
from agentnn.settings import toml_folder
from agentnn.stores.artifacts.folder import safe_path
from agentnn.stores.run_changes import deleted_run
from agentnn.stores.run_writer import UUID_TAG
from agentnn.stores.source_commit import with_commit
from agentnn.stores.toml.asking.runs import find_place
from agentnn.stores.toml.layout import CONFIG, META
from agentnn.stores.toml.projects import read_project
from agentnn.stores.toml.runs.artifact_names import stored_name
from agentnn.stores.toml.runs.run_directory import RunDirectory
from agentnn.stores.toml.runs.run_documents import USER_TAG, params_of
from agentnn.stores.toml.runs.run_meta import drop_tag, end, is_deleted, mark_deleted, moment, put_tags
from agentnn.stores.toml.runs.typed_params import put_params
from agentnn.stores.toml.writing.project_changes import ensure_project
from agentnn.stores.whole_files import put_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentnn.records import Experiment, Metric
    from agentnn.settings import Settings

_MOST_KNOWN = 256


class TomlWriter:
    """Writes to a folder of projects; see :class:`~agentnn.stores.run_writer.RunWriter`.

    A run gets its id from our own uuid of it: that is how it is found again when it was made and the answer was lost.

    Args:
        settings: Name the folder, which is made when something is written.
    """

    def __init__(self, settings: Settings) -> None:
        self._base = (toml_folder(settings.tracking_uri) or Path()).absolute()
        self._runs: dict[str, RunDirectory] = {}

    def ensure_experiment(self, name: str) -> str:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        found = ensure_project(self._base, name)
        if found.lifecycle_stage != "active":
            raise deleted_project(found, "restore it")
        return found.experiment_id

    def create_run(
        self, experiment_id: str, name: str, start_time: int, tags: Mapping[str, str], source: str = ""
    ) -> str:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        run_id = id_of(tags.get(UUID_TAG) or uuid.uuid4().hex)
        known = with_commit(tags, source)
        try:
            RunDirectory.make(
                self._base / experiment_id / run_id, self._config(experiment_id, run_id, name, start_time, known)
            )
        except ConflictError:  # it was made before, and the answer was lost
            if run_id not in self.find_runs_by_uuid(experiment_id, tags.get(UUID_TAG, "")):
                raise
        return run_id

    def find_runs_by_uuid(self, experiment_id: str, uuid: str) -> list[str]:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        run_id = id_of(uuid)
        return [run_id] if find_place(self._base, f"{experiment_id}/{run_id}") is not None else []

    def find_run_without_tags(self, experiment_id: str, name: str, start_time: int) -> str | None:
        """None: a run is there with its tags, or not at all."""
        del experiment_id, name, start_time
        return None

    def experiment_of(self, run_id: str) -> str:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        return self._run(run_id).project

    def log_batch(
        self,
        run_id: str,
        points: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        run = self._run(run_id)
        if params or tags:

            def change(config: dict[str, Any]) -> None:
                put_params(config, params or {})
                put_tags(config, tags or {})

            self._change(run, change)
        else:
            _refuse_deleted(run.run_id, run.read_config())
        if points:
            run.add_points(points)
            run.sync()  # whoever delivers forgets them now

    def history(self, run_id: str, key: str) -> list[Metric]:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        return [point for point in self._run(run_id).read_history() if point.key == key]

    def params(self, run_id: str) -> dict[str, str]:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        return params_of(self._run(run_id).read_config())

    def put_file(self, run_id: str, source: Path, target: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`.

        Raises:
            UnsafeError: The path leaves the run's folder, or leads through a link that does.
            ConflictError: There is a folder of this name, or a file where a folder would have to be.
        """
        run = self._run(run_id)
        _refuse_deleted(run.run_id, run.read_config())
        place = run.path / stored_name(str(safe_path(target)))
        if not place.resolve().is_relative_to(run.path.resolve()):
            raise UnsafeError(f"{target!r} is behind a link that leaves the run's folder", hint="nothing was written")
        put_whole(source, place, run.path)

    def terminate(self, run_id: str, status: str, end_time: int) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        self._change(self._run(run_id), lambda config: end(config, status, end_time))

    def reopen(self, run_id: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        self._change(self._run(run_id), lambda config: end(config, "RUNNING", None))

    def delete_run(self, run_id: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        self._run(run_id).change_config(lambda config: mark_deleted(config, True))

    def delete_tag(self, run_id: str, key: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        self._change(self._run(run_id), lambda config: drop_tag(config, key))

    def _run(self, run_id: str) -> RunDirectory:
        """The folder of a run; one that was asked for before knows how its history ends."""
        known = self._runs.get(run_id)
        if known is not None and (known.path / CONFIG).exists():
            return known
        place = find_place(self._base, run_id) if self._base.exists() else None
        if place is None:
            raise NotFoundError(f"there is no run {run_id!r} in {self._base}", hint="agentnn run list")
        while len(self._runs) >= _MOST_KNOWN:
            del self._runs[next(iter(self._runs))]
        self._runs[run_id] = RunDirectory(place.folder)
        return self._runs[run_id]

    def _change(self, run: RunDirectory, change: Callable[[dict[str, Any]], object]) -> None:
        def checked(config: dict[str, Any]) -> None:
            _refuse_deleted(run.run_id, config)
            change(config)

        run.change_config(checked)

    def _config(
        self, experiment_id: str, run_id: str, name: str, start_time: int, tags: Mapping[str, str]
    ) -> dict[str, Any]:
        project = read_project(self._base / experiment_id).name
        meta = {"run_id": run_id, "project": project, "name": name, "status": "RUNNING"}
        user = {"user": tags[USER_TAG]} if tags.get(USER_TAG) else {}
        config: dict[str, Any] = {META: {**meta, "created_at": moment(start_time), **user}}
        put_tags(config, {key: text for key, text in tags.items() if key != USER_TAG})
        return config


def deleted_project(experiment: Experiment, hint: str) -> ConflictError:
    """The error for a deleted project whose name is asked for."""
    return ConflictError(
        f"the experiment {experiment.name!r} is deleted but still holds its name",
        hint=f"{hint}: agentnn experiment restore {quote(experiment.experiment_id)}",
    )


def id_of(uuid: str) -> str:
    """The id of the run with this uuid; ids that are looked at side by side should not begin alike, as uuids do."""
    return hashlib.sha256(uuid.encode()).hexdigest()[:32]


def _refuse_deleted(run_id: str, config: Mapping[str, Any]) -> None:
    if is_deleted(config):
        raise deleted_run(run_id)
