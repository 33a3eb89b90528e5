"""What is to be thought of a study's best trial, since it was chosen among so many.

How it does on days that no trial saw, and how much of its Sharpe ratio is left once it is said how many were tried.

The best trial is trained once more, which gives the same network, and the test part is looked at for the first time and
for this network only.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from agentnn.tracking.active_run import NullRun
from agentnn.tracking.capture.guard import optional, warn
from agentnn.training.hpo.deflated_sharpe import DeflatedSharpe, Returns, deflated_sharpe_ratio
from agentnn.training.hpo.fitted_objective import at_best_epoch
from agentnn.training.hpo.judged_objective import VALIDATION, validation_figures
from agentnn.training.hpo.sampling.space import with_params
from agentnn.training.hpo.study_files import FOLDER
from agentnn.training.judging import Judged, judge_fitted
from agentnn.training.network_files import log_network
from agentnn.training.training_run import BENCHMARK, BENCHMARK_FIGURES

if TYPE_CHECKING:
    from agentnn.config.schema import BacktestSection, Config
    from agentnn.tracking.active_run import ActiveRun
    from agentnn.training.hpo.judged_objective import JudgedObjective
    from agentnn.training.hpo.results import StudyResult, TrialRecord

BEST = "best_"
_SHARPE = "sharpe_ratio"
_SAME = 1e-6
_EXAMPLES = 2


def judge_best(config: Config, objective: JudgedObjective, run: ActiveRun, result: StudyResult) -> StudyResult:
    """Train the best trial again, and log how it does on the test part, what is left of its Sharpe ratio, and it.

    Args:
        config: As the trials got it.
        objective: What judged the trials.
        run: The study's run.
        result: What the study came to.

    Returns:
        The same, with the metrics that were logged: ``best_test_…`` of the test part, ``best_validation_…``, and
        ``deflated_sharpe_ratio`` where there is a backtest.

    Raises:
        TrainingError: A prediction is not finite.
    """
    if result.best is None:
        return result
    chosen = with_params(config, result.best.params)
    dataset = objective.prepared(chosen)
    fitted = objective.train(chosen, dataset, NullRun())
    validation = judge_fitted(fitted, dataset, "validation", chosen)
    _check_is_the_same({**at_best_epoch(fitted), **validation_figures(validation)}, result)
    test = judge_fitted(fitted, dataset, "test", chosen)
    metrics = {f"{BEST}{name}": value for name, value in validation_figures(validation).items()}
    metrics |= {f"{BEST}test_{name}": value for name, value in test.metrics.items()}
    if test.traded is not None:
        held = test.traded.buy_and_hold
        metrics |= {f"{BEST}test_{BENCHMARK}{name}": held[name] for name in BENCHMARK_FIGURES if name in held}
    deflated = _deflated(chosen.backtest, validation, result)
    if deflated is not None:
        run.log_dict(deflated.to_dict(), f"{FOLDER}/deflated_sharpe.json")
        metrics |= _sharpe_metrics(deflated, chosen.backtest)
    run.log_metrics(metrics)
    if chosen.tracking.log_model:
        with optional("the best trial's network"):
            log_network(run, fitted.model, dataset.train.inputs[:_EXAMPLES].copy())
    return dataclasses.replace(result, metrics={**result.metrics, **metrics})


def _check_is_the_same(again: dict[str, float], result: StudyResult) -> None:
    """Say when another network came out: where devices or numbers of threads differ, sums are rounded otherwise."""
    assert result.best is not None
    for objective, before in zip(result.objectives, result.best.values, strict=True):
        now = again.get(objective.metric, math.nan)
        if not math.isclose(before, now, rel_tol=_SAME, abs_tol=_SAME):
            warn(f"the best trial came to {objective.metric} {before:.6g}, and trained again to {now:.6g}")


def _deflated(rule: BacktestSection, validation: Judged, result: StudyResult) -> DeflatedSharpe | None:
    """What is left of the best trial's Sharpe ratio on the validation part; ``None`` without a backtest."""
    if validation.returns is None or len(validation.returns) < 2:
        return None
    without_risk = math.expm1(math.log1p(rule.risk_free_rate) / rule.periods_per_year)
    tried = [one for one in result.trials if not one.lost]
    a_period = 1 / math.sqrt(rule.periods_per_year)
    name = f"{VALIDATION}{_SHARPE}"
    sharpes = [sharpe * a_period for one in tried if (sharpe := _figure(one, name, result)) is not None]
    if not sharpes:
        return None
    return deflated_sharpe_ratio(Returns.of(validation.returns - without_risk), sharpes, trials=len(tried))


def _figure(trial: TrialRecord, name: str, result: StudyResult) -> float | None:
    """What a trial came to, where it may be what the study looks at."""
    judged = {one.metric: value for one, value in zip(result.objectives, trial.values, strict=False)}
    return {**trial.metrics, **judged}.get(name)


def _sharpe_metrics(deflated: DeflatedSharpe, rule: BacktestSection) -> dict[str, float]:
    """Probabilities, and the ratio that the best of so many trials without skill would show, a year."""
    found = {
        "deflated_sharpe_ratio": deflated.deflated,
        "probabilistic_sharpe_ratio": deflated.probabilistic,
        "expected_max_sharpe_ratio": deflated.expected_max * math.sqrt(rule.periods_per_year),
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}
