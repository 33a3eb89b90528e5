"""``ExperimentOrganizer``: runs named and tagged after one configuration, and studies as families of runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from agentnn.config.objectives import StudyObjective, objectives_of
from agentnn.errors import AgentNNError, UsageError
from agentnn.sdk.run_names import NAME_PATTERN, filled
from agentnn.sdk.trial_result import STATES, TrialResult, best_of
from agentnn.settings import Settings
from agentnn.tracking.capture.recording import config_record
from agentnn.tracking.run_context import current_run
from agentnn.tracking.sending.sender_control import with_absolute_uris
from agentnn.tracking.starting import start_run
from agentnn.tracking.study_tags import (
    BEST_PARAMS_TAG,
    BEST_RUN_TAG,
    BEST_TRIAL_TAG,
    OBJECTIVE_TAG,
    ROLE_TAG,
    TRIAL_NUMBER_TAG,
    TRIAL_STATE_TAG,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from agentnn.query.selection import Mode
    from agentnn.sdk.trial_result import TrialState
    from agentnn.tracking.active_run import ActiveRun


class ExperimentOrganizer:
    """Starts the runs of one configuration, so that they can be found again.

    Names follow a pattern of ``{experiment}``, ``{model_type}``, ``{type}``, ``{stage}``, ``{version}``, ``{dataset}``,
    ``{git}`` (seven digits of the commit) and ``{time}``; what is not known is left out with the sign before it. Tags
    are those of ``experiment.tags``, and ``experiment_type``, ``stage``, ``model_type``, ``model_version``,
    ``dataset``, ``dataset_version``, ``git_commit`` and ``git_branch`` as far as the configuration says them itself: a
    default is no statement about a run.

    Args:
        config: What ``ConfigurationManager.get_config()`` gives, or a mapping with the same sections.
        name_pattern: Of the names of runs; ``experiment.run_name`` of the configuration without one, and otherwise
            ``{model_type}-{time:%Y%m%d-%H%M%S}``.
        tags: More tags, which go before those of the configuration.
        tracking_uri: The store; ``tracking.uri`` of the configuration, or as the settings say, without one.
        settings: All of the settings, instead of ``tracking_uri`` and of what the configuration says.

    Raises:
        UsageError: The configuration is no mapping, or the pattern names what is not known.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        name_pattern: str | None = None,
        tags: Mapping[str, Any] | None = None,
        tracking_uri: str | Path | None = None,
        settings: Settings | None = None,
    ) -> None:
        if not isinstance(config, Mapping):
            raise UsageError(
                f"a {type(config).__name__} is no configuration", hint="ConfigurationManager(path).get_config()"
            )
        self.config = config
        self._more_tags = dict(tags or {})
        self._shown = config_record(config).values  # tags and names hold no secret
        self._settings = settings
        self._tracking_uri = tracking_uri or (config["tracking"]["uri"] if self._said("tracking", "uri") else None)
        self._strict = bool(self._said("tracking", "strict"))
        self._results: list[TrialResult] = []
        self.name_pattern = name_pattern or self._said("experiment", "run_name") or NAME_PATTERN
        self.run_name()  # a wrong pattern is said now, and not after an hour of reading data

    def __getstate__(self) -> dict[str, Any]:
        """In another process, or on another machine, it names the same store, whatever the settings are there."""
        return {**self.__dict__, "_settings": self.settings}

    @property
    def experiment_name(self) -> str | None:
        """The experiment; ``None`` for that of the environment, or ``Default``."""
        name = self._said("experiment", "name")
        return None if name is None else str(name)

    @property
    def settings(self) -> Settings:
        """What names the store that runs go to."""
        return with_absolute_uris(self._settings or Settings.load(self._tracking_uri))

    @property
    def objectives(self) -> tuple[StudyObjective, ...]:
        """What trials are judged by; the first decides which is best."""
        return objectives_of({key: self._said("hpo", key) for key in ("metric", "mode", "objectives")})

    @property
    def metric(self) -> str:
        """What trials are judged by; the first of several metrics."""
        return self.objectives[0].metric

    @property
    def mode(self) -> Mode:
        """Whether its smallest or greatest value is best."""
        return self.objectives[0].mode

    @cached_property
    def tags(self) -> dict[str, Any]:
        """The tags that every run starts with."""
        derived = {
            "experiment_type": self._said("experiment", "type"),
            "stage": self._said("experiment", "stage"),
            "model_type": self._said("model", "family"),
            "model_version": self._said("experiment", "version"),
            "dataset": self._data_set(),
            "dataset_version": self._said("data", "version"),
            **self._code,
        }
        known = {name: value for name, value in derived.items() if value is not None}
        return {**known, **(self._said("experiment", "tags") or {}), **self._more_tags}

    def run_name(self) -> str:
        """A name for a run that starts now."""
        values = {
            "experiment": self.experiment_name,
            "model_type": self.tags.get("model_type") or "run",
            "type": self.tags.get("experiment_type"),
            "stage": self.tags.get("stage"),
            "version": self.tags.get("model_version"),
            "dataset": self.tags.get("dataset"),
            "git": str(self.tags.get("git_commit") or "")[:7] or None,
            "time": datetime.now().astimezone(),
        }
        return filled(self.name_pattern, values)

    def start_run(
        self,
        run_name: str | None = None,
        *,
        tags: Mapping[str, Any] | None = None,
        nested: bool = False,
    ) -> ActiveRun:
        """Start a run of the experiment, and make it the current one.

        Args:
            run_name: The run's name, as it is; by the pattern without one.
            tags: More tags, which go before all others.
            nested: Whether it is a child of the run that is open.

        Returns:
            The run, a context manager.

        Raises:
            ConflictError: A run is open, and ``nested`` was not asked for; or the experiment is deleted.
        """
        return self._start(run_name or self.run_name(), tags or {}, nested=nested)

    def start_study(
        self, name: str | None = None, *, tags: Mapping[str, Any] | None = None, run_id: str | None = None
    ) -> ActiveRun:
        """Start the run that the trials of a study are children of.

        Args:
            name: The study's name; ``hpo.study_name``, or by the pattern, without one.
            tags: More tags.
            run_id: Go on with this run instead, which a study that was broken off has left.

        Returns:
            The run, a context manager; :meth:`finish_study` notes the best trial in it.

        Raises:
            ConflictError: A run is open, or the one to go on with is deleted.
            NotFoundError: There is no run to go on with.
        """
        self._results = []
        role = {ROLE_TAG: "study", OBJECTIVE_TAG: ", ".join(map(str, self.objectives))}
        name = name or self._said("hpo", "study_name") or self.run_name()
        return self._start(name, {**role, **(tags or {})}, run_id=run_id)

    def start_trial(
        self,
        number: int,
        params: Mapping[str, Any],
        *,
        parent_run_id: str | None = None,
        tags: Mapping[str, Any] | None = None,
        uuid: str | None = None,
    ) -> ActiveRun:
        """Start a trial as a child of the study that is open: in this process, or in the one that started this one.

        Args:
            number: The trial's number, from 0.
            params: What is tried; logged as params.
            parent_run_id: The study's run, where it was started on another machine.
            tags: More tags.
            uuid: Our own id of the run, where it has to be known before; see :func:`~agentnn.start_run`.

        Returns:
            The run, a context manager; :meth:`finish_trial` ends it with its value.

        Raises:
            UsageError: No study is open, and ``parent_run_id`` was not given.
        """
        if parent_run_id is None and current_run() is None:
            raise UsageError("no study is open that this could be a trial of", hint="start_study(), or parent_run_id=")
        role = {ROLE_TAG: "trial", TRIAL_NUMBER_TAG: number}
        run = self._start(
            f"trial-{number:04d}",
            {**role, **(tags or {})},
            nested=parent_run_id is None,
            parent_run_id=parent_run_id,
            uuid=uuid,
        )
        run.log_params(params)
        return run

    def resume_trial(self, run_id: str) -> ActiveRun:
        """Open a trial's run again that its process left behind, to end it with the truth about it.

        Args:
            run_id: The run's id; our own is enough as long as its journal is on this machine.

        Raises:
            NotFoundError: There is no such run.
        """
        return self._start("", {}, nested=True, run_id=run_id)

    def finish_trial(
        self,
        run: ActiveRun,
        number: int,
        params: Mapping[str, Any],
        value: float | None = None,
        *,
        state: TrialState = "complete",
        reason: str = "",
        step: int | None = None,
        wait: bool = True,
    ) -> TrialResult:
        """End a trial: FAILED where it failed, otherwise FINISHED.

        Args:
            run: What :meth:`start_trial` gave.
            number: The trial's number.
            params: What was tried.
            value: What it is judged by, logged under the name of the study's metric.
            state: ``complete``, ``pruned`` or ``failed``.
            reason: Why it was pruned or failed, in one line.
            step: The last step that the metric was logged at, so that ``value`` comes after it; 0 without one.
            wait: Whether to wait a little for the store. Without it the result has no ``run_id`` that the store has not
                given yet.

        Returns:
            The result, for :meth:`finish_study`.
        """
        if state not in STATES:
            raise UsageError(f"a trial can't be {state!r}", hint=f"one of {', '.join(STATES)}")
        run.set_tag(TRIAL_STATE_TAG, state)
        if value is not None:
            run.log_metric(self.metric, value, step)
        run.end("FAILED" if state == "failed" else "FINISHED", reason, wait=wait)
        run_id = _run_id_of(run) if wait else run.find_run_id()
        result = TrialResult(number, run_id, None if value is None else float(value), dict(params), state)
        self._results.append(result)
        return result

    def finish_study(
        self, study: ActiveRun, results: Iterable[TrialResult] | None = None, *, best: TrialResult | None = None
    ) -> TrialResult | None:
        """Note the best trial in the study's run, and how many there were; the run stays open.

        Tags name its number, its run and its params, and the metric ``best_<metric>`` is its value. They may be noted
        again, once the study has gone on.

        Args:
            study: What :meth:`start_study` gave.
            results: All trials; those that were finished by this object without them.
            best: The best trial, where another order than that of ``hpo.mode`` decides.

        Returns:
            The best trial; ``None`` where no complete one has a finite value.
        """
        trials = list(self._results if results is None else results)
        best = best or best_of(trials, self.mode)
        states = Counter[str](one.state for one in trials)
        study.log_metrics({"trials": len(trials), **{f"trials_{state}": states[state] for state in STATES}})
        if best is None:
            return None
        tags = {BEST_TRIAL_TAG: best.number, BEST_PARAMS_TAG: json.dumps(dict(best.params), default=str)}
        study.set_tags({**tags, BEST_RUN_TAG: best.run_id} if best.run_id else tags)
        if best.value is not None:
            study.log_metric(f"best_{self.metric}", best.value)
        return best

    def _start(
        self,
        name: str,
        tags: Mapping[str, Any],
        *,
        nested: bool = False,
        parent_run_id: str | None = None,
        run_id: str | None = None,
        uuid: str | None = None,
    ) -> ActiveRun:
        is_inside = nested and current_run() is not None
        return start_run(
            name,
            experiment=self.experiment_name,
            run_id=run_id,
            nested=nested,
            parent_run_id=parent_run_id,
            uuid=uuid,
            tags={**self.tags, **tags},
            description=self._said("experiment", "description"),
            tracking_uri=None if is_inside else self._tracking_uri,  # a child goes where its parent is
            settings=None if is_inside else self._settings,
            strict=self._strict,
        )

    def _said(self, section: str, key: str) -> Any:
        """A value that the configuration gives itself; ``None`` for a default, and where there is none."""
        found = self.config.get(section)
        if not isinstance(found, Mapping) or key not in getattr(found, "model_fields_set", found):
            return None
        return self._shown[section][key]

    def _data_set(self) -> str | None:
        path = self._said("data", "path")
        name = self._said("data", "name") or (PurePath(str(path)).stem if path else self._said("data", "series"))
        return None if name is None else str(name)

    @cached_property
    def _code(self) -> dict[str, str | None]:
        from agentnn.tracking.capture.git import read_commit

        commit, branch = read_commit()
        return {"git_commit": commit, "git_branch": branch}


def _run_id_of(run: ActiveRun) -> str | None:
    try:
        return run.run_id
    except AgentNNError:  # the store is down; what was logged waits
        return None
