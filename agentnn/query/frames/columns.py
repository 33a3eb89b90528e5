"""From a name in a query to the Series that it means, in pandas' order: columns first, then the index."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from agentnn.query.frames.words import query_error

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from agentnn.query.frames.expressions import Column
    from agentnn.query.frames.hints import NameHints


class NamedColumns:
    """What a query over a table can name: its columns, if their labels are texts, and the levels of its index."""

    def __init__(self, frame: DataFrame) -> None:
        self.frame = frame
        self.labels = Counter(label for label in frame.columns if isinstance(label, str))
        self.levels = _levels(frame)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, each once, in the table's order."""
        return tuple(dict.fromkeys([*self.labels, *self.levels]))

    def find(self, column: Column, hints: NameHints) -> Series[Any]:
        """The values behind a name.

        Raises:
            FilterError: There is no such name, or there are two.
        """
        name, position = column.name, column.position
        if self.labels[name] > 1:
            raise query_error(f"{self.labels[name]} columns are called {name!r}", hints.text, position)
        if self.labels[name]:
            return self.frame[name]
        if name in self.levels:
            values = self.frame.index.get_level_values(self.levels[name]).to_series()
            values.index = self.frame.index
            return values
        hint = hints.for_unknown(name, position)
        raise query_error(f"there is no column {name[:80]!r}", hints.text, position, hint)


def _levels(frame: DataFrame) -> dict[str, int]:
    """The levels of an index by what pandas calls them: their names, else ``ilevel_0`` …; ``index`` is the only one."""
    names = [f"ilevel_{level}" if name is None else name for level, name in enumerate(frame.index.names)]
    levels = {name: level for level, name in enumerate(names) if isinstance(name, str) and name != "index"}
    return levels if frame.index.nlevels > 1 else levels | {"index": 0}
