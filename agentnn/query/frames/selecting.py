"""The rows of a table that a query asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.errors import FilterError
from agentnn.query.frames.columns import NamedColumns
from agentnn.query.frames.evaluation import Evaluation
from agentnn.query.frames.hints import NameHints, example
from agentnn.query.frames.parsing import parse
from agentnn.query.frames.series_kinds import described, is_complete_truth, is_series, is_truth
from agentnn.query.frames.words import query_error

if TYPE_CHECKING:
    from pandas import DataFrame


def select(frame: DataFrame, query_string: str) -> DataFrame:
    """The rows of a table that a pandas query string asks for: what ``frame.query(query_string)`` gives.

    Nothing of the text is ever run; the package's docstring has the language. Regular expressions are the caller's
    own: a pattern can be slow (:mod:`agentnn.query.frames.methods` says when).

    Args:
        frame: The table. It is not changed.
        query_string: The query, such as ``"`model.name` == 'BERT' and accuracy > 0.9"``.

    Returns:
        The rows in their order, with their index and the columns' types.

    Raises:
        FilterError: The text is no query, names an unknown column, or asks of a column what its values can't answer.
    """
    if not isinstance(query_string, str):
        raise FilterError(f"a query is a text, not {type(query_string).__name__}", hint="accuracy > 0.9")
    columns = NamedColumns(frame)
    hints = NameHints(query_string, columns.names)
    try:
        tree = parse(query_string, hints)
        mask = Evaluation(columns, hints).value(tree)
    except RecursionError:
        raise query_error("the query is nested too deeply", query_string, 0) from None
    if not is_series(mask) or not is_complete_truth(mask):
        what = described(mask) if is_series(mask) else "a literal"
        hint = example(tree, "== True") if is_series(mask) and is_truth(mask) else "a condition, such as accuracy > 0.9"
        raise query_error(f"the query gives {what}, not true or false for each row", query_string, tree.position, hint)
    return frame.loc[mask]
