"""Which runs a change is about: those that selectors name, or those that a filter leaves."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from agentnn.errors import NotFoundError, UsageError
from agentnn.query.expressions import And, Comparison, Expression, Field
from agentnn.query.selectors import nearest
from agentnn.sdk.store_access import Experiments, StoreAccess

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentnn.query.runs import RunQuery, View
    from agentnn.records import Run

STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")

_AGE = r"(\d+(?:\.\d+)?)\s*([mhdw])"
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FULL_ID = r"[0-9a-f]{32}"


class Conditions(NamedTuple):
    """Which runs, where no selector names them; ``None`` and empty mean that nothing is asked.

    Attributes:
        filter: An expression.
        experiment: One experiment or several, by name or id.
        older_than: How long ago a run must have started at least, such as ``30d``, ``12h``, ``2w`` or ``90m``.
        status: One status or several, one of which a run must have.
    """

    filter: str | None = None
    experiment: Experiments = None
    older_than: str | timedelta | None = None
    status: str | Sequence[str] | None = None

    @property
    def is_choice(self) -> bool:
        """Whether anything is asked at all."""
        return any(one is not None and one not in ((), []) for one in self)


class NamedRuns(NamedTuple):
    """The runs that selectors name, once each: those of the life-cycle stage that was asked for, and the others."""

    asked: list[Run]
    others: list[Run]


class RunChoice(StoreAccess):
    """Finds the runs that are to be changed."""

    def _named_runs(self, selectors: str | Sequence[str], experiment: Experiments, view: View) -> NamedRuns:
        """The runs that selectors name.

        Raises:
            NotFoundError: Nothing answers to one of them, or more than one run does.
        """
        named = list(dict.fromkeys([selectors] if isinstance(selectors, str) else selectors))
        scope = self._scope(experiment, None, view)
        by_id = {
            run.run_id: run for run in self._store.find_runs([one for one in named if re.fullmatch(_FULL_ID, one)])
        }
        runs = {run.run_id: run for run in (by_id.get(one) or self._named_run(one, scope) for one in named)}
        asked = [run for run in runs.values() if run.lifecycle_stage == view]
        return NamedRuns(asked, [run for run in runs.values() if run.lifecycle_stage != view])

    def _named_run(self, selector: str, scope: RunQuery) -> Run:
        """The run that a selector names, in the stage that is meant or else in the other."""
        try:
            return self._find_run(selector, scope)
        except NotFoundError:
            try:
                return self._find_run(selector, scope._replace(view="all"))
            except NotFoundError:
                pass  # the first error has the better names
            raise

    def _matching_runs(self, conditions: Conditions, view: View) -> Iterator[Run]:
        """The runs that conditions leave.

        Raises:
            FilterError, UsageError: A condition is wrong.
            NotFoundError: There is no such experiment.
        """
        if conditions.filter is not None and not conditions.filter.strip():
            raise UsageError("the filter is empty", hint="leave --filter out, or say which runs are meant")
        scope = self._scope(conditions.experiment, conditions.filter, view)
        parts = [one for one in (scope.filter, _of_status(conditions.status), _of_age(conditions.older_than)) if one]
        return self._store.search_runs(scope._replace(filter=And(tuple(parts)) if len(parts) > 1 else _only(parts)))


def check_choice(named: str | Sequence[str], conditions: Conditions) -> None:
    """Refuse a change that does not say which runs are meant, or says it twice.

    Raises:
        UsageError: There are neither selectors nor conditions, or both; an experiment may stand beside selectors.
    """
    if named and conditions._replace(experiment=None).is_choice:
        raise UsageError("name the runs, or say by conditions which are meant: not both", hint="RUN… or --filter")
    if not named and not conditions.is_choice:
        raise UsageError("which runs are meant?", hint="name them by id, name or @last, or say --filter")


def parse_age(text: str) -> timedelta:
    """Read how long ago: ``30d``, ``12h``, ``2w`` or ``90m``.

    Raises:
        UsageError: It is written in another way, or longer than time goes back.
    """
    found = re.fullmatch(_AGE, text.strip().lower())
    try:
        if found:
            return timedelta(**{_UNITS[found[2]]: float(found[1])})
    except OverflowError:
        pass
    raise UsageError(f"{text!r} is no age", hint="for instance 30d, 12h, 2w or 90m (minutes)")


def statuses_of(status: str | Sequence[str] | None) -> tuple[str, ...]:
    """The statuses that are asked for, as MLflow writes them.

    Raises:
        UsageError: There is no such status.
    """
    named = [status] if isinstance(status, str) else list(status or ())
    for one in named:
        if one.upper() not in STATUSES:
            near = nearest(one, STATUSES)
            hint = f"did you mean {', '.join(near)}?" if near else f"one of {', '.join(STATUSES)}"
            raise UsageError(f"there is no status {one!r}", hint=hint)
    return tuple(dict.fromkeys(one.upper() for one in named))


def _of_status(status: str | Sequence[str] | None) -> Expression | None:
    wanted = statuses_of(status)
    return Comparison(Field("attribute", "status"), "IN", wanted) if wanted else None


def _of_age(older_than: str | timedelta | None) -> Expression | None:
    if older_than is None:
        return None
    age = parse_age(older_than) if isinstance(older_than, str) else older_than
    limit = time.time() * 1000 - age.total_seconds() * 1000
    return Comparison(Field("attribute", "start_time"), "<", limit)


def _only(parts: list[Expression]) -> Expression | None:
    return parts[0] if parts else None
