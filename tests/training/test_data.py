"""Prices, features without look-ahead, targets and splits."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnn.errors import CorruptDataError, NotFoundError, UsageError
from agentnn.training.data.prices import (
    FEATURES,
    HORIZON,
    LOOK_BACK,
    Prices,
    Samples,
    Standardisation,
    check_prices,
    chronological_split,
    compute_features,
    embargo_days,
    load_prices,
    make_samples,
)

if TYPE_CHECKING:
    from pathlib import Path

WINDOW = 10


@pytest.fixture(scope="module")
def prices() -> Prices:
    return load_prices()


def changed_from(prices: Prices, day: int) -> Prices:
    """The same bars up to and including ``day``, entirely different ones after it."""
    rng = np.random.default_rng(7)
    columns = {}
    for column in dataclasses.fields(Prices):
        values = getattr(prices, column.name).copy()
        if column.name != "dates":
            values[day + 1 :] *= rng.uniform(0.2, 5.0, len(values) - day - 1)
        columns[column.name] = values
    return Prices(**columns)


def test_prices_are_googles_first_four_years(prices: Prices) -> None:
    assert len(prices) == 1047
    assert (str(prices.dates[0]), str(prices.dates[-1])) == ("2004-08-19", "2008-10-14")
    assert (prices.open[0], prices.high[0], prices.low[0], prices.close[0]) == (100.0, 104.06, 95.96, 100.34)
    assert prices.volume[0] == 22_351_900
    assert all(getattr(prices, name).dtype == np.float64 for name in ("open", "high", "low", "close", "volume"))


def test_no_split_or_dividend_needs_adjusting(prices: Prices) -> None:
    np.testing.assert_array_equal(prices.adj_close, prices.close)
    assert np.abs(np.diff(np.log(prices.close))).max() < 0.2  # a split would show as -0.69


def test_features_are_finite_once_history_is_there(prices: Prices) -> None:
    features = compute_features(prices)
    assert features.shape == (len(prices), len(FEATURES))
    assert np.isfinite(features[LOOK_BACK:]).all()
    assert not np.isfinite(features[LOOK_BACK - 1]).all()


@pytest.mark.parametrize("day", [0, LOOK_BACK, 100, 517, 1045])
def test_features_up_to_a_day_do_not_know_what_follows(prices: Prices, day: int) -> None:
    before, after = compute_features(prices), compute_features(changed_from(prices, day))
    np.testing.assert_array_equal(before[: day + 1], after[: day + 1])
    assert not np.array_equal(before[day + 1 :], after[day + 1 :], equal_nan=True)


@pytest.mark.parametrize("day", [60, 517])
def test_every_feature_knows_its_own_day(prices: Prices, day: int) -> None:
    before, after = compute_features(prices)[day], compute_features(changed_from(prices, day - 1))[day]
    assert (before != after).all(), [n for n, same in zip(FEATURES, before == after, strict=True) if same]


@pytest.mark.parametrize("day", [100, 600])
def test_features_reach_back_no_further_than_they_say(prices: Prices, day: int) -> None:
    cut = Prices(*(getattr(prices, f.name)[day - LOOK_BACK : day + 1] for f in dataclasses.fields(Prices)))
    np.testing.assert_allclose(compute_features(cut)[-1], compute_features(prices)[day], rtol=1e-9, atol=1e-12)


def test_features_by_hand(prices: Prices) -> None:
    day = 300
    row = dict(zip(FEATURES, compute_features(prices)[day], strict=True))
    close = prices.close
    assert row["return_1"] == pytest.approx(np.log(close[day] / close[day - 1]))
    assert row["return_20"] == pytest.approx(np.log(close[day] / close[day - 20]))
    assert row["sma_ratio_5"] == pytest.approx(np.log(close[day] / close[day - 4 : day + 1].mean()))
    assert row["volatility_5"] == pytest.approx(np.diff(np.log(close[day - 5 : day + 1])).std(ddof=1))
    changes = np.diff(close[day - 14 : day + 1])
    assert row["rsi_14"] == pytest.approx(changes[changes > 0].sum() / np.abs(changes).sum())
    volume = np.log(prices.volume[day - 19 : day + 1])
    assert row["volume_zscore_20"] == pytest.approx((volume[-1] - volume.mean()) / volume.std(ddof=1))
    assert row["overnight_gap"] == pytest.approx(np.log(prices.open[day] / close[day - 1]))
    assert 0 <= row["close_location"] <= 1


def test_a_market_that_stands_still_gives_neutral_features() -> None:
    n = 30
    flat = np.full(n, 50.0)
    dates = np.datetime64("2020-01-01") + np.arange(n)
    row = compute_features(Prices(dates, flat, flat, flat, flat, flat, np.full(n, 1000.0)))[-1]
    values = dict(zip(FEATURES, row, strict=True))
    assert values.pop("close_location") == 0.5
    assert values.pop("rsi_14") == 0.5
    assert all(value == pytest.approx(0.0, abs=1e-12) for value in values.values())


def test_samples_are_aligned_with_their_targets(prices: Prices) -> None:
    samples, features = make_samples(prices, WINDOW), compute_features(prices)
    first = LOOK_BACK + WINDOW - 1
    assert len(samples) == len(prices) - first - HORIZON
    for index in (0, 123, len(samples) - 1):
        day = first + index
        assert samples.dates[index] == prices.dates[day]
        expected = features[day - WINDOW + 1 : day + 1].astype(np.float32)
        np.testing.assert_array_equal(samples.inputs[index], expected)
        assert samples.next_returns[index] == prices.close[day + 1] / prices.close[day] - 1


def test_inputs_do_not_know_the_target(prices: Prices) -> None:
    before = make_samples(prices, WINDOW)
    index = 200
    after = make_samples(changed_from(prices, LOOK_BACK + WINDOW - 1 + index), WINDOW)
    np.testing.assert_array_equal(before.inputs[: index + 1], after.inputs[: index + 1])
    np.testing.assert_array_equal(before.next_returns[:index], after.next_returns[:index])
    assert before.next_returns[index] != after.next_returns[index]


def test_a_shorter_window_keeps_the_latest_days(prices: Prices) -> None:
    samples = make_samples(prices, WINDOW)
    shorter = samples.last(3)
    np.testing.assert_array_equal(shorter.inputs, samples.inputs[:, -3:])
    np.testing.assert_array_equal(shorter.dates, samples.dates)
    with pytest.raises(UsageError, match="window 11"):
        samples.last(11)


def test_too_few_bars_are_refused(prices: Prices) -> None:
    short = Prices(*(getattr(prices, f.name)[:30] for f in dataclasses.fields(Prices)))
    assert len(make_samples(short, 9)) == 1
    with pytest.raises(UsageError, match="too few"):
        make_samples(short, 10)


@given(n=st.integers(100, 5000), train=st.integers(10, 80), validation=st.integers(5, 15), gap=st.integers(0, 30))
def test_split_is_in_order_with_the_embargo_between(n: int, train: int, validation: int, gap: int) -> None:
    fractions = (train / 100, validation / 100, 1 - (train + validation) / 100)
    split = chronological_split(n, *fractions, embargo=gap)
    parts = [list(range(n))[days] for days in (split.train, split.validation, split.test)]
    assert parts[0][0] == 0
    assert parts[2][-1] == n - 1
    assert parts[1][0] - parts[0][-1] - 1 == gap
    assert parts[2][0] - parts[1][-1] - 1 == gap
    for part, fraction in zip(parts, fractions, strict=True):
        assert len(part) == pytest.approx(
            (n - 2 * gap) * fraction, abs=1.0 + 1e-9
        )  # and what rounding does to the product


@pytest.mark.parametrize("which", ["train", "validation"])
def test_parts_share_no_price_and_no_gap_is_wasted(prices: Prices, which: str) -> None:
    samples = make_samples(prices, WINDOW)
    embargo = embargo_days(WINDOW)
    split = chronological_split(len(samples), 0.6, 0.2, 0.2, embargo)
    following = split.validation if which == "train" else split.test
    first_bar = LOOK_BACK + WINDOW - 1
    last_target = first_bar + getattr(split, which).stop - 1 + HORIZON
    first_input = first_bar + following.start - LOOK_BACK - WINDOW + 1
    assert first_input == last_target + 1


@pytest.mark.parametrize(
    ("n", "fractions", "embargo"),
    [
        (50, (0.6, 0.2, 0.2), 25),
        (100, (0.6, 0.2, 0.3), 5),
        (100, (0.8, 0.2, 0.0), 5),
        (100, (0.6, 0.2, 0.2), -1),
    ],
)
def test_impossible_splits_are_refused(n: int, fractions: tuple[float, float, float], embargo: int) -> None:
    with pytest.raises(UsageError):
        chronological_split(n, *fractions, embargo=embargo)


def test_standardisation_makes_the_training_part_standard(prices: Prices) -> None:
    samples = make_samples(prices, WINDOW).part(slice(0, 500))
    fitted = Standardisation.fit(samples)
    standard = (samples.inputs[:, -1] - fitted.mean) / fitted.scale
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(standard.std(axis=0, ddof=1), 1, atol=1e-6)


def test_a_feature_that_does_not_vary_keeps_its_scale() -> None:
    dates = np.datetime64("2020-01-01") + np.arange(5)
    samples = Samples(dates, np.full((5, 1, 2), 3.0, dtype=np.float32), np.zeros(5))
    np.testing.assert_array_equal(Standardisation.fit(samples).scale, 1.0)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("close", np.nan, "missing"),
        ("volume", 0.0, "not positive"),
        ("close", 1e6, "outside"),
        ("dates", np.datetime64("1999-01-01"), "increasing"),
    ],
)
def test_impossible_bars_are_refused(prices: Prices, column: str, value: object, message: str) -> None:
    values = getattr(prices, column).copy()
    values[40] = value
    with pytest.raises(CorruptDataError, match=message):
        check_prices(dataclasses.replace(prices, **{column: values}))


def test_missing_sample_data_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise FileNotFoundError(2, "No such file or directory", f"/somewhere/{name}")

    monkeypatch.setattr("matplotlib.cbook.get_sample_data", missing)
    with pytest.raises(NotFoundError, match=r"/somewhere/goog\.npz"):
        load_prices()


def test_other_sample_data_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    np.savez(tmp_path / "goog.npz", price_data=np.zeros(3, dtype=[("date", "<M8[D]"), ("price", "<f8")]))
    monkeypatch.setattr("matplotlib.cbook.get_sample_data", lambda name: np.load(tmp_path / name))
    with pytest.raises(CorruptDataError, match=r"goog\.npz"):
        load_prices()
