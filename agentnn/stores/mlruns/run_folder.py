"""The folder of one run: what is added to it is there whole, whenever the writer is killed."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, CorruptDataError
from agentnn.records import RUN_NAME_TAG
from agentnn.stores.mlruns.layout import METRICS, PARAMS, TAGS
from agentnn.stores.mlruns.meta import META, as_yaml, changed_run, is_run_meta, read_meta
from agentnn.stores.mlruns.metric_file import append_lines, lines_of
from agentnn.stores.run_changes import deleted_run
from agentnn.stores.whole_files import sync_together, write_all_whole, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from agentnn.records import Metric


class RunFolder:
    """Writes into the folder of a run, as MLflow's ``FileStore`` does; the folder must be held.

    Nothing is sure, and no new file is there, before :meth:`finish`.

    Args:
        path: The folder.

    Attributes:
        path: The folder.
        meta: What its ``meta.yaml`` says.

    Raises:
        CorruptDataError: Its ``meta.yaml`` is damaged, or that of another run.
        OSError: It can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._new: dict[Path, bytes] = {}
        self._grown: set[Path] = set()
        self._changed_folders: set[Path] = set()
        self.meta = read_meta(path)
        said = str(self.meta.get("experiment_id")), self.meta.get("run_id")
        if said != (path.parent.name, path.name) or not is_run_meta(self.meta):
            raise CorruptDataError(f"{path / META} is not of this run", hint="restore it from a backup")

    @property
    def is_deleted(self) -> bool:
        """Whether the run is among the deleted ones."""
        return bool(self.meta.get("lifecycle_stage", "active") != "active")

    def check_is_active(self) -> None:
        """Refuse to change a deleted run.

        Raises:
            ConflictError: It is deleted.
        """
        if self.is_deleted:
            raise deleted_run(self.path.name)

    def rewrite(self, **changes: Any) -> None:
        """Change what ``meta.yaml`` says."""
        self.meta = changed_run(self.meta, **changes)
        write_whole(self.path / META, as_yaml(self.meta), self.path, sync=True)
        self._changed_folders.add(self.path)

    def finish(self) -> None:
        """Put what is new in its place, and have the disk hold all that was written: its sender forgets it now."""
        write_all_whole(self._new, self.path, also=self._grown)
        sync_together(self._changed_folders)

    def delete(self) -> None:
        """Move the run to the deleted ones."""
        self.rewrite(lifecycle_stage="deleted", deleted_time=time.time_ns() // 1_000_000)

    def restore(self) -> None:
        """Bring the run back."""
        self.rewrite(lifecycle_stage="active")

    def add_params(self, params: Mapping[str, str]) -> None:
        """Add params; one that is there with the same value is left as it is.

        Raises:
            ConflictError: One has another value already; then none is added.
        """
        missing = {key: value for key, value in params.items() if self._lacks(key, value)}
        for key, value in missing.items():
            self._put(PARAMS, key, value.encode("utf-8"))

    def add_points(self, points: Sequence[Metric]) -> None:
        """Add values of metrics."""
        by_key: dict[str, list[Metric]] = {}
        for point in points:
            by_key.setdefault(point.key, []).append(point)
        for key, its_points in by_key.items():
            lines = lines_of(its_points)
            with _refused_by_a_folder(key):
                if append_lines(self.path / METRICS / key, lines):
                    self._grown.add(self.path / METRICS / key)
                else:
                    self._put(METRICS, key, lines)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; the run's name is one of them, and stands in ``meta.yaml``, too."""
        for key, value in tags.items():
            if key == RUN_NAME_TAG and value:
                self.rewrite(run_name=value)
            self._put(TAGS, key, value.encode("utf-8"))

    def drop_tag(self, key: str) -> None:
        """Take a tag off, if it is there."""
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            (self.path / TAGS / key).unlink()

    def _lacks(self, key: str, value: str) -> bool:
        try:
            there = (self.path / PARAMS / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return True
        if there != value.encode("utf-8"):
            raise ConflictError(
                f"the param {key!r} of the run {self.path.name} is {there.decode('utf-8', 'replace')!r} already, "
                f"not {value!r}",
                hint="a param can't change: log it under another name, or as a tag",
            )
        return False

    def _put(self, kind: str, key: str, data: bytes) -> None:
        file = self.path / kind / key
        with _refused_by_a_folder(key):
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.is_dir():
                raise IsADirectoryError
        self._new[file] = data
        self._changed_folders.update(file.parents[: len(file.relative_to(self.path).parts)])


@contextmanager
def _refused_by_a_folder(key: str) -> Iterator[None]:
    """What stands in the way of a file will do so for ever."""
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise ConflictError(
            f"{key!r} would be both a file and a folder of the run", hint="choose another name"
        ) from None
