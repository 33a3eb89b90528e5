"""Pruners: each ends a hopeless trial, and leaves the best one alone."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from agentnn.config.loader import load_config
from agentnn.config.schema import HpoSection
from agentnn.errors import ConfigError
from agentnn.training.hpo.sampling.optuna_quiet import quiet_optuna
from agentnn.training.hpo.sampling.pruners import build_pruner

EPOCHS = 27
EAGER = {
    "median": {"n_startup_trials": 2, "n_warmup_steps": 1},
    "percentile": {"n_startup_trials": 2, "percentile": 50},
    "halving": {"min_resource": 3, "reduction_factor": 3},
    "hyperband": {"max_resource": EPOCHS},
    "patient": {"patience": 2, "wrapped": "halving"},
    "threshold": {"upper": 20},
}


def pruned_at(pruner: str, params: dict[str, Any], losses: list[float]) -> list[int | None]:
    """The epoch in which each trial ends early; a trial's loss is the same from its first to its last epoch, but that
    it grows a little."""
    hpo = HpoSection.model_validate({"param_space": {"seed": [1]}, "pruner": pruner, "pruner_params": params})
    ends: list[int | None] = []
    with quiet_optuna():
        study = optuna.create_study(pruner=build_pruner(hpo), study_name="s")
        for loss in losses:
            trial = study.ask()
            ends.append(None)
            for epoch in range(1, EPOCHS + 1):
                trial.report(loss + epoch / 100, epoch)
                if trial.should_prune():
                    ends[-1] = epoch
                    break
            if ends[-1] is None:
                study.tell(trial, loss)
            else:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    return ends


@pytest.mark.parametrize("name", sorted(EAGER))
def test_a_hopeless_trial_is_pruned_and_the_best_one_is_not(name: str):
    losses = [5.0, 6.0, 4.0, *([50.0] * 12), 1.0]
    ends = pruned_at(name, EAGER[name], losses)
    assert any(end is not None and end < EPOCHS for end in ends[3:-1]), ends
    assert ends[-1] is None
    assert ends[0] is None


def test_without_a_pruner_nothing_is_pruned():
    assert pruned_at("none", {}, [1.0, 100.0, 100.0]) == [None, None, None]


def test_without_arguments_each_has_its_defaults():
    for name in ("none", "median", "percentile", "halving", "hyperband", "patient"):
        assert len(pruned_at(name, {}, [1.0, 2.0])) == 2
    assert pruned_at("patient", {}, [1.0]) == [7]  # nothing got better in five steps


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pruner": "threshold"}, "expected lower or upper, or both"),
        ({"pruner": "threshold", "pruner_params": {"lower": 2, "upper": 1}}, "upper: expected at least 2"),
        ({"pruner": "median", "pruner_params": {"n_warm_up_steps": 2}}, "(did you mean n_warmup_steps?)"),
        ({"pruner": "median", "pruner_params": {"interval_steps": 0}}, "interval_steps: expected at least 1, not 0"),
        ({"pruner": "percentile", "pruner_params": {"percentile": 101}}, "percentile: expected at most 100"),
        ({"pruner": "halving", "pruner_params": {"min_resource": 0}}, "expected auto or a whole number from 1, not 0"),
        ({"pruner": "halving", "pruner_params": {"bootstrap_count": 1}}, "bootstrap_count: expected 0, since"),
        ({"pruner": "hyperband", "pruner_params": {"bootstrap_count": 1}}, "bootstrap_count: expected 0, since"),
        ({"pruner": "hyperband", "pruner_params": {"reduction_factor": 1}}, "reduction_factor: expected at least 2"),
        ({"pruner": "hyperband", "pruner_params": {"min_resource": 5, "max_resource": 3}}, "expected auto, or at lea"),
        ({"pruner": "patient", "pruner_params": {"wrapped": "mdian"}}, "wrapped: expected none, median, percentile,"),
        ({"pruner_params": {"patience": 3}}, "the pruner none has no such argument"),
        ({"pruner": "median", "objectives": [{"metric": "a"}, {"metric": "b"}]}, "expected none: median can't be used"),
    ],
)
def test_what_a_pruner_can_not_do_is_refused_before_the_first_trial(given: dict[str, Any], said: str):
    given = {"param_space": {"seed": [1]}, **given}
    with pytest.raises(ConfigError) as caught:
        build_pruner(HpoSection.model_validate(given))
    assert said in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        load_config({"hpo": given})
    assert said in str(caught.value)
