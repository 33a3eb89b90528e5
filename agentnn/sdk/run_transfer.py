"""Taking runs from one store to another."""

from __future__ import annotations

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

    def import_runs(self, source: str | Path, *, experiment: str | None = None) -> list[ImportedRun]:
        """Make the runs of an export in this store.

        Each gets a new id, and keeps the old one as the tag ``agentnn.imported_run_id``; a run that is there already is
        left alone, and one whose import was interrupted goes on where it was.

        Args:
            source: What :meth:`export_runs` wrote.
            experiment: Where all runs go, by name or id; into experiments of the names that they had otherwise.

        Returns:
            The runs in the order of the export, and what became of each.

        Raises:
            CorruptDataError: The export is damaged; nothing was written.
            UnsafeError: It is unsafe; nothing was written.
            NotFoundError: There is no such export.
            ConflictError: An experiment is deleted but still holds its name.
            StoreUnavailable: The store can't be written to; the next import goes on.
        """
        from agentnn.transfer.importing import import_export

        return import_export(self.settings, Path(source), experiment=experiment)
