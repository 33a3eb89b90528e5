"""What a study looks at: the one metric of ``hpo.metric``, or the several of ``hpo.objectives``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.config.schema import HpoSection, Mode


class StudyObjective(NamedTuple):
    """One metric that trials are judged by.

    Attributes:
        metric: Its name.
        mode: Whether its smallest or greatest value is best.
    """

    metric: str
    mode: Mode = "min"

    def __str__(self) -> str:
        return f"{self.mode} {self.metric}"


def objectives_of(hpo: Mapping[str, Any] | HpoSection | None) -> tuple[StudyObjective, ...]:
    """The objectives of a search, the first of which decides where one best trial is asked for.

    Args:
        hpo: The section ``hpo`` of a configuration, checked or not.
    """
    said: Any = {} if hpo is None else hpo
    return tuple(_objective(one) for one in said.get("objectives") or [said])


def _objective(said: Any) -> StudyObjective:
    mode = "max" if said.get("mode") == "max" else "min"
    return StudyObjective(str(said.get("metric") or "val_loss"), cast("Mode", mode))
