"""The files of one run: read whole, replaced whole, by one process at a time."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, NotFoundError, StoreUnavailable, UsageError
from agentnn.records import Metric
from agentnn.stores.toml.layout import CONFIG, HISTORY, directory_name
from agentnn.stores.toml.runs.final_values import leaves_of
from agentnn.stores.toml.runs.history import read_lines
from agentnn.stores.toml.runs.replacing import locked, make_private_folders, replace_file, sync_folder, unwritable
from agentnn.stores.toml.runs.run_documents import float_of
from agentnn.stores.toml.runs.run_values import RunValues
from agentnn.stores.toml.text.documents import parse, plain, render
from agentnn.values.logged import metric_value, step_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_MAKING = ".making"


class RunDirectory:
    """The folder of a run; threads and processes may share it, and a forked process may go on with it.

    A killed process loses nothing of what its calls had acknowledged. A power failure may undo what was logged in the
    last second, since only one call a second waits for the disk; :meth:`sync` and :meth:`change_config` do.

    Args:
        path: The folder, ``BASE/PROJECT/RUN``.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._values = RunValues(path)
        self._swept = False

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
        return cls.make(base_dir / directory_name(project) / directory_name(run_id), config)

    @classmethod
    def make(
        cls, path: Path, config: Mapping[str, Any], beside: Mapping[str, bytes] = MappingProxyType({})
    ) -> RunDirectory:
        """Make a new run in a folder, ``BASE/PROJECT/RUN``, none of which need be there; see :meth:`create`.

        A folder that is there and holds no ``config.toml`` becomes that of the run.

        Args:
            path: The folder.
            config: The whole document, ``_meta`` and ``_wandb`` included.
            beside: Other files, by name, without which nobody ever sees the run either.
        """
        files = {**beside, CONFIG: render(config)}
        make_private_folders(path.parent)
        with locked(path.parent):
            if os.path.lexists(path / CONFIG) or (os.path.lexists(path) and not path.is_dir()):
                raise ConflictError(f"there is a run {path.name!r} in {path.parent}", hint="choose another id")
            if path.is_dir():
                with locked(path):
                    _write_all(path, files)
            else:
                _make_whole(path, files)
        return cls(path)

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
        return parse(self._config_text(), self.path / CONFIG)

    def read_metrics(self) -> dict[str, Any]:
        """The whole of ``metrics.toml``; empty when nothing was logged.

        Where a writer was killed when it had added to the history and not yet to the final values, those of the history
        are given.

        Raises:
            CorruptDataError: It is no TOML, or the history is damaged and needed.
            StoreUnavailable: It can't be read.
        """
        return self._values.read()

    def read_history(self) -> Iterator[Metric]:
        """Every value that was logged with a step, in the order in which it was logged.

        That need not be the order of the steps: :func:`~agentnn.stores.toml.runs.history.rank` sorts them. A line that
        breaks off at the end is left out.

        Raises:
            CorruptDataError: A line in the middle is none of ours; the message names it.
            StoreUnavailable: The file can't be read.
        """
        for line in read_lines(self.path / HISTORY):
            for point in line.points:
                yield point._replace(value=float_of(point.value))

    # -- writing

    def change_config(self, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Change ``config.toml`` in place, whatever others write meanwhile; comments in it stay.

        Args:
            change: Is given the document as it is now, and changes it. When it raises, nothing is changed.

        Returns:
            The document as it was written.

        Raises:
            NotFoundError: There is no such run.
            UsageError: The change can't be written.
            CorruptDataError: The file was damaged.
            StoreUnavailable: It can't be written, or there is no room; the old file is whole.
        """
        with self._locked():
            before = self._config_text()
            document = parse(before, self.path / CONFIG)
            change(document)
            data = render(document, before)
            self._values.sync()
            if data != before:
                replace_file(self.path / CONFIG, data)
        return parse(data, self.path / CONFIG)

    def add_metrics(
        self, metrics: Mapping[str, Any], *, step: int | None = None, timestamp: int | None = None
    ) -> dict[str, Any]:
        """Update ``metrics.toml`` with some values, whatever others write meanwhile; comments in it stay.

        A metric is what its keys are called when they are joined with dots. One that has a history and is given without
        a step is recorded at its last step.

        Args:
            metrics: Values by name; nested mappings are merged, anything else replaces what was there.
            step: When they were measured; the history then keeps each number among them, and ``metrics.toml`` has the
                value of the greatest (step, timestamp, value).
            timestamp: Milliseconds since the epoch; now by default.

        Returns:
            The document as it was written: those of other writers included.

        Raises:
            UsageError: A value can't be written, or the step is no whole number of 64 bits; nothing was changed.
            CorruptDataError: A file was damaged; nothing was changed.
            StoreUnavailable: It can't be written, or there is no room; the old files are whole.
        """
        given = list(leaves_of(plain(metrics)))
        if len({leaf.name for leaf in given}) < len(given):
            raise UsageError("two metrics have the same name once nested keys are joined", hint="rename one of them")
        at = None if step is None else step_number(step)
        when = time.time_ns() // 1_000_000 if timestamp is None else _milliseconds(timestamp)

        def points_of(latest: Mapping[str, Metric]) -> Iterator[Metric]:
            for leaf in given:
                if isinstance(leaf.value, float | int) and (at is not None or leaf.name in latest):
                    there = latest[leaf.name].step if at is None else at
                    yield Metric(leaf.name, leaf.value + 0, there, when)  # a truth value is 1 or 0

        with self._locked() as descriptor:
            return self._values.add(descriptor, given, points_of)

    def add_points(self, points: Sequence[Metric]) -> dict[str, Any]:
        """Add values of any steps to the history, and bring ``metrics.toml`` up to date; one write for all of them.

        Args:
            points: The values, in the order in which the history is to have them.

        Returns:
            All final values, as they were written.

        Raises:
            UsageError, CorruptDataError, StoreUnavailable: See :meth:`add_metrics`.
        """
        plain({point.key: None for point in points})
        checked = [
            Metric(key, metric_value(key, value), step_number(step), _milliseconds(when))
            for key, value, step, when in points
        ]
        with self._locked() as descriptor:
            return self._values.add(descriptor, (), lambda latest: checked)

    def sync(self) -> None:
        """Have the disk hold everything that was logged, so that not even a power failure undoes it.

        Raises:
            StoreUnavailable: The disk refuses.
        """
        with self._locked():
            self._values.sync()

    # -- how

    def _config_text(self) -> bytes:
        try:
            return (self.path / CONFIG).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(
                f"there is no run {self.run_id!r} in {self.path.parent}", hint="agentnn run list"
            ) from None
        except OSError as error:
            raise StoreUnavailable(f"{self.path / CONFIG} can't be read: {error.strerror}") from error

    @contextmanager
    def _locked(self) -> Iterator[int]:
        with locked(self.path, sweep=not self._swept) as descriptor:
            self._swept = True
            yield descriptor


def _milliseconds(timestamp: Any) -> int:
    try:
        return step_number(timestamp)
    except UsageError:
        raise UsageError(
            f"the timestamp {timestamp!r} is no time in milliseconds", hint="int(time.time() * 1000)"
        ) from None


def _make_whole(path: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder with files in it beside its place, and rename it; the project's folder must be locked."""
    making = path.parent / _MAKING
    try:
        if making.exists():  # whoever made it was killed, or it would hold the lock
            shutil.rmtree(making)
        making.mkdir(mode=0o700)
        _write_all(making, files)
        making.rename(path)
        sync_folder(path.parent)
    except StoreUnavailable:
        raise
    except OSError as error:
        raise unwritable(path, error) from error


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        replace_file(folder / name, data)
