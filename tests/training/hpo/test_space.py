"""What is suggested lies in the space, and only where its conditions hold; a grid has each combination once."""

from __future__ import annotations

import json
import math
import warnings
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agentnn.config.loader import load_config, record_of
from agentnn.config.schema import HpoSection
from agentnn.config.search_conditions import holds
from agentnn.errors import ConfigError
from agentnn.training.hpo.sampling.dimensions import dimensions_of
from agentnn.training.hpo.sampling.optuna_quiet import quiet_optuna
from agentnn.training.hpo.sampling.samplers import build_sampler
from agentnn.training.hpo.sampling.space import decoded, encoded, grid_of, suggest, with_params

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.config.schema import Config

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(-2, 2), st.sampled_from(["a", "[1]", "true", "1", ""])
)
choices = st.lists(st.one_of(scalars, st.lists(st.integers(1, 3), max_size=3)), min_size=1, max_size=4)


@st.composite
def ranges(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        low = draw(st.integers(-100, 100))
        found: dict[str, Any] = {"low": low, "high": low + draw(st.integers(1, 50))}
        kind = draw(st.sampled_from(["plain", "step", "log", "float"]))
        if kind == "step":
            found["step"] = draw(st.one_of(st.integers(1, 60), st.sampled_from([0.1, 0.3, 2.5])))
        elif kind == "float":
            found["type"] = "float"
    else:
        low = draw(st.sampled_from([0.0, -1.5, 1e-5, 0.1, 3.0]))
        found = {"low": low, "high": low + draw(st.sampled_from([1e-4, 0.25, 1.0, 10.0]))}
        kind = draw(st.sampled_from(["plain", "step", "log"]))
        if kind == "step":
            found["step"] = draw(st.sampled_from([0.1, 0.05, 1 / 3, 1]))
    if kind == "log":
        low, high = found["low"], found["high"]
        found = {"low": max(low, type(low)(1) if isinstance(low, int) else 1e-5), "high": high}
        found = {**found, "high": max(found["high"], found["low"] + 1), "log": True}
    return found


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    """A search of up to five keys, each of which may depend on ones before it; written in any order."""
    names = [f"model.params.{name}" for name in "abcde"][: draw(st.integers(1, 5))]
    space: dict[str, Any] = {}
    for name in names:
        one: Any = draw(st.one_of(choices, ranges()))
        if space and draw(st.booleans()):
            other = draw(st.sampled_from(sorted(space)))
            known = space[other] if isinstance(space[other], list) else space[other].get("choices")
            wanted = draw(st.sampled_from(known)) if known else draw(st.integers(-3, 3))
            if draw(st.booleans()):
                wanted = [wanted, 2]
            one = {**({"choices": one} if isinstance(one, list) else one), "when": {other: wanted}}
        space[name] = one
    return {name: space[name] for name in draw(st.permutations(names))}


def section(space: dict[str, Any], **more: Any) -> HpoSection:
    return HpoSection.model_validate({"param_space": space, **more})


def asked(hpo: HpoSection, count: int, seed: int = 0) -> Iterator[tuple[optuna.Trial, dict[str, Any]]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(sampler=build_sampler(hpo, seed))
    for _ in range(count):
        trial = study.ask()
        yield trial, suggest(trial, hpo.param_space)
        study.tell(trial, float(trial.number % 3))


def lies_in(value: Any, space: Any) -> bool:
    candidates = space if isinstance(space, list) else space.get("choices")
    if candidates is not None:
        return any(json.dumps(value) == json.dumps(one) for one in candidates)
    low, high, step = space["low"], space["high"], space.get("step")
    is_int = "type" not in space and all(isinstance(one, int) for one in (low, high, step or 1))
    steps = (value - low) / step if step else 0.0
    on_a_step = math.isclose(steps, round(steps), abs_tol=1e-6)
    return isinstance(value, int if is_int else float) and low <= value <= high and on_a_step


@settings(deadline=None, max_examples=150)
@given(spaces(), st.integers(0, 2**32 - 1), st.sampled_from(["random", "tpe"]))
def test_whatever_is_suggested_lies_in_the_space_where_its_conditions_hold(
    space: dict[str, Any], seed: int, sampler: str
):
    hpo = section(space, sampler=sampler)
    with quiet_optuna():
        found = [(dict(trial.params), params) for trial, params in asked(hpo, 4, seed)]
        again = [params for _, params in asked(hpo, 4, seed)]
    for stored, params in found:
        assert list(params) == [name for name in space if name in params]
        for name, one in space.items():
            conditions = one.get("when", {}) if isinstance(one, dict) else {}
            is_wanted = all(key in params and holds(wanted, params[key]) for key, wanted in conditions.items())
            assert (name in params) == is_wanted
            assert name not in params or lies_in(params[name], one), (params[name], one)
        assert json.dumps(decoded(stored, hpo.param_space)) == json.dumps(params)
        assert decoded(encoded(params, hpo.param_space), hpo.param_space) == params
        json.dumps(stored)  # Optuna's journal and databases keep it
    assert [params for _, params in found] == again


@settings(deadline=None, max_examples=100)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_a_grid_has_every_combination_once(space: dict[str, Any], seed: int):
    hpo = section(space, sampler="grid")
    try:
        counts = [one.values.count() for one in dimensions_of(hpo.param_space).values()]
    except ConfigError as error:
        assert "step" in str(error)
        return
    assume(math.prod(counts) <= 300)
    grid = grid_of(hpo.param_space)
    assert len({json.dumps(one) for one in grid}) == len(grid)
    for one in grid:
        for name, conditions in ((name, dim.when) for name, dim in dimensions_of(hpo.param_space).items()):
            assert (name in one) == all(key in one and holds(wanted, one[key]) for key, wanted in conditions.items())
    if len(grid) <= 40:
        with quiet_optuna():
            tried = [params for _, params in asked(hpo, len(grid), seed)]
        assert sorted(map(json.dumps, tried)) == sorted(map(json.dumps, grid))


def test_a_grid_by_hand():
    space = {
        "momentum": {"low": 0.8, "high": 1.0, "step": 0.1, "when": {"optimizer": "SGD"}},
        "optimizer": ["Adam", "sgd"],
        "hidden_layers": [[8], [8, 8]],
    }
    grid = grid_of(section(space).param_space)
    assert len(grid) == 2 * (1 + 3)
    assert {"momentum": 0.9, "optimizer": "sgd", "hidden_layers": [8, 8]} in grid
    assert {"optimizer": "Adam", "hidden_layers": [8]} in grid


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"learning_rate": {"low": 0.1, "high": 0.2}}, "hpo.param_space.learning_rate: a grid needs a step"),
        ({"learning_rate": {"low": 1, "high": 100, "log": True}}, "a grid needs a step here"),
        ({"epochs": {"low": 1, "high": 10**12}}, "has 1,000,000,000,000 combinations or more"),
        ({"epochs": {"low": 1, "high": 1000}, "batch_size": {"low": 1, "high": 1000}}, "1,000,000 combinations"),
    ],
)
def test_a_grid_without_end_is_refused(space: dict[str, Any], said: str):
    with pytest.raises(ConfigError) as caught:
        grid_of(section(space).param_space)
    assert said in str(caught.value)
    assert caught.value.hint


def test_conditions_are_asked_in_their_order_however_they_are_written():
    """A chain of four, each written before the one that it depends on."""
    space = {
        "model.params.d": {"low": 0.0, "high": 1.0, "when": {"model.params.c": [2, 3], "model.params.a": True}},
        "model.params.c": {"low": 1, "high": 3, "when": {"model.params.b": "x"}},
        "model.params.b": {"choices": ["x", "y"], "when": {"model.params.a": True}},
        "model.params.a": [True, False],
    }
    seen = [params for _, params in asked(section(space, sampler="random"), 60)]
    shapes = {tuple(name[-1] for name in params) for params in seen}
    assert shapes == {("d", "c", "b", "a"), ("c", "b", "a"), ("b", "a"), ("a",)}


def test_one_and_true_are_two_values():
    """Optuna itself takes them for the same."""
    hpo = section({"model.params.a": [1, True, 1.0, "1", 1]})
    seen = {json.dumps(params["model.params.a"]) for _, params in asked(hpo, 60)}
    assert seen == {"1", "true", "1.0", '"1"'}


@pytest.mark.parametrize("names", [("seed", "epochs"), ("seed", "epochs", "batch_size")])
def test_conditions_that_wait_for_each_other_are_refused(names: tuple[str, ...]):
    space = {
        name: {"choices": [1], "when": {other: 1}} for name, other in zip(names, (*names[1:], names[0]), strict=True)
    }
    with pytest.raises(ConfigError) as caught:
        dimensions_of(section(space).param_space)
    assert all(name in caught.value.message for name in names)
    assert " → " in caught.value.message
    with pytest.raises(ConfigError) as caught:  # and so before any trial
        load_config({"hpo": {"param_space": space}})
    assert "its condition waits for itself" in str(caught.value)


def test_a_thousand_keys_that_depend_on_each_other():
    space: dict[str, Any] = {
        f"model.params.k{n}": {"choices": [1, 2], "when": {f"model.params.k{n - 1}": [1, 2]}} for n in range(1, 1000)
    }
    dimensions = dimensions_of(section({**space, "model.params.k0": [1, 2]}).param_space)
    assert list(dimensions) == [f"model.params.k{n}" for n in range(1000)]


@pytest.fixture
def config() -> Config:
    return load_config(
        {
            "experiment": {"name": "e", "tags": {"a": 1}},
            "model": {"family": "transformer", "hidden_layers": [32, 32], "params": {"kept": [1]}},
            "tracking": {"uri": "${env:STORE_TOKEN}"},
            "hpo": {"param_space": {"learning_rate": [0.1, 0.2], "n_heads": [4, 5]}},
        },
        ["--training.epochs", "3"],
        environ={"STORE_TOKEN": "sqlite:///hunter2.db"},
    )


def test_the_configuration_of_a_trial(config: Config):
    params = {"model.learning_rate": 0.2, "hidden_layers": [16], "model.params.new.x": 3, "optimizer": "sgd"}
    trial = with_params(config, params)
    assert (trial.training.learning_rate, trial.training.optimizer) == (0.2, "SGD")
    assert (trial.model.hidden_layers, trial.model.params) == ([16], {"kept": [1], "new": {"x": 3}})
    assert (trial.training.epochs, trial.experiment.name, trial.experiment.tags) == (3, "e", {"a": 1})
    assert (config.training.learning_rate, config.model.hidden_layers) == (1e-3, [32, 32])
    assert with_params(config, {}) == config


def test_a_default_is_still_one_and_a_secret_still_secret_in_a_trial(config: Config):
    trial = with_params(config, {"learning_rate": 0.2})
    assert trial.training.model_fields_set == {"epochs", "learning_rate"}
    assert trial.model_fields_set == config.model_fields_set
    record = record_of(trial)
    assert "hunter2" not in record.to_yaml()
    assert record.values["tracking"]["uri"] == "${env:STORE_TOKEN}"
    assert record.values["training"]["learning_rate"] == 0.2
    assert record.overrides == ("--training.epochs 3",)
    assert record.hash != record_of(config).hash == record_of(with_params(config, {})).hash
    assert record_of(config).values["training"]["learning_rate"] == 1e-3


def test_values_that_do_not_fit_each_other_are_told(config: Config):
    with pytest.raises(ConfigError) as caught:
        with_params(config, {"n_heads": 5})
    assert caught.value.problems == (
        "the trial's configuration: model.hidden_layers: expected a width that 5 heads can share, not 32",
    )
    with pytest.raises(ConfigError, match="unknown key"):
        with_params(config, {"nothing": 5})
