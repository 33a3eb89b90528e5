"""Keeping a store in order: delivering what waits on this machine, and finding and repairing what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.sdk.store_access import StoreAccess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentnn.tracking.upkeep.findings import Diagnosis
    from agentnn.tracking.upkeep.syncing import SyncProgress
    from agentnn.tracking.upkeep.waiting import SyncedRun


class Upkeep(StoreAccess):
    """The part of :class:`~agentnn.sdk.nn_models.ModelManager` that keeps a store in order."""

    def sync_runs(
        self,
        run: str | None = None,
        *,
        watch: bool = False,
        strict: bool = False,
        progress: Callable[[SyncProgress], None] | None = None,
    ) -> list[SyncedRun]:
        """Have what waits on this machine delivered to the store, exactly once, and wait for it.

        What runs log meanwhile is not waited for, unless with ``watch``. An interruption of the wait interrupts
        nothing else: delivery goes on in the background.

        Args:
            run: Only this run: its uuid, its run id, the beginning of one of them, its name, or any other selector of
                a run that is in the store.
            watch: Go on until the run has ended, or every process has that logs to the store from this machine, and
                wait for a store that can't be used.
            strict: Raise when something could not be delivered.
            progress: Called again and again meanwhile.

        Returns:
            How the runs stand: those of which something was delivered, waits, was refused or is damaged, and the one
            that was named if anything of it is on this machine.

        Raises:
            NotFoundError: The run is neither on this machine nor in the store.
            StoreUnavailable: With ``strict``: the store can't be used; nothing is lost.
            CorruptDataError: With ``strict``: records in a journal are damaged.
            ConflictError: With ``strict``: the store refused something for good.
        """
        from agentnn.tracking.upkeep.syncing import sync
        from agentnn.tracking.upkeep.waiting import undelivered

        found = sync(self.settings, run, watch=watch, progress=progress)
        if run is not None and not found:  # it is in the store, or named in another way
            named = self._find_run(run)
            found = sync(self.settings, named.run_id, watch=watch, progress=progress)
        error = undelivered(found) if strict else None
        if error is not None:
            raise error
        return found

    def discard_refused(self, run: str) -> SyncedRun:
        """Throw away what the store refused of a run or is damaged, once everything else of it is delivered.

        Args:
            run: Its uuid, its run id, the beginning of one of them, or its name.

        Returns:
            How the run stood: what was thrown away.

        Raises:
            NotFoundError: Nothing of such a run is on this machine.
            ConflictError: Something of it could still be delivered, or a process still writes it.
        """
        from agentnn.tracking.upkeep.waiting import discard

        return discard(self.settings, run)

    def diagnose(self, *, fix: bool = False, runs: Sequence[str] = ()) -> Diagnosis:
        """Look for what is wrong with the store and with what waits for it, and repair what can be repaired.

        Without ``fix`` nothing is changed. With it, only runs that bear agentnn's tags are touched, and those that are
        named here.

        Args:
            fix: Repair what can be repaired.
            runs: Look at these runs and those that are nested in them only, and take them for agentnn's own; selectors,
                or what :meth:`sync_runs` takes.

        Returns:
            What was looked at and what was found; its ``error`` says why the store could not be looked at.

        Raises:
            NotFoundError: One of the runs is neither in the store nor on this machine.
        """
        from agentnn.tracking.upkeep.doctor import diagnose

        return diagnose(self.settings, lambda: self._store, lambda: self._registry, fix=fix, named=runs)
