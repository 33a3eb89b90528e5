"""Change and train networks with changing layers, beside the same by hand; print figures as JSON.

    python benchmarks/peer_architecture.py changes 1000 20
    python benchmarks/peer_architecture.py loop 5 tracked
    python benchmarks/peer_architecture.py market GOOG volatility 5

``changes``: the width, and how often; milliseconds of each kind of change of a network with its optimizer.
``loop``: pairs of turns, and ``tracked`` or ``untracked``; seconds of a search and of the same search written by hand
as plain loops, which end with the same weights. ``market``: a series, what is predicted, and seeds; losses on the test
part of the grown network, the small one it began as, and one of the grown one's final layers from the start, each over
the loss of saying the mean of the training part.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from trackers import STORE

from agentnn.nn_models.architecture.network import mean_and_scale
from agentnn.nn_models.dynamic_architecture import (
    Architecture,
    ArchitectureOptimizer,
    ArchitectureOptions,
    DynamicNetwork,
)
from agentnn.training.data.prices import Prices, chronological_split, embargo_days, load_prices, make_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from agentnn.nn_models.dynamic_architecture import ArchitectureResult

WINDOW = 5
MADE_UP = "made up"
SAMPLES, VALIDATION, INPUTS, BATCH = 20_000, 4_000, 64, 64
LOOP = ArchitectureOptions(epochs=5, max_changes=3, patience=9, batch_size=BATCH, log_model=False, device="cpu")
GROWN = ArchitectureOptions(
    epochs=10, max_changes=8, patience=4, batch_size=32, learning_rate=2e-3, log_model=False, device="cpu"
)
START = Architecture.of_widths(INPUTS, (64, 32))
START_WIDTH = 4


# --- changes ------------------------------------------------------------------------------------------------


def changes(width: int, times: int) -> dict[str, Any]:
    """Milliseconds of each change, on two layers of this width that Adam has trained."""
    torch.manual_seed(0)
    inputs = torch.randn(256, 64)
    first = DynamicNetwork(Architecture.of_widths(64, (width, width)))
    adam = torch.optim.Adam(first.parameters())
    nn.functional.mse_loss(first(inputs), torch.zeros(256, 1)).backward()
    adam.step()
    kinds: dict[str, Callable[[DynamicNetwork, Any], object]] = {
        "widen by a quarter": lambda one, optimizer: one.widen(0, width + width // 4, noise=0.1, optimizer=optimizer),
        "widen to twice as many": lambda one, optimizer: one.widen(0, 2 * width, optimizer=optimizer),
        "deepen": lambda one, optimizer: one.deepen(1, optimizer=optimizer),
        "prune a quarter, by magnitude": lambda one, optimizer: one.prune(0, fraction=0.25, optimizer=optimizer),
        "prune a quarter, by activation": lambda one, optimizer: one.prune(
            0, fraction=0.25, by="activation", sample=inputs, optimizer=optimizer
        ),
    }
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(times + 1):
        for name, change in kinds.items():
            network, optimizer = copy.deepcopy((first, adam))
            began = time.perf_counter()
            change(network, optimizer)
            if turn:
                taken[name].append(1000 * (time.perf_counter() - began))
    return {"parameters": first.n_parameters, "ms": taken}


# --- the loop -----------------------------------------------------------------------------------------------


def loop(pairs: int, *, tracked: bool) -> dict[str, Any]:
    """Seconds of both, turn by turn."""
    start, data = START, made_up()
    plan = [(step.kind, step.layer) for step in grown(start, LOOP, data, track=False).steps]
    uri = f"sqlite:///{Path.cwd() / STORE}"
    found: dict[str, list[float]] = {"ours": [], "by_hand": []}
    for pair in range(pairs + 1):
        ways: list[tuple[str, Callable[[], DynamicNetwork]]] = [
            ("ours", lambda: grown(start, LOOP, data, track=tracked, tracking_uri=uri).network),
            ("by_hand", lambda: by_hand(start, LOOP, data, plan)),
        ]
        networks = []
        for way, train in ways if pair % 2 else reversed(ways):
            began = time.perf_counter()
            networks.append(train())
            found[way].append(time.perf_counter() - began)
        if not all(torch.equal(one, other) for one, other in zip(*(n.parameters() for n in networks), strict=True)):
            raise SystemExit("error: the two have not come to the same network")
    trained = SAMPLES * LOOP.epochs * (1 + 2 * LOOP.max_changes)
    return {"samples": trained, **{way: taken[1:] for way, taken in found.items()}}


def made_up() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and validation part."""
    inputs = torch.randn(SAMPLES + VALIDATION, INPUTS, generator=torch.Generator().manual_seed(1))
    targets = inputs[:, :1] * inputs[:, 1:2] + inputs[:, 2:3]
    return inputs[:SAMPLES], targets[:SAMPLES], inputs[SAMPLES:], targets[SAMPLES:]


def grown(start: Architecture, options: ArchitectureOptions, data: Any, **tracking: Any) -> ArchitectureResult:
    """The search."""
    return ArchitectureOptimizer(start, options, **tracking).optimize(*data)


def by_hand(
    start: Architecture, options: ArchitectureOptions, data: Any, plan: Sequence[tuple[str, int]]
) -> DynamicNetwork:
    """The same search as plain loops, with the changes that it tried."""
    torch.manual_seed(0)
    network = DynamicNetwork(start)
    network.standardise(*mean_and_scale(data[0]))
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate)
    value = epochs(network, optimizer, data, options.epochs, 0)
    for number, (kind, layer) in enumerate(plan, 1):
        same, its = copy.deepcopy((network, optimizer))
        unchanged = epochs(same, its, data, options.epochs, number)
        other, theirs = copy.deepcopy((network, optimizer))
        torch.manual_seed(number)
        if kind == "widen":
            width = 2 * other.architecture.blocks[layer].width
            other.widen(layer, width, noise=options.noise, optimizer=theirs)
        else:
            other.deepen(layer, optimizer=theirs)
        validated(other, data)
        changed = epochs(other, theirs, data, options.epochs, number)
        if changed < min(unchanged, value):
            network, optimizer, value = other, theirs, changed
        elif unchanged < value:
            network, optimizer, value = same, its, unchanged
    return network


def epochs(network: nn.Module, optimizer: torch.optim.Optimizer, data: Any, count: int, seed: int) -> float:
    """Train, and keep the best weights."""
    X, y = data[:2]
    best, weights = float("inf"), None
    torch.manual_seed(seed)
    for _ in range(count):
        network.train()
        total = torch.zeros(())
        for rows in torch.randperm(len(X)).split(BATCH):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(network(X[rows]), y[rows])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        total.item()
        found = validated(network, data)
        if found < best:
            best, weights = found, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(weights)  # type: ignore[arg-type]
    return best


def validated(network: nn.Module, data: Any) -> float:
    """The loss of the validation part, in the parts that it is evaluated in."""
    network.eval()
    total = torch.zeros(())
    with torch.no_grad():
        for X, y in zip(*(one.split(2**18 // INPUTS) for one in data[2:]), strict=True):
            total.add_(nn.functional.mse_loss(network(X), y), alpha=len(X) / VALIDATION)
    return total.item()


# --- the market ---------------------------------------------------------------------------------------------


def market(series: str, target: str, seeds: int) -> dict[str, Any]:
    """Losses on the test part, over that of the training part's mean."""
    data, test, loss, naive = parts(series, target)
    rows = []
    for seed in range(seeds):
        options = replaced(GROWN, seed=seed, loss=loss)
        start = Architecture.of_widths(data[0].shape[1], (START_WIDTH,))
        began = time.perf_counter()
        result = grown(start, options, data, track=False)
        seconds = time.perf_counter() - began
        epochs_of_it = options.epochs * (1 + len(result.steps))
        rows.append(
            {
                "small": judged(start, options, epochs_of_it, data, test) / naive,
                "fixed": judged(result.architecture, options, epochs_of_it, data, test) / naive,
                "grown": tested(result.network, test, loss) / naive,
                "widths": list(result.architecture.widths),
                "kept": len(result.kept),
                "tried": len(result.steps),
                "seconds": seconds,
            }
        )
    return {"rows": rows, "train": len(data[0]), "test": len(test[0])}


def replaced(options: ArchitectureOptions, **changes: Any) -> ArchitectureOptions:
    """The options with others."""
    return ArchitectureOptions(**{**options.to_dict(), **changes})


def judged(architecture: Architecture, options: ArchitectureOptions, count: int, data: Any, test: Any) -> float:
    """The loss on the test part of a network that is trained as long, and does not change."""
    still = replaced(options, epochs=count, max_changes=0)
    return tested(grown(architecture, still, data, track=False).network, test, options.loss)


def tested(network: DynamicNetwork, test: tuple[Tensor, Tensor], loss: str) -> float:
    """The loss on the test part."""
    criterion = nn.BCEWithLogitsLoss() if loss == "bce" else nn.MSELoss()
    with torch.no_grad():
        return float(criterion(network(test[0]), test[1]))


def parts(series: str, target: str) -> tuple[Any, tuple[Tensor, Tensor], str, float]:
    """Training and validation part, test part, the loss, and the test loss of saying the training part's mean."""
    loss = "bce" if target == "direction" else "mse"
    inputs, values = made_up_series() if series == MADE_UP else market_series(series, target)
    split = chronological_split(len(inputs), 0.6, 0.2, 0.2, embargo_days(WINDOW))
    if loss == "mse":
        values = (values - values[split.train].mean()) / values[split.train].std()
    train, validation, test = (
        (inputs[part], values[part].unsqueeze(1)) for part in (split.train, split.validation, split.test)
    )
    mean = train[1].mean().expand_as(test[1])
    error = nn.functional.binary_cross_entropy if loss == "bce" else nn.functional.mse_loss
    return (*train, *validation), test, loss, float(error(mean, test[1]))


def market_series(series: str, target: str) -> tuple[Tensor, Tensor]:
    """Features of the last days; the direction of the next day's return, or the logarithm of its size."""
    samples = make_samples(prices_of(series), WINDOW)
    returns = samples.next_returns
    values = returns > 0 if target == "direction" else np.log(np.abs(returns) + 1e-3)
    return torch.from_numpy(samples.inputs).flatten(1), torch.from_numpy(values.astype(np.float32))


def made_up_series() -> tuple[Tensor, Tensor]:
    """What four units can't learn and more can, to see whether the search finds them."""
    inputs = torch.randn(5000, 6, generator=torch.Generator().manual_seed(2))
    return inputs, inputs[:, 0] * inputs[:, 1] + torch.sin(2 * inputs[:, 2]) + inputs[:, 3] * inputs[:, 4]


def prices_of(series: str) -> Prices:
    """Daily bars: Google's, or those of the S&P 500 from ``arch``."""
    if series == "GOOG":
        return load_prices()
    from arch.data import sp500

    table = sp500.load()
    names = {
        "open": "Open",
        "high": "High",
        "low": "Low",
        "close": "Close",
        "adj_close": "Adj Close",
        "volume": "Volume",
    }
    columns = {name: table[column].to_numpy(dtype=np.float64) for name, column in names.items()}
    return Prices(dates=table.index.to_numpy().astype("datetime64[D]"), **columns)


def main() -> None:
    """Measure one thing."""
    what, *given = sys.argv[1:]
    torch.set_num_threads(1)
    with redirect_stdout(sys.stderr):
        if what == "changes":
            found = changes(int(given[0]), int(given[1]))
        elif what == "loop":
            found = loop(int(given[0]), tracked=given[1] == "tracked")
        else:
            found = market(given[0], given[1], int(given[2]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
