"""Predictions from the shell: rows out of a file go into a model, one row for each comes out."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.errors import NotFoundError, UsageError
from agentnn.query.selectors import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

JSON_FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model says of some rows.

    Attributes:
        uri: The model.
        columns: Names of the outputs.
        rows: The values, one row for each row of the input, in its order.
    """

    uri: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def records(self) -> list[dict[str, Any]]:
        """Each row by the names of its columns; a number that JSON can't hold is ``None``, and named."""
        return [self._record(row) for row in self.rows]

    def _record(self, row: Sequence[Any]) -> dict[str, Any]:
        odd = [name for name, value in zip(self.columns, row, strict=True) if _is_odd(value)]
        values = {name: None if name in odd else value for name, value in zip(self.columns, row, strict=True)}
        return {**values, "non_finite": odd}


def read_input(path: str) -> Any:
    """What is to be predicted: a DataFrame of a CSV file's rows, or what a JSON file holds.

    Args:
        path: A ``.csv`` or ``.json`` file, or ``-`` for standard input, which is JSON if it begins with a bracket.

    Returns:
        A ``pandas.DataFrame``, or a ``dict`` with one of :data:`JSON_FORMS`.

    Raises:
        NotFoundError: There is no such file.
        UsageError: It is neither CSV nor JSON of a form that MLflow knows, or holds no rows.
    """
    text = _text_of(path)
    looks_like_json = text.lstrip()[:1] in ("{", "[")
    if path.lower().endswith(".json") or (not path.lower().endswith(".csv") and looks_like_json):
        return _from_json(text, path)
    return _from_csv(text, path)


def fitted(data: Any, signature: Any) -> Any:
    """The input as a model's signature wants it.

    Columns of a table are picked by name, in the signature's order, and given its types. A table for a model that takes
    one array of numbers becomes that array.

    Args:
        data: What :func:`read_input` gave.
        signature: An ``mlflow.models.ModelSignature``, or ``None``.

    Raises:
        UsageError: Columns are missing, or values do not fit.
    """
    import pandas as pd

    inputs = signature.inputs if signature is not None else None
    if not isinstance(data, pd.DataFrame):
        return _parsed_tensors(data, inputs)
    if inputs is None:
        return data
    if inputs.is_tensor_spec() and not inputs.has_input_names():
        return _as_array(data, inputs.inputs[0])
    return _as_columns(data, inputs)


def as_predictions(uri: str, raw: Any, signature: Any) -> Predictions:
    """What a model's ``predict`` gave, as rows with names.

    Args:
        uri: The model.
        raw: An array, a DataFrame, a list or a mapping of columns.
        signature: The model's signature, whose outputs name the columns; or ``None``.
    """
    import numpy as np
    import pandas as pd

    named = signature is not None and signature.outputs is not None and signature.outputs.has_input_names()
    names = [str(one) for one in signature.outputs.input_names()] if named else []
    if isinstance(raw, dict):
        raw = pd.DataFrame({key: list(np.asarray(value)) for key, value in raw.items()})
    elif isinstance(raw, pd.Series):
        raw = raw.to_frame(names[0] if names else str(raw.name or "prediction"))
    elif isinstance(raw, list) and raw and isinstance(raw[0], dict):
        raw = pd.DataFrame(raw)
    if isinstance(raw, pd.DataFrame):
        columns = [str(one) for one in raw.columns]
        rows = [tuple(map(_plain, row)) for row in raw.itertuples(index=False, name=None)]
        return Predictions(uri, tuple(columns), tuple(rows))
    array = np.asarray(raw, dtype=object) if _is_ragged(raw) else np.asarray(raw)
    cells = [[_plain(row)] if array.ndim == 1 else [_plain(one) for one in row] for row in np.atleast_1d(array)]
    width = len(cells[0]) if cells else max(len(names), 1)
    if len(names) != width:
        names = ["prediction"] if width == 1 else [f"prediction_{index}" for index in range(width)]
    return Predictions(uri, tuple(names), tuple(tuple(row) for row in cells))


def _text_of(path: str) -> str:
    if path == "-":
        return sys.stdin.read()
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise NotFoundError(
            f"there is no file {path}", hint="--input data.csv, data.json, or - for standard input"
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error.reason}", hint="CSV or JSON in UTF-8") from error


def _from_csv(text: str, path: str) -> Any:
    import io

    import pandas as pd

    try:
        table = pd.read_csv(io.StringIO(text))
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UsageError(
            f"{_called(path)} can't be read as CSV: {error}", hint="a header line, then one row a line"
        ) from error
    if table.empty:
        raise UsageError(f"{_called(path)} holds no rows", hint="a header line, then one row a line")
    return table


def _from_json(text: str, path: str) -> Any:
    import pandas as pd

    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{_called(path)} is not JSON: {error}", hint=f"one of {', '.join(JSON_FORMS)}") from error
    if isinstance(found, list):
        found = {"dataframe_records": found} if found and isinstance(found[0], dict) else {"instances": found}
    form = next((one for one in JSON_FORMS if isinstance(found, dict) and one in found), None)
    if form is None:
        raise UsageError(f"{_called(path)} holds none of {', '.join(JSON_FORMS)}", hint='{"instances": [[1.0, 2.0]]}')
    if not form.startswith("dataframe"):
        return {form: found[form]}
    try:
        return pd.DataFrame(**found[form]) if form == "dataframe_split" else pd.DataFrame(found[form])
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{_called(path)}: {form} is no table: {error}", hint="see MLflow's scoring protocol"
        ) from error


def _called(path: str) -> str:
    return "standard input" if path == "-" else path


def _parsed_tensors(data: dict[str, Any], inputs: Any) -> Any:
    """The arrays of ``inputs`` or ``instances``, with the types of the signature."""
    import numpy as np
    import pandas as pd

    ((form, values),) = data.items()
    if not values:
        raise UsageError(f"{form} is empty", hint='{"instances": [[1.0, 2.0]]}')
    if inputs is not None and not inputs.is_tensor_spec():
        records = values if isinstance(values, dict) or not isinstance(values[0], list) else None
        table = pd.DataFrame(values if records is not None else _with_names(values, inputs))
        return _as_columns(table, inputs)
    if isinstance(values, dict) or (isinstance(values, list) and isinstance(values[0], dict)):
        return pd.DataFrame(values)
    kind = inputs.inputs[0].type if inputs is not None else None
    try:
        return np.array(values, dtype=kind)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{form} is no array of numbers: {error}", hint="every row has as many values") from error


def _with_names(values: Any, inputs: Any) -> Any:
    names = inputs.input_names() if inputs.has_input_names() else None
    if names and any(len(row) != len(names) for row in values):
        raise UsageError(f"each row needs {len(names)} values", hint=f"in this order: {_listed(names)}")
    return [dict(zip(names, row, strict=True)) for row in values] if names else values


def _as_columns(table: Any, inputs: Any) -> Any:
    if not inputs.has_input_names():
        return table
    required = [one.name for one in inputs.inputs if getattr(one, "required", True)]
    missing = [name for name in required if name not in table.columns]
    if missing:
        near = nearest(missing[0], [str(one) for one in table.columns])
        found = f"the input has {_listed(list(table.columns))}"
        raise UsageError(
            f"the model needs {len(required)} columns; missing: {_listed(missing)}",
            hint=f"did you mean {', '.join(near)}? {found}" if near else found,
        )
    wanted = [one for one in inputs.inputs if one.name in table.columns]
    return table[[one.name for one in wanted]].assign(**{one.name: _typed(table[one.name], one) for one in wanted})


def _typed(column: Any, spec: Any) -> Any:
    """A column with the type of the signature; other types than numbers are left to MLflow."""
    import numpy as np
    import pandas as pd

    kind = spec.type.to_numpy() if hasattr(spec.type, "to_numpy") else spec.type
    try:
        is_number = np.issubdtype(kind, np.number)
    except TypeError:
        return column
    if not is_number:
        return column
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = column[numbers.isna() & column.notna()]
    if len(wrong):
        raise UsageError(
            f"column {spec.name!r} holds {str(wrong.iloc[0])!r} in row {wrong.index[0] + 1}, not a number",
            hint="mend the input",
        )
    if np.issubdtype(kind, np.integer) and (numbers.isna().any() or (numbers != numbers.round()).any()):
        raise UsageError(f"column {spec.name!r} must hold whole numbers, with none missing", hint="mend the input")
    return numbers.astype(kind)


def _as_array(table: Any, spec: Any) -> Any:
    """A table as the one array that a model takes; its shape says how many columns that needs."""
    import numpy as np

    shape = tuple(spec.shape)
    if len(shape) != 2:
        raise UsageError(
            f"the model takes an array of {len(shape)} dimensions, and a table has 2",
            hint='--input data.json with {"instances": …}',
        )
    if shape[1] not in (-1, len(table.columns)):
        raise UsageError(
            f"the model takes {shape[1]} columns; the input has {len(table.columns)}: {_listed(list(table.columns))}",
            hint="in the order in which it was trained",
        )
    try:
        return table.to_numpy(dtype=spec.type if np.issubdtype(spec.type, np.number) else None)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the input holds something else than numbers: {error}", hint="mend the input") from error


def _listed(names: Sequence[Any]) -> str:
    shown = ", ".join(str(one) for one in names[:_NAMED])
    return f"{shown}, … ({len(names)} in all)" if len(names) > _NAMED else shown


def _is_ragged(raw: Any) -> bool:
    lengths = {len(one) for one in raw if isinstance(one, (list, tuple))} if isinstance(raw, (list, tuple)) else set()
    return len(lengths) > 1


def _plain(value: Any) -> Any:
    """A value of an array as Python's own; arrays become lists."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, (bool, int, float, str, list, dict)):
        return value
    return str(value)


def _is_odd(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
