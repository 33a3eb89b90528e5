"""What to say of a name that is not there, or that is cut in two by the dot, the slash or the space in it."""

from __future__ import annotations

import keyword
from typing import TYPE_CHECKING

from agentnn.query.frames.expressions import Column
from agentnn.query.selectors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentnn.query.frames.expressions import Expression

_SHOWN = 5
_INSTEAD = {"true": "True", "false": "False", "none": "name.isna()", "null": "name.isna()", "nan": "name.isna()"}


class NameHints:
    """Advice about the names in one query."""

    def __init__(self, text: str, names: Iterable[str]) -> None:
        self.text = text
        self.names = tuple(names)

    def for_quoting(self, position: int | None) -> str:
        """Advice if the longest name that stands here in the text needs backticks and has none; otherwise nothing."""
        if position is None:
            return ""
        here = [name for name in self.names if not is_plain(name) and self.text.startswith(name, position)]
        return f"did you mean {quoted(max(here, key=len))}?" if here else ""

    def for_unknown(self, name: str, position: int) -> str:
        """Advice about a name that is not there."""
        if hint := self.for_quoting(position):
            return hint
        if name.casefold() in _INSTEAD:
            return f"did you mean {_INSTEAD[name.casefold()]}?"
        if near := nearest(name, self.names):
            return f"did you mean {', '.join(map(written, near))}?"
        shown = ", ".join(map(written, self.names[:_SHOWN]))
        more = ", …" if len(self.names) > _SHOWN else ""
        return f"there are {shown}{more}" if shown else "the table has no columns"


def is_plain(name: str) -> bool:
    """Whether a name can be written without backticks."""
    return name.isidentifier() and not keyword.iskeyword(name)


def example(expression: Expression, condition: str) -> str:
    """A condition for what stands there, if that is a column; else for ``a``, as in the messages' other examples."""
    return f"{written(expression.name) if isinstance(expression, Column) else 'a'} {condition}"


def quoted(name: str) -> str:
    """A name between backticks."""
    return f"`{name.replace('`', '``')}`"


def written(name: str) -> str:
    """A name as a query spells it."""
    return name if is_plain(name) else quoted(name)
