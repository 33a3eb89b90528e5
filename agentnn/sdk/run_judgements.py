"""Judging runs: the gate that CI asks, and groups of runs that differ in nothing but a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.errors import NotFoundError, UsageError
from agentnn.query.runs import RunQuery
from agentnn.query.selectors import not_found
from agentnn.records import PARENT_TAG
from agentnn.sdk.store_access import Experiments, StoreAccess

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentnn.query.comparison import Comparison
    from agentnn.query.gate import GateReport
    from agentnn.query.grouping import GroupRanking, RunGroup
    from agentnn.query.runs import View
    from agentnn.query.selection import Mode
    from agentnn.records import Run


class RunJudgements(StoreAccess):
    """The part of :class:`~agentnn.sdk.nn_models.ModelManager` that judges runs."""

    def check_run(
        self,
        run: str,
        *,
        require: str | Sequence[str] = (),
        baseline: str | None = None,
        max_regress: str | Sequence[str] = (),
        include_unfinished: bool = False,
        experiment: Experiments = None,
    ) -> GateReport:
        """Check whether a run reaches what it must; the report says what holds, and nothing is raised if it does not.

        Args:
            run: The run, by a selector.
            require: Requirements such as ``"sharpe_ratio >= 1.2"``.
            baseline: The run that it must not fall behind, by a selector such as ``models:/alpha@champion``.
            max_regress: By how much it may: ``"5%"`` of the baseline's value or ``"0.05"``, for every metric that
                ``require`` names; ``"sharpe_ratio=5%"`` for one metric. Which direction is worse is what the project
                declares of the metric, else what the requirement's operator says, else that of ``max``.
            include_unfinished: Whether a run that is not FINISHED may pass.
            experiment: Where names and ``@`` selectors are looked for.

        Raises:
            UsageError: There is nothing to check, or a requirement or an amount is malformed.
            NotFoundError: One of the two runs is not there.
        """
        from agentnn.query.gate import check_run, parse_requirement, parse_tolerance

        requirements = [parse_requirement(one) for one in _each(require)]
        tolerances = [parse_tolerance(one) for one in _each(max_regress)]
        if bool(tolerances) != (baseline is not None):
            raise UsageError(
                "a baseline and what may be lost against it go together",
                hint="--baseline models:/NAME@champion --max-regress 5%; --max-regress 0 allows nothing",
            )
        if not requirements and not tolerances:
            raise UsageError("there is nothing to check", hint="--require 'sharpe_ratio >= 1.2'")
        scope = self._scope(experiment, None, "active")
        return check_run(
            self._find_run(run, scope),
            requirements,
            None if baseline is None else self._find_run(baseline, scope),
            tolerances,
            declared=self.metric_conventions.direction,
            mode_of=self.default_mode,
            include_unfinished=include_unfinished,
        )

    def find_worse(self, comparison: Comparison, metric: str, mode: Mode | None = None) -> list[Run]:
        """The runs of a comparison whose value of a metric is worse than the first run's, or no number at all.

        Args:
            comparison: What :meth:`compare_runs` gave.
            metric: The metric's name.
            mode: Whether greater (``max``) or smaller (``min``) is better; as the project declares, or else ``max``.

        Raises:
            NotFoundError: The first run has no finite value to compare with.
        """
        return comparison.worse_than_first(metric, mode or self.default_mode(metric))

    def list_run_groups(
        self,
        over: str | Sequence[str],
        experiment: Experiments = None,
        *,
        filter: str | None = None,
        view: View = "active",
    ) -> list[RunGroup]:
        """Runs taken together that have the same params but for some, such as the seed; the newest group first.

        Args:
            over: The params that may differ.
            experiment: One experiment or several, by name or id; runs of two experiments are never one group.
            filter: Which runs take part.
            view: ``active``, ``deleted`` or ``all``.

        Raises:
            NotFoundError: No run has such a param.
        """
        from agentnn.query.grouping import group_runs

        scope = self._scope(experiment, filter, view)
        varied = self._known_params(over, scope)
        return group_runs(self._store.search_runs(scope), varied)

    def rank_run_groups(
        self,
        metric: str,
        over: str | Sequence[str],
        mode: Mode | None = None,
        experiment: Experiments = None,
        filter: str | None = None,
        *,
        min_runs: int = 2,
        include_unfinished: bool = False,
        include_children: bool = True,
    ) -> GroupRanking:
        """Groups of runs by the mean of a metric over what varies, the best first, so that no lucky seed wins.

        Args:
            metric: The metric; only finite values count.
            over: The params that may differ within a group, such as ``seed``.
            mode: ``max`` or ``min``; see :meth:`~agentnn.sdk.store_access.StoreAccess.default_mode`.
            experiment: One experiment or several, by name or id.
            filter: Which runs take part.
            min_runs: How many finite values a group needs.
            include_unfinished: Whether runs that are running, failed or killed take part.
            include_children: Whether nested runs take part.

        Raises:
            NotFoundError: No group qualifies, or no run has such a param.
        """
        from agentnn.query.grouping import group_runs, rank_groups

        scope = self._scope(experiment, filter, "active")
        varied = self._known_params(over, scope)
        runs = self._taking_part(scope, include_unfinished=include_unfinished, include_children=include_children)
        mode = mode or self.default_mode(metric)
        ranking = rank_groups(group_runs(runs, varied), metric, mode, min_runs=min_runs)
        if not ranking.groups:
            raise self._no_group(ranking, metric, scope, min_runs)
        return ranking

    def _taking_part(self, scope: RunQuery, *, include_unfinished: bool, include_children: bool) -> Iterator[Run]:
        for run in self._store.search_runs(scope):
            if (include_unfinished or run.status == "FINISHED") and (include_children or PARENT_TAG not in run.tags):
                yield run

    def _known_params(self, over: str | Sequence[str], scope: RunQuery) -> frozenset[str]:
        named = _each(over)
        if not named:
            raise UsageError("it is not said which params may differ in a group", hint="--over seed")
        known = self._store.field_keys("param", RunQuery(scope.experiment_ids, view=scope.view))
        for name in named:
            if name not in known:
                raise not_found("param", name, known, where=" in these runs", listing="agentnn run list")
        return frozenset(named)

    def _no_group(self, ranking: GroupRanking, metric: str, scope: RunQuery, min_runs: int) -> NotFoundError:
        if ranking.too_small:
            return NotFoundError(
                f"no group of runs qualifies: each has fewer than {min_runs} finite values of {metric!r}",
                hint="--min-runs 1 lets single runs take part",
            )
        known = self._store.field_keys("metric", RunQuery(scope.experiment_ids, view=scope.view))
        if metric in known:
            return NotFoundError(
                f"no group of runs qualifies: no finished run has a finite {metric!r}",
                hint="--include-unfinished looks at those that are not finished too",
            )
        return not_found("metric", metric, known, where=" in these runs", listing="agentnn run list")


def _each(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)
