"""Tags that are set by hand: what every store takes alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, UsageError
from agentnn.records import PARENT_TAG, RUN_NAME_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NOTE_TAG = "mlflow.note.content"
"""Where MLflow keeps the text that its pages show as a description."""

LONGEST_VALUE = 8000
"""Characters of a run's tag; MLflow cuts a longer one without a word."""

LONGEST_EXPERIMENT_VALUE = 5000
"""Characters of an experiment's tag that every store takes."""

_LONGEST_NAME = 250


def parse_tags(words: Iterable[str]) -> dict[str, str]:
    """Read ``K=V`` words.

    Raises:
        UsageError: A word has no ``=``, or nothing before it.
        ConflictError: A key is given two values.
    """
    tags: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{word!r} is no tag", hint="write KEY=VALUE")
        if tags.setdefault(key, value) != value:
            raise ConflictError(f"the tag {key!r} is given twice: {tags[key]!r} and {value!r}", hint="give it once")
    return tags


def checked_tags(
    tags: Mapping[str, Any], remove: Sequence[str] = (), *, longest: int = LONGEST_VALUE
) -> dict[str, str]:
    """Tags as text, when every store of MLflow can keep them.

    Raises:
        UsageError: There is nothing to do; a key or a value can't be kept; or a value would be cut.
        ConflictError: A tag is to be set and removed.
    """
    if not tags and not remove:
        raise UsageError("which tags?", hint="say KEY=VALUE to set one, or name one to remove")
    for key in remove:
        if key in tags:
            raise ConflictError(f"the tag {key!r} is both set and removed", hint="do one of the two")
    return {_checked_key(key): _checked_value(key, str(value), longest) for key, value in tags.items()}


def _checked_key(key: str) -> str:
    from agentnn.values.keys import encode_key

    if encode_key(key) != key:
        raise UsageError(
            f"no store keeps a tag {key!r}", hint="letters, digits, _ - . : / and spaces, and no // or leading /"
        )
    return key


def _checked_value(key: str, value: str, longest: int) -> str:
    if key == RUN_NAME_TAG:
        longest = _LONGEST_NAME
    if len(value) > longest:
        raise UsageError(
            f"the tag {key!r} has {len(value)} characters, and MLflow keeps {longest}",
            hint="shorten it, or log it as a file of the run",
        )
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise UsageError(f"the tag {key!r} is not valid Unicode text", hint="check its encoding")
    if not value and key in (RUN_NAME_TAG, PARENT_TAG):
        raise UsageError(f"the tag {key!r} can't be empty", hint=f"to take it off: --remove {key}")
    return value
