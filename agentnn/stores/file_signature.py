"""What tells whether a file has changed since it was read, without opening it.

The time of the last change is what no program can set back, so it tells of a rewrite that keeps size and time of
modification, and of new permissions. Where another machine keeps the files, its clock has to be right to a second.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

NUMBERS = 4
"""The numbers of a signature: when the file was modified and changed (ns), its size, its inode."""

UNSETTLED_NS = 2_000_000_000
"""A file that changed so shortly before it was looked at may change again without another time: clocks of file systems
tick every few milliseconds, some every other second. Git calls such a file racily clean."""

_NONE = -1
_WORD = 2**63 - 1
"""An inode may take 64 bits, a signed number has one less."""


def signature(status: os.stat_result, settled_before: int) -> tuple[int, int, int, int]:
    """A file's signature; one of a file that changed too lately is like no other, itself included.

    Args:
        status: The file's.
        settled_before: When it must have been changed last, at the latest (ns).
    """
    changed = status.st_ctime_ns
    if changed >= settled_before:
        return settled_before, _NONE, _NONE, _NONE
    return status.st_mtime_ns, changed, status.st_size, status.st_ino & _WORD


def is_settled(numbers: tuple[int, int, int, int]) -> bool:
    """Whether a signature tells anything."""
    return numbers[2] != _NONE


def packed(numbers: Sequence[int]) -> array[int]:
    """Signatures, one after the other, in little room."""
    return array("q", numbers)
