"""What MLflow takes for the name of a metric, a param or a tag, which becomes that of a file, and for its value."""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from agentnn.errors import UsageError
from agentnn.stores.run_writer import LONGEST_PARAM, LONGEST_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentnn.records import Metric

RUN_ID = re.compile(r"[a-zA-Z0-9][\w\-]{0,255}")
EXPERIMENT_ID = re.compile(r"[a-zA-Z0-9][\w\-]{0,63}")
_NAME = re.compile(r"^[/\w.\- :]*$")
_LONGEST_NAME, _LONGEST_EXPERIMENT_NAME = 250, 500
_LONGEST_EXPERIMENT_TAG = 20_000
_LONGEST_PART = 255
"""Bytes in the name of a file."""


@lru_cache(maxsize=4096)
def is_name(name: str) -> bool:
    """Whether MLflow takes a name: it must not mean another file when it is taken for a path."""
    plain = posixpath.normpath(name)
    return bool(_NAME.match(name)) and plain == name and plain != "." and not plain.startswith(("..", "/"))


def check_name(kind: str, name: str) -> None:
    """Refuse a name that MLflow does not take.

    Raises:
        UsageError: It does not.
    """
    if not is_name(name):
        raise UsageError(
            f"{name!r} can't be the name of a {kind}",
            hint="letters, digits, spaces and _ - . : are taken, and / between them",
        )
    if any(len(part.encode("utf-8", "surrogatepass")) > _LONGEST_PART for part in name.split("/")):
        raise UsageError(f"the name of the {kind} {name!r} is too long for a file", hint="choose a shorter one")


def check_points(points: Iterable[Metric]) -> None:
    """Refuse values of metrics that MLflow does not take.

    Raises:
        UsageError: It does not take a name or a time.
    """
    for name in {point.key for point in points}:
        check_name("metric", name)
        _check_length("metric", name)
    if any(point.timestamp < 0 for point in points):
        raise UsageError("the time of a metric's value is before 1970", hint="milliseconds since the epoch are wanted")


def check_params(params: Mapping[str, str]) -> None:
    """Refuse params that MLflow does not take.

    Raises:
        UsageError: It does not take a name or a value.
    """
    _check_texts("param", params, LONGEST_PARAM)


def check_tags(tags: Mapping[str, str]) -> None:
    """Refuse tags that MLflow does not take.

    Raises:
        UsageError: It does not take a name or a value.
    """
    _check_texts("tag", tags, LONGEST_TAG)


def check_experiment_tag(key: str, text: str) -> None:
    """Refuse a tag of an experiment that MLflow does not take.

    Raises:
        UsageError: It does not take the name or the value.
    """
    _check_texts("tag", {key: text}, _LONGEST_EXPERIMENT_TAG)


def check_experiment_name(name: str) -> None:
    """Refuse a name of an experiment that MLflow does not take.

    Raises:
        UsageError: It does not.
    """
    if not name or len(name) > _LONGEST_EXPERIMENT_NAME:
        raise UsageError(
            f"an experiment's name has 1 to {_LONGEST_EXPERIMENT_NAME} characters", hint="choose another name"
        )


def _check_texts(kind: str, texts: Mapping[str, str], longest: int) -> None:
    for name, text in texts.items():
        check_name(kind, name)
        _check_length(kind, name)
        if len(text) > longest:
            raise UsageError(
                f"the {kind} {name!r} has {len(text)} characters; MLflow keeps {longest}", hint="log it as a file"
            )


def _check_length(kind: str, name: str) -> None:
    if len(name) > _LONGEST_NAME:
        raise UsageError(
            f"the name of the {kind} {name!r} has more than {_LONGEST_NAME} characters", hint="choose a shorter one"
        )
