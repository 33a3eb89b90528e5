"""``config.data`` to samples: files and the built-in series, no look-ahead, and what is said of wrong files."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnn.config.schema import DataSection
from agentnn.errors import AgentNNError, ConfigError, CorruptDataError, NotFoundError, UsageError
from agentnn.training.data.datasets import PART_NAMES, Dataset, load_dataset
from agentnn.training.data.prices import FEATURES, load_prices, make_samples

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 200


def bars(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Daily bars of a random walk, with two columns of one's own."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    open_ = close * np.exp(rng.normal(0, 0.002, rows))
    return pd.DataFrame(
        {
            "Date": pd.bdate_range("2020-01-01", periods=rows).strftime("%Y-%m-%d"),
            "Open": open_,
            "High": np.maximum(open_, close) * 1.01,
            "Low": np.minimum(open_, close) * 0.99,
            "Close": close,
            "Volume": rng.integers(1000, 9000, rows),
            "mood": rng.normal(size=rows),
            "kind": rng.integers(0, 3, rows),
        }
    )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def saved(frame: pd.DataFrame, name: str = "prices.csv") -> str:
    if name.endswith(".parquet"):
        frame.to_parquet(name)
    else:
        frame.to_csv(name, index=False)
    return name


def load(frame: pd.DataFrame | None = None, *, output_dim: int = 1, loss: str | None = None, **data: Any) -> Dataset:
    path = {"path": saved(bars() if frame is None else frame)} if "path" not in data else {}
    return load_dataset(DataSection(**path, **data), output_dim, loss)


def all_inputs(dataset: Dataset) -> np.ndarray:
    return np.concatenate([getattr(dataset, name).inputs for name in PART_NAMES])


# -- the built-in series -------------------------------------------------------------------------------------


def test_the_built_in_series_is_cut_as_the_quickstart_cuts_it():
    dataset = load_dataset(DataSection())
    samples = make_samples(load_prices(), 10)
    assert (dataset.name, dataset.task, dataset.loss, dataset.feature_names) == ("goog", "direction", "bce", FEATURES)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test), dataset.embargo) == (574, 192, 191, 30)
    np.testing.assert_array_equal(dataset.train.inputs, samples.inputs[:574])
    np.testing.assert_array_equal(dataset.test.next_returns, samples.next_returns[-191:])
    np.testing.assert_array_equal(dataset.test.targets[:, 0], samples.next_returns[-191:] > 0)
    assert (str(dataset.test.dates[-1]), str(dataset.test.next_dates[-1])) == ("2008-10-13", "2008-10-14")
    assert dataset.digest == load_dataset(DataSection(window=3)).digest


def test_a_file_of_the_same_prices_gives_the_same_samples():
    prices = load_prices()
    columns = {name: getattr(prices, name) for name in ("open", "high", "low", "close", "volume")}
    frame = pd.DataFrame({"date": prices.dates, **columns})
    ours, theirs = load(frame, name="goog"), load_dataset(DataSection())
    for name in PART_NAMES:
        np.testing.assert_array_equal(getattr(ours, name).inputs, getattr(theirs, name).inputs)
        np.testing.assert_array_equal(getattr(ours, name).next_returns, getattr(theirs, name).next_returns)
        np.testing.assert_array_equal(getattr(ours, name).dates, getattr(theirs, name).dates)


# -- what is predicted ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "output_dim", "task", "kind"),
    [(None, 1, "direction", "f"), ("bce", 1, "direction", "f"), ("cross_entropy", 2, "direction", "i"),
     ("mse", 1, "return", "f"), ("quantile", 3, "return", "f")],
)  # fmt: skip
def test_without_a_target_the_loss_says_whether_it_is_the_return_or_its_direction(loss, output_dim, task, kind):
    frame = bars()
    dataset = load(frame, loss=loss, output_dim=output_dim, horizon=3, window=1, features=["mood"])
    assert (dataset.task, dataset.train.targets.dtype.kind) == (task, kind)
    rows = np.searchsorted(pd.to_datetime(frame.Date).to_numpy(), dataset.test.dates)
    close = frame.Close.to_numpy()
    ahead = close[rows + 3] / close[rows] - 1
    expected = ahead if task == "return" else ahead > 0
    np.testing.assert_allclose(dataset.test.targets[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(dataset.test.next_returns, close[rows + 1] / close[rows] - 1)


@pytest.mark.parametrize("horizon", [0, 1, 5])
def test_a_column_is_predicted_as_many_rows_ahead_as_the_horizon_says(horizon: int):
    frame = bars()
    dataset = load(frame, target="mood", features=["Close"], window=2, horizon=horizon)
    rows = np.searchsorted(pd.to_datetime(frame.Date).to_numpy(), dataset.validation.dates)
    assert (dataset.task, dataset.loss) == ("regression", "mse")
    np.testing.assert_allclose(dataset.validation.targets[:, 0], frame.mood.to_numpy()[rows + horizon], rtol=1e-6)
    np.testing.assert_allclose(dataset.validation.inputs[:, -1, 0], frame.Close.to_numpy()[rows], rtol=1e-6)
    np.testing.assert_allclose(dataset.validation.inputs[:, 0, 0], frame.Close.to_numpy()[rows - 1], rtol=1e-6)


def test_a_column_of_classes():
    dataset = load(target="kind", features=["mood", "Close"], window=1, loss="cross_entropy", output_dim=3)
    assert (dataset.task, dataset.train.targets.dtype) == ("classification", np.int64)
    assert set(np.unique(dataset.train.targets)) == {0, 1, 2}


def test_columns_and_built_in_features_can_be_mixed():
    dataset = load(features=["mood", "return_5", "Close"], window=2)
    assert dataset.feature_names == ("mood", "return_5", "Close")
    frame = bars()
    close = frame.Close.to_numpy()
    rows = np.searchsorted(pd.to_datetime(frame.Date).to_numpy(), dataset.train.dates)
    np.testing.assert_allclose(dataset.train.inputs[:, -1, 1], np.log(close[rows] / close[rows - 5]), rtol=1e-4)


def test_features_take_only_the_prices_that_they_need():
    frame = bars()[["Date", "Close"]].rename(columns={"Close": "price"})
    dataset = load(frame, columns={"close": "price"}, features=["return_1", "volatility_20", "rsi_14"])
    assert np.isfinite(all_inputs(dataset)).all()
    with pytest.raises(UsageError, match="no column 'volume'"):
        load(frame, columns={"close": "price"}, features=["volume_zscore_20"])


def test_prices_are_adjusted_where_the_adjusted_close_is_named():
    frame = bars()
    split = frame.assign(adj=frame.Close)
    for column in ("Open", "High", "Low", "Close"):
        split.loc[100:, column] /= 2  # a split of two for one, of which the adjusted close knows nothing
    split.loc[:99, "adj"] /= 2
    split.loc[100:, "adj"] = split.Close[100:]
    plain, adjusted = load(frame), load(split, columns={"adj_close": "adj"})
    returns = FEATURES.index("return_1")
    np.testing.assert_allclose(
        all_inputs(adjusted)[..., returns], all_inputs(plain)[..., returns], rtol=1e-3, atol=1e-7
    )
    np.testing.assert_allclose(adjusted.test.next_returns, plain.test.next_returns)


# -- no look-ahead -------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(
    day=st.integers(40, ROWS - 2),
    window=st.integers(1, 6),
    horizon=st.integers(1, 4),
    target=st.sampled_from([None, "mood"]),
)
def test_another_future_moves_nothing_of_the_past(day: int, window: int, horizon: int, target: str | None):
    frame, other = bars(), bars()
    rng = np.random.default_rng(1)
    factor = rng.uniform(0.5, 2, ROWS - day - 1)
    for column in ("Open", "High", "Low", "Close"):
        other.loc[day + 1 :, column] *= factor
    other.loc[day + 1 :, ["mood"]] = rng.normal(size=(ROWS - day - 1, 1))
    data = {"window": window, "horizon": horizon, "target": target, "embargo": 0}
    before, after = load(frame, **data), load(other, **data)
    last = pd.to_datetime(frame.Date).to_numpy()[day]
    for name in PART_NAMES:
        ours, theirs = getattr(before, name), getattr(after, name)
        known = ours.dates <= last
        np.testing.assert_array_equal(ours.inputs[known], theirs.inputs[known])
        # the target of a day is known horizon days later
        settled = np.searchsorted(pd.to_datetime(frame.Date).to_numpy(), ours.dates) + horizon <= day
        np.testing.assert_array_equal(ours.targets[settled], theirs.targets[settled])
    assert before.standardisation is not None
    assert after.standardisation is not None
    if before.train.dates[-1] <= last:
        np.testing.assert_array_equal(before.standardisation.mean, after.standardisation.mean)
        np.testing.assert_array_equal(before.standardisation.scale, after.standardisation.scale)


@pytest.mark.parametrize(("features", "look_back"), [(None, 20), (["mood"], 0)])
def test_the_embargo_leaves_no_row_to_two_parts(features: list[str] | None, look_back: int):
    frame = bars()
    dataset = load(frame, features=features, window=5, horizon=3)
    row_of = {date: row for row, date in enumerate(pd.to_datetime(frame.Date).to_numpy().astype("datetime64[D]"))}
    assert dataset.embargo == look_back + 4 + 3
    for earlier, later in ((dataset.train, dataset.validation), (dataset.validation, dataset.test)):
        last_target = row_of[earlier.dates[-1]] + 3
        first_input = row_of[later.dates[0]] - 4 - look_back
        assert last_target < first_input


def test_the_standardisation_is_that_of_the_training_part():
    dataset = load(features=["mood", "Close"], window=3)
    days = dataset.train.inputs[:, -1].astype(np.float64)
    assert dataset.standardisation is not None
    np.testing.assert_allclose(dataset.standardisation.mean, days.mean(axis=0))
    np.testing.assert_allclose(dataset.standardisation.scale, days.std(axis=0, ddof=1))
    assert load(standardise=False).standardisation is None


# -- files ---------------------------------------------------------------------------------------------------


def test_parquet_csv_and_compressed_csv_give_the_same(folder: Path):
    frame = bars().assign(Date=lambda one: pd.to_datetime(one.Date))
    plain = load(frame)
    (folder / "prices.csv.gz").write_bytes(gzip.compress((folder / "prices.csv").read_bytes()))
    for path in ("prices.csv.gz", saved(frame, "prices.parquet")):
        other = load_dataset(DataSection(path=path))
        np.testing.assert_allclose(all_inputs(other), all_inputs(plain), rtol=1e-6)
        np.testing.assert_array_equal(other.test.dates, plain.test.dates)
        assert other.name == "prices"
    assert plain.digest == hashlib.sha256((folder / "prices.csv").read_bytes()).hexdigest()


def test_parquet_with_types_of_its_own(folder: Path):
    frame = bars()
    plain = load(frame, features=["mood", "kind"], window=1)
    frame["Date"] = pd.to_datetime(frame.Date).dt.date
    frame["kind"] = frame.kind.astype("Int64")
    frame["mood"] = frame.mood.astype("float64[pyarrow]")
    saved(frame.set_index("Date"), "prices.parquet")
    dataset = load_dataset(DataSection(path="prices.parquet", features=["mood", "kind"], window=1))
    np.testing.assert_allclose(all_inputs(dataset), all_inputs(plain), rtol=1e-6)
    np.testing.assert_array_equal(dataset.train.dates, plain.train.dates)
    frame.loc[3, "kind"] = pd.NA
    saved(frame, "prices.parquet")
    with pytest.raises(CorruptDataError, match="prices.parquet, row 4: the value of kind is missing"):
        load_dataset(DataSection(path="prices.parquet", features=["mood", "kind"], window=1))


def test_a_name_may_hold_dots(folder: Path):
    for path in ("v1.2 prices.csv", "v1.2 prices.csv.gz"):
        bars().to_csv(path, index=False)
        assert load_dataset(DataSection(path=path)).name == "v1.2 prices"


def test_a_semicolon_a_comma_and_a_day_first(folder: Path):
    frame = bars()
    plain = load(frame)
    frame["Date"] = pd.to_datetime(frame.Date).dt.strftime("%d.%m.%Y")
    frame.to_csv("euro.csv", index=False, sep=";", decimal=",")
    params = {"separator": ";", "decimal": ",", "date_format": "%d.%m.%Y"}
    dataset = load_dataset(DataSection(path="euro.csv", params=params))
    np.testing.assert_allclose(all_inputs(dataset), all_inputs(plain), rtol=1e-6)
    np.testing.assert_array_equal(dataset.test.dates, plain.test.dates)
    with pytest.raises(UsageError, match="looks like several columns"):
        load_dataset(DataSection(path="euro.csv"))


def test_the_first_and_the_last_day_are_included(folder: Path):
    dataset = load(features=["mood"], window=1, start="2020-02-03", end="2020-09-01")
    assert str(dataset.train.dates[0]) == "2020-02-03"
    assert str(dataset.test.next_dates[-1]) == "2020-09-01"
    with pytest.raises(UsageError, match="no row between 2030-01-01 and its end"):
        load(start="2030-01-01")


def test_rows_without_dates_are_in_their_own_order():
    dataset = load(bars().drop(columns="Date"), features=["mood"], window=1)
    assert dataset.train.dates.tolist() == list(range(len(dataset.train)))
    with pytest.raises(UsageError, match="need dates"):
        load(bars().drop(columns="Date"), start="2020-01-01")


def test_times_of_day_and_zones():
    frame = bars()
    times = pd.date_range("2020-01-01 00:30", periods=ROWS, freq="h", tz="Europe/Berlin")
    dataset = load(frame.assign(Date=times.map(lambda one: one.isoformat())), features=["mood"], window=1)
    assert str(dataset.train.dates[0]) == "2019-12-31T23:30:00.000000"


def test_dates_as_numbers_need_a_format():
    frame = bars()
    numbers = frame.assign(Date=frame.Date.str.replace("-", "").astype(int))
    assert load(numbers, features=["mood"], window=1).train.dates.dtype.kind == "i"  # rows: it was not said
    with pytest.raises(UsageError, match="holds numbers, no dates"):
        load(numbers, date_column="Date")
    dataset = load(numbers, date_column="Date", params={"date_format": "%Y%m%d"})
    np.testing.assert_array_equal(dataset.train.dates, load(frame).train.dates)


def with_cell(column: str, row: int, value: Any) -> pd.DataFrame:
    frame = bars().astype(object)
    frame.loc[row, column] = value
    return frame


def two_rows_changed() -> pd.DataFrame:
    frame = bars()
    frame.loc[[50, 51], "Date"] = frame.loc[[51, 50], "Date"].to_numpy()
    return frame


WRONG: dict[str, tuple[Any, dict[str, Any], type[AgentNNError], str]] = {
    "a gap": (with_cell("mood", 7, None), {"features": ["mood"]}, CorruptDataError, "csv:9: .* mood is missing"),
    "text": (with_cell("mood", 7, "n/a?"), {"features": ["mood"]}, CorruptDataError, "csv:9: .*'n/a.'.* no number"),
    "text in the target": (with_cell("mood", 7, "x"), {"target": "mood"}, CorruptDataError, "prices.csv:9: .*'x'"),
    "infinity": (with_cell("mood", 7, "inf"), {"features": ["mood"]}, CorruptDataError, "prices.csv:9: .* is infinite"),
    "no date": (with_cell("Date", 7, "soon"), {}, CorruptDataError, "prices.csv:9: 'soon' in Date is no date"),
    "a date twice": (with_cell("Date", 7, bars().Date[6]), {}, CorruptDataError, "csv:9: .* 2020-01-09 is there twice"),
    "not sorted": (two_rows_changed(), {}, CorruptDataError, "prices.csv:53: .* is before that of the last row"),
    "an impossible bar": (with_cell("High", 7, 1.0), {}, CorruptDataError, "prices.csv:9: an opening or closing price"),
    "no price": (with_cell("Close", 7, -1.0), {"features": ["mood"]}, CorruptDataError, "csv:9: the close is"),
    "no volume": (with_cell("Volume", 7, 0), {}, CorruptDataError, "prices.csv:9: the volume is not positive"),
    "no class": (bars(), {"target": "kind", "loss": "bce"}, CorruptDataError, "the value 2 of kind is no class"),
    "an unknown feature": (bars(), {"features": ["moood"]}, UsageError, "'moood' is neither a column"),
    "an unknown target": (bars(), {"target": "Mood"}, UsageError, "data.target: prices.csv has no column 'Mood'"),
    "an unknown price": (bars(), {"columns": {"close": "Clos"}}, UsageError, "data.columns.close: .* no column 'Clos'"),
    "an unknown kind of price": (bars(), {"columns": {"closs": "Close"}}, UsageError, "data.columns.closs is unknown"),
    "an unknown date": (bars(), {"date_column": "day"}, UsageError, "data.date_column: .* no column 'day'"),
    "an unknown param": (bars(), {"params": {"seperator": ";"}}, UsageError, "data.params.seperator is unknown"),
    "too few rows": (bars(30), {}, UsageError, "30 rows of prices.csv are too few: one sample takes 31"),
    "too few samples": (bars(60), {}, UsageError, "prices.csv gives 30 samples: too few for three parts"),
    "no bars": (bars()[["Date", "mood"]], {}, UsageError, "no column 'open'"),
    "no close": (bars()[["Date", "mood"]], {"features": ["mood"]}, UsageError, "no column 'close'"),
    "its own target": (bars(), {"features": ["mood"], "target": "mood", "horizon": 0}, UsageError, "the target"),
    "two outputs": (bars(), {"output_dim": 2}, ConfigError, "model.output_dim is 2: expected 1"),
    "one class": (bars(), {"loss": "cross_entropy"}, ConfigError, "model.output_dim is 1: expected 2"),
    "no rows": (bars()[:0], {}, CorruptDataError, "prices.csv has no rows"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_file_row_and_column(case: str):
    frame, data, error, message = WRONG[case]
    with pytest.raises(error, match=message) as raised:
        load(frame, **data)
    assert raised.value.hint


def test_the_nearest_name_is_offered():
    for data, hint in (
        ({"features": ["moood"]}, "did you mean mood?"),
        ({"features": ["retrun_5"]}, "did you mean return_5?"),
        ({"target": "Mood"}, "did you mean mood?"),
    ):
        with pytest.raises(UsageError) as raised:
            load(**data)
        assert raised.value.hint == hint


def test_the_place_counts_from_the_file_also_after_a_start():
    with pytest.raises(CorruptDataError, match=r"prices\.csv:9: "):
        load(with_cell("mood", 7, None), features=["mood"], start="2020-01-06")
    load(with_cell("mood", 7, None), features=["mood"], start="2020-01-13")  # the row is left out


def test_the_row_of_a_parquet_file_is_told(folder: Path):
    saved(bars().assign(mood=lambda one: one.mood.where(one.index != 7)), "prices.parquet")
    with pytest.raises(CorruptDataError, match="prices.parquet, row 8: the value of mood is missing"):
        load_dataset(DataSection(path="prices.parquet", features=["mood"]))


def test_a_missing_file_is_told_with_the_path_that_was_tried(folder: Path):
    with pytest.raises(NotFoundError, match=f"there is no file {folder}/data/none.csv") as raised:
        load_dataset(DataSection(path="data/none.csv"))
    assert raised.value.hint == "data.path begins at the working directory, or is absolute"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "can't be read as CSV"),
        ("a.csv", b"date,close\n\xff\xfe\n", "can't be read as CSV"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "can't be read as CSV"),
        ("a.csv", b"a,b\n1,2,3\n1,2,3\n", "can't be read as CSV"),
        ("a.csv", b"a,a\n1,2\n", "two columns are called 'a'"),
        ("a.csv.gz", b"no gzip", "can't be read as CSV"),
        ("a.parquet", b"PAR1 no parquet", "can't be read as Parquet"),
    ],
)
def test_a_damaged_file_is_said_to_be_one(folder: Path, name: str, content: bytes, message: str):
    (folder / name).write_bytes(content)
    with pytest.raises(CorruptDataError, match=message):
        load_dataset(DataSection(path=name))


def test_what_the_name_does_not_say_must_be_said(folder: Path):
    saved(bars(), "prices.csv")
    (folder / "prices.csv").rename(folder / "prices")
    with pytest.raises(UsageError, match="does not say what it is"):
        load_dataset(DataSection(path="prices"))
    assert len(load_dataset(DataSection(path="prices", format="csv", window=1)).test)
    with pytest.raises(UsageError, match="can't be read: Is a directory"):
        load_dataset(DataSection(path=".", format="csv"))
