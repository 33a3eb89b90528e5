"""Small trainings of ``AdvancedTrainer``, the same in every test, and in the process that one of them kills."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from training.toy import X_TRAIN, X_VAL, Y_TRAIN, Y_VAL

from agentnn.nn_models.advanced_training import AdvancedOptions, AdvancedResult, AdvancedTrainer

torch.set_num_threads(1)
SMALL = AdvancedOptions(
    epochs=4, batch_size=20, learning_rate=0.02, seed=5, num_threads=1, device="cpu", log_model=False
)
EVERYTHING = replace(
    SMALL,
    epochs=6,
    accumulate_steps=2,
    batch_size=10,
    clip_norm=1.0,
    scheduler="warmup_cosine",
    learning_rate_multipliers={"0.*": 0.5},
    checkpoint_every_s=0.0,
)
SETUPS = {
    "ema": replace(EVERYTHING, average="ema", ema_decay=0.9),
    "float16": replace(EVERYTHING, average="ema", precision="float16"),
    "swa": replace(EVERYTHING, average="swa", swa_start=0.5, swa_anneal_epochs=2),
    "last": replace(EVERYTHING, average="swa", swa_start=0.0, scheduler="plateau", keep="last"),
}
DATA = (X_TRAIN, Y_TRAIN, X_VAL, Y_VAL)


def normalised() -> nn.Sequential:
    """With statistics and dropout; always with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(7)
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 1))


def trained(
    options: AdvancedOptions = SMALL, model: nn.Module | None = None, data: Any = DATA, **given: Any
) -> AdvancedResult:
    """What a training of it comes to, which is not tracked unless that is asked for."""
    passed = {name: given.pop(name) for name in ("metrics", "on_epoch", "logger") if name in given}
    trainer = AdvancedTrainer(model or normalised(), options, **{"track": False, **given})
    return trainer.train(*data, **passed)
