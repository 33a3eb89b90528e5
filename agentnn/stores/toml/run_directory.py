"""The files of one run: read whole, replaced whole, by one process at a time."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, NotFoundError, StoreUnavailable
from agentnn.stores.toml.documents import parse, render
from agentnn.stores.toml.layout import CONFIG, LOCK, METRICS, directory_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from agentnn.records import Metric


class RunDirectory:
    """The folder of a run; threads and processes may share it.

    Args:
        path: The folder, ``BASE/PROJECT/RUN``.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, base_dir: Path, project: str, run_id: str, config: Mapping[str, Any]) -> RunDirectory:
        """Make the folder of a new run with its ``config.toml``; nobody ever sees the one without the other.

        Args:
            base_dir: The folder of all projects, made where there is none.
            project: The project's name, whatever it is; see :func:`~agentnn.stores.toml.layout.directory_name`.
            run_id: The run's id, likewise.
            config: The whole document, ``_meta`` and ``_wandb`` included.

        Raises:
            ConflictError: There is a run of this id in the project.
            UsageError: The config holds what can't be written.
            StoreUnavailable: The folder can't be written to.
        """
        path = base_dir / directory_name(project) / directory_name(run_id)
        data = render(config)
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            raise ConflictError(f"there is a run {run_id!r} in {path.parent}", hint="choose another id") from None
        made = cls(path)
        made._write(CONFIG, data)
        return made

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.path.name

    @property
    def project(self) -> str:
        """The name of the project's folder."""
        return self.path.parent.name

    # -- reading

    def read_config(self) -> dict[str, Any]:
        """The whole of ``config.toml``.

        Raises:
            NotFoundError: There is none: there is no such run.
            CorruptDataError: It is no TOML.
            StoreUnavailable: It can't be read.
        """
        data = self._read(CONFIG)
        if data is None:
            raise NotFoundError(f"there is no run {self.run_id!r} in {self.path.parent}", hint="agentnn run list")
        return parse(data, self.path / CONFIG)

    def read_metrics(self) -> dict[str, Any]:
        """The whole of ``metrics.toml``; empty when nothing was logged.

        Raises:
            CorruptDataError: It is no TOML.
            StoreUnavailable: It can't be read.
        """
        return parse(self._read(METRICS) or b"", self.path / METRICS)

    def read_history(self) -> Iterator[Metric]:
        """Every value that was logged with a step, in the order in which it was logged; a torn last line is left out.

        Raises:
            CorruptDataError: A line in the middle is none of ours.
            StoreUnavailable: The file can't be read.
        """
        raise NotImplementedError

    # -- writing

    def change_config(self, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Change ``config.toml`` in place, whatever others write meanwhile; comments in it stay.

        Args:
            change: Is given the document as it is now, and changes it.

        Returns:
            The document as it was written.
        """
        with self._locked():
            before = self._read(CONFIG) or b""
            document = parse(before, self.path / CONFIG)
            change(document)
            self._write(CONFIG, render(document, before))
        return document

    def add_metrics(
        self, metrics: Mapping[str, Any], *, step: int | None = None, timestamp: int | None = None
    ) -> dict[str, Any]:
        """Update ``metrics.toml`` with some values, whatever others write meanwhile; comments in it stay.

        Args:
            metrics: Values by name; nested mappings are merged, anything else replaces what was there.
            step: When they were measured; the history then keeps each number among them, and ``metrics.toml`` has the
                value of the greatest (step, timestamp, value).
            timestamp: Milliseconds since the epoch; now by default.

        Returns:
            The document as it was written: those of other writers included.

        Raises:
            UsageError: A value can't be written, or the step is no whole number of 64 bits; nothing was changed.
            CorruptDataError: The file was damaged; nothing was changed.
            StoreUnavailable: It can't be written, or there is no room; the old file is whole.
        """
        with self._locked():
            before = self._read(METRICS) or b""
            document = parse(before, self.path / METRICS)
            document.update(metrics)
            self._write(METRICS, render(document, before))
        return document

    def add_points(self, points: Sequence[Metric]) -> None:
        """Add values of any steps to the history, and bring ``metrics.toml`` up to date; one write for all of them."""
        raise NotImplementedError

    # -- how

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreUnavailable(f"{self.path / name} can't be read: {error.strerror}") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, name: str, data: bytes) -> None:
        temporary = self.path / f".{name}.{os.getpid()}"
        temporary.write_bytes(data)
        temporary.replace(self.path / name)
