"""Commands that a note tells the user to type, and the words around them."""

from __future__ import annotations

from shlex import join
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentnn.records import ModelVersion
    from agentnn.settings import Settings

SHOWN = 5
"""How many of many things a note names."""


def command_line(settings: Settings, *words: str) -> str:
    """A command as it is typed in a shell, which finds the same store."""
    from agentnn.sdk.run_deletion import store_words

    return join(["agentnn", *store_words(settings), *words])


def count(number: int, what: str) -> str:
    """A number of things, in words."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def names(every: Iterable[str]) -> str:
    """The first of some names, and how many more there are."""
    listed = list(every)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more


def version_names(versions: Iterable[ModelVersion]) -> str:
    """Model versions, each with the aliases that it holds."""
    return names(
        f"models:/{one.name}/{one.version}" + (f" (@{' @'.join(one.aliases)})" if one.aliases else "")
        for one in versions
    )
