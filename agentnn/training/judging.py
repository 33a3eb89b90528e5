"""What a trained network's predictions are worth: its errors, and what trading by them would have earned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from agentnn.errors import TrainingError
from agentnn.tracking.capture.predicting import predictor
from agentnn.training.loop.optimisation import QuantileLoss, build_loss, predicts_by
from agentnn.training.loop.tensors import matched
from agentnn.training.trading import Traded, trade, why_not_traded

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from agentnn.config.schema import Config
    from agentnn.training.data.datasets import Dataset, Part
    from agentnn.training.fitting import Fitted

PartName = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """How a network did on a part of the data.

    Attributes:
        errors: ``loss``; and ``accuracy``, or ``mae`` and ``rmse``; and what a trainer measures besides.
        predictions: Probabilities of a direction or of classes, or numbers, shape (n,) or (n, outputs).
        point: One number a sample, shape (n,): the prediction itself, the middle one of several quantiles, the
            probability of the second of two classes, or the likeliest of more.
        traded: The backtest, where there is one.
    """

    errors: dict[str, float]
    predictions: NDArray[np.float64]
    point: NDArray[np.float64]
    traded: Traded | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """The errors, and ``sharpe_ratio`` and the other figures of the backtest; without a prefix."""
        return {**self.errors, **(self.traded.figures if self.traded else {})}

    @property
    def returns(self) -> NDArray[np.float64] | None:
        """Net return of each period; ``None`` without a backtest."""
        return self.traded.returns if self.traded else None

    @property
    def equity(self) -> NDArray[np.float64] | None:
        """Capital at the start and at the end of each period; ``None`` without a backtest."""
        return self.traded.equity if self.traded else None


def judge(
    model: nn.Module,
    dataset: Dataset,
    part: PartName,
    config: Config,
    *,
    outputs: NDArray[np.float32] | None = None,
) -> Judged:
    """Predict a part of the data, and trade by the predictions as ``config.backtest`` says.

    Args:
        model: Raw features (n, window, features) to (n, outputs); it stays as it is.
        dataset: Where the part is taken from.
        part: ``validation`` or ``test``.
        config: Its sections ``training`` (the arguments of the loss) and ``backtest``.
        outputs: What was predicted for the part already, shape (n, outputs), and the model is not asked.

    Raises:
        ConfigError: A backtest is asked for that can't be, or its rule does not fit what is predicted.
        TrainingError: A prediction is not finite.
    """
    samples: Part = getattr(dataset, part)
    if outputs is None:
        outputs = np.asarray(predictor(model)(samples.inputs), dtype=np.float32).reshape(len(samples), -1)
    if not np.isfinite(outputs).all():
        raise TrainingError(
            f"{int((~np.isfinite(outputs)).any(axis=1).sum())} predictions of the {part} part are not finite",
            hint="try a lower learning rate, or training.clip_norm",
        )
    criterion = criterion_of(dataset, config)
    predictions = _predictions(outputs, dataset.loss)
    point = _point(predictions, dataset.loss, criterion)
    errors = {"loss": _loss(criterion, outputs, samples), **_errors(predictions, point, samples, dataset.loss)}
    is_traded = not why_not_traded(dataset, config.backtest)
    return Judged(errors, predictions, point, trade(point, dataset, samples, config.backtest) if is_traded else None)


def judge_fitted(fitted: Fitted, dataset: Dataset, part: PartName, config: Config) -> Judged:
    """The same by what a training gave: what it predicted while it still learnt counts, where there is that.

    The errors are also those of what was learnt beside the target.
    """
    judged = judge(fitted.model, dataset, part, config, outputs=fitted.outputs.get(part))
    return replace(judged, errors={**judged.errors, **fitted.errors_beside(dataset, getattr(dataset, part))})


def criterion_of(dataset: Dataset, config: Config) -> nn.Module:
    """The loss that the network was trained by."""
    return build_loss(dataset.loss, config.training.params.get("loss_params", {}), config.model.output_dim)


def _predictions(outputs: NDArray[np.float32], loss: str) -> NDArray[np.float64]:
    """What the outputs mean: probabilities or numbers; a single one without its axis."""
    raw = torch.from_numpy(outputs).double()
    meaning = predicts_by(loss)
    if meaning == "probability":
        raw = torch.sigmoid(raw)
    elif meaning == "classes":
        raw = torch.softmax(raw, dim=-1)
    found: NDArray[np.float64] = raw.numpy()
    return found[:, 0] if found.shape[1] == 1 else found


def _loss(criterion: nn.Module, outputs: NDArray[np.float32], samples: Part) -> float:
    given = torch.from_numpy(outputs)
    with torch.inference_mode():
        return float(criterion(given, matched(torch.from_numpy(samples.targets), given, criterion)))


def _errors(predictions: NDArray[np.float64], point: NDArray[np.float64], samples: Part, loss: str) -> dict[str, float]:
    truth = samples.targets[:, 0]
    meaning = predicts_by(loss)
    if meaning == "probability":
        return {"accuracy": float(((predictions > 0.5) == (truth > 0.5)).mean())}
    if meaning == "classes":
        return {"accuracy": float((predictions.argmax(axis=1) == truth).mean())}
    missed = point - truth
    return {"mae": float(np.abs(missed).mean()), "rmse": float(np.sqrt(np.square(missed).mean()))}


def _point(predictions: NDArray[np.float64], loss: str, criterion: nn.Module) -> NDArray[np.float64]:
    if predictions.ndim == 1:
        return predictions
    if isinstance(criterion, QuantileLoss):
        chosen = int((criterion.quantiles - 0.5).abs().argmin())
    elif loss == "cross_entropy" and predictions.shape[1] == 2:
        chosen = 1
    else:
        return np.asarray(predictions.argmax(axis=1), dtype=np.float64)
    column: NDArray[np.float64] = predictions[:, chosen]
    return column
