"""Learn several tasks at once, beside the same by hand, and beside networks of one task; print figures as JSON.

    python benchmarks/peer_multi_task.py loop 5 gradnorm tracked
    python benchmarks/peer_multi_task.py market GOOG direction 5

``loop``: pairs of turns, the balance, and ``tracked`` or ``untracked``; CPU seconds of a training and of the same by
hand, as a plain loop, which ends with the same network. ``market``: a series, the task that counts, and seeds; its loss
on the test part, of a network that learns it alone and of networks of the same size that learn the others beside it,
each over the loss of saying the mean of the training part.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from peer_architecture import prices_of
from torch import Tensor, nn
from torch.nn import functional
from trackers import STORE

from agentnn.nn_models.multi_task.labels import label_scale
from agentnn.nn_models.multi_task.parts import Parts
from agentnn.nn_models.multi_task.targets import realised_volatility, returns_ahead
from agentnn.nn_models.multi_task_learning import MultiTaskNetwork, MultiTaskOptions, MultiTaskTrainer, Task
from agentnn.training.data.prices import chronological_split, embargo_days, make_samples
from agentnn.training.loop.options import TrainingOptions

if TYPE_CHECKING:
    from collections.abc import Callable

BALANCES = ("fixed", "uncertainty", "gradnorm")
MADE_UP = "made up"
WINDOW, HORIZON = 10, 5
SAMPLES, VALIDATION, FEATURES, BATCH = 8_192, 1_024, 8, 64
TASKS = (
    Task(name="direction", kind="direction"),
    Task(name="return", kind="return"),
    Task(name="volatility", kind="volatility"),
)
LOOP = MultiTaskOptions(
    tasks=TASKS,
    family="gru",
    hidden_layers=(64,),
    epochs=2,
    log_model=False,
    training=TrainingOptions(batch_size=BATCH, seed=0, device="cpu", restore_best=True, progress=False),
)
MARKET = replace(
    LOOP,
    hidden_layers=(16,),
    dropout=0.1,
    epochs=12,
    learning_rate=2e-3,
    training=replace(LOOP.training, batch_size=32),
)


# --- the loop -----------------------------------------------------------------------------------------------


def loop(pairs: int, balance: Any, *, tracked: bool) -> dict[str, Any]:
    """CPU seconds of both, in turns, after one turn of each that does not count."""
    options, data, uri = replace(LOOP, balance=balance), made_up_windows(), f"sqlite:///{Path(STORE).absolute()}"
    trainer = MultiTaskTrainer(options, track=tracked, tracking_uri=uri)
    found: dict[str, list[float]] = {"ours": [], "by_hand": []}
    for pair in range(pairs + 1):
        ways: list[tuple[str, Callable[[], nn.Module]]] = [
            ("ours", lambda: trainer.fit(*data).network),
            ("by_hand", lambda: by_hand(options, data)),
        ]
        networks = []
        for way, train in ways if pair % 2 else reversed(ways):
            began = time.process_time()
            networks.append(train())
            found[way].append(time.process_time() - began)
        check_same(*networks, torch.tensor(data[2]))
    return {"samples": SAMPLES * options.epochs, **{way: taken[1:] for way, taken in found.items()}}


def check_same(one: nn.Module, other: nn.Module, inputs: Tensor) -> None:
    """End where two networks don't say the same, but for what hundreds of steps have made of rounding."""
    with torch.no_grad():
        said, by_other = one.eval()(inputs), other.eval()(inputs)
    if (said - by_other).abs().mean() > 0.1 * said.std():
        raise SystemExit("error: the two have not come to the same network")


def made_up_windows() -> tuple[Any, ...]:
    """Training and validation part, with a tenth of the labels missing."""
    numbers = np.random.default_rng(1)
    inputs = numbers.normal(size=(SAMPLES + VALIDATION, WINDOW, FEATURES)).astype(np.float32)
    value = inputs[:, -1, 0] * inputs[:, -2, 1] + 0.5 * inputs[:, 0, 2] + 0.3 * numbers.normal(size=len(inputs))
    spread = np.abs(inputs[:, :, 3].mean(axis=1) + 0.3 * numbers.normal(size=len(inputs)))
    labels = np.stack([value > 0, value, spread], axis=1).astype(np.float64)
    labels[numbers.random(labels.shape) < 0.1] = np.nan
    return inputs[:SAMPLES], labels[:SAMPLES], inputs[SAMPLES:], labels[SAMPLES:]


def by_hand(options: MultiTaskOptions, data: tuple[Any, ...]) -> nn.Module:
    """The same training as a plain loop, with the same metrics and the best weights kept."""
    (X, y), (X_val, y_val) = Parts.of(*data, TASKS, torch.device("cpu"))
    torch.manual_seed(0)
    network = MultiTaskNetwork(options.network(FEATURES, WINDOW), Parts((X, y), (X_val, y_val)).standardisation())
    network.scale_labels(label_scale(y, TASKS))
    s, w = torch.zeros(3, requires_grad=True), torch.ones(3, requires_grad=True)
    groups: list[dict[str, Any]] = [{"params": list(network.parameters())}]
    if options.balance == "uncertainty":
        groups.append({"params": [s], "lr": options.balance_learning_rate, "weight_decay": 0.0})
    optimizer = torch.optim.AdamW(groups, lr=options.learning_rate)
    of_weights = torch.optim.Adam([w], lr=options.balance_learning_rate)
    first: Tensor | None = None
    best, kept = float("inf"), {}
    for _ in range(options.epochs):
        network.train()
        total = torch.zeros(())
        for rows in torch.randperm(len(X)).split(BATCH):
            optimizer.zero_grad()
            parts = losses(network(X[rows]), y[rows], network.label_scale)
            if options.balance == "fixed":
                loss = torch.stack(parts).sum()
            elif options.balance == "uncertainty":
                loss = (torch.tensor([1.0, 0.5, 0.5]) * torch.exp(-s) * torch.stack(parts) + s / 2).sum()
            else:
                stacked = torch.stack(parts)
                loss = (w.detach().clone() * stacked).sum()
                first = stacked.detach() if first is None else first
                norms = torch.stack(
                    [torch.autograd.grad(one, network.shared.weight, retain_graph=True)[0].norm() for one in parts]
                )
                with torch.no_grad():
                    ratios = stacked / first
                    gap = w * norms - (w * norms).mean() * (ratios / ratios.mean()) ** options.alpha
                    w.grad = gap.sign() * norms
                    of_weights.step()
                    w.mul_(3 / w.sum())
            loss.backward()
            optimizer.step()
            total += torch.stack(parts).detach().sum() * len(rows)
        total.item()
        found = validated(network, X_val, y_val)
        if found["val_loss"] < best:
            best, kept = found["val_loss"], {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)
    return network


def losses(outputs: Tensor, packed: Tensor, scale: Tensor) -> list[Tensor]:
    """The mean loss of each task over the labels that are there."""
    labels, known = packed.chunk(2, dim=1)
    counts = known.sum(dim=0).clamp(min=1)
    errors = [
        functional.binary_cross_entropy_with_logits(outputs[:, 0], labels[:, 0], reduction="none"),
        functional.mse_loss(outputs[:, 1] / scale[1], labels[:, 1] / scale[1], reduction="none"),
        functional.mse_loss(outputs[:, 2] / scale[2], labels[:, 2] / scale[2], reduction="none"),
    ]
    return [(error * known[:, place]).sum() / counts[place] for place, error in enumerate(errors)]


def validated(network: MultiTaskNetwork, X: Tensor, y: Tensor) -> dict[str, float]:
    """What every epoch is measured by."""
    network.eval()
    with torch.no_grad():
        outputs = network(X)
        parts = [one.item() for one in losses(outputs, y, network.label_scale)]
        found = {
            "val_loss": sum(parts),
            **{f"val_{task.name}_loss": one for task, one in zip(TASKS, parts, strict=True)},
        }
        labels, known = y.chunk(2, dim=1)
        rows = known[:, 0] > 0
        found["accuracy"] = ((outputs[rows, 0] > 0) == (labels[rows, 0] > 0.5)).float().mean().item()
        for place in (1, 2):
            rows = known[:, place] > 0
            missed = outputs[rows, place] - labels[rows, place]
            found[f"mae_{place}"], found[f"rmse_{place}"] = (
                missed.abs().mean().item(),
                missed.square().mean().sqrt().item(),
            )
    return found


# --- the market ---------------------------------------------------------------------------------------------


def market(series: str, target: str, seeds: int) -> dict[str, Any]:
    """Losses of the target on the test part, over that of saying the training part's mean."""
    data, test, naive = parts_of(series, target)
    rows = []
    for seed in range(seeds):
        training = replace(MARKET.training, seed=seed, monitor=f"val_{target}_loss")
        options = replace(MARKET, training=training)
        alone = tuple(task for task in TASKS if task.name == target)
        row = {"alone": judged(replace(options, tasks=alone, balance="fixed"), data, test, target) / naive}
        for balance in BALANCES:
            row[balance] = judged(replace(options, balance=balance), data, test, target) / naive
        rows.append(row)
    return {"test": len(test[0]), "rows": rows}


def judged(options: MultiTaskOptions, data: tuple[Any, ...], test: tuple[Any, Any], target: str) -> float:
    """The loss of the target on the test part, of the epoch that was best by the target on the validation part."""
    names = [task.name for task in options.tasks]
    X, labels, X_val, labels_val = data
    passed = ({name: one[name] for name in names} for one in (labels, labels_val))
    train, validation = passed
    network = MultiTaskTrainer(options, track=False).fit(X, train, X_val, validation).network
    said, truth = network.predict(test[0])[target], test[1][target]
    known = ~np.isnan(truth)
    return loss_of(said[known].astype(np.float64), truth[known], target)


def loss_of(said: Any, truth: Any, target: str) -> float:
    """The cross-entropy of a direction, the mean squared error of a number."""
    if target == "direction":
        said = np.clip(said, 1e-6, 1 - 1e-6)
        return float(-np.mean(truth * np.log(said) + (1 - truth) * np.log(1 - said)))
    return float(np.mean((said - truth) ** 2))


def parts_of(series: str, target: str) -> tuple[tuple[Any, ...], tuple[Any, Any], float]:
    """Training and validation part, test part, and the test loss of saying the training part's mean."""
    inputs, returns = made_up_series() if series == MADE_UP else market_series(series)
    gap = 0 if series == MADE_UP else embargo_days(WINDOW, HORIZON)
    split = chronological_split(len(inputs), 0.6, 0.2, 0.2, gap)
    labels = []
    for part in (split.train, split.validation, split.test):
        of_part = returns[part]
        if series == MADE_UP:
            found = {"direction": (of_part > 0).astype(float), "return": of_part, "volatility": np.abs(of_part)}
        else:
            found = {
                "direction": (of_part > 0).astype(float),
                "return": returns_ahead(of_part, 1),
                "volatility": realised_volatility(of_part, HORIZON),
            }
        labels.append(found)
    truth = labels[2][target]
    known = ~np.isnan(truth)
    naive = loss_of(np.full(known.sum(), np.nanmean(labels[0][target])), truth[known], target)
    data = (inputs[split.train], labels[0], inputs[split.validation], labels[1])
    return data, (inputs[split.test], labels[2]), naive


def market_series(series: str) -> tuple[Any, Any]:
    """Features of the last days, and the next day's return."""
    samples = make_samples(prices_of(series), WINDOW)
    return samples.inputs, samples.next_returns


def made_up_series() -> tuple[Any, Any]:
    """A number whose sign is a coarse label of it: who learns the number has more to learn the direction from."""
    numbers = np.random.default_rng(2)
    inputs = numbers.normal(size=(1000, WINDOW, 6)).astype(np.float32)
    values = inputs[:, -1, 0] + inputs[:, -2, 1] * inputs[:, -1, 2] + 0.1 * numbers.normal(size=1000)
    return inputs, values.astype(np.float64)


def main() -> None:
    """Measure one thing."""
    what, *given = sys.argv[1:]
    torch.set_num_threads(1)
    with redirect_stdout(sys.stderr):
        if what == "loop":
            found = loop(int(given[0]), given[1], tracked=given[2] == "tracked")
        else:
            found = market(given[0], given[1], int(given[2]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
