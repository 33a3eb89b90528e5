"""How the values of one feature are distributed, and how far that is from a reference."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_BINS = 30
_MOST_VALUES = 20
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Distribution:
    """One feature. What is undefined, such as the mean of no value, is ``None``.

    Attributes:
        name: The feature.
        count: Values that are there; infinite ones are.
        missing: Values that are not: NaN, ``None``.
        infinite: Infinite values; the numbers below leave them out.
        unique: Different values.
        mean: Of the finite values.
        std: Sample standard deviation, with n - 1.
        min, p05, p25, p50, p75, p95, max: Quantiles, interpolated linearly.
        edges: The bounds of the histogram's bins, one more than there are bins.
        counts: Finite values in each bin.
        values: How often each value is there, where there are at most 20; otherwise empty. Other than numbers: the 20
            most frequent ones.
    """

    name: str
    count: int
    missing: int
    infinite: int
    unique: int
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    p05: float | None = None
    p25: float | None = None
    p50: float | None = None
    p75: float | None = None
    p95: float | None = None
    max: float | None = None
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    values: tuple[tuple[str, int], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**asdict(self), "edges": list(self.edges), "counts": list(self.counts), "values": dict(self.values)}


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a feature lies from its reference, by finite values.

    Attributes:
        name: The feature.
        ks_statistic: Of the two-sample Kolmogorov-Smirnov test: the greatest distance of the distribution functions.
        p_value: Its two-sided p-value; not corrected for the number of features.
        wasserstein: First Wasserstein distance, in the feature's unit.
        wasserstein_in_std: The same in standard deviations of the reference; ``None`` where that is 0.
        mean_shift: Mean less the reference's.
    """

    name: str
    ks_statistic: float
    p_value: float
    wasserstein: float
    wasserstein_in_std: float | None
    mean_shift: float

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def distribution(name: str, values: np.ndarray) -> Distribution:
    """Describe a feature.

    Args:
        name: The feature.
        values: Floats with NaN for what is missing, or objects.
    """
    if values.dtype == object:
        return _of_objects(name, values)
    import numpy as np

    present = values[~np.isnan(values)]
    finite = present[np.isfinite(present)]
    levels, level_counts = np.unique(present, return_counts=True)
    few = len(levels) <= _MOST_VALUES
    known: dict[str, Any] = {
        "count": len(present),
        "missing": len(values) - len(present),
        "infinite": len(present) - len(finite),
        "unique": len(levels),
        "values": tuple((f"{level:g}", int(times)) for level, times in zip(levels, level_counts, strict=True))
        if few
        else (),
    }
    if not len(finite):
        return Distribution(name, **known)
    with np.errstate(over="ignore", invalid="ignore"):  # of values near the largest float
        moments = {"mean": finite.mean(), "std": finite.std(ddof=1) if len(finite) > 1 else None}
        moments |= zip(("p05", "p25", "p50", "p75", "p95"), np.quantile(finite, _QUANTILES), strict=True)
    known |= {key: float(one) if one is not None and np.isfinite(one) else None for key, one in moments.items()}
    known |= {"min": float(finite.min()), "max": float(finite.max())}
    heights, edges = histogram(finite)
    return Distribution(name, **known, edges=edges, counts=heights)


def histogram(finite: np.ndarray, edges: tuple[float, ...] | None = None) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Counts and bounds of 30 bins of equal width; the bounds may be given."""
    import numpy as np

    lowest, highest = float(finite.min()), float(finite.max())
    if edges is None and not math.isfinite(highest - lowest):
        return (), ()
    if edges is None and highest - lowest < np.spacing(max(abs(lowest), abs(highest))) * _BINS:  # too close for bins
        return (len(finite),), (lowest, highest)
    counts, bounds = np.histogram(finite, bins=_BINS if edges is None else np.asarray(edges))
    return tuple(int(count) for count in counts), tuple(map(float, bounds))


def drift(name: str, values: np.ndarray, reference: np.ndarray) -> Drift | None:
    """Compare a feature with its reference; ``None`` where either has no finite number."""
    import numpy as np
    from scipy import stats

    if values.dtype == object or reference.dtype == object:
        return None
    ours, theirs = values[np.isfinite(values)], reference[np.isfinite(reference)]
    if not len(ours) or not len(theirs):
        return None
    test = stats.ks_2samp(ours, theirs, method="asymp")
    distance = float(stats.wasserstein_distance(ours, theirs))
    spread = float(theirs.std(ddof=1)) if len(theirs) > 1 else 0.0
    return Drift(
        name=name,
        ks_statistic=float(test.statistic),
        p_value=float(test.pvalue),
        wasserstein=distance,
        wasserstein_in_std=distance / spread if spread else None,
        mean_shift=float(ours.mean() - theirs.mean()),
    )


def _of_objects(name: str, values: np.ndarray) -> Distribution:
    import pandas as pd

    series = pd.Series(values)
    present = series[~series.isna()]
    counts = Counter(map(str, present))
    return Distribution(
        name,
        count=len(present),
        missing=len(series) - len(present),
        infinite=0,
        unique=len(counts),
        values=tuple(counts.most_common(_MOST_VALUES)),
    )
