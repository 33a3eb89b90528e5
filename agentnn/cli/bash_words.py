"""Bash cuts a line at ``@``, ``:`` and ``=`` before it asks for a completion; here the pieces become words again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_BREAKS = "@:="


def mended(pieces: Sequence[str], current: int) -> tuple[list[str], int, str]:
    """Put the pieces of words together.

    Args:
        pieces: ``COMP_WORDS``.
        current: ``COMP_CWORD``, which of them is being completed.

    Returns:
        The words, which of them is being completed, and the part of that word that bash keeps, so that a completion
        must leave it out.
        https://www.gnu.org/software/bash/manual/html_node/Bash-Variables.html#index-COMP_005fWORDBREAKS
    """
    words: list[str] = []
    where, cut = current - len(pieces), False
    for index, piece in enumerate(pieces):
        joined = bool(words) and _belongs_together(words, piece)
        if joined:
            words[-1] += piece
        else:
            words.append(piece)
        if index == current:
            where, cut = len(words) - 1, joined or piece in _BREAKS
    if current >= len(pieces):
        return words, len(words) + where, ""
    return words, where, _kept(words[where]) if cut else ""


def _kept(word: str) -> str:
    """The part of a word that stays as it is: all up to the last break, but an ``@``, which readline takes along."""
    last_break = max(word.rfind(char) for char in _BREAKS)
    return word[:last_break] if word[last_break : last_break + 1] == "@" else word[: last_break + 1]


def _belongs_together(words: Sequence[str], piece: str) -> bool:
    """Whether a piece goes on with the word before it.

    An ``@`` begins a selector such as ``@last``, unless it parts the name of a model from an alias.
    """
    if piece == "@":
        return words[-1].startswith("models:") or (len(words) > 3 and words[1] == "model")
    return piece in (":", "=") or words[-1][-1:] in (*_BREAKS,)
