"""Daily prices, features without look-ahead, and a chronological split.

The convention, everywhere in :mod:`agentnn.training`: the features of day ``t`` use prices up to and
including the close of day ``t``; a position is taken at that close and earns the return from the close of
``t`` to the close of ``t + 1``. Filling at the very close that is also an input is an idealisation; the cost
of the trade is charged for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from agentnn.errors import CorruptDataError, NotFoundError, UsageError
from agentnn.extras import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEATURES = (
    "return_1",
    "return_5",
    "return_10",
    "return_20",
    "volatility_5",
    "volatility_20",
    "sma_ratio_5",
    "sma_ratio_20",
    "rsi_14",
    "volume_zscore_20",
    "high_low_range",
    "close_location",
    "overnight_gap",
)
"""The columns of :func:`compute_features`, in order."""

ALSO_NEEDED = {
    "volume_zscore_20": ("volume",),
    "high_low_range": ("high", "low"),
    "close_location": ("high", "low"),
    "overnight_gap": ("open",),
}
"""What a feature is computed from beside the close."""

LOOK_BACK = 20
"""Trading days before day ``t`` that the features of day ``t`` reach back to: ``return_20`` needs the close
of ``t - 20``."""

HORIZON = 1
"""Trading days after day ``t`` that its target reaches forward to."""


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """Daily bars, oldest first.

    Attributes:
        dates: Trading days, shape (n,), ``datetime64[D]``, strictly increasing.
        open: Opening price in US dollars, shape (n,).
        high: Highest price in US dollars, shape (n,).
        low: Lowest price in US dollars, shape (n,).
        close: Closing price in US dollars, shape (n,).
        adj_close: Close adjusted for splits and dividends, shape (n,).
        volume: Shares traded, shape (n,).
    """

    dates: NDArray[np.datetime64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    adj_close: NDArray[np.float64]
    volume: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.dates)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What a network learns from: one sample per trading day, oldest first.

    Attributes:
        dates: The day ``t`` at whose close the position is taken, shape (n,), ``datetime64[D]``.
        inputs: The raw features of the days ``t - window + 1`` to ``t``, shape (n, window, features).
        next_returns: The simple return from the close of ``t`` to the close of ``t + 1``, shape (n,).
    """

    dates: NDArray[np.datetime64]
    inputs: NDArray[np.float32]
    next_returns: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.dates)

    def part(self, days: slice) -> Samples:
        """The samples of a slice."""
        return Samples(self.dates[days], self.inputs[days], self.next_returns[days])

    def last(self, window: int) -> Samples:
        """The same samples with only the latest ``window`` days of each as input."""
        if not 1 <= window <= self.inputs.shape[1]:
            raise UsageError(f"window {window} is not between 1 and {self.inputs.shape[1]}")
        return Samples(self.dates, self.inputs[:, -window:], self.next_returns)


@dataclass(frozen=True, slots=True)
class Split:
    """The index ranges of a chronological split."""

    train: slice
    validation: slice
    test: slice


@dataclass(frozen=True, slots=True, eq=False)
class Standardisation:
    """Mean and standard deviation of each feature, both of shape (features,)."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, samples: Samples) -> Standardisation:
        """The parameters of these samples, which must be the training part and nothing else.

        Every day counts once: only the latest day of each window is looked at. A feature that does not vary
        gets the scale 1.
        """
        days = samples.inputs[:, -1].astype(np.float64)
        scale = days.std(axis=0, ddof=1)
        return cls(days.mean(axis=0), np.where(scale > 0, scale, 1.0))


def load_prices() -> Prices:
    """Google's daily bars from 2004-08-19 (its first trading day) to 2008-10-14, 1047 rows.

    They are matplotlib's own sample data, ``goog.npz``, and need no connection. In this period Google paid no
    dividend and had no split (the first was in 2014), so that ``adj_close`` equals ``close`` on every day and
    the features, which need open, high and low as well, can use the plain prices.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        NotFoundError: matplotlib was installed without its sample data.
        CorruptDataError: The file is not what it was.
    """
    cbook = require("matplotlib.cbook", extra="train")
    try:
        with cbook.get_sample_data("goog.npz") as archive:
            table = archive["price_data"]
            columns = {name: table[name].astype(np.float64) for name in table.dtype.names if name != "date"}
            prices = Prices(dates=table["date"].astype("datetime64[D]"), **columns)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"matplotlib's sample data are missing: {error.filename}",
            hint="pip install --force-reinstall matplotlib",
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptDataError(
            f"matplotlib's goog.npz does not hold daily bars: {error}",
            hint="pip install --force-reinstall matplotlib",
        ) from error
    check_prices(prices)
    return prices


def compute_features(prices: Prices) -> NDArray[np.float64]:
    """The features of every day, each from prices up to and including that day's close.

    ``return_k`` is the log return over k days, ``volatility_k`` the standard deviation (ddof 1) of the last k
    daily log returns, ``sma_ratio_k`` the log of the close over its k-day moving average, ``rsi_14`` Cutler's
    relative strength index from 0 to 1 (simple averages; Wilder's smoothing would never forget a price),
    ``volume_zscore_20`` the log volume against its last 20 days, ``high_low_range`` log(high / low),
    ``close_location`` where the close lies between low (0) and high (1), ``overnight_gap`` log(open / last
    close).

    Returns:
        Shape (days, len(FEATURES)); the first ``LOOK_BACK`` rows hold NaN where history is missing.
    """
    close = np.log(prices.close)
    returns = _lagged_return(close, 1)
    spread = prices.high - prices.low
    columns = {
        "return_1": returns,
        **{f"return_{k}": _lagged_return(close, k) for k in (5, 10, 20)},
        **{f"volatility_{k}": _trailing(returns, k).std(axis=1, ddof=1) for k in (5, 20)},
        **{f"sma_ratio_{k}": close - np.log(_trailing(prices.close, k).mean(axis=1)) for k in (5, 20)},
        "rsi_14": _relative_strength(np.diff(prices.close, prepend=np.nan), 14),
        "volume_zscore_20": _zscore(np.log(prices.volume), 20),
        "high_low_range": np.log(prices.high / prices.low),
        "close_location": _divide(prices.close - prices.low, spread, 0.5),
        "overnight_gap": np.log(prices.open) - _lagged(close, 1),
    }
    return np.stack([columns[name] for name in FEATURES], axis=1)


def make_samples(prices: Prices, window: int) -> Samples:
    """One sample for every day that has a full window of features before it and a close after it.

    Args:
        prices: At least ``LOOK_BACK + window + HORIZON`` bars.
        window: Days of features per sample; sample ``t`` ends with day ``t``.

    Raises:
        UsageError: There are too few bars, or ``window`` is below 1.
    """
    first, end = LOOK_BACK + window - 1, len(prices) - HORIZON
    if window < 1 or end <= first:
        raise UsageError(f"{len(prices)} bars are too few for a window of {window} days of features")
    features = compute_features(prices)[LOOK_BACK:end].astype(np.float32)
    windows = sliding_window_view(features, window, axis=0).transpose(0, 2, 1)
    next_returns = prices.close[first + 1 :] / prices.close[first:end] - 1
    return Samples(prices.dates[first:end], np.ascontiguousarray(windows), next_returns)


def embargo_days(window: int, horizon: int = HORIZON, look_back: int = LOOK_BACK) -> int:
    """The gap between two parts of a split after which they share no price at all.

    The target of sample ``t`` uses the close of ``t + horizon``; the inputs of sample ``v`` reach back to the
    bar of ``v - look_back - window + 1``. Leaving out that many samples keeps the last target of one part
    before the first input of the next. (A split forward in time looks at no future even without a gap, but
    the moves that a network was fitted to would come back as inputs of the days that are to judge it.)

    Args:
        window: Days of features per sample.
        horizon: Days that a target reaches forward.
        look_back: Days that a day's features reach back; 0 for columns that are taken as they are, since nobody
            can know what they were made of.
    """
    return look_back + window - 1 + horizon


def chronological_split(n: int, train: float, validation: float, test: float, embargo: int) -> Split:
    """Cut ``n`` samples, oldest first, into three parts with ``embargo`` samples left out between them.

    The embargo must be at least :func:`embargo_days` for the parts to share no price. The three fractions
    divide what remains once both gaps are taken out; rounding goes to the test part.

    Args:
        n: Number of samples.
        train: Fraction for training.
        validation: Fraction for early stopping and for choosing a model.
        test: Fraction for the final figures.
        embargo: Samples left out in each of the two gaps.

    Raises:
        UsageError: The fractions don't add up to 1, or a part would be empty.
    """
    if min(train, validation, test) <= 0 or abs(train + validation + test - 1) > 1e-9:
        raise UsageError("the fractions for train, validation and test must be positive and add up to 1")
    usable = n - 2 * embargo
    first, second = round(usable * train), round(usable * (train + validation))
    if embargo < 0 or not 0 < first < second < usable:
        raise UsageError(f"{n} samples can't be split into three parts with an embargo of {embargo}")
    return Split(
        train=slice(0, first),
        validation=slice(first + embargo, second + embargo),
        test=slice(second + 2 * embargo, n),
    )


def check_prices(prices: Prices) -> None:
    """Refuse bars that no market can have made.

    Raises:
        CorruptDataError: A date is out of order, a value is missing or not positive, or high and low don't
            enclose.
    """
    if not all(earlier < later for earlier, later in pairwise(prices.dates)):
        raise CorruptDataError("the dates of the prices are not strictly increasing")
    wrong = first_impossible_bar(prices)
    if wrong is not None:
        raise CorruptDataError(wrong[1])


def first_impossible_bar(prices: Prices) -> tuple[int, str] | None:
    """The place of the first bar that no market can have made, and why; ``None`` where there is none."""
    values = np.stack([prices.open, prices.high, prices.low, prices.close, prices.adj_close, prices.volume])
    bodies = np.stack([prices.open, prices.close])
    reasons = {
        "a price or a volume is missing or not positive": ~(np.isfinite(values) & (values > 0)).all(axis=0),
        "an opening or closing price lies outside of the day's low and high": (bodies.max(axis=0) > prices.high)
        | (bodies.min(axis=0) < prices.low),
    }
    found = [(int(np.argmax(is_wrong)), reason) for reason, is_wrong in reasons.items() if is_wrong.any()]
    return min(found, default=None)


def _lagged(values: NDArray[np.float64], days: int) -> NDArray[np.float64]:
    """``values`` of so many days before, NaN where there was none."""
    result = np.full_like(values, np.nan)
    result[days:] = values[:-days]
    return result


def _lagged_return(log_prices: NDArray[np.float64], days: int) -> NDArray[np.float64]:
    return log_prices - _lagged(log_prices, days)


def _trailing(values: NDArray[np.float64], days: int) -> NDArray[np.float64]:
    """The last ``days`` values up to each day, shape (n, days), NaN before the first."""
    return sliding_window_view(np.concatenate([np.full(days - 1, np.nan), values]), days)


def _divide(numerator: NDArray[np.float64], denominator: NDArray[np.float64], otherwise: float) -> NDArray[np.float64]:
    """The quotient, or ``otherwise`` where the denominator is 0."""
    result = np.full_like(numerator, otherwise)
    return np.divide(numerator, denominator, out=result, where=denominator != 0)


def _relative_strength(changes: NDArray[np.float64], days: int) -> NDArray[np.float64]:
    trailing = _trailing(changes, days)
    gains = np.maximum(trailing, 0).sum(axis=1)
    return _divide(gains, np.abs(trailing).sum(axis=1), 0.5)


def _zscore(values: NDArray[np.float64], days: int) -> NDArray[np.float64]:
    trailing = _trailing(values, days)
    return _divide(values - trailing.mean(axis=1), trailing.std(axis=1, ddof=1), 0.0)
