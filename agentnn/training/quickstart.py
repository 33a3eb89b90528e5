"""The guided first use: a handful of small networks on real prices, and buy-and-hold beside them.

Every figure in ``metrics`` without a prefix is out of sample: it comes from the test part, which neither
training, nor early stopping, nor the choice of the champion sees.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agentnn.config.loader import load_config
from agentnn.errors import UsageError
from agentnn.records import Metric
from agentnn.tracking.backtests.backtest import backtest, performance
from agentnn.tracking.models.model_files import save_pyfunc_model
from agentnn.training.data.prices import (
    FEATURES,
    Samples,
    Split,
    Standardisation,
    chronological_split,
    embargo_days,
    load_prices,
    make_samples,
)
from agentnn.training.fitting import fit
from agentnn.training.networks import Network, save_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from agentnn.config.schema import Config

DATASET = "GOOG daily OHLCV 2004-2008 (matplotlib sample data)"
WINDOW = 10
"""Days of features that every sample holds, so that all networks are compared on the same days."""

COST_PER_TURNOVER = 0.0005
"""Five basis points for trading the whole capital once: commission, half the spread and slippage of a large
stock."""

CHAMPION_METRIC = "validation_sharpe_ratio"


def _candidate(family: str, window: int, hidden_layers: list[int], learning_rate: float, seed: int) -> Config:
    return load_config(
        {
            "model": {"family": family, "hidden_layers": hidden_layers, "dropout": 0.2},
            "data": {"window": window},
            "training": {
                "loss": "bce",
                "learning_rate": learning_rate,
                "weight_decay": 1e-2,
                "batch_size": 64,
                "epochs": 100,
                "patience": 15,
                "seed": seed,
                "device": "cpu",
                "num_threads": 1,  # for networks of this size also the fastest
                "progress": False,
                "checkpoints": False,
            },
        }
    )


CANDIDATES: Mapping[str, Config] = {
    "mlp-small": _candidate("mlp", 1, [8], 1e-3, 1),
    "mlp-medium": _candidate("mlp", 1, [32], 1e-3, 1),
    "mlp-medium-reseeded": _candidate("mlp", 1, [32], 1e-3, 2),
    "mlp-deep": _candidate("mlp", 1, [32, 32], 3e-4, 1),
    "mlp-window": _candidate("mlp", 5, [32, 32], 3e-4, 1),
    "gru-small": _candidate("gru", 10, [8], 1e-3, 1),
    "gru-medium": _candidate("gru", 10, [16], 1e-3, 1),
    "gru-medium-reseeded": _candidate("gru", 10, [16], 1e-3, 2),
    "gru-slow": _candidate("gru", 10, [16], 3e-4, 1),
    "gru-deep": _candidate("gru", 10, [16, 16], 1e-3, 1),
}
"""The networks, by name. Two come twice with another seed, to show how much of a difference is chance."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One run of the quickstart.

    Attributes:
        name: The run's name.
        params: What was done: data set, split, costs, sizes, seed.
        metrics: Final figures; those of the test part without a prefix, ``validation_sharpe_ratio``, losses.
        history: ``train_loss`` and ``val_loss`` of every epoch.
        start_time: Milliseconds since the Unix epoch.
        end_time: Milliseconds since the Unix epoch.
        network: The trained network; ``None`` for a baseline.
        input_example: Two samples of its raw features, shape (2, window, features); ``None`` for a baseline.
    """

    name: str
    params: Mapping[str, str | int | float]
    metrics: Mapping[str, float]
    start_time: int
    end_time: int
    history: tuple[Metric, ...] = ()
    network: Network | None = field(default=None, repr=False)
    input_example: NDArray[np.float32] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far :func:`train_candidates` is.

    Attributes:
        name: The candidate in training.
        index: Its place, from 0.
        n_candidates: How many there are.
        epoch: Epochs done; early stopping may end before ``max_epochs``.
        max_epochs: Upper bound.
    """

    name: str
    index: int
    n_candidates: int
    epoch: int
    max_epochs: int

    @property
    def fraction(self) -> float:
        """From 0 to 1, over all candidates; it jumps where one stops early."""
        return (self.index + self.epoch / self.max_epochs) / self.n_candidates


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """The samples of the quickstart and how they are split."""

    samples: Samples
    split: Split
    embargo: int

    @classmethod
    def load(cls) -> Study:
        """Google's prices: 60 % training, 20 % validation, 20 % test, in the order of time."""
        samples = make_samples(load_prices(), WINDOW)
        embargo = embargo_days(WINDOW)
        return cls(samples, chronological_split(len(samples), 0.6, 0.2, 0.2, embargo), embargo)

    @property
    def params(self) -> dict[str, str | int | float]:
        """The params that every run of the study shares; a date is the day of a sample's position."""
        ends: dict[str, str | int | float] = {}
        for name in ("train", "validation", "test"):
            dates = self.samples.part(getattr(self.split, name)).dates
            ends[f"{name}_start"], ends[f"{name}_end"] = str(dates[0]), str(dates[-1])
            ends[f"{name}_days"] = len(dates)
        return {
            "dataset": DATASET,
            **ends,
            "embargo_days": self.embargo,
            "cost_per_turnover": COST_PER_TURNOVER,
            "conventions": "252 periods, ddof 1, risk-free 0",
        }


def train_candidates(
    on_progress: Callable[[Progress], None] | None = None,
    *,
    candidates: Mapping[str, Config] = CANDIDATES,
) -> Iterator[Candidate]:
    """Train the networks one after the other and backtest each; yields each as soon as it is done.

    Args:
        on_progress: Called after every epoch.
        candidates: What to train, by name.
    """
    study = Study.load()
    for index, (name, config) in enumerate(candidates.items()):

        def report(epoch: int, name: str = name, index: int = index, most: int = config.training.epochs) -> None:
            if on_progress is not None:
                on_progress(Progress(name, index, len(candidates), epoch, most))

        yield train_candidate(name, config, study, report)


def train_candidate(name: str, config: Config, study: Study, report: Callable[[int], None] | None = None) -> Candidate:
    """Train one network, and backtest it on the validation and on the test part.

    Args:
        name: What it is called.
        config: The network, and how it is trained.
        study: The samples.
        report: Called after every epoch with its number.
    """
    start, history = _now(), list[Metric]()

    def on_epoch(epoch: int, values: Mapping[str, float]) -> None:
        history.extend(Metric(key, values[key], epoch, _now()) for key in ("train_loss", "val_loss"))
        if report is not None:
            report(epoch)

    samples = study.samples.last(config.data.window)
    train, validation = samples.part(study.split.train), samples.part(study.split.validation)
    fitted = fit(
        config,
        train.inputs,
        train.next_returns > 0,
        validation.inputs,
        validation.next_returns > 0,
        standardisation=Standardisation.fit(train),
        on_epoch=on_epoch,
    )
    network = fitted.model
    assert isinstance(network, Network)
    metrics = {
        **_figures(long_or_flat(network.probabilities(samples.inputs)), study),
        "best_val_loss": fitted.history.best_value,
        "best_epoch": float(fitted.history.best_epoch),
    }
    return Candidate(
        name=name,
        params={**study.params, **_params(config), "n_parameters": network.n_parameters},
        metrics=metrics,
        history=tuple(history),
        start_time=start,
        end_time=_now(),
        network=network,
        input_example=train.inputs[:2].copy(),
    )


def buy_and_hold() -> Candidate:
    """The baseline: buy at the first close of the test part, never sell; one entry's cost, the same days."""
    start = _now()
    study = Study.load()
    metrics = _figures(np.ones(len(study.samples)), study)
    params = {**study.params, "family": "baseline", "position_rule": "always long"}
    return Candidate("buy-and-hold", params, metrics, start_time=start, end_time=_now())


def long_or_flat(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """The position of each day: 1 where a positive return is the likelier, else 0; never short."""
    return np.where(probabilities > 0.5, 1.0, 0.0)


def choose_champion(candidates: Sequence[Candidate]) -> Candidate:
    """The network to register: the highest Sharpe ratio on the **validation** part.

    The test part plays no role. Whoever takes the best of ten by their test figures reports the luckiest of
    ten draws, and the figure no longer says what the network will do on days that nobody has seen (selection
    bias; see Bailey et al., "The Probability of Backtest Overfitting", 2014). The price is that the champion
    often is not the run with the best ``sharpe_ratio``, which is as it should be.

    Of equal Sharpe ratios the lower validation loss wins, then the earlier candidate. A network that stayed
    flat has no Sharpe ratio and comes last. Baselines don't take part.

    Raises:
        UsageError: There is no network among the candidates.
    """
    networks = [candidate for candidate in candidates if candidate.network is not None]
    if not networks:
        raise UsageError("there is no network to choose a champion from")

    def merit(candidate: Candidate) -> tuple[float, float]:
        metrics = candidate.metrics
        return metrics.get(CHAMPION_METRIC, -np.inf), -metrics.get("best_val_loss", np.inf)

    return max(networks, key=merit)


def save_candidate_model(candidate: Candidate, directory: Path) -> None:
    """Write a candidate's network as an MLflow model, with its signature and an input example.

    Args:
        candidate: One with a network.
        directory: Where to write; it must be empty or not be there yet.

    Raises:
        UsageError: The candidate is a baseline.
    """
    if candidate.network is None or candidate.input_example is None:
        raise UsageError(f"{candidate.name} has no network to save")
    with tempfile.TemporaryDirectory() as scratch:
        data_path = Path(scratch, "network")
        save_network(data_path, candidate.network)
        save_pyfunc_model(
            directory,
            loader_module="agentnn.training.networks",
            data_path=data_path,
            input_example=candidate.input_example,
            output_example=candidate.network.probabilities(candidate.input_example),
            pip_requirements=_requirements(),
        )


def _figures(positions: NDArray[np.float64], study: Study) -> dict[str, float]:
    """The test part's figures, and the validation part's Sharpe ratio; each part starts in cash."""
    returns = study.samples.next_returns
    validation, test = (
        performance(backtest(positions[days], returns[days], COST_PER_TURNOVER))
        for days in (study.split.validation, study.split.test)
    )
    if "sharpe_ratio" in validation:
        return {**test, CHAMPION_METRIC: validation["sharpe_ratio"]}
    return test


def _params(config: Config) -> dict[str, str | int | float]:
    model, training = config.model, config.training
    assert training.weight_decay is not None and training.patience is not None
    return {
        "family": model.family,
        "window": config.data.window,
        "hidden_size": model.hidden_layers[0],
        "n_layers": len(model.hidden_layers),
        "dropout": model.dropout,
        "learning_rate": training.learning_rate,
        "weight_decay": training.weight_decay,
        "batch_size": training.batch_size,
        "max_epochs": training.epochs,
        "patience": training.patience,
        "seed": training.seed,
        "features": ", ".join(FEATURES),
        "position_rule": "long if P(up) > 0.5, else flat",
    }


def _requirements() -> list[str]:
    """This environment's own versions; a local label such as ``+cpu`` is on no package index."""
    found = []
    for name in ("agentnn", "numpy", "torch"):
        try:
            found.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:
            found.append(name)
    return found


def _now() -> int:
    return time.time_ns() // 1_000_000
