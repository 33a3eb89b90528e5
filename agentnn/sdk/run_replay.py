"""Training again what a run has trained, to see whether the same comes out."""

from __future__ import annotations

import copy
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.errors import (
    AgentNNWarning,
    ConflictError,
    NotFoundError,
    StoreUnavailable,
    UnsafeError,
    UsageError,
)
from agentnn.sdk.configurations_of_runs import DIGEST_PARAM, configuration_of
from agentnn.sdk.run_training import RunTraining

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from agentnn.records import Run
    from agentnn.sdk.store_access import Experiments
    from agentnn.tracking.capture.git import GitState
    from agentnn.training.replay import Replay

DEFAULT_TOLERANCE = 1e-6
_COMMIT = re.compile("[0-9a-f]{7,64}")
_CHANGES = "environment/changes.diff"


class _Code(NamedTuple):
    """The code that a run was trained with.

    Attributes:
        root: The repository; ``None`` where today's code will do.
        commit: The commit.
        diff: What was changed since.
    """

    root: Path | None
    commit: str | None
    diff: str = ""


class RunReplay(RunTraining):
    """The part of :class:`~agentnn.sdk.nn_models.ModelManager` that repeats runs."""

    def replay(
        self,
        run: str,
        *,
        tolerance: float = DEFAULT_TOLERANCE,
        metrics: Collection[str] = (),
        here: bool = False,
        trust: bool = False,
        experiment: Experiments = None,
        on_start: Callable[[str, str | None], None] | None = None,
    ) -> Replay:
        """Train again from a run's own configuration, commit and seed, and compare what comes out.

        The repetition is a run of the same experiment with the tag ``agentnn.replay_of``. It registers no model and
        leaves checkpoints of the user's own alone. Where the work tree is not what the run was trained with, the code,
        and data that are under version control, come from a temporary work tree of the run's commit.

        Args:
            run: The run, by a selector.
            tolerance: How far values may lie apart: absolutely, or as a share of the greater one.
            metrics: What is compared, at every step; all but what measures the machine without them.
            here: Train with the code that is here, whatever the run was trained with.
            trust: Whether changes that the run recorded, which are code from the store, may be run.
            experiment: Where the selector is looked for.
            on_start: Called before training, with the run's name and the commit that is checked out, if one is.

        Returns:
            What was compared, and what differs.

        Raises:
            UsageError: The tolerance is negative, or a metric is none of the runs'.
            NotFoundError: There is no such run, it has no ``config.yaml``, or its commit is not here.
            ConfigError: A secret of its configuration was not kept.
            ConflictError: It has not finished.
            UnsafeError: It was trained with changes that were not committed, and ``trust`` is false.
            TrainingError: The repetition failed.
            StoreUnavailable: The store can't be used.
        """
        if not tolerance >= 0:
            raise UsageError(f"the tolerance must be 0 or more, not {tolerance}")
        found = self._find_run(run, self._scope(experiment, None, "active"))
        if found.status != "FINISHED":
            raise ConflictError(
                f"the run {found.name!r} is {found.status}: there is no end to compare with",
                hint=f"agentnn run train --resume {found.run_id} goes on with one that was broken off",
            )
        values = _for_replay(configuration_of(self, found))
        code = _Code(None, None) if here else self._code_of(found, trust=trust)
        if on_start is not None:
            on_start(found.name or found.run_id, code.commit if code.root else None)
        replayed = self._get_replayed(self._train_again(found, values, code), found)
        return self._compared(found, replayed, code, tolerance, metrics)

    def _train_again(self, found: Run, values: dict[str, Any], code: _Code) -> str | None:
        """The id of the repetition, as far as it is known."""
        from agentnn.training.replay import REPLAY_TAG

        settings = replace(self.settings, experiment_name=found.experiment, experiment_id=None)
        name, tags = f"{found.name or found.run_id[:8]} (replay)", {REPLAY_TAG: found.run_id}
        if code.root is None:
            other = copy.copy(self)
            other.settings = replace(settings, tracking_uri_source="option")
            return other.train(values, run_name=name, tags=tags).run_id
        from agentnn.tracking.capture.worktree import checked_out
        from agentnn.training.past_code import train_with

        assert code.commit is not None
        with checked_out(code.root, code.commit, code.diff) as tree:
            return train_with(tree, code.root, values, settings, name=name, tags=tags)

    def _get_replayed(self, run_id: str | None, found: Run) -> Run:
        stored = self._store.find_runs([run_id]) if run_id is not None else []
        if not stored:
            raise StoreUnavailable(
                f"the repetition of {found.name!r} is not in the store yet, and can't be compared",
                hint="to deliver it: agentnn run sync; then: agentnn run compare",
            )
        return stored[0]

    def _compared(self, found: Run, replayed: Run, code: _Code, tolerance: float, wanted: Collection[str]) -> Replay:
        from agentnn.training.replay import Replay, compared_metrics, differing_metrics

        original, again = self._histories_of(found), self._histories_of(replayed)
        names = compared_metrics(original, again, wanted)
        before, now = found.params.get(DIGEST_PARAM), replayed.params.get(DIGEST_PARAM)
        return Replay(
            original=found.run_id,
            original_name=found.name or "",
            replayed=replayed.run_id,
            replayed_name=replayed.name or "",
            commit=code.commit if code.root else None,
            compared=names,
            differences=differing_metrics(original, again, names, tolerance),
            tolerance=tolerance,
            same_data=None if before is None else before == now,
        )

    def _code_of(self, run: Run, *, trust: bool) -> _Code:
        """What is to be checked out, if anything."""
        from agentnn.tracking.capture.git import read_git
        from agentnn.tracking.capture.worktree import has_commit

        commit = run.tags.get("git_commit", "")
        name = run.name or run.run_id
        if not _COMMIT.fullmatch(commit):
            return _Code(None, None)  # it was trained outside of any repository
        state = read_git(Path.cwd())
        if state is None or not has_commit(Path(state.root), commit):
            where = "the working directory is in no repository" if state is None else "it is not in this repository"
            raise NotFoundError(
                f"the run {name!r} was trained with the commit {commit[:12]}, and {where}",
                hint="go to the repository, or git fetch; --here trains with the code that is here",
            )
        diff = self._changes_of(run)
        if state.commit == commit and _is_as_then(state, diff, was_dirty=run.tags.get("git_dirty") == "true"):
            return _Code(None, commit)
        if diff and not trust:
            raise UnsafeError(
                f"the run {name!r} was trained with changes to the commit {commit[:12]}, which are code from the store",
                hint=f"look at them: agentnn run artifacts cat {run.run_id} {_CHANGES}; then --trust, or --here",
            )
        return _Code(Path(state.root), commit, diff)

    def _changes_of(self, run: Run) -> str:
        """What was changed since the commit, as the run has recorded it."""
        if run.tags.get("git_dirty") != "true":
            return ""
        try:
            return b"".join(self.read_artifact(run.run_id, _CHANGES)).decode("utf-8", "surrogateescape")
        except NotFoundError:
            warnings.warn(
                f"the run {run.name!r} was trained with changes to its commit that it did not record",
                AgentNNWarning,
                stacklevel=2,
            )
            return ""


def _is_as_then(state: GitState, diff: str, *, was_dirty: bool) -> bool:
    """Whether the work tree of the same commit is what the run was trained with."""
    if not state.dirty:
        return not was_dirty
    if not was_dirty:
        return False
    from agentnn.tracking.capture.git import read_diff
    from agentnn.tracking.capture.redaction import Redactor

    return Redactor().text(read_diff(Path(state.root))[0]) == diff


def _for_replay(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration without what a repetition must not do again: replace checkpoints, register a model."""
    for section, key in (("training", "checkpoint_dir"), ("tracking", "register_as")):
        if isinstance(values.get(section), dict):
            values[section].pop(key, None)
    return values
