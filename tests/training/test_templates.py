"""Every template of a training run trains, and is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from shared_store import copy_of, shared_state

from agentnn import ConfigurationManager, EnhancedMLflowLogger, ExperimentOrganizer, ModelManager
from agentnn.sdk.training_inputs import inputs_for
from agentnn.training.data.prices import load_prices
from agentnn.training.network_files import KeptNetwork
from agentnn.training.networks import Network
from agentnn.training.training_run import train_once

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("undrawn")

TEMPLATES = [
    path for path in sorted((Path(__file__).parents[2] / "config_templates").glob("*.yaml")) if "hpo" not in path.name
]


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


@pytest.fixture
def _prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of one's own, as custom_data.yaml names it."""
    prices = load_prices()
    columns = {name.title(): getattr(prices, name) for name in ("open", "high", "low", "close", "volume")}
    pd.DataFrame({"Date": prices.dates, **columns}).to_csv(tmp_path / "prices.csv", index=False)
    monkeypatch.chdir(tmp_path)


QUICK = {"training.epochs": 1, "training.num_threads": 1, "tracking.log_environment": False}
QUICK_TRAINERS = {
    "distributed_training": {"distributed.processes": 1},
    "dynamic_architecture": {"dynamic_architecture.max_changes": 1},
}
"""What is cut short besides, by template."""


@pytest.mark.usefixtures("_prices")
@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_trains(template: Path, uri: str):
    config = ConfigurationManager(template, {**QUICK, **QUICK_TRAINERS.get(template.stem, {})}).get_config()
    inputs = inputs_for(config)
    organizer = ExperimentOrganizer(config, tracking_uri=uri)
    result = train_once(
        config, inputs.dataset, organizer, EnhancedMLflowLogger(), procedure=inputs.procedure, details=False
    )
    assert {"validation_loss", "test_loss", "sharpe_ratio"} <= result.metrics.keys()
    assert isinstance(result.model, KeptNetwork)  # loads without running code
    if config.trainer is not None:
        return
    assert result.epochs == 1
    assert isinstance(result.model, Network)
    assert result.model.config.family in template.stem or template.stem in ("basic_training_example", "custom_data")


@pytest.mark.usefixtures("_prices")
def test_data_of_ones_own_from_the_file_to_the_run(uri: str):
    [template] = [one for one in TEMPLATES if one.stem == "custom_data"]
    manager = ModelManager(uri)
    result = manager.train(template, QUICK)
    run = manager.get_run(result.run_id or "")
    assert (run.status, run.params["dataset.name"], run.experiment) == ("FINISHED", "prices", "Custom_Data")
    assert {"sharpe_ratio", "validation_sharpe_ratio", "test_accuracy"} <= run.metrics.keys()
