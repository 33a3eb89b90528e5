"""A change to each of many runs: several at once where that helps, and how far it came said where it fails."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentnn.errors import AgentNNError, UsageError
from agentnn.stores.run_changes import deleted_run, say_how_far

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agentnn.records import Run

AT_ONCE = 8
"""Requests to a server at the same time."""

MOST_TAGS = 100
"""Tags in one request, as MLflow's server takes them."""

_DELETED = ("must be in the 'active' state", "must be in 'active' lifecycle_stage")


def says_deleted(error: Exception) -> bool:
    """Whether MLflow refuses to write to a run because it is deleted."""
    return any(text in str(error) for text in _DELETED)


def changed(runs: Sequence[Run], change: Callable[[Run], None], *, at_once: int = 1) -> Iterator[Run]:
    """Change each run; gives those that were changed, until one can't be.

    Args:
        runs: The runs.
        change: Changes one, and raises where it can't.
        at_once: How many are changed at the same time; the error then comes behind all that were begun.
    """
    if at_once < 2 or len(runs) < 2:
        for run in runs:
            change(run)
            yield run
        return
    yield from _changed_at_once(runs, change, at_once)


def _changed_at_once(runs: Sequence[Run], change: Callable[[Run], None], at_once: int) -> Iterator[Run]:
    from concurrent.futures import ThreadPoolExecutor  # most changes are of one run
    from threading import Event

    stop = Event()

    def attempt(run: Run) -> bool:
        if stop.is_set():
            return False
        try:
            change(run)
        except BaseException:
            stop.set()
            raise
        return True

    with ThreadPoolExecutor(at_once) as pool:
        futures = [(run, pool.submit(attempt, run)) for run in runs]
        failure: BaseException | None = None
        try:
            for run, future in futures:
                error = future.exception()
                failure = failure or error
                if error is None and future.result():
                    yield run
        finally:
            stop.set()  # also when we are interrupted
    if failure is not None:
        raise failure


@contextmanager
def saying_how_far(runs: Sequence[Run], done_word: str) -> Iterator[list[str]]:
    """Let an error of a change of several runs say which were changed.

    Args:
        runs: All of them.
        done_word: What becomes of them.

    Yields:
        Takes the ids of those that were changed.
    """
    done: list[str] = []
    try:
        yield done
    except AgentNNError as error:
        changed_ids = set(done)
        missing = [run.run_id for run in runs if run.run_id not in changed_ids]
        if isinstance(error, UsageError) and says_deleted(error):
            error = deleted_run(next((run_id for run_id in missing if run_id in str(error)), missing[0]))
        if len(runs) > 1:
            say_how_far(error, missing, len(runs), done_word)
        raise error
