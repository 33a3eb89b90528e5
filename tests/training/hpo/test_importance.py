"""The importance of hyperparameters: the one that matters comes first, and what can't be said is not said."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from agentnn.tracking.figures.importance import share_bars
from agentnn.training.hpo.importance import hyperparameter_importance
from agentnn.training.hpo.sampling.optuna_quiet import quiet_optuna
from agentnn.training.hpo.sampling.space import suggest

if TYPE_CHECKING:
    from collections.abc import Callable

SPACE = {
    "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "batch_size": [16, 32, 64],
    "optimizer": ["Adam", "SGD"],
    "momentum": {"low": 0.0, "high": 0.9, "when": {"optimizer": "SGD"}},
    "seed": [3],
}


def studied(
    count: int, objective: Callable[[dict[str, Any]], float | list[float]], directions: tuple[str, ...] = ("minimize",)
) -> optuna.Study:
    with quiet_optuna():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1), directions=directions)
        for _ in range(count):
            trial = study.ask()
            study.tell(trial, objective(suggest(trial, SPACE)))
    return study


def far(params: dict[str, Any]) -> float:
    return abs(math.log10(params["learning_rate"]) + 2) + params["batch_size"] / 1e6


@pytest.mark.parametrize("count", [20, 40, 150])
def test_what_decides_comes_first(count: int, capfd: pytest.CaptureFixture[str]):
    study = studied(count, far)
    found = hyperparameter_importance(study, "val_loss")
    assert next(iter(found.shares)) == "learning_rate"
    assert set(found.shares) == set(SPACE)  # those with conditions, too
    assert math.fsum(found.shares.values()) == pytest.approx(1)
    assert found.shares["seed"] == 0
    assert list(found.shares.values()) == sorted(found.shares.values(), reverse=True)
    assert (found.trials, found.best) == (count, max(5, math.ceil(count / 10)))
    assert hyperparameter_importance(study, "val_loss") == found
    assert json.loads(json.dumps(found.to_dict()))["params"][0]["param"] == "learning_rate"
    assert capfd.readouterr() == ("", "")


def test_the_greatest_value_may_be_the_best_and_a_key_with_conditions_may_decide():
    study = studied(120, lambda params: params.get("momentum", -1.0), ("maximize",))
    assert next(iter(hyperparameter_importance(study, "sharpe_ratio").shares)) in ("momentum", "optimizer")
    assert hyperparameter_importance(study, "sharpe_ratio").shares["momentum"] > 0.2


def test_several_objectives():
    study = studied(60, lambda params: [far(params), -far(params) / 2], ("minimize", "maximize"))
    assert next(iter(hyperparameter_importance(study, "a, b").shares)) == "learning_rate"


@pytest.mark.parametrize(
    ("count", "objective", "why"),
    [
        (0, far, "0 complete trials are too few, at least 15 are needed"),
        (14, far, "14 complete trials are too few"),
        (30, lambda _: 1.0, "all trials have the same val_loss"),
        (30, lambda _: math.inf, "0 complete trials are too few"),
        (30, lambda params: 1.0 + (params["momentum"] > 0.85 if "momentum" in params else 0), "the best trials have"),
    ],
)
def test_what_can_not_be_said_is_told(count: int, objective: Callable[[dict[str, Any]], float], why: str):
    found = hyperparameter_importance(studied(count, objective), "val_loss")
    if found.shares:  # most trials are as good as the best one, but not all
        assert why == "the best trials have"
        return
    assert why in found.reason
    assert found.to_dict()["params"] == []


def test_it_is_drawn():
    found = hyperparameter_importance(studied(40, far), "val_loss")
    figure = share_bars(found.shares, found.metric)
    [axes] = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()][::-1] == list(found.shares)
    widths = [bar.get_width() for bar in axes.patches][::-1]
    assert widths == pytest.approx([100 * share for share in found.shares.values()])
    figure.savefig("/dev/null", format="png")
    many = share_bars({f"key{n}": 1 / 50 for n in range(50)}, "val_loss").axes[0]
    assert (len(many.patches), many.get_title(loc="left")) == (30, "20 less important hyperparameters are not shown")
