"""Writing runs of MLflow's file store, straight in its folders.

MLflow empties ``meta.yaml`` before it writes it, and makes a run file by file. A sender that is killed in between
leaves a run that is lost, and over which MLflow's search of the whole experiment fails. Here each file changes at once,
a run takes its place when it is complete, and a broken line of a metric goes before the next one comes. What lies there
in the end is, byte for byte, what MLflow writes; the tests carry out the same requests both ways and compare the trees.
"""

from __future__ import annotations

import errno
import uuid as uuids
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, ConflictError, CorruptDataError, NotFoundError, StoreUnavailable, UsageError
from agentnn.records import RUN_NAME_TAG
from agentnn.stores.artifacts.folder import local_folder
from agentnn.stores.destination import check_opt_in
from agentnn.stores.mlruns.experiment_folder import ensure_experiment, make_store, read_experiment
from agentnn.stores.mlruns.folder_lock import held
from agentnn.stores.mlruns.layout import (
    ARTIFACTS,
    METRICS,
    PARAMS,
    TAGS,
    experiment_folders,
    find_experiment_folder,
    find_run_folder,
    is_run_folder,
    run_folders,
)
from agentnn.stores.mlruns.meta import META, as_yaml, is_run_meta, read_meta, run_meta
from agentnn.stores.mlruns.metric_file import points_of, whole_lines
from agentnn.stores.mlruns.names import check_name, check_params, check_points, check_tags
from agentnn.stores.mlruns.place import artifact_root, below, mlruns_folder
from agentnn.stores.mlruns.reading import names_below
from agentnn.stores.mlruns.run_folder import RunFolder
from agentnn.stores.run_changes import deleted_experiment
from agentnn.stores.run_writer import UUID_TAG
from agentnn.stores.source_commit import with_commit
from agentnn.stores.whole_files import put_whole, sync_together, whole_folder, write_all_whole, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from agentnn.records import Metric
    from agentnn.settings import Settings
    from agentnn.stores.mlruns.experiment_folder import ExperimentFolder

_USER_TAG = "mlflow.user"
_MOST_KNOWN = 1000


class MlrunsWriter:
    """Writes to a folder of runs; see :class:`~agentnn.stores.run_writer.RunWriter`.

    Args:
        settings: Name the folder, which is made where there is none.

    Attributes:
        root: The folder.
        artifacts: Where experiments keep their artifacts that do not say.

    Raises:
        UsageError: MLflow would not write to it without its opt-in, or the URI names no folder.
        StoreUnavailable: It can't be made.
    """

    def __init__(self, settings: Settings) -> None:
        folder = mlruns_folder(settings)
        if folder is None:
            raise UsageError(f"{settings.tracking_uri} is no folder of runs", hint="check the tracking URI")
        check_opt_in()
        self._settings = settings
        self.root = folder.absolute()
        self.artifacts = artifact_root(settings.tracking_uri, folder)
        self._known: dict[str, Path] = {}
        with on_disk(self.root):
            make_store(self.root, self.artifacts)

    def ensure_experiment(self, name: str) -> str:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with on_disk(self.root):
            found = ensure_experiment(self.root, self.artifacts, name)
        if found.is_deleted:
            raise ConflictError(
                f"the experiment {name!r} is deleted but still holds its name",
                hint=f"restore it: agentnn experiment restore {found.path.name}",
            )
        return found.path.name

    def create_run(
        self, experiment_id: str, name: str, start_time: int, tags: Mapping[str, str], source: str = ""
    ) -> str:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        known = with_commit(tags, source)
        if known.setdefault(RUN_NAME_TAG, name) != name:
            raise UsageError(f"the run has two names: {name!r} and {known[RUN_NAME_TAG]!r}", hint="leave one out")
        for key in known:
            check_name("tag", key)
        run_id = uuids.uuid4().hex
        with on_disk(self.root):
            experiment = self._active_experiment(experiment_id)
            with whole_folder(experiment.path / run_id, experiment.path, known.get(UUID_TAG, run_id)) as folder:
                for kind in (METRICS, PARAMS, ARTIFACTS):
                    (folder / kind).mkdir()
                files = {folder / TAGS / key: text.encode("utf-8") for key, text in known.items()}
                for file in files:
                    file.parent.mkdir(parents=True, exist_ok=True)
                write_all_whole(files, folder)
                _write_meta(folder, experiment, run_id, name, start_time, known.get(_USER_TAG, "unknown"))
            sync_together([experiment.path])
        return run_id

    def find_runs_by_uuid(self, experiment_id: str, uuid: str) -> list[str]:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        found = []
        for folder in self._folders_of(experiment_id):
            if _text_of(folder / TAGS / UUID_TAG) == uuid:
                meta = _meta_of(folder) or {}
                found.append((-meta.get("start_time", 0), folder.name))
        return [run_id for _, run_id in sorted(found)]

    def find_run_without_tags(self, experiment_id: str, name: str, start_time: int) -> str | None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`; MLflow itself makes a run first, then tag by tag.

        What it had only begun to make, an empty ``meta.yaml`` and nothing else, is nobody's: it will do, too.
        """
        begun = None
        for folder in self._folders_of(experiment_id):
            if _text_of(folder / TAGS / UUID_TAG) or not (folder / META).is_file():
                continue
            meta = _meta_of(folder)
            if meta is not None and (meta.get("start_time"), meta.get("run_name")) == (start_time, name):
                return folder.name
            if meta is None and [one.name for one in folder.iterdir()] == [META]:
                begun = folder.name
        return begun

    def mend_run(self, experiment_id: str, run_id: str, name: str, start_time: int) -> None:
        """See :class:`~agentnn.stores.run_writer.RunMender`."""
        with on_disk(self.root):
            folder = (find_experiment_folder(self.root, experiment_id) or self.root) / run_id
            if not (folder / META).is_file():
                return
            with held(folder):
                for kind in (METRICS, PARAMS, ARTIFACTS):
                    (folder / kind).mkdir(exist_ok=True)
                experiment = read_experiment(folder.parent)
                if experiment is not None and _meta_of(folder) is None:
                    named = _text_of(folder / TAGS / RUN_NAME_TAG) or name
                    user = _text_of(folder / TAGS / _USER_TAG) or "unknown"
                    _write_meta(folder, experiment, run_id, named, start_time, user)

    def experiment_of(self, run_id: str) -> str:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with on_disk(self.root):
            return RunFolder(self._folder(run_id)).path.parent.name

    def log_batch(
        self,
        run_id: str,
        points: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`.

        Raises:
            ConflictError: A param has another value already, or the run is deleted; nothing is logged.
            UsageError: MLflow does not take a name or a value; nothing is logged.
        """
        if not (points or params or tags):
            return
        check_points(points)
        check_params(params or {})
        check_tags(tags or {})
        with self._active_run(run_id) as run:
            run.add_params(params or {})
            run.add_points(points)
            run.set_tags(tags or {})

    def history(self, run_id: str, key: str) -> list[Metric]:
        """See :class:`~agentnn.stores.run_writer.RunWriter`; a line that broke off counts for nothing."""
        check_name("metric", key)
        with on_disk(self.root):
            file = self._folder(run_id) / METRICS / key
            try:
                lines = whole_lines(file)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return []
        return list(points_of(key, lines, file))

    def params(self, run_id: str) -> dict[str, str]:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with on_disk(self.root):
            folder = self._folder(run_id) / PARAMS
            return {key: (folder / key).read_bytes().decode("utf-8") for key in names_below(str(folder))}

    def put_file(self, run_id: str, source: Path, target: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`; what lies elsewhere is reached by MLflow's means."""
        with on_disk(self.root):
            root = local_folder(RunFolder(self._folder(run_id)).meta.get("artifact_uri"))
        if root is None:
            from agentnn.stores.mlflow.writer import MlflowWriter

            MlflowWriter(self._settings).put_file(run_id, source, target)
            return
        put_whole(source, root / target, root.parent)

    def terminate(self, run_id: str, status: str, end_time: int) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with self._active_run(run_id) as run:
            run.rewrite(status=status, end_time=end_time)

    def reopen(self, run_id: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with self._active_run(run_id) as run:
            run.rewrite(status="RUNNING")

    def delete_run(self, run_id: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with self.run(run_id) as run:
            run.delete()

    def delete_tag(self, run_id: str, key: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        check_name("tag", key)
        with suppress(NotFoundError), self._active_run(run_id) as run:
            run.drop_tag(key)

    @contextmanager
    def run(self, run_id: str) -> Iterator[RunFolder]:
        """A run, which no other writer of ours changes meanwhile.

        Raises:
            NotFoundError: There is no such run.
            CorruptDataError: It is damaged.
        """
        with on_disk(self.root):
            folder = self._folder(run_id)
            with held(folder):
                run = RunFolder(folder)
                yield run
                run.finish()

    # -- how

    @contextmanager
    def _active_run(self, run_id: str) -> Iterator[RunFolder]:
        with self.run(run_id) as run:
            run.check_is_active()
            yield run

    def _folder(self, run_id: str) -> Path:
        """The folder of a run.

        Raises:
            NotFoundError: There is no such run.
            StoreUnavailable: There is nothing at all, as when a disk is not mounted.
        """
        known = self._known.get(run_id)
        if known is not None and is_run_folder(known):
            return known
        found = find_run_folder(self.root, run_id)
        if found is None:
            if not any(True for deleted in (False, True) for _ in experiment_folders(self.root, deleted=deleted)):
                raise StoreUnavailable(f"there is no store at {self.root}", hint="check that its disk is mounted")
            raise NotFoundError(f"there is no run {run_id}", hint="agentnn run list --view all")
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[run_id] = found
        return found

    def _folders_of(self, experiment_id: str) -> Iterator[Path]:
        with on_disk(self.root):
            experiment = find_experiment_folder(self.root, experiment_id)
            yield from () if experiment is None else run_folders(experiment)

    def _active_experiment(self, experiment_id: str) -> ExperimentFolder:
        folder = find_experiment_folder(self.root, experiment_id)
        found = None if folder is None else read_experiment(folder)
        if found is None:
            raise NotFoundError(f"there is no experiment {experiment_id}", hint="agentnn experiment list")
        if found.is_deleted:
            raise deleted_experiment(str(found.meta.get("name")))
        return found


def _write_meta(folder: Path, experiment: ExperimentFolder, run_id: str, name: str, start_time: int, user: str) -> None:
    uri = below(str(experiment.meta.get("artifact_location") or ""), run_id, ARTIFACTS)
    meta = run_meta(run_id, experiment.path.name, name, uri, user, start_time)
    write_whole(folder / META, as_yaml(meta), folder, sync=True)


def _meta_of(folder: Path) -> dict[str, Any] | None:
    """What the ``meta.yaml`` of a run says; ``None`` when it is damaged."""
    try:
        meta = read_meta(folder)
    except (CorruptDataError, OSError):
        return None
    return meta if is_run_meta(meta) else None


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@contextmanager
def on_disk(root: Path) -> Iterator[None]:
    """What the disk refuses, as an error that says what to do.

    Raises:
        StoreUnavailable: The store can't be used now.
    """
    try:
        yield
    except AgentNNError:
        raise
    except OSError as error:
        hint = "make room on the disk" if error.errno == errno.ENOSPC else "check that it is there, and its permissions"
        raise StoreUnavailable(f"{error.filename or root} can't be used: {error.strerror}", hint=hint) from error
