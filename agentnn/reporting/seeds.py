"""Runs that differ in nothing but a seed: their mean and its spread, so that no lucky seed wins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.query.comparison import differing_params
from agentnn.query.grouping import RunGroup, group_runs
from agentnn.reporting.directions import is_aside
from agentnn.reporting.document import Block, Column, Mark, Missing, Table
from agentnn.reporting.words import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.records import Run
    from agentnn.reporting.document import Cell
    from agentnn.reporting.gather import ComparisonFacts

_SEEDS = ("seed", "random_seed", "random_state", "rng_seed", "manual_seed")
_MOST_METRICS, _MOST_GROUPS = 8, 200


def seed_groups(runs: Sequence[Run]) -> list[RunGroup]:
    """The groups of two finished runs or more that differ in nothing but a seed."""
    seeds = {key for run in runs for key in run.params if key.rpartition(".")[2].lower() in _SEEDS}
    if not seeds:
        return []
    finished = [run for run in runs if run.status == "FINISHED"]
    return [group for group in group_runs(finished, seeds) if group.size > 1]


def name_of(group: RunGroup, groups: Sequence[RunGroup]) -> str:
    """What tells a group from the others: the params that differ between them."""
    differing = differing_params([one.params for one in groups])
    told = [f"{key}={group.params[key]}" for key in differing if key in group.params]
    if len({one.experiment for one in groups}) > 1:
        told.insert(0, group.experiment)
    return listed(told, 4) or "one configuration"


def seed_blocks(facts: ComparisonFacts, groups: Sequence[RunGroup]) -> list[Block]:
    """Mean and standard deviation of each group by each of the first metrics."""
    if not groups:
        return [Missing("mean and spread over seeds", "no two finished runs differ in nothing but a param seed")]
    directions = facts.origin.directions
    ordered = directions.ordered({key for group in groups for key in group.values})
    metrics = sorted((key for key in ordered if not is_aside(key)), key=lambda key: key != facts.leading)
    columns = [Column("group", "Configuration"), Column("runs", "Runs", "number", digits=0)]
    marks: list[Mark] = []
    summaries = [[group.summary(metric) for metric in metrics[:_MOST_METRICS]] for group in groups]
    for place, metric in enumerate(metrics[:_MOST_METRICS]):
        direction = directions.direction(metric)
        known = [
            (of_group[place].mean, row)  # type: ignore[union-attr]
            for row, of_group in enumerate(summaries)
            if of_group[place] is not None
        ]
        if direction is not None and len(known) > 1:
            best = (max if direction == "max" else min)(known)[1]
            marks.append(Mark(best, len(columns), "best"))
        columns += [
            Column(f"mean.{metric}", f"{metric}, mean", "number", direction, group="metric"),
            Column(f"std.{metric}", "± std", "number", group="metric", note="of the sample, with n - 1"),
            Column(f"n.{metric}", "n", "number", digits=0, group="metric", note="finite values"),
        ]
    rows: list[tuple[Cell, ...]] = []
    for group, of_group in zip(groups, summaries, strict=True):
        parts: list[Cell] = []
        for one in of_group:
            parts += [None, None, 0] if one is None else [one.mean, one.std, one.n]
        rows.append((name_of(group, groups), group.size, *parts))
    shown = rows[:_MOST_GROUPS]
    note = f"the first {_MOST_GROUPS} of {len(rows)} groups" if len(rows) > len(shown) else ""
    return [
        Table(
            "seed-groups",
            "Mean and spread over seeds",
            tuple(columns),
            tuple(shown),
            tuple(mark for mark in marks if mark.row < len(shown)),
            is_filterable=len(shown) > 10,
            note=note,
        )
    ]
