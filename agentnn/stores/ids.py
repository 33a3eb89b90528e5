"""What MLflow takes for an experiment's id."""

from __future__ import annotations


def is_experiment_id(text: str) -> bool:
    """Whether an experiment could have this id: digits that make a 64-bit number. MLflow refuses or misreads others."""
    return text.isascii() and text.isdecimal() and int(text) < 2**63
