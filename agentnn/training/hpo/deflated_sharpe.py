"""How much of a Sharpe ratio is left once it is said how many were tried.

Of many trials without any skill the best one still looks good. Bailey and López de Prado, "The Deflated Sharpe Ratio:
Correcting for Selection Bias, Backtest Overfitting, and Non-Normality", Journal of Portfolio Management 40 (5), 2014,
give the probability that the true Sharpe ratio of the best of N trials is above what the best of N without skill would
show. In their notation, with Φ for the normal distribution, γ ≈ 0.5772 for the Euler-Mascheroni constant, and Sharpe
ratios per period, which are *not* annualised::

    PSR(SR*) = Φ( (SR − SR*) · √(T − 1) / √(1 − γ₃·SR + (γ₄ − 1)/4 · SR²) )
    SR₀      = √V · ( (1 − γ)·Φ⁻¹(1 − 1/N) + γ·Φ⁻¹(1 − 1/(N·e)) )
    DSR      = PSR(SR₀)

SR is the ratio of the best trial over T periods, whose returns have the skewness γ₃ and the kurtosis γ₄ (3 for a normal
distribution); V is the variance of the ratios of all trials.

N counts *independent* trials. Those of a search are not: they see the same data, and later ones lie near good earlier
ones. Where the returns of all trials are at hand, :func:`effective_trials` says how many they amount to, by their
average correlation ρ: ``N = ρ + (1 − ρ)·M`` (the paper's appendix 3). Otherwise take all that were tried, pruned ones
too, which errs on the side of caution: a greater N only ever lowers the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

EULER_GAMMA = 0.5772156649015329
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Returns:
    """What the formulas need to know of a series of returns.

    Attributes:
        sharpe: Mean over standard deviation (with n − 1) of a period's return, not annualised; ``nan`` where all
            returns are the same.
        periods: How many there are.
        skewness: 0 for a normal distribution.
        kurtosis: 3 for a normal distribution.
    """

    sharpe: float
    periods: int
    skewness: float = 0.0
    kurtosis: float = 3.0

    @classmethod
    def of(cls, returns: Sequence[float] | np.ndarray) -> Returns:
        """Measure a series.

        Args:
            returns: Simple returns, one a period, shape (n_periods,).

        Raises:
            UsageError: There are fewer than two, or not all are finite.
        """
        import numpy as np

        values = np.asarray(returns, dtype=float)
        if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
            raise UsageError(f"a Sharpe ratio needs at least two finite returns, not shape {values.shape}")
        centred = values - values.mean()
        spread = float(values.std())
        if spread <= 1e-12 * float(np.abs(values).max()):  # the same but for rounding
            return cls(math.nan, len(values))
        skewness = float((centred**3).mean()) / spread**3
        kurtosis = float((centred**4).mean()) / spread**4
        return cls(float(values.mean()) / float(values.std(ddof=1)), len(values), skewness, kurtosis)


@dataclass(frozen=True, slots=True)
class DeflatedSharpe:
    """The best Sharpe ratio of a study, and what is left of it.

    Attributes:
        returns: Of the best trial.
        trials: How many it is the best of; not a whole number where it is the effective one.
        variance: Of the Sharpe ratios of all trials.
        expected_max: The Sharpe ratio that the best of so many trials without skill would show; SR₀.
        probabilistic: The probability that the true ratio is above 0, if this had been the only trial.
        deflated: The probability that it is above ``expected_max``; usually 0.95 is asked for.
    """

    returns: Returns
    trials: float
    variance: float
    expected_max: float
    probabilistic: float
    deflated: float

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, with ``None`` for what is not finite."""
        values = {
            "sharpe": self.returns.sharpe,
            "periods": self.returns.periods,
            "skewness": self.returns.skewness,
            "kurtosis": self.returns.kurtosis,
            "trials": self.trials,
            "variance": self.variance,
            "expected_max": self.expected_max,
            "probabilistic": self.probabilistic,
            "deflated": self.deflated,
        }
        return {name: value if math.isfinite(value) else None for name, value in values.items()}


def probabilistic_sharpe_ratio(returns: Returns, benchmark: float = 0.0) -> float:
    """The probability that the true Sharpe ratio is above a benchmark; ``nan`` where nothing can be said.

    Args:
        returns: What was observed, per period.
        benchmark: A Sharpe ratio per period.

    Raises:
        UsageError: There are fewer than two periods.
    """
    if returns.periods < 2:
        raise UsageError(f"{returns.periods} periods say nothing of a Sharpe ratio", hint="at least 2")
    sharpe = returns.sharpe
    spread = 1 - returns.skewness * sharpe + (returns.kurtosis - 1) / 4 * sharpe**2
    if not math.isfinite(sharpe - benchmark) or not spread > 0:
        return math.nan
    return _NORMAL.cdf((sharpe - benchmark) * math.sqrt(returns.periods - 1) / math.sqrt(spread))


def expected_max_sharpe(trials: float, variance: float) -> float:
    """The greatest Sharpe ratio that is to be expected of so many independent trials without any skill.

    Args:
        trials: At least 1; of a single one it is 0.
        variance: Of the Sharpe ratios, in the unit that the result is to have: per period; ``nan`` gives ``nan``.

    Raises:
        UsageError: There is no trial, or the variance is negative.
    """
    if not trials >= 1 or variance < 0:
        raise UsageError(f"{trials} trials with the variance {variance} have no best one")
    if trials == 1:
        return 0.0
    ends = _NORMAL.inv_cdf(1 - 1 / trials), _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    expected = (1 - EULER_GAMMA) * ends[0] + EULER_GAMMA * ends[1]
    return math.sqrt(variance) * max(0.0, expected)  # it is an approximation, which falls below 0 for N < 1.2


def deflated_sharpe_ratio(
    best: Returns, sharpes: Sequence[float] | np.ndarray, *, trials: float | None = None
) -> DeflatedSharpe:
    """The Sharpe ratio of a study's best trial, with all the others held against it.

    Args:
        best: Of the best trial.
        sharpes: The Sharpe ratios of all trials that came to one, the best one among them, per period; what is not
            finite is left out.
        trials: How many independent trials there were; as many as ``sharpes`` without it.

    Returns:
        With ``nan`` for the variance and what follows from it where of several trials only one came to a ratio.

    Raises:
        UsageError: There is no trial, or the best one has fewer than two periods.
    """
    import numpy as np

    found = np.asarray(sharpes, dtype=float)
    found = found[np.isfinite(found)]
    count = float(trials if trials is not None else len(found))
    variance = float(found.var(ddof=1)) if len(found) > 1 else 0.0 if count == 1 else math.nan
    expected = expected_max_sharpe(count, variance)
    return DeflatedSharpe(
        returns=best,
        trials=count,
        variance=variance,
        expected_max=expected,
        probabilistic=probabilistic_sharpe_ratio(best),
        deflated=probabilistic_sharpe_ratio(best, expected),
    )


def effective_trials(returns: Sequence[Sequence[float]] | np.ndarray) -> float:
    """How many independent trials so many correlated ones amount to.

    Args:
        returns: One row of returns a trial, over the same periods; shape (n_trials, n_periods). A row that is constant
            says nothing, and is left out.

    Returns:
        Between 1, where all trials are the same, and their number.

    Raises:
        UsageError: There is no row with two different returns.
    """
    import numpy as np

    rows = np.asarray(returns, dtype=float)
    rows = rows[rows.std(axis=1) > 0] if rows.ndim == 2 and rows.shape[1] else rows[:0]
    count = len(rows)
    if not count:
        raise UsageError("trials without returns can't be compared")
    if count == 1:
        return 1.0
    correlations = np.corrcoef(rows)
    average = float((correlations.sum() - count) / (count * (count - 1)))
    average = min(1.0, max(0.0, average))
    return average + (1 - average) * count
