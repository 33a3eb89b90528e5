"""What the run of a training keeps, beside the values of the epochs: what a person looks at later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from agentnn.tracking.backtests.backtest_results import CONVENTIONS_TAG, log_backtest_results
from agentnn.tracking.capture.guard import optional
from agentnn.training.judging import criterion_of
from agentnn.training.loop.tensors import matched
from agentnn.training.network_files import log_network
from agentnn.training.trading import conventions, trades_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.config.schema import Config
    from agentnn.tracking.active_run import ActiveRun
    from agentnn.training.data.datasets import Dataset, Part
    from agentnn.training.fitting import Fitted
    from agentnn.training.judging import Judged
    from agentnn.training.recording import TrainingLogger

IMPORTANCE_TIMEOUT_S = 20.0
_EXAMPLES = 2


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRecord:
    """Logs what the run keeps, beside the values of the epochs.

    Attributes:
        run: The run.
        logger: Logs to it.
        config: The whole configuration.
        dataset: What was trained on.
    """

    run: ActiveRun
    logger: TrainingLogger
    config: Config
    dataset: Dataset

    def beginning(self, *, details: bool) -> None:
        """What is known before the first epoch."""
        self.logger.log_config(self.config)
        self.run.log_params({"dataset": self.dataset.description})
        if not details:
            return
        if self.config.tracking.log_environment:
            self.logger.log_environment_details()
        train = self.dataset.train
        self._data("train", train)
        self._data("validation", self.dataset.validation, reference=train.inputs[:, -1])
        self._data("test", self.dataset.test, reference=train.inputs[:, -1])

    def metrics(self, metrics: Mapping[str, float], test: Judged | None) -> None:
        """The final metrics, and by which conventions the figures are computed."""
        self.run.log_metrics(metrics)
        if test is not None and test.traded is not None:
            self.run.set_tags({CONVENTIONS_TAG: conventions(self.config.backtest)})

    def details(self, fitted: Fitted, test: Judged | None) -> dict[str, float]:
        """What a person looks at, and the model; what fails of it is said, and nothing else.

        Returns:
            Metrics that were logged on the way.
        """
        inputs = self.dataset.train.inputs[:_EXAMPLES]
        self.logger.log_model_summary(fitted.model, input_example=torch.from_numpy(inputs).to(fitted.device))
        self.logger.log_training_history(fitted.history)
        self._importance(fitted)
        if self.config.tracking.log_model:
            log_network(self.run, fitted.model, inputs.copy())
        if test is None:
            return {}
        logged = self._predictions(test)
        with optional("the backtest"):
            logged |= self._backtest(test)
        return logged

    def _data(self, name: str, part: Part, reference: Any = None) -> None:
        scaler = self.dataset.standardisation if name == "train" else None
        self.logger.log_data_characteristics(
            part.inputs[:, -1],  # every day once, not once a window
            part.targets,
            name=f"data/{name}",
            feature_names=self.dataset.feature_names,
            scaler=None if scaler is None else {"mean": scaler.mean, "scale": scaler.scale},
            reference=reference,
            prefix=f"{name}_",
        )

    def _importance(self, fitted: Fitted) -> None:
        """On the validation part: how much greater the loss is once a feature is shuffled."""
        criterion = criterion_of(self.dataset, self.config)

        def negative_loss(truth: np.ndarray, outputs: np.ndarray) -> float:
            given = torch.from_numpy(np.asarray(outputs, dtype=np.float32)).reshape(len(outputs), -1)
            with torch.inference_mode():
                return -float(criterion(given, matched(torch.from_numpy(truth), given, criterion)))

        part = self.dataset.validation
        self.logger.log_feature_importance(
            fitted.model,
            part.inputs,
            part.targets,
            feature_names=self.dataset.feature_names,
            score=negative_loss,
            seed=self.config.training.seed,
            timeout_s=IMPORTANCE_TIMEOUT_S,
        )

    def _predictions(self, test: Judged) -> dict[str, float]:
        if self.dataset.loss == "cross_entropy" and test.predictions.shape[1] > 2:
            return {}  # the numbers of classes can't be compared as numbers
        self.logger.log_predictions(self.dataset.test.targets[:, 0], test.point, prefix="test_")
        return {f"test_{name}": test.errors[name] for name in ("mae", "rmse") if name in test.errors}

    def _backtest(self, test: Judged) -> dict[str, float]:
        traded, part, rule = test.traded, self.dataset.test, self.config.backtest
        if traded is None:
            return {}
        values: dict[str, list[Any]] = {
            "value": traded.equity.tolist(),
            "position": [0.0, *traded.positions.tolist()],
            "net_return": [0.0, *traded.returns.tolist()],
        }
        if part.dates.dtype.kind == "M":
            values = {"date": [str(part.dates[0]), *map(str, part.next_dates)], **values}
        trades = trades_of(traded, part)
        results = {
            "portfolio_values": values,
            "trades": trades,
            "metrics": {**traded.figures, "n_trades": len(trades)},
            "buy_and_hold": traded.buy_and_hold,
            "rule": rule.to_dict(),
        }
        return log_backtest_results(self.run, results, periods_per_year=rule.periods_per_year)
