"""Taking runs from one store to another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agentnn.errors import UsageError
from agentnn.sdk.store_access import Experiments, StoreAccess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.query.runs import View
    from agentnn.transfer.exporting import ExportedRun
    from agentnn.transfer.importing import ImportedRun


class RunTransfer(StoreAccess):
    """The part of :class:`~agentnn.sdk.nn_models.ModelManager` that exports and imports runs."""

    def export_runs(
        self,
        target: str | Path,
        runs: str | Sequence[str] = (),
        *,
        experiment: Experiments = None,
        filter: str | None = None,
        view: View = "active",
        children: bool = True,
    ) -> list[ExportedRun]:
        """Write runs with their params, tags, metric histories and files as a folder, or as one archive.

        The format is described in ``docs/export-format.md``. Of one run, whichever stores it has been through, the same
        files are written.

        Args:
            target: The folder, or a file that ends with ``.zip`` or ``.tar.gz``; it appears when it is complete.
            runs: Selectors; without any, the runs that the other arguments leave.
            experiment: One experiment or several, by name or id.
            filter: Which runs; see :meth:`list_runs`.
            view: ``active``, ``deleted`` or ``all``; a named run may be deleted in any case.
            children: Whether runs that are nested in others come along.

        Returns:
            The runs in the order of the export: a parent before its children, earlier ones before later ones.

        Raises:
            UsageError: Runs are named and filtered.
            ConflictError: The target is there already; or a run's own import was interrupted.
            NotFoundError: A selector names no run, or there is none to export.
            UnsafeError: The files of a run are where none may be read.
            StoreUnavailable: The store can't be read, or the target not be written; nothing is left there.
        """
        from agentnn.transfer.exporting import export

        if runs and filter:
            raise UsageError("runs are either named or filtered", hint="leave out one of them")
        scope = self._scope(experiment, filter, view)
        selectors = [runs] if isinstance(runs, str) else list(runs)
        named = [self._find_run(one, scope) for one in selectors]
        return export(self._store, self.settings, Path(target), scope, named, children=children)

    def import_runs(
        self,
        source: str | Path | None = None,
        *,
        experiment: str | None = None,
        from_store: str | Path | None = None,
        runs: str | Sequence[str] = (),
        filter: str | None = None,
        from_experiment: Experiments = None,
        view: View = "active",
        children: bool = True,
    ) -> list[ImportedRun]:
        """Make runs in this store: those of an export, or those of another store.

        Each keeps the id that it had as the tag ``agentnn.imported_run_id``, and in a store of TOML files as its own; a
        run that is there already is left alone, and one whose import was interrupted goes on where it was.

        Args:
            source: What :meth:`export_runs` wrote.
            experiment: Where all runs go, by name or id; into experiments of the names that they had otherwise.
            from_store: The tracking URI of another store, instead of an export. It is only read, with the same
                credentials as this one.
            runs: Selectors of runs there; without any, the runs that the other arguments leave.
            filter: Which runs there; see :meth:`list_runs`.
            from_experiment: One experiment there or several, by name or id.
            view: Which runs there: ``active``, ``deleted`` or ``all``; a named run may be deleted in any case.
            children: Whether runs there that are nested in others come along.

        Returns:
            The runs, a parent before its children, earlier ones before later ones; and what became of each.

        Raises:
            UsageError: Neither an export nor another store is named, or both; runs are named and filtered.
            CorruptDataError: The export is damaged; nothing was written.
            UnsafeError: It is unsafe, or the files of a run are where none may be read; nothing was written.
            NotFoundError: There is no such export, or no such run.
            ConflictError: An experiment is deleted but still holds its name, or there is another run of that id.
            StoreUnavailable: A store can't be used; the next import goes on.
        """
        from tempfile import TemporaryDirectory  # 2 ms that no question needs

        from agentnn.transfer.importing import import_export

        if from_store is None:
            if source is None or runs or filter or from_experiment or view != "active" or not children:
                raise _neither_nor()
            return import_export(self.settings, Path(source), experiment=experiment)
        if source is not None:
            raise _neither_nor()
        with TemporaryDirectory(prefix="agentnn-import-") as scratch, self._reader_of(from_store) as reader:
            passed = Path(scratch, "export")
            reader.export_runs(passed, runs, experiment=from_experiment, filter=filter, view=view, children=children)
            return import_export(self.settings, passed, experiment=experiment)

    def _reader_of(self, uri: str | Path) -> RunTransfer:
        """What reads another store; the experiment that the environment names is one of this store."""
        reader = RunTransfer(uri)
        reader.settings = replace(
            reader.settings, credentials=self.settings.credentials, experiment_name=None, experiment_id=None
        )
        return reader


def _neither_nor() -> UsageError:
    return UsageError(
        "runs come either from an export or from another store",
        hint="name a folder or an archive, or another store and the runs there: --from URI [RUN...]",
    )
