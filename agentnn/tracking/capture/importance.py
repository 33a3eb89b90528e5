"""Which features a model relies on: how much worse it gets once a feature's values are shuffled among the samples.

The definition is that of Breiman (2001), section 10, as in ``sklearn.inspection.permutation_importance``; it tells what
the model uses, not what the target depends on, and correlated features share their importance.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from agentnn.errors import UsageError
from agentnn.tracking.capture.predicting import predictor, to_numpy
from agentnn.tracking.capture.sampling import chosen_rows, rows_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np

    Score = Callable[[np.ndarray, np.ndarray], float]

MOST_SAMPLES = 5000
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Importance:
    """One feature.

    Attributes:
        name: The feature.
        mean: How much the score fell, on average over the repeats; near 0, or below it, for what is not used.
        std: Standard deviation over the repeats, with n; 0 for what the model says of itself.
    """

    name: str
    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class FeatureImportance:
    """All features.

    Attributes:
        method: ``permutation``, or ``model`` for what the model says of itself.
        score: What fell: ``neg_mean_squared_error``, ``accuracy``, or the name of the given function.
        baseline: The score with nothing shuffled; ``None`` for ``model``.
        features: The most important one first.
        samples: Samples that were looked at.
        repeats: Times that each feature was shuffled.
        left_out: Features for which there was no time.
    """

    method: str
    score: str
    baseline: float | None
    features: tuple[Importance, ...]
    samples: int
    repeats: int
    left_out: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "method": self.method,
            "score": self.score,
            "baseline": self.baseline,
            "samples": self.samples,
            "repeats": self.repeats,
            "features": [{"feature": one.name, "importance": one.mean, "std": one.std} for one in self.features],
            "left_out": list(self.left_out),
        }


def feature_importance(
    model: Any,
    inputs: Any,
    targets: Any,
    *,
    method: Literal["permutation", "model"] = "permutation",
    feature_names: Sequence[str] | None = None,
    score: Score | None = None,
    repeats: int = 5,
    seed: int = 0,
    most_samples: int = MOST_SAMPLES,
    timeout_s: float = TIMEOUT_S,
) -> FeatureImportance:
    """Measure it; neither the model nor the data change.

    Args:
        model: A module, an estimator, or a function of an array.
        inputs: Shape (n_samples, …, n_features); of a window of a sequence a feature is shuffled as a whole.
        targets: Shape (n_samples, …).
        method: ``model`` takes ``feature_importances_`` or the size of ``coef_`` instead.
        feature_names: A frame's own, or ``0``, ``1``, … without them.
        score: Of targets and predictions, greater is better. Without one it is the share of right classes where the
            targets are whole numbers, truth values or text and the model gives classes or one value a class, otherwise
            the mean squared error, negative.
        repeats: How often each feature is shuffled.
        seed: Of the sample and the shuffling.
        most_samples: Of more a sample is taken.
        timeout_s: No further feature is begun after so long; what is left out is said.

    Raises:
        UsageError: The data don't fit each other, or the model can't predict, or says nothing of itself.
    """
    import numpy as np

    names = _names(inputs, feature_names)
    if method == "model":
        return _own_importance(model, names)
    places = chosen_rows(len(inputs), most_samples, seed)
    samples, truth = to_numpy(rows_at(inputs, places)), to_numpy(rows_at(targets, places))
    if len(samples) != len(truth) or not len(samples):
        raise UsageError(f"{len(samples)} samples and {len(truth)} targets")
    frame = rows_at(inputs, places) if hasattr(inputs, "columns") else None
    ask = _asking(model, frame)
    first = ask(samples)
    rate, rate_name = (score, getattr(score, "__name__", "score")) if score else _score_for(truth, first)
    baseline = float(rate(truth, first))
    rng, deadline = np.random.default_rng(seed), time.monotonic() + timeout_s
    found: list[Importance] = []
    for place, name in enumerate(names):
        if time.monotonic() > deadline:
            break
        falls = [baseline - float(rate(truth, ask(_shuffled(samples, place, rng)))) for _ in range(repeats)]
        found.append(Importance(name, statistics.fmean(falls), statistics.pstdev(falls)))
    left_out = tuple(names[len(found) :])
    return FeatureImportance("permutation", rate_name, baseline, _ranked(found), len(samples), repeats, left_out)


def _asking(model: Any, frame: Any) -> Callable[[np.ndarray], np.ndarray]:
    """A function of an array; an estimator that was fitted to a frame is given one."""
    ask = predictor(model)
    if frame is None or not hasattr(model, "feature_names_in_"):
        return ask
    import pandas as pd

    return lambda samples: ask(pd.DataFrame(samples, columns=frame.columns).astype(frame.dtypes.to_dict()))


def _shuffled(samples: np.ndarray, place: int, rng: np.random.Generator) -> np.ndarray:
    changed = samples.copy()
    changed[..., place] = samples[rng.permutation(len(samples))][..., place]
    return changed


def _score_for(truth: np.ndarray, predictions: np.ndarray) -> tuple[Score, str]:
    import numpy as np

    are_classes = truth.dtype.kind in "biuOUS" and (truth.ndim == 1 or truth.shape[-1] == 1)
    gives_classes = predictions.dtype.kind in "biuOUS" or (predictions.ndim == truth.ndim + 1)
    if are_classes and gives_classes:
        return _accuracy, "accuracy"
    if np.ravel(truth).shape != np.ravel(predictions).shape:
        raise UsageError(
            f"predictions of shape {predictions.shape} for targets of shape {truth.shape}", hint="give score="
        )
    return _negative_error, "neg_mean_squared_error"


def _accuracy(truth: np.ndarray, predictions: np.ndarray) -> float:
    if predictions.ndim == truth.ndim + 1:
        predictions = predictions.argmax(axis=-1)
    return float((truth.ravel() == predictions.ravel()).mean())


def _negative_error(truth: np.ndarray, predictions: np.ndarray) -> float:
    return -float(((truth.ravel().astype(float) - predictions.ravel().astype(float)) ** 2).mean())


def _own_importance(model: Any, names: Sequence[str]) -> FeatureImportance:
    import numpy as np

    own = getattr(model, "feature_importances_", None)
    if own is None and hasattr(model, "coef_"):
        coefficients = np.abs(np.asarray(model.coef_, dtype=float))
        own = coefficients.reshape(-1, coefficients.shape[-1]).mean(axis=0)
    if own is None or len(own) != len(names):
        raise UsageError(f"a {type(model).__name__} says nothing of these features itself", hint="method='permutation'")
    found = [Importance(name, float(value), 0.0) for name, value in zip(names, own, strict=True)]
    return FeatureImportance("model", type(model).__name__, None, _ranked(found), 0, 0)


def _ranked(features: Iterable[Importance]) -> tuple[Importance, ...]:
    return tuple(sorted(features, key=lambda one: (-one.mean if one.mean == one.mean else float("inf"), one.name)))


def _names(inputs: Any, names: Sequence[str] | None) -> list[str]:
    shape: tuple[int, ...] = getattr(inputs, "shape", ())
    if len(shape) < 2:
        raise UsageError("features stand in the last of at least two axes", hint="give an array of (samples, features)")
    own = names if names is not None else getattr(inputs, "columns", range(shape[-1]))
    if len(own) != shape[-1]:
        raise UsageError(f"{len(own)} names for {shape[-1]} features")
    return [str(name) for name in own]
