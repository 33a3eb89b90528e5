"""A configuration's data as several inputs of one network: side by side in the features of each sample."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from agentnn.errors import ConfigError
from agentnn.nn_models.advanced.calendar import CALENDAR, calendar_of
from agentnn.training.data.prices import Standardisation
from agentnn.training.hierarchy import InputConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.config.trainers import AdvancedSection
    from agentnn.training.data.datasets import Dataset, Part


def with_several_inputs(section: AdvancedSection, dataset: Dataset) -> Dataset:
    """The data with the static columns behind the others, and the calendar behind those.

    Raises:
        ConfigError: A static column is none of the features, nothing else is left, or the data have no dates.
    """
    if not section.static and not section.calendar:
        return dataset
    names = dataset.feature_names
    unknown = [name for name in section.static if name not in names]
    if unknown:
        listed = ", ".join(names)
        raise ConfigError(f"advanced.static: {unknown[0]!r} is no feature of the data", hint=f"there are {listed}")
    moving = [name for name in names if name not in section.static]
    if not moving:
        raise ConfigError("advanced.static: all features are static", hint="leave some of them out")
    if section.calendar and dataset.train.dates.dtype.kind != "M":
        raise ConfigError("advanced.calendar: the data have no dates", hint="data.date_column names them")
    order = [names.index(name) for name in (*moving, *section.static)]
    added = CALENDAR if section.calendar else ()
    new_names = (*moving, *section.static, *added)
    return replace(
        dataset,
        train=_arranged(dataset.train, order, added),
        validation=_arranged(dataset.validation, order, added),
        test=_arranged(dataset.test, order, added),
        feature_names=new_names,
        standardisation=_standardisation(dataset, order, len(added)),
        description={**dataset.description, "features": ", ".join(new_names)},
    )


def inputs_of(section: AdvancedSection, dataset: Dataset) -> tuple[InputConfig, ...]:
    """What :func:`with_several_inputs` has put side by side; nothing where there is one input."""
    n_calendar = len(CALENDAR) if section.calendar else 0
    n_static = len(section.static)
    if not n_calendar and not n_static:
        return ()
    found = [InputConfig("prices", len(dataset.feature_names) - n_static - n_calendar)]
    found += [InputConfig("static", n_static, "latest")] if n_static else []
    found += [InputConfig("calendar", n_calendar, "latest")] if n_calendar else []
    return tuple(found)


def _arranged(part: Part, order: Sequence[int], added: Sequence[str]) -> Part:
    """Each sample's columns in another order, and what the date of its latest day says on all its days."""
    inputs = part.inputs[..., list(order)]
    if added:
        days = np.broadcast_to(calendar_of(part.dates)[:, None], (*inputs.shape[:2], len(added)))
        inputs = np.concatenate([inputs, days], axis=-1)
    return replace(part, inputs=np.ascontiguousarray(inputs))


def _standardisation(dataset: Dataset, order: Sequence[int], n_added: int) -> Standardisation | None:
    """That of the features, in their new order; a calendar is as it is."""
    known = dataset.standardisation
    if known is None:
        return None
    places = list(order)
    return Standardisation(
        np.append(known.mean[places], np.zeros(n_added)), np.append(known.scale[places], np.ones(n_added))
    )
