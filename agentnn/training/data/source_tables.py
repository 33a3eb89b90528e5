"""What a data set is made of: a CSV or Parquet file, or the built-in series, as columns by name.

Nothing is repaired here. What is wrong is said with file, row and column, since only the user knows what is right.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentnn.errors import CorruptDataError, NotFoundError, UsageError
from agentnn.extras import require
from agentnn.training.data.prices import load_prices

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import BinaryIO

    from numpy.typing import NDArray

    from agentnn.config.schema import DataSection

PRICE_COLUMNS = ("open", "high", "low", "close", "volume")
DATE_COLUMNS = ("date", "datetime", "timestamp", "time", "day")
"""What the column of dates may be called, in any case, where ``data.date_column`` does not say it."""

_FORMATS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet"}
_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}
_PARAMS = ("separator", "decimal", "encoding", "date_format")


@dataclass(frozen=True, slots=True, eq=False)
class SourceTable:
    """Rows in the order of time.

    Attributes:
        name: What the data are called in a run.
        source: What errors call them: the path as it was given.
        digest: SHA-256 of the file's bytes, or of the built-in arrays.
        cells: Values by column, each of shape (rows,).
        dates: When, strictly increasing; ``None`` where there is no column of dates.
        first_row: The number of the first row in the file, where ``start`` has left some out.
        header_lines: Lines of the file before its first row; ``None`` where it has no lines.
    """

    name: str
    source: str
    digest: str
    cells: Mapping[str, NDArray[Any]]
    dates: NDArray[np.datetime64] | None
    first_row: int = 0
    header_lines: int | None = None

    def __len__(self) -> int:
        return len(next(iter(self.cells.values()), ()))

    def place(self, row: int) -> str:
        """A row as a person finds it: ``prices.csv:18``, or ``prices.parquet, row 17``."""
        number = self.first_row + row + 1
        if self.header_lines is not None:
            return f"{self.source}:{number + self.header_lines}"
        return f"{self.source}, row {number}"

    def column(self, name: str, key: str) -> NDArray[Any]:
        """The cells of a column, as they stand.

        Args:
            name: The column.
            key: The key of the configuration that names it.

        Raises:
            UsageError: There is none.
        """
        if name not in self.cells:
            raise UsageError(f"{key}: {self.source} has no column {name!r}", hint=nearest_or_all(name, self.cells))
        return self.cells[name]

    def numbers(self, name: str, key: str) -> NDArray[np.float64]:
        """The cells of a column as finite numbers.

        Raises:
            UsageError: There is no such column.
            CorruptDataError: A cell is missing or no number.
        """
        cells = self.column(name, key)
        if cells.dtype.kind not in "iufb":
            self._check_each(name, cells)
        values = np.asarray(cells, dtype=np.float64)
        wrong = ~np.isfinite(values)
        if wrong.any():
            row = int(np.argmax(wrong))
            what = "is missing" if np.isnan(values[row]) else "is infinite"
            raise CorruptDataError(
                f"{self.place(row)}: the value of {name} {what}" + _and_more(wrong), hint=_HINT_FOR_GAPS
            )
        return values

    def between(self, start: str | None, end: str | None) -> SourceTable:
        """The rows from one day to another, both included."""
        if start is None and end is None:
            return self
        if self.dates is None:
            raise UsageError(f"data.start and data.end need dates, and {self.source} has none", hint=_HINT_FOR_DATES)
        days = self.dates.astype("datetime64[D]")
        first = 0 if start is None else int(np.searchsorted(days, np.datetime64(start), side="left"))
        last = len(days) if end is None else int(np.searchsorted(days, np.datetime64(end), side="right"))
        cells = {name: values[first:last] for name, values in self.cells.items()}
        return replace(self, cells=cells, dates=self.dates[first:last], first_row=self.first_row + first)

    def _check_each(self, name: str, cells: NDArray[Any]) -> None:
        """Find the first cell that is no number."""
        for row, cell in enumerate(cells):
            try:
                float(cell)
            except (TypeError, ValueError):
                is_missing = cell is None or not str(cell).strip() or str(cell) in ("<NA>", "NaT")
                what = "is missing" if is_missing else f"is {_shown(cell)}, which is no number"
                raise CorruptDataError(
                    f"{self.place(row)}: the value of {name} {what}",
                    hint=_HINT_FOR_GAPS
                    if is_missing
                    else "prices, features and targets are numbers; data.params.decimal says how they are written",
                ) from None


_HINT_FOR_GAPS = "fill or remove such rows: nothing is filled in silently; data.start leaves out the first ones"
_HINT_FOR_DATES = "name the column of dates: data.date_column"


def read_table(data: DataSection) -> SourceTable:
    """Read what ``config.data`` names, from its first day to its last.

    Raises:
        NotFoundError: There is no such file.
        UsageError: A column is not there, or the format can't be told.
        CorruptDataError: The file can't be read, or its dates are not in order.
    """
    table = _goog(data) if data.path is None else _file(data, Path(data.path))
    if not len(table):
        raise CorruptDataError(f"{table.source} has no rows", hint="it has a header and nothing else")
    table = table.between(data.start, data.end)
    if not len(table):
        raise UsageError(
            f"{table.source} has no row between {data.start or 'its beginning'} and {data.end or 'its end'}"
        )
    return table


def find_name(wanted: str, names: Iterable[str]) -> str | None:
    """A column by its name, in any case; the one that is spelled just so goes first."""
    known = list(names)
    return wanted if wanted in known else next((one for one in known if one.casefold() == wanted.casefold()), None)


def nearest_or_all(name: str, names: Iterable[str]) -> str:
    """What a name may have been meant to be, as a hint."""
    known = list(names)
    near = get_close_matches(name, known, n=1) or [one for one in known if one.casefold() == name.casefold()]
    if near:
        return f"did you mean {near[0]}?"
    return f"there are {', '.join(known[:20])}" + (f" and {len(known) - 20} more" if len(known) > 20 else "")


def _goog(data: DataSection) -> SourceTable:
    prices = load_prices()
    cells = {name: getattr(prices, name) for name in (*PRICE_COLUMNS, "adj_close")}
    digest = hashlib.sha256(prices.dates.astype("<i8").tobytes())
    for values in cells.values():
        digest.update(values.astype("<f8").tobytes())
    return SourceTable(data.name or data.series, data.series, digest.hexdigest(), cells, prices.dates)


def _file(data: DataSection, path: Path) -> SourceTable:
    unknown = [key for key in data.params if key not in _PARAMS]
    if unknown:
        raise UsageError(f"data.params.{unknown[0]} is unknown", hint=nearest_or_all(unknown[0], _PARAMS))
    kind = data.format or _FORMATS.get(_suffix(path))
    if kind is None:
        raise UsageError(f"{path}: the name does not say what it is", hint="data.format: csv or parquet")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            frame = _parquet(file, path) if kind == "parquet" else _csv(file, path, data.params)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"there is no file {path.absolute()}", hint="data.path begins at the working directory, or is absolute"
        ) from error
    except (IsADirectoryError, PermissionError) as error:
        raise UsageError(f"{path.absolute()} can't be read: {error.strerror}") from error
    names = [str(name) for name in frame.columns]
    date_column = _date_column(data, path, names, frame)
    table = SourceTable(
        data.name or _stem(path),
        str(path),
        digest,
        {name: frame.iloc[:, place].to_numpy() for place, name in enumerate(names) if name != date_column},
        None,
        header_lines=1 if kind == "csv" else None,
    )
    if date_column is None:
        return table
    return replace(table, dates=_dates(table, date_column, frame.iloc[:, names.index(date_column)], data.params))


def _suffix(path: Path) -> str:
    """The ending of a name that says its format, without that of a compression."""
    return (path.with_suffix("") if path.suffix.lower() in _COMPRESSED else path).suffix.lower()


def _stem(path: Path) -> str:
    """The name of a file without the endings that say how it is written."""
    plain = path.with_suffix("") if path.suffix.lower() in _COMPRESSED else path
    return plain.stem if plain.suffix.lower() in _FORMATS else plain.name


def _csv(file: BinaryIO, path: Path, params: Mapping[str, Any]) -> Any:
    pandas = require("pandas", extra="train")
    options = {
        "sep": params.get("separator", "\t" if _suffix(path) == ".tsv" else ","),
        "decimal": params.get("decimal", "."),
        "encoding": params.get("encoding", "utf-8-sig"),
        "compression": _COMPRESSED.get(path.suffix.lower()),
    }
    try:
        names = [
            str(name).strip() for name in pandas.read_csv(file, header=None, nrows=1, dtype=str, **options).iloc[0]
        ]
        _check_header(names, path)
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # it would lose what it warns of
            frame = pandas.read_csv(file, skip_blank_lines=False, low_memory=False, index_col=False, **options)
    except (UsageError, CorruptDataError):
        raise
    # Those of pandas are values, and one is a warning; the rest comes from encodings and compression.
    except (ValueError, LookupError, EOFError, TypeError, OSError, Warning) as error:
        raise CorruptDataError(f"{path} can't be read as CSV: {_first_line(error)}") from error
    frame.columns = names
    written = frame.notna().any(axis=1).to_numpy()
    return frame.iloc[: len(written) - int(np.argmax(written[::-1]))] if written.any() else frame.iloc[:0]


def _check_header(names: list[str], path: Path) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise CorruptDataError(f"{path}:1: two columns are called {twice!r}", hint="give each a name of its own")
    if len(names) == 1 and any(sign in names[0] for sign in ";\t|"):
        raise UsageError(
            f"{path}:1: {_shown(names[0])} looks like several columns",
            hint='data.params: {separator: ";"} tells them apart',
        )


def _parquet(file: BinaryIO, path: Path) -> Any:
    parquet = require("pyarrow.parquet", extra="train")
    pyarrow = require("pyarrow", extra="train")
    try:
        frame = parquet.read_table(file).to_pandas()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise CorruptDataError(f"{path} can't be read as Parquet: {_first_line(error)}") from error
    return frame if frame.index.name is None else frame.reset_index()


def _date_column(data: DataSection, path: Path, names: list[str], frame: Any) -> str | None:
    """The column that is named, or else the first one that is called like a date and holds no numbers."""
    if data.date_column is None:
        called_so = (found for one in DATE_COLUMNS if (found := find_name(one, names)))
        return next((one for one in called_so if frame.iloc[:, names.index(one)].dtype.kind not in "iufb"), None)
    if data.date_column not in names:
        hint = nearest_or_all(data.date_column, names)
        raise UsageError(f"data.date_column: {path} has no column {data.date_column!r}", hint=hint)
    return data.date_column


def _dates(table: SourceTable, name: str, cells: Any, params: Mapping[str, Any]) -> NDArray[np.datetime64]:
    """The dates, checked: none is missing or unreadable, and each is after the one before."""
    pandas = require("pandas", extra="train")
    if cells.dtype.kind in "iufb":
        if "date_format" not in params:
            hint = "data.params.date_format says how to read them: %Y%m%d"
            raise UsageError(f"the column {name} of {table.source} holds numbers, no dates", hint=hint)
        cells = cells.astype(str)
    form = params.get("date_format", "ISO8601")
    read = pandas.to_datetime(cells, errors="coerce", utc=True, format=form).dt.tz_localize(None)
    wrong = read.isna().to_numpy()
    if wrong.any():
        row = int(np.argmax(wrong))
        raise CorruptDataError(
            f"{table.place(row)}: {_shown(cells.iloc[row])} in {name} is no date" + _and_more(wrong),
            hint="dates are written 2024-01-31, or as data.params.date_format says: %d.%m.%Y",
        )
    dates: NDArray[np.datetime64] = read.to_numpy().astype("datetime64[us]")
    later = np.diff(dates) > np.timedelta64(0, "us")
    if not later.all():
        row = int(np.argmin(later)) + 1
        is_same = dates[row] == dates[row - 1]
        shown = str(dates[row]).replace("T00:00:00.000000", "")
        raise CorruptDataError(
            f"{table.place(row)}: the date {shown} "
            + ("is there twice" if is_same else "is before that of the last row"),
            hint="one row a date; a file of several securities is split first" if is_same else "sort the rows by date",
        )
    days = dates.astype("datetime64[D]")
    return days if (days == dates).all() else dates


def _and_more(wrong: NDArray[np.bool_]) -> str:
    more = int(wrong.sum()) - 1
    return f" (and {more:,} more)" if more else ""


def _shown(cell: Any) -> str:
    text = str(cell)
    return "an empty cell" if text in ("nan", "NaT", "None", "") else repr(text if len(text) <= 40 else f"{text[:40]}…")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
