"""Configurations of trainers that are small, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.config.loader import load_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.config.schema import Config

SMALL: dict[str, dict[str, Any]] = {
    "model": {"hidden_layers": [4]},
    "data": {"features": ["return_1", "return_5", "rsi_14"], "window": 1},
    "training": {"epochs": 2, "learning_rate": 0.01, "seed": 7, "num_threads": 1, "progress": False},
    "tracking": {"log_environment": False},
}


def configured(
    trainer: str | None, base: Mapping[str, Mapping[str, Any]], sections: Mapping[str, Mapping[str, Any]]
) -> Config:
    """A small configuration, with the keys of ``base`` and ``sections`` in place, section by section."""
    values: dict[str, Any] = {} if trainer is None else {"trainer": trainer}
    for layer in (SMALL, base, sections):
        for name, keys in layer.items():
            values[name] = {**values.get(name, {}), **keys}
    return load_config(values)
