"""Devices, precision, and random numbers that are given back."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import torch
from torch import nn

from agentnn.errors import UsageError
from agentnn.training.loop.devices import (
    autocasting,
    available_devices,
    choose_device,
    device_of,
    random_state,
    reproducible,
    set_random_state,
)

CPU = torch.device("cpu")


def drawn() -> list[float]:
    return [torch.rand(()).item(), float(np.random.rand()), np.random.normal(), random.random(), random.gauss(0, 1)]


def test_auto_takes_the_fastest_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def machine(*names: str) -> None:
        monkeypatch.setattr("agentnn.training.loop.devices.available_devices", lambda: ["cpu", *names])

    machine()
    assert choose_device() == CPU
    machine("cuda:0", "cuda:1")
    assert choose_device() == torch.device("cuda:0")
    assert choose_device("cuda") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert choose_device("cpu") == CPU
    machine("mps:0")
    assert choose_device("mps") == torch.device("mps")


@pytest.mark.parametrize("name", ["cuda:9", "tpu", "", "cpu:x"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(UsageError, match="device") as caught:
        choose_device(name)
    assert caught.value.hint == f"one of auto, {', '.join(available_devices())}"


def test_where_a_model_is() -> None:
    assert device_of(nn.Linear(1, 1)) == CPU
    assert device_of(nn.Flatten()) == CPU
    assert device_of(nn.Linear(1, 1, device="meta")) == torch.device("meta")


def test_precision() -> None:
    model, inputs = nn.Linear(2, 2), torch.ones(1, 2)
    for precision in ("float32", "bfloat16", "float16"):
        context = autocasting(CPU, precision)
        for _ in range(2):
            with context():
                assert model(inputs).dtype == getattr(torch, precision)


def test_a_seed_gives_the_same_and_afterwards_all_is_as_before() -> None:
    before = drawn
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    expected = [before(), before()]
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    first = drawn()
    with reproducible(CPU, seed=5):
        inside = drawn()
    with reproducible(CPU, seed=5):
        assert drawn() == inside
    assert [first, drawn()] == expected


def test_without_a_seed_random_numbers_are_left_where_they_are() -> None:
    torch.manual_seed(1)
    with reproducible(CPU):
        inside = torch.rand(())
    assert torch.rand(()) != inside
    torch.manual_seed(1)
    assert torch.rand(()) == inside


def test_flags_nest_and_come_back() -> None:
    def flags() -> tuple[object, ...]:
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
            torch.backends.cudnn.benchmark,
            torch.get_num_threads(),
        )

    before = flags()
    with reproducible(CPU, deterministic=True, num_threads=1):
        inside = flags()
        assert inside == (True, True, False, False, 1)
        with reproducible(CPU, deterministic=True, num_threads=2):
            assert flags()[-1] == 2
        assert flags() == inside
    assert flags() == before


def test_the_state_of_random_numbers_survives_a_file() -> None:
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    drawn()  # leaves half a pair of normal numbers behind
    file = io.BytesIO()
    torch.save(random_state(CPU), file)
    expected = [drawn() for _ in range(3)]
    torch.manual_seed(8), np.random.seed(8), random.seed(8)
    file.seek(0)
    set_random_state(CPU, torch.load(file, weights_only=True))
    assert [drawn() for _ in range(3)] == expected
