"""Looking at an export before anything of it is believed: every file is there, is what was written, and is a file."""

from __future__ import annotations

import hashlib
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from agentnn.errors import CorruptDataError, NotFoundError, UnsafeError, UsageError
from agentnn.stores.artifacts.folder import CHUNK
from agentnn.transfer import archives
from agentnn.transfer.layout import ARTIFACTS, MANIFEST, METRICS, RUN, Manifest, RunRecord, read_metric, run_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.records import Metric
    from agentnn.transfer.layout import FileEntry

_LONGEST_JSON = 256 << 20
_LONGEST_LINE = 1 << 20


class Export:
    """An export that was looked at and found whole.

    Args:
        folder: Where it lies, unpacked.

    Raises:
        NotFoundError: There is no manifest.
        CorruptDataError: Something is missing, or is not what the manifest says.
        UnsafeError: A name leads out of the folder, or something is a link, a device or a pipe.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folders: set[Path] = set()
        if not (folder / MANIFEST).exists():
            raise NotFoundError(f"there is no {MANIFEST} in {folder}", hint="name what agentnn run export wrote")
        with self._opened(MANIFEST) as file:
            self.manifest = Manifest.from_json(_whole(file, MANIFEST), MANIFEST)
        self._files: dict[str, list[str]] = {run_id: [] for run_id in self.manifest.runs}
        for entry in self.manifest.files:
            self._check(entry)
        for run_id in self.manifest.runs:
            self._check_run(run_id)

    @property
    def runs(self) -> tuple[str, ...]:
        """The ids of the runs, in their order."""
        return self.manifest.runs

    def record(self, run_id: str) -> RunRecord:
        """What is said of a run."""
        path = f"{run_folder(run_id)}/{RUN}"
        with self._opened(path) as file:
            return RunRecord.from_json(_whole(file, path), path)

    def metrics(self, run_id: str) -> Iterator[Metric]:
        """Every value of every metric of a run, in the order of the file."""
        path = f"{run_folder(run_id)}/{METRICS}"
        with self._opened(path) as file:
            while line := file.readline(_LONGEST_LINE):
                yield read_metric(line, path)

    def artifacts(self, run_id: str) -> Iterator[tuple[str, Path]]:
        """The files of a run: the path of each in the run, and where it lies."""
        top = f"{run_folder(run_id)}/{ARTIFACTS}/"
        for path in self._files[run_id]:
            if path.startswith(top):
                yield path.removeprefix(top), self._folder / path

    def _check(self, entry: FileEntry) -> None:
        parts = PurePosixPath(entry.path).parts
        run_id = parts[1] if len(parts) > 2 else ""
        if run_id not in self._files or not entry.path.startswith(f"{run_folder(run_id)}/"):
            raise CorruptDataError(f"{MANIFEST} names {entry.path!r}, which is of no run", hint="export the runs again")
        size, digest = 0, hashlib.sha256()
        with self._opened(entry.path) as file:
            while chunk := file.read(CHUNK):
                size += len(chunk)
                digest.update(chunk)
        if (size, digest.hexdigest()) != (entry.size, entry.sha256):
            raise CorruptDataError(
                f"{entry.path} is not what was exported: its digest is another one",
                hint="fetch or export it again; nothing was written",
            )
        self._files[run_id].append(entry.path)

    def _check_run(self, run_id: str) -> None:
        files = self._files[run_id]
        if len({*files}) != len(files):
            raise CorruptDataError(f"{MANIFEST} names a file of the run {run_id} twice", hint="export the runs again")
        for name in (RUN, METRICS):
            if f"{run_folder(run_id)}/{name}" not in files:
                raise CorruptDataError(f"{name} of the run {run_id} is missing", hint="export the runs again")
        if self.record(run_id).run_id != run_id:
            raise CorruptDataError(f"{run_folder(run_id)}/{RUN} is of another run", hint="export the runs again")
        for _ in self.metrics(run_id):
            pass

    def _opened(self, path: str) -> IO[bytes]:
        """A file of the export, which neither is a link nor lies behind one."""
        place = self._folder / path
        try:
            for folder in reversed(place.relative_to(self._folder).parents[:-1]):
                self._check_folder(self._folder / folder)
            mode = place.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise CorruptDataError(
                f"{path} is missing from the export", hint="fetch or export it again; nothing was written"
            ) from None
        if not stat.S_ISREG(mode):
            raise UnsafeError(f"{path} is a link, a folder or a device", hint="nothing was written")
        return place.open("rb")

    def _check_folder(self, folder: Path) -> None:
        if folder not in self._folders:
            if stat.S_ISLNK(folder.lstat().st_mode):
                raise UnsafeError(f"{folder} is a link", hint="nothing was written")
            self._folders.add(folder)


@contextmanager
def opened(source: Path) -> Iterator[Export]:
    """An export, of a folder or out of an archive, that was looked at and found whole.

    Raises:
        NotFoundError: There is no such folder or file, or it is no export.
        UsageError: It is a file of another kind.
        CorruptDataError, UnsafeError: See :class:`Export` and :func:`~agentnn.transfer.archives.unpack`.
    """
    if source.is_dir():
        yield Export(source)
        return
    if not source.exists():
        raise NotFoundError(f"there is no {source}", hint="name what agentnn run export wrote")
    kind = archives.kind_of(source)
    if kind is None:
        raise UsageError(f"{source} is no archive", hint="a folder, or a file that ends with .zip or .tar.gz")
    with tempfile.TemporaryDirectory(prefix="agentnn-import-") as scratch:
        folder = Path(scratch)
        archives.unpack(source, folder, kind)
        yield Export(_top_of(folder))


def _top_of(folder: Path) -> Path:
    """Where the manifest is: an archive that was made by other means may hold the export's folder."""
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _whole(file: IO[bytes], path: str) -> bytes:
    text = file.read(_LONGEST_JSON + 1)
    if len(text) > _LONGEST_JSON:
        raise CorruptDataError(f"{path} is larger than any that is exported", hint="export the runs again")
    return text
