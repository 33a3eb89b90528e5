"""What is said of the best trial: also where the Sharpe ratio itself is what trials are judged by."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agentnn.sdk.nn_models import ModelManager
from agentnn.training.hpo.deflated_sharpe import expected_max_sharpe

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("undrawn")

DAYS = 252


@pytest.mark.slow
def test_a_sharpe_ratio_that_trials_are_judged_by_is_deflated_too(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    config = {
        "experiment": {"name": "verdict"},
        "model": {"hidden_layers": [4]},
        "training": {"epochs": 1},
        "tracking": {"log_environment": False, "log_model": False},
        "hpo": {
            "param_space": {"seed": [1, 2, 3]},
            "sampler": "grid",
            "metric": "validation_sharpe_ratio",
            "mode": "max",
        },
    }
    found = ModelManager(uri).run_study(config)
    sharpes = [one.values[0] for one in found.trials]
    assert len(sharpes) == 3
    expected = expected_max_sharpe(3, float(np.var(np.array(sharpes) / math.sqrt(DAYS), ddof=1))) * math.sqrt(DAYS)
    assert found.metrics["expected_max_sharpe_ratio"] == pytest.approx(expected)
    assert 0 < found.metrics["deflated_sharpe_ratio"] < found.metrics["probabilistic_sharpe_ratio"] < 1
