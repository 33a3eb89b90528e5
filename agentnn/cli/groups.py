"""``--group-by-params --over seed``: runs that differ in nothing but a seed, as one line with mean and spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.cli.render import Row, Table, View
from agentnn.cli.text import short, visible
from agentnn.errors import UsageError
from agentnn.query.comparison import differing_params

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from agentnn.query.grouping import GroupRanking, RunGroup, Summary

_SHOWN_METRICS = 6


def check_grouping(group_by_params: bool, over: Sequence[str] | None, **others: Any) -> bool:
    """Whether runs are to be grouped.

    Args:
        group_by_params: Whether ``--group-by-params`` was given.
        over: What ``--over`` said.
        others: Options that make no sense for groups, by their names, as they were given.

    Raises:
        UsageError: The options don't go together.
    """
    if not group_by_params:
        if over:
            raise UsageError("--over goes with --group-by-params", hint="--group-by-params --over seed")
        return False
    if not over:
        raise UsageError("--group-by-params needs to know what varies", hint="--group-by-params --over seed")
    for name, value in others.items():
        if value:
            raise UsageError(f"--{name} is not for groups of runs", hint="-o json shows all there is of each group")
    return True


def groups_view(groups: Sequence[RunGroup]) -> View:
    """Groups of runs, each with its metrics over what varies."""
    metrics = list(dict.fromkeys(metric for group in groups for metric in sorted(group.values)))
    return _view(groups, metrics, [group.to_dict for group in groups])


def ranked_groups_view(ranking: GroupRanking, top: int) -> View:
    """The best groups of runs by the mean of a metric; ``-o id`` prints their runs."""
    ranked = ranking.groups[:top]
    groups = [one.group for one in ranked]
    return _view(groups, [ranked[0].metric], [one.to_dict for one in ranked])._replace(single=top == 1)


def _view(groups: Sequence[RunGroup], metrics: Sequence[str], records: Sequence[Any]) -> View:
    params = _shown_params(groups)
    columns = ["experiment", *(f"params.{key}" for key in params), "runs"]
    columns += [f"{part}.{metric}" for metric in metrics for part in ("mean", "std", "n")]
    rows = [
        Row(_cells(group, params, metrics), ",".join(group.run_ids), record)
        for group, record in zip(groups, records, strict=True)
    ]
    return View(rows, lambda: Table(columns, rows), picture=lambda console: _picture(groups, params, metrics, console))


def _shown_params(groups: Sequence[RunGroup]) -> list[str]:
    """The params that tell the groups apart; all of them where there is only one."""
    differing = differing_params([group.params for group in groups])
    return differing or sorted({key for group in groups for key in group.params})


def _cells(group: RunGroup, params: Sequence[str], metrics: Sequence[str]) -> list[Any]:
    cells: list[Any] = [group.experiment, *(group.params.get(key) for key in params), group.size]
    for metric in metrics:
        found = group.summary(metric)
        cells += [found.mean, found.std, found.n] if found else [None, None, 0]
    return cells


def _picture(
    groups: Sequence[RunGroup], params: Sequence[str], metrics: Sequence[str], console: Console
) -> RenderableType:
    """Mean and spread in one cell, as a person writes them."""
    from agentnn.cli.tables import table_of

    shown = metrics[:_SHOWN_METRICS]
    columns = [*(f"params.{key}" for key in params), "runs", *(f"metrics.{metric}" for metric in shown)]
    rows = [
        Row(
            cells := [
                *(visible(group.params.get(key, "")) for key in params),
                str(group.size),
                *(_in_words(group.summary(metric), group.size) for metric in shown),
            ],
            "",
            dict,
            cells,
        )
        for group in groups
    ]
    return table_of(Table(columns, rows, essential=len(params) + 2), console)


def _in_words(summary: Summary | None, size: int) -> str:
    if summary is None:
        return ""
    spread = f" ± {short(summary.std)}" if summary.std is not None else ""
    return f"{short(summary.mean)}{spread}" + (f" (n {summary.n})" if summary.n != size else "")
