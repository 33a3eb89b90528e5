"""Samplers: the same seed, the same trials, also after an interruption; what Optuna can't do is said."""

from __future__ import annotations

import inspect
import json
import logging
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from agentnn.config.loader import load_config
from agentnn.config.schema import HpoSection
from agentnn.config.search_arguments import PRUNER_ARGUMENTS, SAMPLER_ARGUMENTS
from agentnn.errors import AgentNNWarning, ConfigError, MissingDependencyError
from agentnn.training.hpo.sampling import samplers
from agentnn.training.hpo.sampling.optuna_quiet import quiet_optuna
from agentnn.training.hpo.sampling.samplers import build_sampler, most_trials
from agentnn.training.hpo.sampling.seeded_sampler import trial_seed
from agentnn.training.hpo.sampling.space import encoded, grid_of, suggest

if TYPE_CHECKING:
    from pathlib import Path

RANGES = {
    "learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
    "dropout": {"low": 0.0, "high": 0.5},
    "batch_size": {"low": 8, "high": 64, "step": 8},
}
MIXED = {
    "learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
    "optimizer": ["Adam", "SGD"],
    "hidden_layers": [[8], [8, 8]],
    "momentum": {"low": 0.5, "high": 0.9, "step": 0.1, "when": {"optimizer": "SGD"}},
}
GRID = {**MIXED, "learning_rate": [0.1, 0.01]}
SPACES = {"tpe": MIXED, "random": MIXED, "cmaes": RANGES, "qmc": RANGES, "grid": GRID}


def section(space: dict[str, Any], **more: Any) -> HpoSection:
    return HpoSection.model_validate({"param_space": space, **more})


def score(params: dict[str, Any]) -> float:
    return params["learning_rate"] * 10 + params.get("dropout", 0.1) + params.get("momentum", 0)


def run(
    hpo: HpoSection, count: int, storage: Any = None, *, seed: int = 0, directions: tuple[str, ...] = ("minimize",)
) -> list[dict[str, Any]]:
    """So many more trials of a study; with a new sampler, as after an interruption."""
    storage = storage or optuna.storages.InMemoryStorage()
    with quiet_optuna():
        study = optuna.create_study(
            storage=storage,
            study_name="s",
            load_if_exists=True,
            sampler=build_sampler(hpo, seed),
            directions=directions,
        )
        found = []
        for _ in range(count):
            trial = study.ask()
            found.append(suggest(trial, hpo.param_space))
            study.tell(trial, [score(found[-1])] * len(directions))
    return found


@pytest.mark.parametrize("name", sorted(SPACES))
def test_the_same_seed_gives_the_same_trials_also_when_the_study_is_resumed(name: str, tmp_path: Path):
    hpo = section(SPACES[name], sampler=name)
    count = 25 if name in ("tpe", "cmaes") else 12
    through = run(hpo, count)
    assert run(hpo, count) == through
    journal = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"))
    storage = optuna.storages.JournalStorage(journal)
    resumed = [one for part in (5, 1, count - 6) for one in run(hpo, part, storage)]
    assert resumed == through
    assert len({json.dumps(one) for one in through}) > count * 0.7
    if name != "qmc":  # its sequence is one
        assert run(hpo, count, seed=1) != through


def test_trials_at_random_are_the_same_whatever_is_done_at_once():
    """Two trials whose values are asked for by turns, the second one first."""
    hpo = section(RANGES, sampler="random")
    study = optuna.create_study(sampler=build_sampler(hpo, 3))
    first, second = study.ask(), study.ask()
    values: list[dict[str, Any]] = [{}, {}]
    for name, space in RANGES.items():
        for place, trial in ((1, second), (0, first)):
            values[place].update(suggest(trial, {name: space}))
    assert values == run(hpo, 2, seed=3)


def test_no_two_trials_share_a_seed():
    assert len({trial_seed(7, number) for number in range(50_000)}) == 50_000


@pytest.mark.parametrize("name", ["tpe", "random", "qmc", "grid"])
def test_several_objectives(name: str):
    objectives = [{"metric": "a", "mode": "max"}, {"metric": "b"}]
    hpo = section(GRID if name == "grid" else RANGES, sampler=name, objectives=objectives)
    assert len(run(hpo, 13, directions=("maximize", "minimize"))) == 13


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sampler": "cmaes", "objectives": [{"metric": "a"}, {"metric": "b"}]}, "hpo.sampler: expected another one"),
        ({"sampler": "cmaes", "param_space": {"seed": [1]}}, "cmaes needs a range to search"),
        ({"sampler_params": {"n_startup_trial": 3}}, "no such argument (did you mean n_startup_trials?)"),
        ({"sampler_params": {"seed": 3}}, "(did you mean hpo.seed?)"),
        ({"sampler_params": {"n_startup_trials": -1}}, "n_startup_trials: expected at least 0, not -1"),
        ({"sampler_params": {"n_startup_trials": "ten"}}, "n_startup_trials: expected a whole number, not 'ten'"),
        ({"sampler_params": {"group": True, "multivariate": False}}, "group: expected false"),
        ({"sampler": "random", "sampler_params": {"x": 1}}, "the sampler random has no such argument"),
        ({"sampler": "qmc", "sampler_params": {"qmc_type": "latin"}}, "expected sobol or halton, not 'latin'"),
        ({"sampler": "cmaes", "sampler_params": {"lr_adapt": True, "with_margin": True}}, "expected false, since with"),
    ],
)
def test_what_a_sampler_can_not_do_is_refused_before_the_first_trial(given: dict[str, Any], said: str):
    given = {"param_space": RANGES, **given}
    with pytest.raises(ConfigError) as caught:
        build_sampler(HpoSection.model_validate(given), 0)
    assert said in str(caught.value)
    with pytest.raises(ConfigError) as caught:  # and a file that says it is no valid one
        load_config({"hpo": given})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "space", "said"),
    [
        ("cmaes", MIXED, "drawn at random: optimizer, hidden_layers, momentum"),
        ("qmc", MIXED, "drawn at random: momentum"),
        ("tpe", MIXED, ""),
        ("random", MIXED, ""),
        ("cmaes", RANGES, ""),
    ],
)
def test_keys_that_are_drawn_at_random_instead_are_named(name: str, space: dict[str, Any], said: str):
    hpo = section(space, sampler=name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build_sampler(hpo, 0)
    assert [one.category for one in caught] == ([AgentNNWarning] if said else [])
    assert said in "".join(str(one.message) for one in caught)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = run(hpo, 15)
    assert all((one["optimizer"] == "SGD") == ("momentum" in one) for one in found if "optimizer" in one)


@pytest.mark.parametrize(
    ("workers", "params", "expected"), [(1, {}, False), (2, {}, True), (2, {"constant_liar": False}, False)]
)
def test_tpe_keeps_workers_apart(workers: int, params: dict[str, Any], expected: bool, monkeypatch: pytest.MonkeyPatch):
    given: list[dict[str, Any]] = []
    original = optuna.samplers.TPESampler
    monkeypatch.setattr(optuna.samplers, "TPESampler", lambda **more: given.append(more) or original(**more))
    run(section(RANGES, workers=workers, sampler_params=params), 2)
    assert {one["constant_liar"] for one in given} == {expected}


def test_the_arguments_are_those_that_optuna_has():
    """And their defaults are the same, but where the description says otherwise."""
    known: dict[str, Any] = {
        "tpe": optuna.samplers.TPESampler,
        "cmaes": optuna.samplers.CmaEsSampler,
        "qmc": optuna.samplers.QMCSampler,
        "median": optuna.pruners.MedianPruner,
        "percentile": optuna.pruners.PercentilePruner,
        "halving": optuna.pruners.SuccessiveHalvingPruner,
        "hyperband": optuna.pruners.HyperbandPruner,
        "patient": optuna.pruners.PatientPruner,
        "threshold": optuna.pruners.ThresholdPruner,
    }
    ours = {"constant_liar", "wrapped", "percentile", "patience"}
    for name, arguments in (SAMPLER_ARGUMENTS | PRUNER_ARGUMENTS).items():
        theirs = inspect.signature(known[name]).parameters if name in known else {}
        for key, field in arguments.model_fields.items():
            assert key == "wrapped" or key in theirs, (name, key)
            assert key in ours or field.default == theirs[key].default, (name, key)
            assert field.description


def test_a_grid_goes_on_where_it_was_interrupted_and_a_retried_trial_takes_no_place():
    hpo = section(GRID, sampler="grid")
    size = len(grid_of(hpo.param_space))
    storage = optuna.storages.InMemoryStorage()
    found = run(hpo, 4, storage)
    with quiet_optuna():
        study = optuna.load_study(study_name="s", storage=storage, sampler=build_sampler(hpo, 0))
    study.enqueue_trial(encoded(found[1], hpo.param_space))  # as if its worker had died
    again = suggest(study.ask(), hpo.param_space)
    assert again == found[1]
    found += run(hpo, size - 4, storage)
    assert len({json.dumps(one) for one in found}) == size
    assert len(run(hpo, 2, storage)) == 2  # what was tried is tried again


def test_two_drivers_of_a_grid_do_not_try_the_same():
    hpo = section(GRID, sampler="grid")
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(storage=storage, study_name="s")
    drivers = [optuna.load_study(study_name="s", storage=storage, sampler=build_sampler(hpo, 0)) for _ in range(2)]
    found = [suggest(drivers[turn % 2].ask(), hpo.param_space) for turn in range(len(grid_of(hpo.param_space)))]
    assert len({json.dumps(one) for one in found}) == len(found)


def test_how_many_trials_a_study_has():
    assert most_trials(section(GRID, sampler="grid")) == 24
    assert most_trials(section(GRID, sampler="grid", num_trials=5)) == 5
    assert most_trials(section(GRID, sampler="grid", num_trials=99)) == 24
    assert most_trials(section(GRID)) == 20


def test_optuna_is_quiet_and_its_logging_is_as_before(capfd: pytest.CaptureFixture[str]):
    logger = logging.getLogger("optuna")
    before = (logger.level, list(logger.handlers), logger.propagate, list(warnings.filters))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(section(RANGES, sampler_params={"group": True}), 12)
        run(section(RANGES, sampler="qmc"), 3)
        run(section(RANGES, sampler="cmaes", sampler_params={"lr_adapt": True}), 3)
        run(section({**RANGES, "dropout": {"low": 0, "high": 1, "step": 0.3}}), 3)
    assert (logger.level, list(logger.handlers), logger.propagate, list(warnings.filters)) == before
    assert capfd.readouterr() == ("", "")


def test_optuna_is_quiet_where_it_is_first_imported_too():
    code = """
import warnings
warnings.simplefilter("error")
from agentnn.training.hpo.sampling.optuna_quiet import quiet_optuna
with quiet_optuna():
    import optuna
    optuna.create_study()
import logging
assert logging.getLogger("optuna").level == logging.INFO
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_optuna_is_not_imported_before_it_is_needed_and_its_absence_is_told(monkeypatch: pytest.MonkeyPatch):
    code = "import sys; from agentnn.training.hpo.sampling import pruners, samplers; assert 'optuna' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependencyError) as caught:
        samplers.build_sampler(section(RANGES), 0)
    assert caught.value.hint == "pip install 'agentnn[hpo]'"
