"""Train by ``AdvancedTrainer``, beside the same by hand; print figures as JSON.

    python benchmarks/peer_advanced.py loop 5 ema tracked
    python benchmarks/peer_advanced.py market GOOG volatility 5

``loop``: pairs of turns, ``ema`` or ``swa``, and ``tracked`` or ``untracked``; seconds of a training and of the same
training as a plain loop with torch's own ``swa_utils``, which end with the same weights. ``market``: a series, what is
predicted, and seeds; losses on the test part of the plain training and of each of what is added to it, alone, over the
loss of saying the mean of the training part.
"""

from __future__ import annotations

import json
import math
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from peer_architecture import MADE_UP, prices_of
from torch import nn
from torch.optim import swa_utils
from trackers import STORE

from agentnn import AdvancedOptions, AdvancedTrainer, HierarchicalNetwork, InputConfig
from agentnn.nn_models.advanced.calendar import CALENDAR, calendar_of
from agentnn.training.data.prices import Samples as DaySamples
from agentnn.training.data.prices import Standardisation, chronological_split, embargo_days, make_samples
from agentnn.training.networks import Network, NetworkConfig

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES, VALIDATION, INPUTS, EPOCHS = 20_000, 4_000, 160, 6
LOOP = AdvancedOptions(
    epochs=EPOCHS,
    loss="bce",
    label_smoothing=0.1,
    batch_size=64,
    clip_norm=1.0,
    scheduler="warmup_cosine",
    warmup_steps=100,
    ema_correct_bias=False,  # as torch has it
    swa_start=0.5,
    keep="last",
    deterministic=False,
    device="cpu",
    log_model=False,
)
WINDOW = 5
MARKET = AdvancedOptions(
    epochs=40,
    batch_size=32,
    learning_rate=2e-3,
    decay_only_weights=False,
    device="cpu",
    log_model=False,
    progress=False,
)
ADDED: dict[str, dict[str, dict[str, Any]]] = {
    "any": {
        "ema": {"average": "ema"},
        "swa": {"average": "swa"},
        "swa, the last epochs": {"average": "swa", "keep": "last"},
        "decay of weights only": {"decay_only_weights": True},
        "warm-up and cosine": {"scheduler": "warmup_cosine"},
    },
    "bce": {
        "smoothed labels": {"label_smoothing": 0.1},
        "generalised cross entropy": {"loss": "gce"},
    },
    "mse": {
        "Huber": {"loss": "huber"},
        "log-cosh": {"loss": "log_cosh"},
        "Barron, alpha 0": {"loss": "barron", "loss_params": {"alpha": 0.0}},
    },
}
CALENDAR_ADDED = "calendar"


# --- the loop -----------------------------------------------------------------------------------------------


def loop(pairs: int, average: str, *, tracked: bool) -> dict[str, Any]:
    """Seconds of both, turn by turn."""
    options = replaced(LOOP, average=average, ema_decay=0.99)
    data = made_up_labels()
    uri = f"sqlite:///{Path.cwd() / STORE}"
    found: dict[str, list[float]] = {"ours": [], "by_hand": []}
    for pair in range(pairs + 1):
        weights = []
        for way in ("ours", "by_hand") if pair % 2 else ("by_hand", "ours"):
            model = network()
            began = time.perf_counter()
            if way == "ours":
                kept = AdvancedTrainer(model, options, track=tracked, tracking_uri=uri).train(*data).model
            else:
                kept = by_hand(model, options, data)
            found[way].append(time.perf_counter() - began)
            weights.append(torch.cat([one.detach().flatten() for one in kept.parameters()]))
        if not torch.allclose(*weights, rtol=1e-4, atol=1e-6):
            raise SystemExit("error: the two have not come to the same network")
    return {"samples": SAMPLES * EPOCHS, **{way: taken[1:] for way, taken in found.items()}}


def made_up_labels() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and validation part."""
    inputs = torch.randn(SAMPLES + VALIDATION, 10, 16, generator=torch.Generator().manual_seed(1))
    targets = (inputs[:, -1, :1] - 0.5 * inputs[:, -2, 1:2] > 0).float()
    return inputs[:SAMPLES], targets[:SAMPLES], inputs[SAMPLES:], targets[SAMPLES:]


def network() -> Network:
    """The same in both turns."""
    torch.manual_seed(0)
    return Network(NetworkConfig("mlp", 16, 10, (64, 32), dropout=0.1))


def by_hand(model: nn.Module, options: AdvancedOptions, data: Any) -> nn.Module:
    """The same training by torch's own parts."""
    X_train, y_train, X_val, y_val = data
    weights = [one for one in model.parameters() if one.ndim > 1]
    bare = [one for one in model.parameters() if one.ndim < 2]
    optimizer = torch.optim.AdamW([{"params": weights}, {"params": bare, "weight_decay": 0.0}], lr=1e-3)
    is_ema = options.average == "ema"
    average = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.99) if is_ema else None)
    total = options.epochs * math.ceil(SAMPLES / options.batch_size)
    length, warm = total - options.warmup_steps, options.warmup_steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / warm) * (1 + math.cos(math.pi * min(1, max(0, step - warm) / length))) / 2,
    )
    criterion, history = nn.BCEWithLogitsLoss(), []
    torch.manual_seed(options.seed or 0)
    for epoch in range(options.epochs):
        if not is_ema and epoch == options.epochs_before_swa:
            for group in optimizer.param_groups:
                group["lr"] = 5e-4
        model.train()
        seen = torch.zeros(())
        for rows in torch.randperm(SAMPLES).split(options.batch_size):
            optimizer.zero_grad()
            loss = criterion(model(X_train[rows]), y_train[rows] * 0.9 + 0.05)
            loss.backward()
            nn.utils.clip_grad_norm_([*weights, *bare], 1.0)
            optimizer.step()
            if is_ema:
                average.update_parameters(model)
            if is_ema or epoch < options.epochs_before_swa:
                schedule.step()
            seen += loss.detach() * len(rows)
        if not is_ema and epoch >= options.epochs_before_swa:
            average.update_parameters(model)
        judged = average.module.eval() if is_ema or epoch >= options.epochs_before_swa else model.eval()
        with torch.no_grad():
            losses = [
                criterion(judged(X), y).item() * len(X) / VALIDATION
                for X, y in zip(X_val.split(1638), y_val.split(1638), strict=True)
            ]
        history.append((seen.item() / SAMPLES, sum(losses)))
    kept: nn.Module = average.module
    return kept


def replaced(options: AdvancedOptions, **changes: Any) -> AdvancedOptions:
    """The options with others."""
    return AdvancedOptions(**{**options.to_dict(), **changes})


# --- the market ---------------------------------------------------------------------------------------------


def market(series: str, target: str, seeds: int) -> dict[str, Any]:
    """Losses on the test part, over that of the training part's mean."""
    data = Parts(series, target)
    rows = []
    for seed in range(seeds):
        options = replaced(MARKET, seed=seed, loss=data.loss)
        row = {"plain": data.judged(options)}
        for name, changes in {**ADDED["any"], **ADDED[data.loss]}.items():
            row[name] = data.judged(replaced(options, **changes))
        if data.calendar is not None:
            row[CALENDAR_ADDED] = data.judged(options, with_calendar=True)
        rows.append(row)
    return {"rows": rows, "train": data.split.train.stop, "test": len(data.values) - data.split.test.start}


class Parts:
    """A series in its three parts."""

    def __init__(self, series: str, target: str) -> None:
        self.loss = "bce" if target == "direction" else "mse"
        self.calendar: Tensor | None = None
        if series == MADE_UP:
            self.inputs, values = made_up_series()
            self.split = chronological_split(len(values), 0.6, 0.2, 0.2, 0)
        else:
            samples = make_samples(prices_of(series), WINDOW)
            moves = samples.next_returns
            values = moves > 0 if target == "direction" else np.log(np.abs(moves) + 1e-3)
            self.inputs = torch.from_numpy(samples.inputs)
            self.calendar = torch.from_numpy(calendar_of(samples.dates))
            self.split = chronological_split(len(values), 0.6, 0.2, 0.2, embargo_days(WINDOW))
        wanted = torch.from_numpy(np.asarray(values, dtype=np.float32)).unsqueeze(1)
        if self.loss == "mse":
            train = wanted[self.split.train]
            wanted = (wanted - train.mean()) / train.std()
        self.values = wanted
        self.clean = wanted.clone()
        if series == MADE_UP:  # a tenth of what is learnt from is wild
            place = torch.arange(0, self.split.train.stop, 10)
            self.values[place] += 20 * torch.randn(len(place), 1, generator=torch.Generator().manual_seed(5))

    def judged(self, options: AdvancedOptions, *, with_calendar: bool = False) -> float:
        """The loss on the test part of what the options train."""
        n_features, fitted = self.inputs.shape[-1], self._standardisation()
        torch.manual_seed(options.seed or 0)
        inputs: Any = self.inputs
        if with_calendar:
            assert self.calendar is not None
            named = [InputConfig("prices", n_features), InputConfig("calendar", len(CALENDAR), "latest", (8,))]
            model: Network = HierarchicalNetwork(named, WINDOW, hidden_layers=(32, 16), dropout=0.1)
            assert isinstance(model, HierarchicalNetwork)
            inputs = model.pack({"prices": self.inputs, "calendar": self.calendar})
            model.feature_mean[:n_features] = torch.from_numpy(fitted.mean)
            model.feature_scale[:n_features] = torch.from_numpy(fitted.scale)
        else:
            model = Network(NetworkConfig("mlp", n_features, WINDOW, (32, 16), dropout=0.1), fitted)
        train, validation, test = self.split.train, self.split.validation, self.split.test
        given = inputs[train], self.values[train], inputs[validation], self.clean[validation]
        trained = AdvancedTrainer(model, options, track=False).train(*given).model
        error = nn.functional.binary_cross_entropy_with_logits if self.loss == "bce" else nn.functional.mse_loss
        with torch.no_grad():
            found = float(error(trained(inputs[test]), self.clean[test]))
        return found / self._naive()

    def _standardisation(self) -> Standardisation:
        train = self.inputs[self.split.train].numpy()
        return Standardisation.fit(DaySamples(np.zeros(len(train), "datetime64[D]"), train, np.zeros(len(train))))

    def _naive(self) -> float:
        test = self.clean[self.split.test]
        mean = self.clean[self.split.train].mean().expand_as(test)
        error = nn.functional.binary_cross_entropy if self.loss == "bce" else nn.functional.mse_loss
        return float(error(mean, test))


def made_up_series() -> tuple[Tensor, Any]:
    """What can be learnt, if a few wild targets do not get into the way."""
    inputs = torch.randn(3000, WINDOW, 6, generator=torch.Generator().manual_seed(2))
    last = inputs[:, -1]
    return inputs, (last[:, 0] * last[:, 1] + torch.sin(2 * last[:, 2]) + last[:, 3]).numpy()


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
