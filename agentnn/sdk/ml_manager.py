"""``MLRun`` and ``MLProject``: runs as folders of TOML files, mirrored to Weights & Biases, analysed with pandas.

>>> run = MLRun.create({"lr": 0.001}, "./checkpoints", "demo")  # doctest: +SKIP
>>> run.add_metrics({"accuracy": 0.92})  # doctest: +SKIP
>>> run.finish()  # doctest: +SKIP
>>> MLProject("./checkpoints").search("accuracy > 0.9")[["run_id", "lr"]]  # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from agentnn.stores.toml.asking.histories import histories_of
from agentnn.tracking.capture.guard import warn
from agentnn.tracking.endings import Ending
from agentnn.tracking.local_run_search import load_local_run
from agentnn.tracking.local_run_start import start_local_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    import pandas as pd

    from agentnn.records import Metric
    from agentnn.stores.toml.index.scanning import Unreadable
    from agentnn.tracking.local_run import LocalRun

_MOST_NAMED = 10
"""Of the files that can't be read, in one warning."""


class MLRun:
    """One run in ``BASE/PROJECT/RUN``; made by :meth:`create`, or found again by :meth:`load`.

    As a context manager it ends with the truth: FINISHED, FAILED after an exception or an exit with an error, KILLED
    after Ctrl-C, SIGTERM or SIGHUP; and so it does when the process ends before :meth:`finish`. Threads may share it; a
    process that was forked, or was given it, adds to the same files, without wandb, and never ends it.

    Attributes:
        run_id: The run's id: the name of its folder.
        run_dir: Its folder; whatever else lies there belongs to the run.
        base_dir: The folder of all projects.
        project_name: The project, as it was named.
        config: The config alone.
    """

    def __init__(self, run: LocalRun, base_dir: str | Path) -> None:
        self._run = run
        self.run_id = run.directory.run_id
        self.run_dir = run.directory.path
        self.base_dir = Path(base_dir)
        self.project_name = run.project
        self.config = run.config

    @classmethod
    def create(
        cls,
        config: Any,
        base_dir: str | Path,
        project_name: str,
        entity: str | None = None,
        *,
        name: str | None = None,
        run_id: str | None = None,
        tags: Mapping[str, Any] | None = None,
        parent_run_id: str | None = None,
        wandb_options: Mapping[str, Any] | None = None,
    ) -> MLRun:
        """Start a run: ``wandb.init``, then its folder with ``config.toml``.

        Without wandb, and whatever becomes of it later, the run goes on in its files; that is said once.
        ``WANDB_MODE=offline`` needs no account, ``WANDB_MODE=disabled`` leaves wandb out. wandb prints nothing and does
        not record standard output, unless ``WANDB_SILENT=false`` or ``WANDB_CONSOLE=auto`` say otherwise. A run of
        wandb's that is open already, and mirrors no other run, is the one that is used.

        Args:
            config: A mapping, a dataclass or an ``argparse.Namespace``; it is not changed.
            base_dir: The folder of all projects, made where there is none.
            project_name: The project, here and at wandb.
            entity: wandb's user or team; its default without one.
            name: The run's name, for people.
            run_id: Its id; wandb's without one, or one of our own without wandb.
            tags: What else is to be known of it, as text.
            parent_run_id: The run that this one is part of.
            wandb_options: More arguments of ``wandb.init``: ``group``, ``mode``, ``settings``, …

        Raises:
            ConflictError: There is a run of this id in the project.
            UsageError: The config can't be written.
            StoreUnavailable: The folder can't be written to.
        """
        run = start_local_run(
            config,
            Path(base_dir),
            project_name,
            entity,
            name=name,
            run_id=run_id,
            tags=tags,
            parent_run_id=parent_run_id,
            wandb_options=wandb_options,
        )
        return cls(run, base_dir)

    @classmethod
    def load(cls, run_id: str, base_dir: str | Path, project_name: str | None = None) -> MLRun:
        """Load a run from its files, without wandb.

        It is open for more: :meth:`add_metrics` adds to it, and leaves its status as it is.

        Args:
            run_id: The run's id, or ``PROJECT/RUN``.
            base_dir: The folder of all projects.
            project_name: The project; without one all are searched.

        Raises:
            NotFoundError: There is none, or several projects have one.
            CorruptDataError: One of its files is damaged; the message names it.
            StoreUnavailable: There is no such folder, or it can't be read.
        """
        return cls(load_local_run(Path(base_dir), run_id, project_name), base_dir)

    @property
    def meta(self) -> dict[str, Any]:
        """What else is known of the run: ``git_commit``, ``created_at``, ``status``, ``tags``, …"""
        return self._run.meta

    @property
    def metrics(self) -> dict[str, Any]:
        """The latest value of every metric."""
        return self._run.metrics

    @property
    def status(self) -> str:
        """``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``."""
        return self._run.status

    @property
    def wandb_run(self) -> Any:
        """wandb's own run while it is active, else ``None``."""
        mirror = self._run.mirror
        return mirror.run if mirror is not None and mirror.is_active else None

    def add_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add metrics to ``metrics.toml``, then log them to wandb.

        Args:
            metrics: Values by name: numbers, text, dates, nested mappings, tables.
            step: When they were measured; every number with a step is kept in the history. wandb, which can't go back
                to an earlier step of its own, has it as the metric ``step``.

        Raises:
            ConflictError: The run has ended, or is deleted.
            UsageError: A value can't be written; nothing was.
            CorruptDataError, StoreUnavailable: The files can't be read or written; what was there is whole.
        """
        self._run.add_metrics(metrics, step)

    def history(self, metric: str) -> list[Metric]:
        """Every value of a metric by its steps; empty when there is none.

        Raises:
            CorruptDataError, StoreUnavailable: The files can't be read.
        """
        return histories_of(self.run_dir).get(metric, [])

    def finish(self, status: str = "FINISHED") -> None:
        """End the run, and wandb's once it has sent what it has; a second call, or one for a loaded run, does nothing.

        Args:
            status: ``FINISHED``, ``FAILED`` or ``KILLED``.

        Raises:
            UsageError: It is another status.
            CorruptDataError, StoreUnavailable: ``config.toml`` can't be read or written.
        """
        self._run.end(Ending(status))

    def get_wandb_url(self) -> str:
        """Where wandb shows the run, or will once an offline run was synced.

        Returns:
            Such as ``https://wandb.ai/ENTITY/PROJECT/runs/ID``; empty when wandb does not have the run, or was offline
            and not told the entity.
        """
        return self._run.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._run.end_after(error)

    def __reduce__(self) -> tuple[Any, ...]:
        return MLRun.load, (self.run_id, self.base_dir.absolute(), self.run_dir.parent.name)

    def __repr__(self) -> str:
        return f"MLRun({self.project_name}/{self.run_id}, {self.status})"


class MLProject:
    """All runs of a folder of projects, as a table.

    Args:
        base_dir: The folder of all projects.

    Attributes:
        base_dir: The folder.
        df: A row a run, of all projects; nested keys are joined with dots (``model.name``).
        unreadable: The files that could not be read; the runs of all others are there.

    Raises:
        StoreUnavailable: There is no such folder, or it can't be read.
    """

    df: pd.DataFrame
    unreadable: tuple[Unreadable, ...]

    def __init__(self, base_dir: str | Path) -> None:
        self.base_dir = Path(base_dir)
        self.load_project()

    def load_project(self) -> None:
        """Scan the folder again.

        Warns:
            AgentNNWarning: Files could not be read; it names them.

        Raises:
            StoreUnavailable: There is no such folder, or it can't be read.
        """
        from agentnn.sdk.project_frame import load_frame

        self.df, self.unreadable = load_frame(self.base_dir)
        if self.unreadable:
            warn(f"runs are left out: {_named(self.unreadable)}")

    @overload
    def search(self, query_string: str, return_objects: Literal[False] = False) -> pd.DataFrame: ...

    @overload
    def search(self, query_string: str, return_objects: Literal[True]) -> list[MLRun]: ...

    def search(self, query_string: str, return_objects: bool = False) -> pd.DataFrame | list[MLRun]:
        """The runs for which a condition holds, in the language of ``pandas.DataFrame.query``; nothing in it is run.

        Args:
            query_string: Such as ``"`model.name` == 'BERT' and accuracy > 0.9"``; a nested key needs its backticks.
            return_objects: Load the runs instead of giving their rows of the table.

        Raises:
            FilterError: The condition is wrong, or is none that can be asked; the message points at the place.
            NotFoundError, CorruptDataError: With ``return_objects``, when a run is gone or damaged since the scan.
        """
        from agentnn.query.frames import select

        found = select(self.df, query_string)
        if not return_objects:
            return found
        return [
            self.get_run(run_id, project)
            for run_id, project in zip(found["run_id"], found["project_name"], strict=True)
        ]

    def get_run(self, run_id: str, project_name: str | None = None) -> MLRun:
        """Load one run; see :meth:`MLRun.load`."""
        return MLRun.load(run_id, self.base_dir, project_name)

    def __len__(self) -> int:
        return len(self.df)


def _named(unreadable: tuple[Unreadable, ...]) -> str:
    more = len(unreadable) - _MOST_NAMED
    return "; ".join([one.problem for one in unreadable[:_MOST_NAMED]] + ([f"and {more} more"] if more > 0 else []))
