"""Optuna without its log lines and warnings, which are written for who calls it himself."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentnn.extras import require

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Neither a line about each trial nor a warning of Optuna's; afterwards its logging is what it was before.

    Its errors are still logged. A level that somebody set who wants to see less stays as it is.

    Raises:
        MissingDependencyError: Optuna is not installed.
    """
    require("optuna", extra="hpo")  # sets the level when it is imported
    from optuna.exceptions import ExperimentalWarning

    logger = logging.getLogger("optuna")
    before = logger.level
    logger.setLevel(max(before, logging.ERROR))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"optuna\.")
            warnings.simplefilter("ignore", ExperimentalWarning)  # told of the line that calls Optuna
            yield
    finally:
        logger.setLevel(before)
