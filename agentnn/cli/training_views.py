"""A training and a repetition, for a person and for a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.cli.render import Row, Table, View

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType

    from agentnn.training.replay import MetricDifference, Replay
    from agentnn.training.training_run import TrainingResult

_METRICS = ("metric", "validation", "test", "buy_and_hold")
_DIFFERENCES = ("metric", "step", "original", "replayed", "difference", "differing_steps", "steps")


def trained_view(result: TrainingResult) -> View:
    """A training: its metrics part by part, the whole of it as JSON, the run's id."""
    whole = Row((), result.run_id or result.uuid, result.to_dict)
    return View(
        [whole],
        lambda: Table(_METRICS, list(_metric_rows(result)), essential=len(_METRICS)),
        single=True,
        picture=lambda console: _trained_picture(result, console),
    )


def replay_view(replay: Replay) -> View:
    """A repetition: the metrics that differ, the whole of it as JSON, the id of the new run."""
    whole = Row((), replay.replayed, replay.to_dict)
    return View(
        [whole],
        lambda: Table(_DIFFERENCES, [_difference_row(one) for one in replay.differences], essential=4),
        single=True,
        picture=lambda console: _replay_picture(replay, console),
    )


def _metric_rows(result: TrainingResult) -> Iterator[Row]:
    """A line a metric: errors first, then the figures of the backtest."""
    test = result.test
    traded = test.traded if test is not None else None
    tested: dict[str, float] = test.metrics if test is not None else {}
    held = traded.buy_and_hold if traded is not None else {}
    for name in dict.fromkeys([*result.validation.metrics, *tested]):
        yield _metric_row(name, result.validation.metrics.get(name), tested.get(name), held.get(name))


def _metric_row(name: str, *values: float | None) -> Row:
    return Row((name, *values), name, lambda: dict(zip(_METRICS, (name, *values), strict=True)))


def _difference_row(one: MetricDifference) -> Row:
    fields = one.to_dict()
    return Row([fields[column] for column in _DIFFERENCES], one.metric, lambda: fields)


def _trained_picture(result: TrainingResult, console: Console) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from agentnn.cli.tables import details, table_of

    ending = ", stopped early" if result.stopped_early else ""
    begun = f", from the checkpoint of epoch {result.resumed_from}" if result.resumed_from else ""
    facts: dict[str, Any] = {
        "run": f"{result.name}  {result.run_id or result.uuid}",
        "data": f"{result.dataset['name']}, {result.dataset['target']}",
        "trained": f"{result.epochs} epochs{begun}, the best one is {result.best_epoch}{ending}",
        **result.facts,  # a trainer may say in its own words what was trained
    }
    if result.registered is not None:
        facts["registered"] = f"models:/{result.registered}"
    rows = list(_metric_rows(result))
    return Group(details([*facts.items()]), Text(), table_of(Table(_METRICS, rows, essential=len(_METRICS)), console))


def _replay_picture(replay: Replay, console: Console) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from agentnn.cli.tables import details, table_of

    verdict = Text("the same", style="green") if replay.is_equal else Text("not the same", style="red")
    facts: list[tuple[str, Any]] = [
        ("run", f"{replay.original_name}  {replay.original}"),
        ("again", f"{replay.replayed_name}  {replay.replayed}"),
        ("code", replay.commit or "as it is here"),
        ("result", verdict),
    ]
    if replay.is_equal:
        return details(facts)
    rows = [_difference_row(one) for one in replay.differences]
    return Group(details(facts), Text(), table_of(Table(_DIFFERENCES, rows, essential=4), console))
