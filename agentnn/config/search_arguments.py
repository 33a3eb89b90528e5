"""What ``hpo.sampler_params`` and ``hpo.pruner_params`` may hold, for each sampler and pruner.

Only what a file can say and Optuna goes on supporting: no functions, and none of its deprecated arguments.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from agentnn.config.schema_types import Number, Section, wrong


def _steps(value: Any) -> Any:
    if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise PydanticCustomError("steps", "expected auto or a whole number from 1", {})
    return value


Steps = Annotated[int | Literal["auto"], BeforeValidator(_steps)]
"""A number of steps, which Optuna may find out."""


class NoArguments(Section):
    """A method that has none."""


class TpeArguments(Section):
    """Of ``optuna.samplers.TPESampler``."""

    n_startup_trials: int = Field(default=10, ge=0, description="Trials at random before it begins.")
    n_ei_candidates: int = Field(default=24, ge=1, description="Candidates that are looked at.")
    multivariate: bool | None = Field(
        default=None, description="Look at keys together; with one objective, unless false."
    )
    group: bool = Field(default=False, description="Look together at the keys of the same conditions.")
    constant_liar: bool | None = Field(
        default=None, description="Keep away from what other workers try now; with several workers, unless false."
    )

    @model_validator(mode="after")
    def _groups_are_multivariate(self) -> Self:
        if self.group and self.multivariate is False:
            raise wrong("group", "expected false, since multivariate is false")
        return self


class CmaesArguments(Section):
    """Of ``optuna.samplers.CmaEsSampler``."""

    n_startup_trials: int = Field(default=1, ge=1, description="Trials at random before it begins.")
    popsize: int | None = Field(default=None, ge=2, description="Trials in a generation; as the number of keys says.")
    consider_pruned_trials: bool = Field(default=False, description="Learn from pruned trials, too.")
    use_separable_cma: bool = Field(default=False, description="Take the keys for independent of each other.")
    with_margin: bool = Field(default=False, description="Keep ranges with steps from becoming a single value.")
    lr_adapt: bool = Field(default=False, description="For objectives that are noisy or have many optima.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [name for name in ("use_separable_cma", "with_margin", "lr_adapt") if self[name]]
        if len(given) > 1:
            raise wrong(given[1], f"expected false, since {given[0]} is true")
        return self


class QmcArguments(Section):
    """Of ``optuna.samplers.QMCSampler``."""

    qmc_type: Literal["sobol", "halton"] = Field(default="sobol", description="The sequence.")
    scramble: bool = Field(default=False, description="Shuffle it, by the seed.")


class MedianArguments(Section):
    """Of ``optuna.pruners.MedianPruner``."""

    n_startup_trials: int = Field(default=5, ge=0, description="Trials that end before any is pruned.")
    n_warmup_steps: int = Field(default=0, ge=0, description="Steps before which no trial is pruned.")
    interval_steps: int = Field(default=1, ge=1, description="Look every so many steps.")
    n_min_trials: int = Field(
        default=1, ge=1, description="Trials that have come to a step before one is pruned there."
    )


class PercentileArguments(MedianArguments):
    """Of ``optuna.pruners.PercentilePruner``."""

    percentile: Number = Field(default=25.0, ge=0, le=100, description="So many per cent are kept, the best ones.")


class HalvingArguments(Section):
    """Of ``optuna.pruners.SuccessiveHalvingPruner``."""

    min_resource: Steps = Field(default="auto", description="Steps that every trial gets.")
    reduction_factor: int = Field(default=4, ge=2, description="One of so many goes on.")
    min_early_stopping_rate: int = Field(default=0, ge=0, description="Rounds that are left out at the beginning.")
    bootstrap_count: int = Field(default=0, ge=0, description="Trials that come to a round before any goes on.")

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.bootstrap_count and self.min_resource == "auto":
            raise wrong("bootstrap_count", "expected 0, since min_resource is auto")
        return self


class HyperbandArguments(Section):
    """Of ``optuna.pruners.HyperbandPruner``."""

    min_resource: int = Field(default=1, ge=1, description="Steps that every trial gets.")
    max_resource: Steps = Field(default="auto", description="Steps that a trial gets at most.")
    reduction_factor: int = Field(default=3, ge=2, description="One of so many goes on.")
    bootstrap_count: int = Field(default=0, ge=0, description="Trials that come to a round before any goes on.")

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.max_resource != "auto" and self.max_resource < self.min_resource:
            raise wrong("max_resource", f"expected auto, or at least {self.min_resource}, as min_resource says")
        if self.bootstrap_count and self.max_resource == "auto":
            raise wrong("bootstrap_count", "expected 0, since max_resource is auto")
        return self


class PatientArguments(Section):
    """Of ``optuna.pruners.PatientPruner``."""

    patience: int = Field(default=5, ge=0, description="Steps without a better value before a trial may be pruned.")
    min_delta: Number = Field(default=0.0, ge=0, description="What counts as better.")
    wrapped: Literal["none", "median", "percentile", "halving", "hyperband"] = Field(
        default="none", description="The pruner that decides then, with its defaults; none prunes at once."
    )


class ThresholdArguments(Section):
    """Of ``optuna.pruners.ThresholdPruner``."""

    lower: Number | None = Field(default=None, description="Prune what falls below it.")
    upper: Number | None = Field(default=None, description="Prune what rises above it.")
    n_warmup_steps: int = Field(default=0, ge=0, description="Steps before which no trial is pruned.")
    interval_steps: int = Field(default=1, ge=1, description="Look every so many steps.")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.lower is None and self.upper is None:
            raise wrong("", "expected lower or upper, or both")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise wrong("upper", f"expected at least {self.lower}, which is lower")
        return self


SAMPLER_ARGUMENTS: dict[str, type[Section]] = {
    "tpe": TpeArguments,
    "cmaes": CmaesArguments,
    "random": NoArguments,
    "grid": NoArguments,
    "qmc": QmcArguments,
}
PRUNER_ARGUMENTS: dict[str, type[Section]] = {
    "none": NoArguments,
    "median": MedianArguments,
    "percentile": PercentileArguments,
    "halving": HalvingArguments,
    "hyperband": HyperbandArguments,
    "patient": PatientArguments,
    "threshold": ThresholdArguments,
}
