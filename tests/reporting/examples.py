"""A report of each kind with everything in it, and names that would be markup if anybody let them."""

from __future__ import annotations

import math
import random

from agentnn.reporting.document import (
    BarChart,
    Column,
    ContourChart,
    Fact,
    Figure,
    Figures,
    HeatTable,
    LineChart,
    Mark,
    Missing,
    ParallelChart,
    Report,
    ScatterChart,
    Section,
    Series,
    Source,
    Span,
    Table,
    Text,
    TimelineChart,
)

SCRIPT = "</script><img src=x onerror=\"document.title='hit'\">"
MARKUP = "<b onmouseover=alert(1)>bold</b> & \"quoted\" 'too' {{ 7*7 }} ${7*7}"
BIDI = "safe\u202egnp.exe \x1b[31mred\x07 [link](javascript:alert(1)) | pipe"
HOSTILE = (SCRIPT, MARKUP, BIDI)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def example_reports() -> dict[str, Report]:
    """A rich report of each kind, by kind; the same at every call."""
    return {"training": training_report(), "study": study_report(), "comparison": comparison_report()}


def training_report() -> Report:
    """A finished training with every part."""
    noise = random.Random(7)
    epochs = 60
    train = tuple(round(0.9 * math.exp(-step / 15) + 0.1 + noise.gauss(0, 0.01), 6) for step in range(epochs))
    valid = tuple(round(0.95 * math.exp(-step / 18) + 0.16 + noise.gauss(0, 0.02), 6) for step in range(epochs))
    days = _days(500)
    equity = _walk(noise, 500)
    falls = _falls(equity)
    return Report(
        kind="training",
        title=f"lstm-small {SCRIPT}",
        outcome="Finished in 12 min 4 s: sharpe_ratio 1.42, val_loss 0.162 (best at epoch 52 of 60).",
        state="good",
        about=(
            Fact("Run", "3f2a9c0d4e5b46718293a4b5c6d7e8f9", "id"),
            Fact("Experiment", MARKUP),
            Fact("Status", "FINISHED"),
            Fact("Started", "2026-01-05T09:30:00.000Z", "time"),
            Fact("Duration", 724.0, "duration"),
            Fact("User", BIDI),
        ),
        source=Source(
            store="sqlite:///mlflow.db",
            runs=("3f2a9c0d4e5b46718293a4b5c6d7e8f9",),
            as_of="2026-01-05T09:42:04.000Z",
            version="0.1.0",
            digest="0" * 64,
        ),
        sections=(
            Section(
                "Key metrics",
                "metrics",
                (
                    Figures(
                        (
                            Figure("sharpe_ratio", 1.4213, "max", digits=2, note="greater is better"),
                            Figure("val_loss", 0.16213, "min", note="best 0.158 at step 52"),
                            Figure("max_drawdown", -0.1234, "max", "percent"),
                            Figure("broken", "NaN", None, note="not a finite number"),
                            Figure(SCRIPT, 3.0, "max", unit="<i>s</i>"),
                        )
                    ),
                    Table(
                        "all-metrics",
                        "All metrics",
                        (
                            Column("name", "Metric"),
                            Column("value", "Last value", "number"),
                            Column("best", "Best value", "number"),
                            Column("step", "at step", "number", digits=0),
                            Column("direction", "Better is"),
                        ),
                        tuple(
                            (f"metric_{place}", round(noise.gauss(0, 1), 6), 1.0, place, "greater")
                            for place in range(12)
                        )
                        + ((SCRIPT, "Infinity", None, 3, "smaller"),),
                        is_filterable=True,
                        is_collapsed=True,
                    ),
                ),
            ),
            Section(
                "Learning curves",
                "curves",
                (
                    LineChart(
                        "loss",
                        "loss",
                        "train_loss falls from 1.0 to 0.12, val_loss from 1.11 to 0.16, over 60 steps.",
                        (
                            Series("train_loss", train, group="loss"),
                            Series("val_loss", valid, group="loss", style="dash"),
                            Series(SCRIPT, (None, 0.4, None, 0.3), x=(0, 10, 20, 30), style="points"),
                        ),
                        x=tuple(range(epochs)),
                        x_title="epoch",
                        y_title="loss",
                        can_log=True,
                        can_smooth=True,
                        note="val_loss: 60 of 6,000 points are drawn; every peak is among them.",
                    ),
                    Missing("gradients", "the run logged none"),
                ),
            ),
            Section(
                "Configuration",
                "config",
                (
                    Table(
                        "config",
                        "Configuration",
                        (
                            Column("key", "Key", "code"),
                            Column("value", "Value", "code"),
                            Column("origin", "Set by"),
                        ),
                        (
                            ("training.learning_rate", "0.003", "command line"),
                            ("training.epochs", "60", "file"),
                            ("model.hidden_layers", "[64, 32]", "file"),
                            (SCRIPT, MARKUP, BIDI),
                        ),
                        marks=(Mark(0, 1, "changed"),),
                        is_filterable=True,
                        note="1 of 4 values differs from the file's.",
                    ),
                ),
            ),
            Section(
                "Model",
                "model",
                (
                    Text(
                        f"Network({MARKUP})\n  lstm  LSTM(10, 64)   19,200\n  head  Linear(64, 1)     65",
                        "Summary",
                        "code",
                    ),
                ),
            ),
            Section(
                "Importance",
                "importance",
                (
                    BarChart(
                        "importance",
                        "Importance of the features",
                        "close_return matters most (0.31), then volume.",
                        ("close_return", "volume", SCRIPT, "range"),
                        (0.31, 0.12, 0.02, -0.01),
                        errors=(0.02, 0.03, 0.01, None),
                        value_title="loss of score when shuffled",
                    ),
                ),
            ),
            Section(
                "Backtest",
                "backtest",
                (
                    LineChart(
                        "equity",
                        "Equity",
                        "The portfolio grows from 100 to its last value.",
                        (Series("equity", equity),),
                        x=days,
                        x_shape="date",
                        x_title="",
                        y_title="value",
                        can_log=True,
                    ),
                    LineChart(
                        "underwater",
                        "Drawdown",
                        "The deepest fall below a former peak.",
                        (Series("drawdown", falls),),
                        x=days,
                        x_shape="date",
                        x_title="",
                        y_shape="percent",
                        is_filled=True,
                    ),
                    HeatTable(
                        "monthly",
                        "Monthly returns",
                        "Returns of each month of 2024 and 2025; the last column is the year.",
                        ("2024", "2025"),
                        (*_MONTHS, "Year"),
                        tuple(
                            (*(round(noise.gauss(0.01, 0.04), 4) if month > 1 else None for month in range(12)), 0.11)
                            for _ in range(2)
                        ),
                        "percent",
                        totals=1,
                    ),
                    Table(
                        "trades",
                        "Trades",
                        (
                            Column("entry", "Entry", "time"),
                            Column("side", "Side"),
                            Column("profit", "Profit", "number", "max", is_signed=True),
                        ),
                        tuple((days[place * 4], "long", round(noise.gauss(1, 9), 2)) for place in range(100)),
                        is_filterable=True,
                        is_heading_first=False,
                    ),
                ),
            ),
            Section(
                "Environment",
                "environment",
                (Text("agentnn run replay 3f2a9c0d4e5b46718293a4b5c6d7e8f9", "Do it again", "code"),),
            ),
        ),
    )


def study_report() -> Report:
    """A study of 80 trials, pruned and failed ones among them."""
    noise = random.Random(11)
    rows = []
    for number in range(80):
        rate = round(10 ** noise.uniform(-5, -1), 8)
        dropout = round(noise.uniform(0, 0.5), 4)
        optimizer = noise.choice(("adam", "sgd", MARKUP))
        state = "failed" if number % 23 == 7 else "pruned" if number % 5 == 3 else "complete"
        value = round((math.log10(rate) + 3) ** 2 * 0.1 + (dropout - 0.2) ** 2 + noise.random() * 0.05, 6)
        rows.append(
            (
                number,
                value if state == "complete" else None,
                state,
                rate,
                dropout,
                optimizer,
                round(noise.uniform(5, 90), 1),
            )
        )
    values = [row[1] for row in rows]
    complete = [value for value in values if value is not None]
    best = values.index(min(complete))
    so_far, bests = math.inf, []
    for value in values:
        so_far = min(so_far, value if value is not None else math.inf)
        bests.append(None if math.isinf(so_far) else so_far)
    table = Table(
        "trials",
        "Trials",
        (
            Column("number", "Trial", "number", digits=0),
            Column("value", "val_loss", "number", "min"),
            Column("state", "State"),
            Column("params.learning_rate", "learning_rate", "number", group="param"),
            Column("params.dropout", "dropout", "number", group="param"),
            Column("params.optimizer", f"optimizer {SCRIPT}", group="param"),
            Column("duration", "Duration", "duration"),
        ),
        tuple(rows),
        marks=(
            Mark(best, 1, "best"),
            *(Mark(place, 2, "wrong") for place, row in enumerate(rows) if row[2] == "failed"),
        ),
        is_filterable=True,
    )
    return Report(
        kind="study",
        title=f"HPO study {SCRIPT}",
        outcome=f"Trial {best} is best of {len(complete)} complete trials: val_loss {min(complete)}.",
        state="mixed",
        about=(Fact("Experiment", MARKUP), Fact("Objective", "min val_loss"), Fact("Trials", 80, "number")),
        source=Source("sqlite:///mlflow.db", ("a" * 32,), as_of="2026-01-05T10:00:00.000Z", version="0.1.0"),
        sections=(
            Section(
                "Best trial",
                "best",
                (
                    Figures(
                        (
                            Figure(
                                "val_loss", min(complete), "min", delta=-0.004, delta_to="the runner-up", is_better=True
                            ),
                        )
                    ),
                ),
            ),
            Section(
                "Optimisation",
                "optimisation",
                (
                    LineChart(
                        "optimisation",
                        "Optimisation history",
                        "The best value so far, trial by trial.",
                        (
                            Series("value", tuple(values), style="points"),
                            Series("best so far", tuple(bests), style="steps", is_main=True),
                        ),
                        x=tuple(range(80)),
                        x_title="trial",
                        y_title="val_loss",
                        can_log=True,
                    ),
                    ParallelChart(
                        "parallel",
                        "Parallel coordinates",
                        "Which params go with which values.",
                        "trials",
                        ("params.learning_rate", "params.dropout", "params.optimizer"),
                        "value",
                        "min",
                        log_columns=("params.learning_rate",),
                    ),
                    ScatterChart(
                        "slices",
                        "Slices",
                        "The value by each param.",
                        "trials",
                        "params.learning_rate",
                        "value",
                        colour="number",
                        label="number",
                        panels=("params.learning_rate", "params.dropout", "params.optimizer"),
                        log_columns=("params.learning_rate",),
                        main_row=best,
                    ),
                    ContourChart(
                        "contour",
                        "Contour",
                        "The value over the two most important params.",
                        "trials",
                        "params.learning_rate",
                        "params.dropout",
                        "value",
                        "min",
                        log_columns=("params.learning_rate",),
                    ),
                    TimelineChart(
                        "timeline",
                        "Timeline",
                        "When each trial ran.",
                        tuple(
                            Span(
                                f"trial {number}",
                                f"2026-01-05T09:{number // 2:02}:{number % 2 * 30:02}.000Z",
                                None
                                if number == 79
                                else f"2026-01-05T09:{number // 2 + 1:02}:{number % 2 * 30:02}.000Z",
                                "running" if number == 79 else rows[number][2],
                            )
                            for number in range(80)
                        ),
                    ),
                    Missing("importance of the params", "the study logged none"),
                ),
            ),
            Section("Trials", "trials-section", (table,)),
        ),
    )


def comparison_report(runs: int = 12) -> Report:
    """A comparison with a baseline."""
    noise = random.Random(3)
    names = [f"run-{place}" if place not in (1, 2, 3) else HOSTILE[place - 1] for place in range(runs)]
    rows = tuple(
        (
            names[place],
            f"{place:032x}",
            "FINISHED" if place % 6 else "FAILED",
            round(noise.gauss(1, 0.3), 6),
            "NaN" if place == 4 else round(abs(noise.gauss(0.2, 0.05)), 6),
            round(10 ** noise.uniform(-5, -1), 8),
            noise.choice(("adam", "sgd")),
        )
        for place in range(runs)
    )
    best = max(range(runs), key=lambda place: rows[place][3])
    days = _days(200)
    return Report(
        kind="comparison",
        title=f"{runs} runs compared",
        outcome=f"{names[best]} has the best sharpe_ratio, {rows[best][3]}.",
        state="mixed",
        about=(Fact("Runs", runs, "number"), Fact("Baseline", names[0])),
        source=Source(
            "sqlite:///mlflow.db",
            tuple(row[1] for row in rows),
            baseline=rows[0][1],
            as_of="2026-01-05T10:00:00.000Z",
            version="0.1.0",
        ),
        sections=(
            Section(
                "Runs",
                "runs-section",
                (
                    Table(
                        "runs",
                        "Runs side by side",
                        (
                            Column("name", "Run"),
                            Column("run_id", "Id", "id"),
                            Column("status", "Status"),
                            Column("metrics.sharpe_ratio", "sharpe_ratio", "number", "max", group="metric"),
                            Column("metrics.val_loss", "val_loss", "number", "min", group="metric"),
                            Column("params.lr", "lr", "number", group="param"),
                            Column("params.optimizer", "optimizer", group="param"),
                        ),
                        rows,
                        marks=(Mark(best, 3, "best"), Mark(4, 4, "wrong")),
                        is_filterable=True,
                    ),
                    ScatterChart(
                        "scatter",
                        "Any two columns",
                        "sharpe_ratio by learning rate.",
                        "runs",
                        "params.lr",
                        "metrics.sharpe_ratio",
                        choices=("params.lr", "params.optimizer", "metrics.sharpe_ratio", "metrics.val_loss"),
                        label="name",
                        log_columns=("params.lr",),
                    ),
                ),
            ),
            Section(
                "Curves",
                "curves",
                (
                    LineChart(
                        "curve-val_loss",
                        "val_loss",
                        "val_loss of each run.",
                        (
                            *(
                                Series(
                                    names[place],
                                    tuple(round(math.exp(-step / (10 + place)) + 0.1, 5) for step in range(40)),
                                    is_main=place == 0,
                                )
                                for place in range(runs)
                            ),
                            Series(
                                "mean of 3 seeds",
                                tuple(round(math.exp(-step / 14) + 0.1, 5) for step in range(40)),
                                low=tuple(round(math.exp(-step / 14) + 0.05, 5) for step in range(40)),
                                high=tuple(round(math.exp(-step / 14) + 0.15, 5) for step in range(40)),
                                is_main=True,
                            ),
                        ),
                        x=tuple(range(40)),
                        y_title="val_loss",
                        can_log=True,
                        can_smooth=True,
                    ),
                    LineChart(
                        "equity",
                        "Equity",
                        "The equity of each run, its start set to 1.",
                        tuple(Series(names[place], _walk(random.Random(place), 200)) for place in range(5)),
                        x=days,
                        x_shape="date",
                        x_title="",
                        can_log=True,
                        note="7 of 12 runs logged no equity.",
                    ),
                ),
            ),
        ),
    )


def _walk(noise: random.Random, count: int) -> tuple[float, ...]:
    value, values = 100.0, []
    for _ in range(count):
        value *= 1 + noise.gauss(0.0006, 0.012)
        values.append(round(value, 4))
    return tuple(values)


def _falls(values: tuple[float, ...]) -> tuple[float, ...]:
    peak, falls = 0.0, []
    for value in values:
        peak = max(peak, value)
        falls.append(round(value / peak - 1, 6))
    return tuple(falls)


def _days(count: int) -> tuple[str, ...]:
    from datetime import date, timedelta

    return tuple((date(2024, 1, 2) + timedelta(days=day)).isoformat() for day in range(count))
