"""Naming one thing: ``@last``, ``@best:sharpe_ratio``, an id or its beginning, a name, ``models:/alpha@champion``."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from agentnn.errors import NotFoundError, UsageError, command
from agentnn.query.expressions import Comparison, Field
from agentnn.query.runs import RunQuery
from agentnn.query.selection import BestQuery, Excluded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from agentnn.query.runs import FieldKind, View
    from agentnn.query.selection import Best, Mode
    from agentnn.records import Experiment, ModelVersion, RegisteredModel, Run

_SHORTEST_PREFIX = 4
_SHOWN = 5
_NAMES = 200


class Runs(Protocol):
    """What a selector needs of a store of runs."""

    def list_experiments(self, view: View = "active") -> list[Experiment]:
        """The experiments."""

    def find_experiment(self, *, name: str | None = None, experiment_id: str | None = None) -> Experiment | None:
        """One experiment."""

    def search_runs(self, query: RunQuery) -> Iterator[Run]:
        """The runs that a query asks for."""

    def find_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """Runs by id."""

    def best_runs(self, query: BestQuery) -> Best:
        """The best runs."""

    def field_keys(self, kind: FieldKind, query: RunQuery) -> list[str]:
        """The names of metrics, params or tags."""


class Models(Protocol):
    """What a selector needs of a model registry."""

    def list_models(self) -> list[RegisteredModel]:
        """The registered models."""

    def list_model_versions(self, name: str) -> list[ModelVersion]:
        """The versions of a model, newest first."""


class ModelUri(NamedTuple):
    """``models:/name``, ``models:/name/3``, ``models:/name@champion`` or ``models:/name/Production``, taken apart."""

    name: str
    kind: Literal["latest", "version", "alias", "stage"]
    value: str = ""


def always_max(_: str) -> Mode:
    """The greatest value is the best, whatever the metric."""
    return "max"


def find_run(
    text: str,
    runs: Runs,
    models: Callable[[], Models],
    scope: RunQuery,
    mode_of: Callable[[str], Mode] = always_max,
) -> Run:
    """The one run that a selector names.

    Args:
        text: The selector.
        runs: The store of runs.
        models: Opens the registry; called for a ``models:/`` selector only.
        scope: Where ``@last``, ``@best`` and names are looked for. A full id is found wherever it is.
        mode_of: Which direction of a metric is the better one, where ``@best:METRIC`` does not say.

    Raises:
        NotFoundError: Nothing answers to the selector, or more than one run does.
        UsageError: The selector is malformed.
    """
    if text.startswith("models:/"):
        return _run_behind(find_model_version(parse_model_uri(text), models()), runs)
    if text.startswith("@"):
        return _special_run(text, runs, scope, mode_of)
    if exact := runs.find_runs([text]):
        return exact[0]
    named = _where(runs, scope, Comparison(Field("attribute", "run_name"), "=", text))
    if len(named) == 1:
        return named[0]
    if len(named) > 1:
        raise _ambiguous(f"{len(named)}{'+' if len(named) > _SHOWN else ''} runs are named {text!r}", named)
    return _run_by_prefix(text, runs, scope)


def find_experiment(text: str, runs: Runs) -> Experiment:
    """The experiment with this name, or else with this id; an active one before a deleted one.

    Raises:
        NotFoundError: There is none.
    """
    found = runs.find_experiment(name=text) or runs.find_experiment(experiment_id=text)
    if found is None:
        known = [one.name for one in runs.list_experiments("all")]
        raise not_found("experiment", text, known, listing="agentnn experiment list")
    return found


def find_model_version(uri: ModelUri, models: Models) -> ModelVersion:
    """The model version that a URI names.

    Raises:
        NotFoundError: There is no such model, version, alias or stage.
    """
    versions = models.list_model_versions(uri.name)
    if not versions:
        known = [one.name for one in models.list_models()]
        if uri.name in known:
            raise NotFoundError(f"the model {uri.name!r} has no versions", hint="agentnn model list")
        raise not_found("model", uri.name, known, listing="agentnn model list")
    chosen = next((one for one in versions if _answers(one, uri)), None)
    if chosen is None:
        raise NotFoundError(
            f"the model {uri.name!r} has no {uri.kind} {uri.value!r}", hint=command("model", "versions", uri.name)
        )
    return chosen


def parse_model_uri(text: str) -> ModelUri:
    """Read a model URI; the scheme ``models:/`` may be left out.

    Raises:
        UsageError: It names no model.
    """
    rest = text.removeprefix("models:").strip("/")
    name, at, alias = rest.rpartition("@")
    if at and name:
        return ModelUri(name, "alias", alias)
    name, slash, last = rest.partition("/")
    if not name or (slash and not last) or "/" in last:
        raise UsageError(f"{text!r} names no model version", hint="models:/NAME@ALIAS, models:/NAME/3 or NAME")
    if not slash or last == "latest":
        return ModelUri(name, "latest")
    return ModelUri(name, "version" if last.isdecimal() else "stage", last)


def not_found(what: str, name: str, known: Iterable[str], *, where: str = "", listing: str = "") -> NotFoundError:
    """The error for a name that is not there, which offers the nearest ones."""
    near = nearest(name, known)
    hint = f"did you mean {', '.join(near)}?" if near else listing
    return NotFoundError(f"there is no {what} {name!r}{where}", candidates=near, hint=hint)


def nearest(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Up to three names that come closest to one that is not there."""
    folded = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.55)
    if not close:
        close = sorted(one for one in folded if name.casefold() in one)[:3]
    return tuple(folded[one] for one in close)


def _answers(version: ModelVersion, uri: ModelUri) -> bool:
    if uri.kind == "alias":
        return uri.value in version.aliases
    if uri.kind == "version":
        return version.version == int(uri.value)
    if uri.kind == "stage":
        return version.stage.lower() == uri.value.lower()
    return True  # the newest comes first


def _run_behind(version: ModelVersion, runs: Runs) -> Run:
    found = runs.find_runs([version.run_id]) if version.run_id else []
    if not found:
        raise NotFoundError(
            f"{version.name} version {version.version} has no run in this store",
            hint=command("model", "versions", version.name),
        )
    return found[0]


def _special_run(text: str, runs: Runs, scope: RunQuery, mode_of: Callable[[str], Mode]) -> Run:
    if text == "@last":
        newest = next(runs.search_runs(RunQuery(scope.experiment_ids, scope.filter, limit=1, view=scope.view)), None)
        if newest is None:
            raise NotFoundError("there are no runs yet", hint="agentnn run list --view all")
        return newest
    if text.startswith("@best:"):
        metric, mode = parse_best(text)
        query = BestQuery(metric, mode or mode_of(metric), scope=scope)
        best = runs.best_runs(query).candidates
        if not best:
            raise no_run_qualifies(query, runs)
        return best[0].run
    raise UsageError(f"unknown selector {text!r}", hint="@last, @best:METRIC or @best:METRIC:min")


def parse_best(text: str) -> tuple[str, Mode | None]:
    """Metric and mode of ``@best:metric[:max|min]``."""
    metric, mode = parse_metric(text.removeprefix("@best:"))
    if not metric:
        raise UsageError(f"{text!r} names no metric", hint="@best:sharpe_ratio")
    return metric, mode


def parse_metric(text: str) -> tuple[str, Mode | None]:
    """Metric and mode of ``metric[:max|min]``; the metric's name may itself hold colons."""
    metric, _, mode = text.rpartition(":")
    if metric and mode == "min":
        return metric, "min"
    if metric and mode == "max":
        return metric, "max"
    return text, None


def no_run_qualifies(query: BestQuery, runs: Runs) -> NotFoundError:
    """The error for a question about the best run that no run can answer, with what stood in the way."""
    tally = runs.best_runs(query._replace(tally=True)).excluded or Excluded()
    if not tally.total:
        where = "matches the filter" if query.scope.filter is not None else "is there"
        return NotFoundError(f"no run qualifies: no run {where}", hint="agentnn run list")
    keys = runs.field_keys("metric", RunQuery(query.scope.experiment_ids, view=query.scope.view))
    if query.metric in keys:
        reasons = ", ".join(f"{count} {reason}" for reason, count in tally.in_words().items() if count)
        hint = "--include-unfinished looks at those that are not finished too" if tally.unfinished else ""
        return NotFoundError(f"no run qualifies by {query.metric!r}: {reasons}", hint=hint or "agentnn run list")
    near = nearest(query.metric, keys)
    if near:
        hint = f"did you mean {', '.join(near)}?"
    else:
        more = ", …" if len(keys) > _SHOWN else ""
        hint = f"the metrics here: {', '.join(keys[:_SHOWN])}{more}" if keys else "no run here has any metric"
    return NotFoundError(f"no run qualifies: no run has a metric {query.metric!r}", candidates=near, hint=hint)


def _run_by_prefix(text: str, runs: Runs, scope: RunQuery) -> Run:
    if len(text) >= _SHORTEST_PREFIX and text.isalnum():
        condition = Comparison(Field("attribute", "run_id"), "LIKE", f"{text}%")
        for view in dict.fromkeys((scope.view, "all")):  # a deleted run too, when no other begins so
            begun = _where(runs, scope._replace(view=view), condition)
            if len(begun) == 1:
                return begun[0]
            if begun:
                raise _ambiguous(f"{len(begun)}{'+' if len(begun) > _SHOWN else ''} run ids begin with {text!r}", begun)
    _look_among_deleted(text, runs, scope)
    names = {run.name for run in runs.search_runs(RunQuery(scope.experiment_ids, limit=_NAMES, view=scope.view))}
    short = "" if len(text) >= _SHORTEST_PREFIX else f"; the beginning of an id needs {_SHORTEST_PREFIX} characters"
    raise not_found("run", text, names, listing=f"agentnn run list{short}")


def _look_among_deleted(name: str, runs: Runs, scope: RunQuery) -> None:
    """Say so where only deleted runs have a name: these answer to their ids alone."""
    named = Comparison(Field("attribute", "run_name"), "=", name)
    found = _where(runs, scope._replace(view="all"), named) if scope.view == "active" else []
    if found:
        ids = tuple(run.run_id for run in found[:_SHOWN])
        hint = f"name it by its id, {', '.join(ids)}, or bring it back: {command('run', 'restore', ids[0])}"
        raise NotFoundError(f"the run {name!r} is deleted", candidates=ids, hint=hint)


def _where(runs: Runs, scope: RunQuery, condition: Comparison) -> list[Run]:
    return list(runs.search_runs(RunQuery(scope.experiment_ids, condition, limit=_SHOWN + 1, view=scope.view)))


def _ambiguous(message: str, found: list[Run]) -> NotFoundError:
    shown = tuple(f"{run.run_id} ({run.experiment})" for run in found[:_SHOWN])
    more = ", …" if len(found) > _SHOWN else ""
    return NotFoundError(message, candidates=shown, hint=f"name one by its id: {', '.join(shown)}{more}")
