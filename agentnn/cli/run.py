"""``agentnn run list|show|best|compare|history``: questions about runs."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentnn.cli import completion
from agentnn.cli.amounts import counted
from agentnn.cli.groups import check_grouping, groups_view, ranked_groups_view
from agentnn.cli.options import (
    ColumnsOption,
    ExperimentsOption,
    ExplainOption,
    FilterOption,
    FormulasOption,
    GroupOption,
    LimitOption,
    MetricOption,
    ModeOption,
    OutputOption,
    OverOption,
    RunArgument,
    SortOption,
    ViewOption,
    explain_at_the_end,
    manager_of,
    note,
)
from agentnn.cli.paging import Seen
from agentnn.cli.reading_progress import showing_reading
from agentnn.cli.render import Output, emit
from agentnn.cli.run_views import best_view, comparison_view, history_view, run_view, runs_view
from agentnn.errors import CheckFailed, UsageError
from agentnn.query.selectors import not_found, parse_metric

if TYPE_CHECKING:
    from agentnn.query.grouping import GroupRanking
    from agentnn.query.selection import BestRun


def list_runs(
    ctx: typer.Context,
    experiment: ExperimentsOption = None,
    filter: FilterOption = None,
    sort: SortOption = None,
    limit: LimitOption = 100,
    view: ViewOption = "active",
    group_by_params: GroupOption = False,
    over: OverOption = None,
    columns: ColumnsOption = None,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
    explain: ExplainOption = False,
) -> None:
    """List runs, the newest first; what differs between them comes first.

    With --group-by-params --over seed, a line is what the runs of one configuration reached: mean, standard deviation
    and number of finite values.
    """
    if explain:
        explain_at_the_end(ctx)
    if check_grouping(group_by_params, over, sort=sort, columns=columns):
        groups = manager_of(ctx).list_run_groups(over or (), experiment, filter=filter, view=view)
        emit(groups_view(groups[: limit or None]), output, formulas=keep_formulas)
        if limit and len(groups) > limit:
            note(f"showing the first {counted(limit, 'group')}; --limit 0 shows all")
        return
    manager = manager_of(ctx)
    wanted = limit + 1 if limit else None
    seen = Seen(
        partial(manager.iter_runs, experiment, filter=filter, order_by=sort, limit=wanted, view=view),
        partial(manager.iter_run_ids, experiment, filter=filter, order_by=sort, limit=wanted, view=view),
        limit,
        columns,
    )
    emit(runs_view(seen, columns)._replace(identifiers=seen.run_ids), output, formulas=keep_formulas)
    if seen.more:
        note(f"showing the first {counted(limit, 'run')}; --limit 0 shows all")
    if not seen.count or seen.empty:
        unknown = manager.find_unknown_fields(
            None if seen.count else filter, [f"{kind}.{key}" for kind, key in seen.empty], experiment
        )
        for name, near in unknown.items():
            note(f"no run has {name}" + (f"; did you mean {', '.join(near)}?" if near else ""))


def show(
    ctx: typer.Context,
    run: RunArgument,
    experiment: ExperimentsOption = None,
    columns: ColumnsOption = None,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Show one run: metrics with their curves, params, tags."""
    manager = manager_of(ctx)
    found = manager.get_run(run, experiment=experiment)
    view = run_view(found, columns, lambda: manager.get_metric_histories(found.run_id))
    emit(view, output, formulas=keep_formulas)


def best(
    ctx: typer.Context,
    metric: MetricOption,
    mode: ModeOption = None,
    experiment: ExperimentsOption = None,
    filter: FilterOption = None,
    top: Annotated[int, typer.Option("--top", min=1, metavar="N", help="How many runs to show, the best first.")] = 1,
    children: Annotated[
        bool, typer.Option("--include-children/--exclude-children", help="Whether nested runs take part.")
    ] = True,
    include_unfinished: Annotated[
        bool, typer.Option("--include-unfinished", help="Let running, failed and killed runs take part.")
    ] = False,
    aggregate: Annotated[
        Literal["last", "min", "max", "mean", "first"],
        typer.Option("--aggregate", help="Which value of a run counts: the last, or one over its history."),
    ] = "last",
    tally: Annotated[
        bool | None,
        typer.Option(
            "--tally/--no-tally",
            help="Count what was left out, and why; always, unless a server would have to be asked for long.",
            show_default=False,
        ),
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="With --aggregate: read all histories of a server anew, and keep none.")
    ] = False,
    group_by_params: GroupOption = False,
    over: OverOption = None,
    min_runs: Annotated[
        int, typer.Option("--min-runs", min=1, metavar="N", help="With --group-by-params: how many runs a group needs.")
    ] = 2,
    columns: ColumnsOption = None,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
    explain: ExplainOption = False,
) -> None:
    """Show the best run by a metric, its margin, and what was left out and why.

    Only a finite value of a finished run can win. Ties go to the later start, then to the smaller run id. With
    --group-by-params --over seed, configurations are ranked by the mean over their runs, so that no lucky seed wins.
    """
    if explain:
        explain_at_the_end(ctx)
    if check_grouping(group_by_params, over, columns=columns, aggregate=aggregate != "last"):
        ranking = manager_of(ctx).rank_run_groups(
            metric, over or (), mode, experiment, filter,
            min_runs=min_runs, include_unfinished=include_unfinished, include_children=children,
        )  # fmt: skip
        emit(ranked_groups_view(ranking, top), output, formulas=keep_formulas)
        _say_how_groups_were_ranked(ranking, min_runs)
        return
    with showing_reading():
        answer = manager_of(ctx).get_best_run(
            metric, mode, experiment, filter, top,
            aggregate=aggregate, include_unfinished=include_unfinished, include_children=children,
            tally="cheap" if tally is None else tally, use_cache=not no_cache,
        )  # fmt: skip
    ranked: list[BestRun] = answer if isinstance(answer, list) else [answer]
    emit(best_view(ranked, columns, single=top == 1), output, formulas=keep_formulas)
    if ranked[0].best.excluded is None and tally is None:
        note("a server would be asked for long: what was left out is not counted; --tally counts it")
    _say_what_was_left_out(ranked[0])


def compare(
    ctx: typer.Context,
    runs: Annotated[
        list[str], typer.Argument(help="2 to 1000 runs.", metavar="RUN RUN…", autocompletion=completion.runs)
    ],
    experiment: ExperimentsOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Show what is the same, too.")] = False,
    fail_if_worse: Annotated[
        str | None,
        typer.Option(
            "--fail-if-worse",
            metavar="METRIC[:min]",
            help="Exit code 1 when a run is worse than the first by this metric, or lacks it.",
        ),
    ] = None,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
    explain: ExplainOption = False,
) -> None:
    """Put runs side by side and show what differs."""
    if len(runs) < 2:
        raise UsageError("a comparison needs at least two runs", hint="agentnn run compare RUN RUN")
    if explain:
        explain_at_the_end(ctx)
    manager = manager_of(ctx)
    comparison = manager.compare_runs(runs, experiment=experiment)
    directions = manager.metric_conventions.direction
    emit(comparison_view(comparison, everything=everything, direction_of=directions), output, formulas=keep_formulas)
    if not everything and not comparison.differences:
        note("the runs do not differ; --all shows what they have in common")
    if fail_if_worse is not None:
        metric, mode = parse_metric(fail_if_worse)
        worse = manager.find_worse(comparison, metric, mode)
        if worse:
            names = ", ".join(run.name or run.run_id for run in worse)
            raise CheckFailed(f"worse than {comparison.runs[0].name} by {metric}: {names}")


def history(
    ctx: typer.Context,
    run: RunArgument,
    metric: MetricOption,
    experiment: ExperimentsOption = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, metavar="N", help="Only the last so many; 0 for all.")
    ] = 0,
    output: OutputOption = Output.auto,
) -> None:
    """Print every logged value of a metric by step, or draw the curve on a terminal."""
    manager = manager_of(ctx)
    found = manager.get_run(run, experiment=experiment)
    points = manager.get_metric_history(found, metric)
    if not points:
        raise not_found("metric", metric, found.metrics, where=f" in the run {found.name or found.run_id}")
    emit(history_view(points[-limit:]), output)


def _say_how_groups_were_ranked(ranking: "GroupRanking", min_runs: int) -> None:
    best = ranking.groups[0]
    parts = [f"{len(ranking.groups)} groups of runs considered"]
    if ranking.too_small:
        parts.append(f"{ranking.too_small} left out with fewer than {min_runs} finite values")
    if ranking.without_metric:
        parts.append(f"{ranking.without_metric} left out without a finite value")
    note("; ".join(parts))
    if best.summary.n < best.group.size:
        note(f"the best mean is over {best.summary.n} of {best.group.size} runs: the others have no finite value")


def _say_what_was_left_out(winner: "BestRun") -> None:
    verdict = winner.best
    if verdict.excluded is not None:
        left_out = ", ".join(f"{count} {reason}" for reason, count in verdict.excluded.in_words().items() if count)
        considered = f"{counted(verdict.considered or 0, 'run')} considered"
        note(considered + (f"; left out: {left_out}" if left_out else "; none left out"))
    if winner.parent_run_id:
        note(f"the best run is nested in {winner.parent_run_id}; --exclude-children leaves nested runs out")
