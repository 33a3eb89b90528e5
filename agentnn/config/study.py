"""A configuration with a search in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.config.changes import with_changes
from agentnn.config.loader import load_config
from agentnn.config.schema import Config
from agentnn.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.config.tree import KeyPath


def with_study_options(config: Mapping[str, Any] | Config, **options: Any) -> Config:
    """A checked configuration that has a section ``hpo``, with some keys of that section changed.

    Args:
        config: Checked or not; it stays as it is.
        options: ``num_trials``, ``workers`` and others; those that are ``None`` change nothing.

    Raises:
        ConfigError: Something is wrong with it, or there is nothing to search.
    """
    checked = config if isinstance(config, Config) else load_config(config)
    if checked.hpo is None:
        raise ConfigError(
            "there is nothing to search: the configuration has no hpo.param_space",
            hint="hpo: {param_space: {learning_rate: [0.0001, 0.001, 0.01]}}",
        )
    changes: dict[KeyPath, Any] = {("hpo", key): value for key, value in options.items() if value is not None}
    return with_changes(checked, changes, "the study's options") if changes else checked
