"""``OnlineLearner``: what it takes in, what it costs beside a plain loop, and whether it predicts a market better.

The load is a day of Google's, replayed at tick granularity: Brownian bridges between the day's real open, high, low
and close, since there are no real ticks here; they say how fast the learner is, nothing of how well it predicts. How
well is measured on the real daily bars of the S&P 500, 1999 to 2018 (package ``arch``), against a network that was
trained once, one that is trained anew every year, and rules without a network. Every prediction is made before its
target is known.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from timing import note, quantile
from torch import nn

from agentnn.errors import ConflictError
from agentnn.nn_models.online.drift import make_detector
from agentnn.nn_models.online.stream_events import Sample
from agentnn.nn_models.online_learning import OnlineLearner, OnlineOptions
from agentnn.settings import Settings
from agentnn.training.data.prices import Prices, load_prices, make_samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LAGS = 8
RATE = 10_000
TAKEN_GOAL, OVERHEAD_GOAL, STOP_GOAL_S = 0.99, 0.05, 2.0
NETWORKS = {"8-32-1, batches of 32": (8, (32,), 32), "64-512-512-1, batches of 64": (64, (512, 512), 64)}
WARM_UP, YEAR = 1000, 252


def main() -> None:
    """Print a table a question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of the replay")
    parser.add_argument("--pairs", type=int, default=40, help="short turns of the plain loops and of the learner")
    parser.add_argument("--seeds", type=int, default=5, help="networks a row on the market")
    parser.add_argument("--parts", nargs="+", choices=("load", "loop", "market"), default=["load", "loop", "market"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    if "load" in options.parts:
        with tempfile.TemporaryDirectory() as state:
            os.environ["AGENTNN_STATE_DIR"] = state
            load(options.seconds)
            end_senders(Path(state))
    if "loop" in options.parts:
        loop(options.pairs)
    if "market" in options.parts:
        market(options.seeds)


def table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a table in Markdown."""
    print(f"\n### {title}\n")
    for row in (columns, ("---",) * len(columns), *rows):
        print(f"| {' | '.join(row)} |")


# -- load --------------------------------------------------------------------------------------------------


def bridge(start: float, end: float, count: int, scale: float, chance: np.random.Generator) -> NDArray[np.float64]:
    """A Brownian bridge of so many steps, without its start."""
    walk = np.cumsum(chance.normal(scale=scale, size=count))
    share = np.arange(1, count + 1) / count
    return start + walk - share * walk[-1] + share * (end - start)


def replayed_day(prices: Prices, day: int, count: int, seed: int) -> NDArray[np.float64]:
    """Log prices of simulated ticks whose open, high, low and close are those of a real day."""
    opened, high, low, closed = (float(np.log(getattr(prices, one)[day])) for one in ("open", "high", "low", "close"))
    chance = np.random.default_rng(seed)
    first, second = sorted(chance.integers(count // 10, count - count // 10, size=2))
    extremes = (high, low) if chance.random() < 0.5 else (low, high)
    stations = (opened, *extremes, closed)
    lengths = (first, second - first + 1, count - second - 2)
    scale = (high - low) / np.sqrt(count)
    parts = [bridge(a, b, n, scale, chance) for a, b, n in zip(stations[:-1], stations[1:], lengths, strict=True)]
    path = np.concatenate([[opened], *parts])
    path = high - np.abs(high - path)  # what leaves the day's range is reflected at its bounds
    path = np.clip(low + np.abs(path - low), low, high)
    assert (path[0], path.max(), path.min(), path[-1]) == (opened, high, low, closed)
    return path


class Ticks(NamedTuple):
    """Inputs of each tick, the last few returns, and the return to the next one, both in their usual size."""

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]


def ticks(count: int) -> Ticks:
    """A day of GOOG."""
    prices = load_prices()
    path = replayed_day(prices, len(prices) - 1, count + LAGS + 1, seed=1)
    returns = np.diff(path)
    returns = (returns / returns.std()).astype(np.float32)
    inputs = np.lib.stride_tricks.sliding_window_view(returns, LAGS)[:count]
    return Ticks(np.ascontiguousarray(inputs), returns[LAGS : LAGS + count])


class Pushed(NamedTuple):
    """What a producer saw."""

    seconds: float
    calls: list[float]


class Nobody:
    """Takes everything and does nothing: what is slow then is the producer's own loop, and the machine."""

    def put(self, *_: object) -> int:
        """Take a sample."""
        return 0

    def learn(self, *_: object) -> bool:
        """Take a label."""
        return True


def push(learner: OnlineLearner | Nobody, stream: Ticks, *, late: bool) -> Pushed:
    """Put ticks at the stated rate, a millisecond's worth at a time; labels with the sample, or with the next one."""
    calls, ticket, clock = [], None, time.perf_counter
    began = clock()
    for number, (x, y) in enumerate(zip(*stream, strict=True)):
        if number % (RATE // 1000) == 0:
            time.sleep(max(0.0, began + number / RATE - clock()))
        at = clock()
        if late:
            before, ticket = ticket, learner.put(x)
            if before is not None:
                learner.learn(before, stream.targets[number - 1])
        else:
            learner.put(x, y)
        calls.append(clock() - at)
    return Pushed(clock() - began, calls)


def times_of(pushed: Pushed) -> str:
    """The median, the 99.9th percentile and the longest of the calls that a sample takes."""
    calls = sorted(pushed.calls)
    return ", ".join(f"{1e3 * one:.3f} ms" for one in (quantile(calls, 0.5), quantile(calls, 0.999), calls[-1]))


def load(seconds: float) -> None:
    """Replay a day at 10,000 ticks a second into a learner that records itself, and stop it while it is pushed."""
    stream = ticks(round(seconds * RATE))
    control = push(Nobody(), stream, late=True)
    rows = [
        (
            "control: nobody takes them",
            f"{len(control.calls) / control.seconds:,.0f}",
            *[""] * 3,
            times_of(control),
            "",
            "",
        )
    ]
    for late in (False, True):
        note(f"load, labels {'late' if late else 'at once'}")
        options = OnlineOptions()
        with tempfile.TemporaryDirectory() as folder:
            learner = OnlineLearner(network(LAGS, (32,)), nn.MSELoss(), options=options, settings=store_in(folder))
            with learner:
                pushed = push(learner, stream, late=late)
                at = time.perf_counter()
                learner.drain(60)
                behind = time.perf_counter() - at
            learner.run.flush(60)
            counts, calls = learner.counts, sorted(pushed.calls)
            rate = len(calls) / pushed.seconds
            is_met = learner.dropped == 0 and rate >= TAKEN_GOAL * RATE
            rows.append(
                (
                    "with the next tick" if late else "with the tick",
                    f"{rate:,.0f}",
                    f"{counts.learned:,}",
                    str(learner.dropped),
                    f"{behind:.2f} s",
                    ", ".join(
                        f"{1e3 * one:.3f} ms" for one in (*(quantile(calls, q) for q in (0.5, 0.999)), calls[-1])
                    ),
                    f"{1e3 * options.put_timeout_s:.0f} ms {'met' if calls[-1] < options.put_timeout_s else 'MISSED'}",
                    f"{RATE:,} {'met' if is_met else 'MISSED'}",
                )
            )
    columns = ("labels", "samples/s in", "learned", "dropped", "behind at the end", "put: median, p99.9, longest")
    table("A day of simulated ticks, recorded in a run", (*columns, "bound of put", "goal"), rows)
    table("stop() while two producers push, store down", ("seconds", "goal"), [stopped(stream)])


def stopped(stream: Ticks) -> tuple[str, str]:
    """Seconds that a stop takes in the worst circumstances, three times."""
    taken = []
    for _ in range(3):
        settings = Settings.load("http://127.0.0.1:9")
        learner = OnlineLearner(network(LAGS, (32,)), nn.MSELoss(), settings=settings).start()

        def produce(learner: OnlineLearner = learner) -> None:
            try:
                while True:
                    learner.put(stream.inputs[0], stream.targets[0])
            except ConflictError:
                pass

        producers = [threading.Thread(target=produce) for _ in range(2)]
        for one in producers:
            one.start()
        time.sleep(1.0)
        at = time.perf_counter()
        learner.stop()
        taken.append(time.perf_counter() - at)
        for one in producers:
            one.join()
    return ", ".join(
        f"{one:.2f}" for one in taken
    ), f"< {STOP_GOAL_S:g} {'met' if max(taken) < STOP_GOAL_S else 'MISSED'}"


def end_senders(state: Path) -> None:
    """End the processes that deliver what was logged here."""
    for path in state.glob("*/sender.json"):
        with suppress(ProcessLookupError):
            os.kill(int(json.loads(path.read_text())["pid"]), signal.SIGTERM)


def store_in(folder: str) -> Settings:
    """A fresh SQLite store."""
    return Settings.load(f"sqlite:///{Path(folder) / 'mlflow.db'}")


# -- loop --------------------------------------------------------------------------------------------------


def network(inputs: int, widths: tuple[int, ...]) -> nn.Sequential:
    """A perceptron, always the same."""
    torch.manual_seed(0)
    sizes = [inputs, *widths]
    layers = [part for a, b in zip(sizes[:-1], sizes[1:], strict=True) for part in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 1))


def by_hand(rows: list[Sample], model: nn.Module, batch_size: int) -> float:
    """Predict each batch, add up the errors, learn from it: the least that learns the same; gives CPU seconds.

    Written as one would at first: ``np.stack``, ``eval()`` and ``train()`` take a tenth of its time on a small network.
    """
    optimizer, total = torch.optim.Adam(model.parameters(), lr=1e-3), 0.0
    at = time.thread_time()
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        inputs = torch.from_numpy(np.stack([one.x for one in batch]))
        targets = torch.from_numpy(np.stack([one.y for one in batch]))[:, None]
        model.eval()
        with torch.no_grad():
            errors = nn.functional.mse_loss(model(inputs), targets, reduction="none")
        total += sum(errors[:, 0].tolist())
        model.train()
        optimizer.zero_grad()
        nn.functional.mse_loss(model(inputs), targets).backward()
        optimizer.step()
    return time.thread_time() - at


def by_careful_hand(rows: list[Sample], model: nn.Module, batch_size: int, detector_name: str) -> float:
    """The same with what the learner also does: samples that are not finite are left out, a loss that is not ends it,
    the error is averaged in three ways, and a detector (the learner's own) is told of each; gives CPU seconds.

    Rows become arrays in the fastest way known here, which is the learner's.
    """
    optimizer, detector = torch.optim.Adam(model.parameters(), lr=1e-3), make_detector(options_of(1, detector_name))
    total, faded, weight, count, fading = 0.0, 0.0, 0.0, 0, 0.999
    window: deque[float] = deque(maxlen=1000)
    at = time.thread_time()
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        X, y = np.array([one.x for one in batch]), np.array([one.y for one in batch])
        if not (np.isfinite(X).all() and np.isfinite(y).all()):
            known = np.isfinite(X).all(axis=1) & np.isfinite(y)
            X, y = X[known], y[known]
        inputs, targets = torch.from_numpy(X), torch.from_numpy(y)[:, None]
        model.eval()
        with torch.no_grad():
            errors = nn.functional.mse_loss(model(inputs), targets, reduction="none")[:, 0].tolist()
        if not math.isfinite(sum(errors)):
            raise SystemExit("error: the loss is no longer finite")
        for error in errors:
            total += error
            faded = error + fading * faded
            weight = 1.0 + fading * weight
            if detector is not None:
                detector.update(error)
        count += len(errors)
        window.extend(errors)
        model.train()
        optimizer.zero_grad()
        nn.functional.mse_loss(model(inputs), targets).backward()
        optimizer.step()
    seconds = time.thread_time() - at
    assert min(total / count, faded / weight, sum(window) / len(window)) > 0
    return seconds


def options_of(batch_size: int, detector: str) -> OnlineOptions:
    """A learner that watches for drift, and does nothing about it."""
    return OnlineOptions(batch_size=batch_size, detector=detector, reactions=())


def by_learner(rows: list[Sample], model: nn.Module, batch_size: int, detector: str) -> float:
    """The same by what the learner's thread does with a full queue; gives CPU seconds."""
    learner = OnlineLearner(model, nn.MSELoss(), options=options_of(batch_size, detector), track=False)
    learning = learner._learning
    model.train()
    at = time.thread_time()
    for start in range(0, len(rows), batch_size):
        learning.process(rows[start : start + batch_size])
    return time.thread_time() - at


DETECTORS = ("none", "page_hinkley", "adwin")


def loop(pairs: int) -> None:
    """Compare with plain loops, on a network whose step is short and on one whose step is long."""
    columns = ("network", "detector", "samples/s, the least by hand", "the same by hand", "by the learner")
    goal = ("over the least", "over the same (quartiles)", "goal")
    title = "Prequential learning in one thread, beside plain loops with the same steps (CPU time)"
    table(title, (*columns, *goal), [row for name in NETWORKS for row in loop_rows(name, pairs)])


def loop_rows(name: str, pairs: int) -> list[tuple[str, ...]]:
    """Take turns, in CPU time of the thread, since the machine is shared; the weights at the end are compared."""
    inputs, widths, batch_size = NETWORKS[name]
    events = drawn_events(3_200, inputs)
    ways: dict[tuple[str, str], Callable[[nn.Module], float]] = {
        ("least", ""): lambda model: by_hand(events, model, batch_size)
    }
    for detector in DETECTORS:
        ways["hand", detector] = lambda model, one=detector: by_careful_hand(events, model, batch_size, one)
        ways["learner", detector] = lambda model, one=detector: by_learner(events, model, batch_size, one)
    times: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    for turn in range(pairs):
        note(f"loop, {name}, turn {turn + 1}")
        weights = []
        for way in ways if turn % 2 == 0 else reversed(ways):
            model = network(inputs, widths)
            times[way].append(ways[way](model))
            weights.append(model[0].weight.detach())
        assert all(torch.equal(weights[0], one) for one in weights), "the weights differ"
    return [loop_row(name, detector, len(events), times) for detector in DETECTORS]


def drawn_events(count: int, inputs: int) -> list[Sample]:
    """Samples with their labels."""
    X = np.random.default_rng(1).normal(size=(count, inputs)).astype(np.float32)
    return [Sample(x.copy(), np.array(x[0] - x[1], dtype=np.float32), ticket=n) for n, x in enumerate(X)]


def loop_row(name: str, detector: str, count: int, times: dict[tuple[str, str], list[float]]) -> tuple[str, ...]:
    """The learner beside the least that learns the same, and beside what does all that it does."""
    least, hand, ours = times["least", ""], times["hand", detector], times["learner", detector]
    over = sorted(one / other - 1 for one, other in zip(ours, hand, strict=True))
    over_least = statistics.median(one / other - 1 for one, other in zip(ours, least, strict=True))
    low, high = quantile(over, 0.25), quantile(over, 0.75)
    verdict = "met" if high < OVERHEAD_GOAL else "MISSED" if low >= OVERHEAD_GOAL else "unclear"
    return (
        name,
        detector,
        *(f"{count / statistics.median(one):,.0f}" for one in (least, hand, ours)),
        f"{over_least:+.1%}",
        f"{statistics.median(over):+.1%} ({low:+.1%} to {high:+.1%})",
        f"< {OVERHEAD_GOAL:.0%} {verdict}",
    )


# -- market ------------------------------------------------------------------------------------------------


class Task(NamedTuple):
    """What is predicted of the next day.

    Attributes:
        targets: Shape (n,).
        criterion: What is learnt by.
        losses: (outputs, targets) to one loss a day.
        naive: Predictions without a network, as outputs, each from the days before; shape (n,).
        rule: What the naive prediction is.
    """

    targets: NDArray[np.float32]
    criterion: nn.Module
    losses: Callable[[NDArray[np.float64], NDArray[np.float32]], NDArray[np.float64]]
    naive: NDArray[np.float64]
    rule: str


def sp500() -> Prices:
    """Daily bars of the S&P 500."""
    from arch.data import sp500 as source

    frame = source.load()
    names = {
        "open": "Open",
        "high": "High",
        "low": "Low",
        "close": "Close",
        "adj_close": "Adj Close",
        "volume": "Volume",
    }
    columns = {ours: frame[theirs].to_numpy(np.float64) for ours, theirs in names.items()}
    return Prices(dates=frame.index.to_numpy().astype("datetime64[D]"), **columns)


def tasks(returns: NDArray[np.float64]) -> dict[str, Task]:
    """The direction of the next day, which hardly anybody can predict, and the size of its move, which moves slowly."""
    up = (returns > 0).astype(np.float32)
    rate = (np.cumsum(up) - up + 1) / (np.arange(len(up)) + 2)
    size = (100 * np.abs(returns)).astype(np.float32)
    smooth, smoothed = float(size[0]), []
    for one in size:
        smoothed.append(smooth)
        smooth = 0.94 * smooth + 0.06 * float(one)

    def log_loss(outputs: NDArray[np.float64], targets: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.logaddexp(0.0, np.where(targets > 0, -outputs, outputs))

    def squared(outputs: NDArray[np.float64], targets: NDArray[np.float32]) -> NDArray[np.float64]:
        return (outputs - targets) ** 2

    odds = np.log(rate / (1 - rate))
    return {
        "direction, log-loss": Task(up, nn.BCEWithLogitsLoss(), log_loss, odds, "share of rises so far"),
        "size in percent, squared error": Task(size, nn.MSELoss(), squared, np.array(smoothed), "moving average, 0.94"),
    }


def fresh(seed: int, features: int) -> nn.Sequential:
    """A small network."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(features, 16), nn.Tanh(), nn.Linear(16, 1))


def trained(seed: int, inputs: NDArray[np.float32], targets: NDArray[np.float32], criterion: nn.Module) -> nn.Module:
    """A network that has seen these days, thirty times."""
    model = fresh(seed, inputs.shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    X, y = torch.from_numpy(inputs), torch.from_numpy(targets)[:, None]
    for _ in range(30):
        for rows in torch.randperm(len(X)).split(32):
            optimizer.zero_grad()
            criterion(model(X[rows]), y[rows]).backward()
            optimizer.step()
    return model


def outputs_of(model: nn.Module, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """The model's outputs, shape (n,)."""
    with torch.no_grad():
        return model(torch.from_numpy(inputs))[:, 0].double().numpy()


def yearly(seed: int, inputs: NDArray[np.float32], task: Task) -> NDArray[np.float64]:
    """Predictions of networks that are trained anew every year, on all days whose target is known by then."""
    found = []
    for start in range(WARM_UP, len(inputs), YEAR):
        model = trained(seed, inputs[: start - 1], task.targets[: start - 1], task.criterion)
        found.append(outputs_of(model, inputs[start : start + YEAR]))
    return np.concatenate(found)


ONLINE = {
    "online, with replay": OnlineOptions(background=False, batch_size=5, memory=1000, replayed=27, seed=1),
    "online, with replay, no detector": OnlineOptions(
        background=False, batch_size=5, memory=1000, replayed=27, seed=1, detector="none"
    ),
    "online, each day once": OnlineOptions(background=False, batch_size=5, seed=1),
    "online, each day once, learning rate adapts": OnlineOptions(
        background=False, batch_size=5, seed=1, hypergradient=0.02
    ),
}
"""None of these were tuned on the days that judge."""


def online(
    model: nn.Module, inputs: NDArray[np.float32], task: Task, options: OnlineOptions
) -> tuple[NDArray[np.float64], int]:
    """Predictions of a trained network that goes on learning; a day's target comes after the next day's prediction."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=1e-2)
    found, before = [], None
    with OnlineLearner(model, task.criterion, optimizer, options, track=False) as learner:
        for number in range(WARM_UP, len(inputs)):
            if before is not None:
                learner.learn(before, float(task.targets[number - 1]))
            before, output = learner.observe(inputs[number])
            found.append(float(output[0]))
        return np.array(found), learner.counts.drifts


def statistic(differences: NDArray[np.float64]) -> float:
    """Diebold and Mariano's: the mean over its standard error, with Newey and West's weights for ten lags."""
    centred = differences - differences.mean()
    n = len(centred)
    variance = centred @ centred / n
    for lag in range(1, 11):
        variance += 2 * (1 - lag / 11) * (centred[lag:] @ centred[:-lag]) / n
    return float(differences.mean() / np.sqrt(variance / n))


def market(seeds: int) -> None:
    """Compare on the days after the first thousand; a day's loss is averaged over networks of several seeds."""
    samples = make_samples(sp500(), window=1)
    raw = samples.inputs[:, 0]
    mean, scale = raw[:WARM_UP].mean(axis=0), raw[:WARM_UP].std(axis=0)
    inputs = np.clip((raw - mean) / scale, -5, 5).astype(np.float32)
    rows, verdicts = [], []
    for name, task in tasks(samples.next_returns).items():
        later = task.targets[WARM_UP:]
        losses: dict[str, list[NDArray[np.float64]]] = {}
        drifts: dict[str, list[int]] = {}
        for seed in range(seeds):
            note(f"market, {name}, seed {seed}")
            once = trained(seed, inputs[: WARM_UP - 1], task.targets[: WARM_UP - 1], task.criterion)
            said = {
                "trained once": outputs_of(once, inputs[WARM_UP:]),
                "trained anew every year": yearly(seed, inputs, task),
            }
            for way, options in ONLINE.items():
                model = fresh(seed, inputs.shape[1])
                model.load_state_dict(once.state_dict())
                said[way], seen = online(model, inputs, task, options)
                drifts.setdefault(way, []).append(seen)
            for way, outputs in said.items():
                losses.setdefault(way, []).append(task.losses(outputs, later))
        averaged = {way: np.mean(found, axis=0) for way, found in losses.items()}
        naive = task.losses(task.naive[WARM_UP:], later)
        others = {"no network": naive, "once": averaged["trained once"], "yearly": averaged["trained anew every year"]}
        for way, found in {f"no network: {task.rule}": naive, **averaged}.items():
            against = {of: statistic(found - other) for of, other in others.items() if found is not other}
            seen = f"{statistics.mean(drifts[way]):.1f}" if way in drifts else ""
            figures = (f"{against[of]:+.1f}" if of in against else "" for of in others)
            rows.append((name, way, f"{found.mean():.4f}", *figures, seen))
            if way in ONLINE:
                verdicts.append(f"- {name}, {way}: {verdict(against)}")
    columns = ("task", "by", "loss a day", "against no network", "against once", "against yearly", "drifts seen")
    table(
        f"S&P 500, {samples.dates[WARM_UP]} to {samples.dates[-1]}, {seeds} networks (t < -2: better, t > 2: worse)",
        columns,
        rows,
    )
    print("", *verdicts, sep="\n")


def verdict(against: dict[str, float]) -> str:
    """Say whether learning online helps, from Diebold and Mariano's statistics."""
    words = {
        "better than": [of for of, t in against.items() if t < -2],
        "worse than": [of for of, t in against.items() if t > 2],
        "not to be told from": [of for of, t in against.items() if -2 <= t <= 2],
    }
    return "; ".join(f"{word} {', '.join(those)}" for word, those in words.items() if those)


if __name__ == "__main__":
    main()
